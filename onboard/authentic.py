"""Who made a bundle: HMAC-SHA-256 with a key that the operator keeps, and a sequence number against replay.

``signature.json`` lies beside the manifest (FORMAT.md). The key is a file of 64 hexadecimal digits that only its owner
may read; it goes into no bundle, log or record. docs/security.md says what this protects from, and what not.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onboard import fields

SIGNATURE = "signature.json"
FORMAT, VERSION = "kdmarl_sat signature", 1
KEY_BYTES = 32
_MANIFEST = b"KDMF HMAC v1".ljust(16, b"\0")
_TABLE = b"KDWT HMAC v1".ljust(16, b"\0")
_LARGEST = 2**63


class AuthenticityError(ValueError):
    """A key, ledger or signature that cannot be used, or a bundle that is refused; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What the C engine checks before it loads a table."""

    key: bytes = field(repr=False)
    name: str  # of the satellite
    sequence: int
    tag: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """The content of signature.json, whose tags have not been checked."""

    sequence: int
    fingerprint: str  # of the key
    manifest: bytes
    tables: Mapping[str, bytes]  # by satellite
    ed25519: Mapping[str, str] | None = None  # {"public_key", "signature"}, hexadecimal; checked on the ground

    def to_dict(self) -> dict[str, Any]:
        tags = {"manifest": self.manifest.hex(), "tables": {name: tag.hex() for name, tag in self.tables.items()}}
        content = {"format": FORMAT, "version": VERSION, "sequence": self.sequence}
        content |= {"key": self.fingerprint, "hmac": tags}
        return content if self.ed25519 is None else {**content, "ed25519": dict(self.ed25519)}

    @classmethod
    def from_bytes(cls, content: bytes) -> Signature:
        """Raises ValueError: it is malformed."""
        parsed = fields.parse_json(content)
        keys = {"format", "version", "sequence", "key", "hmac"} | ({"ed25519"} & set(parsed or ()))
        entry = fields.mapping(SIGNATURE, parsed, keys)
        if entry["format"] != FORMAT or entry["version"] != VERSION:
            fields.refuse(f"{SIGNATURE} version", entry["version"], f"{VERSION}, of a {FORMAT}")
        tags = fields.mapping(f"{SIGNATURE} hmac", entry["hmac"], ("manifest", "tables"))
        if not isinstance(tags["tables"], dict):
            fields.refuse(f"{SIGNATURE} tables", tags["tables"], "an object")
        return cls(
            sequence=fields.integer(f"{SIGNATURE} sequence", entry["sequence"], 1, _LARGEST),
            fingerprint=fields.text(f"{SIGNATURE} key", entry["key"]),
            manifest=_tag("manifest", tags["manifest"]),
            tables={name: _tag(name, value) for name, value in tags["tables"].items()},
            ed25519=fields.mapping(f"{SIGNATURE} ed25519", entry["ed25519"], ("public_key", "signature"))
            if "ed25519" in entry
            else None,
        )


@dataclass(frozen=True, slots=True)
class Trust:
    """A configured key: bundles that it did not sign, or that are older than the newest accepted, are refused."""

    key_file: Path
    ledger: Path | None  # keeps the newest sequence number accepted; made with the first; None: only the key counts

    def newest(self) -> int:
        """0: none was accepted yet, or there is no ledger.

        Raises AuthenticityError: the ledger is damaged: nobody can say what was accepted.
        """
        if self.ledger is None:
            return 0
        try:
            return fields.integer("sequence", json.loads(self.ledger.read_text())["sequence"], 1, _LARGEST)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AuthenticityError(f"ledger {self.ledger} cannot be read: {error}") from error

    def accept(self, sequence: int) -> None:
        """From now on older ones are refused; under a temporary name, then renamed."""
        if self.ledger is None or sequence <= self.newest():
            return
        temporary = self.ledger.with_name(f".{self.ledger.name}.{secrets.token_hex(4)}.tmp")
        try:
            self.ledger.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w") as file:
                file.write(json.dumps({"sequence": sequence}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.ledger)
        except OSError as error:
            raise AuthenticityError(f"ledger {self.ledger} cannot be written: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def check(self, manifest: bytes, signature: bytes | None) -> Signature:
        """The signature of a manifest, which this key made.

        Raises AuthenticityError: unsigned, signed by another key, changed since, or replayed.
        """
        if signature is None:
            raise AuthenticityError(f"it is not signed ({SIGNATURE} is missing), and a key is configured")
        key = read_key(self.key_file)
        try:
            found = Signature.from_bytes(signature)
        except ValueError as error:
            raise AuthenticityError(f"{SIGNATURE} is malformed: {error}") from error
        if found.fingerprint != fingerprint(key):
            raise AuthenticityError(f"it is signed by key {found.fingerprint!r:.40}, and the configured one is another")
        if not hmac.compare_digest(found.manifest, manifest_tag(key, found.sequence, manifest)):
            raise AuthenticityError(f"its signature is not that of {self.key_file.name}: it was changed or forged")
        if found.sequence < (newest := self.newest()):
            raise AuthenticityError(f"its sequence number {found.sequence} is older than {newest}, accepted already")
        return found


def new_key(path: Path) -> None:
    """Write a random key, readable by its owner only.

    Raises AuthenticityError: the file exists, or cannot be written.
    """
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
    except OSError as error:
        raise AuthenticityError(f"key {path} cannot be written: {error.strerror or error}") from error


def read_key(path: Path) -> bytes:
    """Raises AuthenticityError: it cannot be read, others may read it, or it is not a key. The key is never told."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise AuthenticityError(f"key {path} may be read by others: `chmod 600 {path}` keeps it yours")
        key = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise AuthenticityError(f"key {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, AuthenticityError):
            raise
        raise AuthenticityError(f"key {path} is not allowed: it must be {2 * KEY_BYTES} hexadecimal digits") from None
    if len(key) != KEY_BYTES:
        raise AuthenticityError(f"key {path} is not allowed: it must be {2 * KEY_BYTES} hexadecimal digits")
    return key


def fingerprint(key: bytes) -> str:
    """An identifier of a key that does not reveal the key."""
    return hashlib.sha256(b"kdmarl_sat key fingerprint" + key).hexdigest()[:16]


def manifest_tag(key: bytes, sequence: int, manifest: bytes) -> bytes:
    return hmac.digest(key, manifest_message(sequence, manifest), "sha256")


def manifest_message(sequence: int, manifest: bytes) -> bytes:
    """What is signed, by HMAC and by Ed25519."""
    return _MANIFEST + sequence.to_bytes(8, "little") + manifest


def table_tag(key: bytes, sequence: int, name: str, table: bytes) -> bytes:
    """As engine/kd_seal.c computes it."""
    named = name.encode()
    message = _TABLE + sequence.to_bytes(8, "little") + len(named).to_bytes(4, "little") + named + table
    return hmac.digest(key, message, "sha256")


def _tag(where: str, value: object) -> bytes:
    text = fields.text(f"{SIGNATURE} tag of {where}", value)
    try:
        tag = bytes.fromhex(text)
    except ValueError:
        tag = b""
    if len(tag) != hashlib.sha256().digest_size:
        fields.refuse(f"{SIGNATURE} tag of {where}", text, "64 hexadecimal digits")
    return tag
