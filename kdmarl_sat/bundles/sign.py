"""Signatures of bundles: made with the operator's key, and verified (docs/security.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from envs.files import write_whole
from onboard import table
from onboard.authentic import (
    SIGNATURE,
    AuthenticityError,
    Signature,
    Trust,
    fingerprint,
    manifest_message,
    manifest_tag,
    read_key,
    table_tag,
)
from onboard.bundle import MANIFEST, read_bundle


def _signed(folder: Path) -> str:
    return f"{folder / SIGNATURE} already exists: a copy of the bundle can be signed anew"


def sign(folder: Path, key_file: Path, sequence: int, ed25519: Path | None = None) -> Path:
    """Check a bundle whole and write its signature.json; where.

    Raises:
        onboard.bundle.BundleError: the bundle is damaged.
        AuthenticityError: a key cannot be used, or the bundle is signed already.
    """
    if not 1 <= sequence < 2**63:
        raise AuthenticityError(f"sequence={sequence} is not allowed: it must be a whole number from 1 on")
    if os.path.lexists(folder / SIGNATURE):
        raise AuthenticityError(_signed(folder))
    key, bundle = read_key(key_file), read_bundle(folder)
    manifest = (folder / MANIFEST).read_bytes()
    tables = {
        each.spec.name: table_tag(key, sequence, each.spec.name, table.dump(each.network, each.spec))
        for each in bundle.satellites
    }
    public = None if ed25519 is None else _ed25519_sign(ed25519, manifest_message(sequence, manifest))
    signature = Signature(sequence, fingerprint(key), manifest_tag(key, sequence, manifest), tables, public)
    try:
        content = (json.dumps(signature.to_dict(), indent=1) + "\n").encode()
        return write_whole(folder / SIGNATURE, content, new=True)
    except FileExistsError as error:
        raise AuthenticityError(_signed(folder)) from error


def verify(folder: Path, key_file: Path, ed25519: Path | None = None) -> int:
    """The sequence number of a bundle that the key signed, whole and unchanged.

    Raises:
        onboard.bundle.BundleError: it is damaged, or the key did not sign it.
        AuthenticityError: its Ed25519 signature is missing or not that of the public key.
    """
    bundle = read_bundle(folder, trust=Trust(key_file, None))
    assert bundle.sequence is not None
    if ed25519 is not None:
        signature = Signature.from_bytes((folder / SIGNATURE).read_bytes())
        message = manifest_message(bundle.sequence, (folder / MANIFEST).read_bytes())
        _ed25519_verify(ed25519, signature, message)
    return bundle.sequence


def _ed25519_sign(private: Path, message: bytes) -> dict[str, str]:
    load, kinds, errors = _cryptography()
    try:
        key = load.load_pem_private_key(private.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, errors.UnsupportedAlgorithm) as error:
        raise AuthenticityError(f"ed25519={private} is not a private key without password: {error}") from error
    if not isinstance(key, kinds.Ed25519PrivateKey):
        raise AuthenticityError(f"ed25519={private} is not allowed: it must be an Ed25519 key")
    return {"public_key": key.public_key().public_bytes_raw().hex(), "signature": key.sign(message).hex()}


def _ed25519_verify(public: Path, signature: Signature, message: bytes) -> None:
    load, kinds, errors = _cryptography()
    if signature.ed25519 is None:
        raise AuthenticityError("the bundle has no Ed25519 signature, and a public key is given")
    try:
        key = load.load_pem_public_key(public.read_bytes())
    except (OSError, ValueError, errors.UnsupportedAlgorithm) as error:
        raise AuthenticityError(f"ed25519={public} is not allowed: it must be a public key as PEM ({error})") from error
    if not isinstance(key, kinds.Ed25519PublicKey):
        raise AuthenticityError(f"ed25519={public} is not allowed: it must be an Ed25519 key")
    try:
        key.verify(bytes.fromhex(signature.ed25519["signature"]), message)
    except (ValueError, TypeError, errors.InvalidSignature) as error:
        raise AuthenticityError(f"the bundle's Ed25519 signature is not that of {public}") from error


def _cryptography() -> tuple[Any, Any, Any]:
    """Modules of the optional package: serialization, ed25519, exceptions.

    Raises AuthenticityError: it is not installed.
    """
    try:
        from cryptography import exceptions
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as error:
        raise AuthenticityError(
            'Ed25519 needs the package cryptography: `pip install -c constraints.txt -e ".[signing]"` installs it'
        ) from error
    return serialization, ed25519, exceptions
