"""Signed bundles: published vectors for the engine's SHA-256 and HMAC, and every way in which a bundle is refused."""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from onboard_samples import make_satellite, write_sample

from kdmarl_sat.bundles import sign
from onboard import build, table
from onboard.authentic import SIGNATURE, AuthenticityError, Trust, new_key, read_key, table_tag
from onboard.bundle import BundleError, read_bundle
from onboard.executor import Executor
from onboard.runners import BuildError
from onboard.runners.native import NativeRunner, _Seal

try:
    ENGINE = ctypes.CDLL(str(build.shared_library()))
except BuildError as error:
    pytest.skip(str(error), allow_module_level=True)


class Hash(ctypes.Structure):
    _fields_ = (("memory", ctypes.c_uint8 * 512),)  # longer than a kd_sha256 or kd_hmac


def sha256(message: bytes, piece: int = 1 << 20) -> str:
    state, digest = Hash(), ctypes.create_string_buffer(32)
    ENGINE.kd_sha256_begin(ctypes.byref(state))
    for at in range(0, len(message), piece):
        part = message[at : at + piece]
        ENGINE.kd_sha256_add(ctypes.byref(state), part, len(part))
    ENGINE.kd_sha256_end(ctypes.byref(state), digest)
    return digest.raw.hex()


def engine_hmac(key: bytes, message: bytes) -> str:
    state, tag = Hash(), ctypes.create_string_buffer(32)
    ENGINE.kd_hmac_begin(ctypes.byref(state), key, len(key))
    ENGINE.kd_hmac_add(ctypes.byref(state), message, len(message))
    ENGINE.kd_hmac_end(ctypes.byref(state), tag)
    return tag.raw.hex()


@pytest.mark.parametrize(
    ("message", "digest"),
    [  # FIPS 180-4's examples
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (b"a" * 10**6, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
)
def test_sha256_of_fips_180_4(message: bytes, digest: str) -> None:
    assert sha256(message) == digest


def test_sha256_of_every_length_and_piece_is_the_standard_library_s() -> None:
    for length in range(200):
        message = bytes(range(length))
        assert sha256(message, 1 + length % 70) == hashlib.sha256(message).hexdigest()


@pytest.mark.parametrize(
    ("key", "message", "tag"),
    [  # RFC 4231, test cases 1 to 4, 6 and 7
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (
            bytes(range(1, 26)),
            b"\xcd" * 50,
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            b"\xaa" * 131,
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
            b"hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ],
)
def test_hmac_of_rfc_4231(key: bytes, message: bytes, tag: str) -> None:
    assert engine_hmac(key, message) == tag == hmac.new(key, message, "sha256").hexdigest()


def test_tags_are_equal_in_every_bit_or_not() -> None:
    tag = hashlib.sha256(b"").digest()
    assert ENGINE.kd_equal_tags(tag, tag) == 1
    for bit in range(256):
        other = bytes(byte ^ (1 << bit % 8 if index == bit // 8 else 0) for index, byte in enumerate(tag))
        assert ENGINE.kd_equal_tags(tag, other) == 0


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def signed(tmp_path: Path, key: Path) -> Path:
    folder = tmp_path / "bundle"
    write_sample(folder)
    sign.sign(folder, key, 7)
    return folder


def native(bundle_satellite, deadline_ms):  # type: ignore[no-untyped-def]
    return NativeRunner(bundle_satellite.network, bundle_satellite.spec, bundle_satellite.seal)


def test_a_signed_bundle_flies_and_is_remembered(tmp_path: Path, key: Path, signed: Path) -> None:
    trust = Trust(key, tmp_path / "ledger")
    bundle = read_bundle(signed, trust=trust)
    assert bundle.sequence == 7 and trust.newest() == 0
    Executor(bundle, make_runner=native, trust=trust).close()
    assert trust.newest() == 7
    Executor(read_bundle(signed, trust=trust), make_runner=native, trust=trust).close()  # the same once more
    assert sign.verify(signed, key) == 7


def test_a_bundle_without_signature_flies_where_no_key_is_configured(tmp_path: Path, key: Path, signed: Path) -> None:
    Executor(read_bundle(signed)).close()
    (signed / SIGNATURE).unlink()
    Executor(read_bundle(signed)).close()
    with pytest.raises(BundleError, match=r"^key .*nosuch.key cannot be read: No such file"):
        read_bundle(signed, trust=Trust(tmp_path / "nosuch.key", None))
    with pytest.raises(BundleError, match=r"it is not signed \(signature.json is missing\), and a key is configured"):
        read_bundle(signed, trust=Trust(key, tmp_path / "ledger"))
    with pytest.raises(AuthenticityError, match="read without the key that is configured"):
        Executor(read_bundle(signed), trust=Trust(key, tmp_path / "ledger"))


@pytest.mark.requirement("EX-14")
def test_a_foreign_key_is_refused(tmp_path: Path, signed: Path) -> None:
    new_key(tmp_path / "other")
    with pytest.raises(BundleError, match=r"signed by key .* the configured one is another"):
        read_bundle(signed, trust=Trust(tmp_path / "other", tmp_path / "ledger"))
    content = json.loads((signed / SIGNATURE).read_text())  # a forger names the right key
    forged = {**content, "key": sign.fingerprint(read_key(tmp_path / "other"))}
    (signed / SIGNATURE).write_text(json.dumps(forged))
    with pytest.raises(BundleError, match="changed or forged"):
        read_bundle(signed, trust=Trust(tmp_path / "other", tmp_path / "ledger"))


@pytest.mark.requirement("EX-14")
def test_a_replayed_bundle_is_refused(tmp_path: Path, key: Path, signed: Path) -> None:
    trust = Trust(key, tmp_path / "ledger")
    old = read_bundle(signed, trust=trust)
    trust.accept(8)
    with pytest.raises(BundleError, match="sequence number 7 is older than 8"):
        read_bundle(signed, trust=trust)
    with pytest.raises(AuthenticityError, match="sequence number 7 is older than 8"):
        Executor(old, make_runner=native, trust=trust)
    content = json.loads((signed / SIGNATURE).read_text())
    (signed / SIGNATURE).write_text(json.dumps({**content, "sequence": 9}))
    with pytest.raises(BundleError, match="changed or forged"):
        read_bundle(signed, trust=trust)
    trust.accept(3)
    assert trust.newest() == 8
    (signed / SIGNATURE).write_text(json.dumps(content))
    (tmp_path / "ledger").write_text("{}")
    with pytest.raises(BundleError, match=r"ledger .* cannot be read"):
        read_bundle(signed, trust=trust)


@pytest.mark.requirement("EX-14")
def test_the_engine_refuses_what_was_not_signed(tmp_path: Path, key: Path, signed: Path) -> None:
    """Another table, name, number, key or tag, each alone; and nothing is loaded."""
    satellite = read_bundle(signed, trust=Trust(key, tmp_path / "ledger")).satellites[0]
    seal, data = satellite.seal, table.dump(satellite.network, satellite.spec)
    assert seal is not None
    NativeRunner(satellite.network, satellite.spec, seal)
    for change in (
        {"key": bytes(32)},
        {"name": seal.name + "x"},
        {"sequence": seal.sequence + 1},
        {"tag": bytes([seal.tag[0] ^ 1]) + seal.tag[1:]},
    ):
        with pytest.raises(BuildError, match="the table's signature is not the key's"):
            NativeRunner(satellite.network, satellite.spec, dataclasses.replace(seal, **change))
    other = make_satellite(satellite.spec, hidden=satellite.network.design.hidden + 1)
    assert table.dump(other.network, other.spec) != data
    with pytest.raises(BuildError, match="the table's signature is not the key's"):
        NativeRunner(other.network, other.spec, seal)


def test_the_engine_refuses_null_pointers_replays_and_bad_tables(tmp_path: Path) -> None:
    satellite = make_satellite()
    data, key = table.dump(satellite.network, satellite.spec), b"k" * 32
    words = ENGINE.kd_required_words(data, len(data))
    model = ctypes.create_string_buffer(ENGINE.kd_model_bytes())
    storage = (ctypes.c_uint32 * words)()

    def load(newest: ctypes.c_uint64 | None, content: bytes = data, **change: object) -> int:
        tag = table_tag(key, 5, "scout", content)
        given = {"key": key, "name": b"scout", "tag": tag, "key_length": 32, "name_length": 5, "sequence": 5, **change}
        place = None if newest is None else ctypes.byref(newest)
        seal = ctypes.byref(_Seal(**given))
        return int(ENGINE.kd_load_sealed(model, content, len(content), storage, words, seal, place))

    for change in ({"key": None}, {"name": None}, {"tag": None}, {"key_length": 0}):
        assert load(ctypes.c_uint64(0), **change) == -1
    assert ENGINE.kd_authenticate(None, data, len(data)) == -1
    assert ENGINE.kd_authenticate(ctypes.byref(_Seal(key, b"scout", b"", 32, 5, 5)), None, 0) == -1
    assert load(None) == -1
    newest = ctypes.c_uint64(6)
    assert load(newest) == -15 and newest.value == 6 and not any(storage)
    newest = ctypes.c_uint64(4)
    assert load(newest, data[:-4]) == -2 and newest.value == 4  # well signed, and still no table
    assert load(newest, sequence=4) == -14 and newest.value == 4
    assert load(newest) == 0 and newest.value == 5 and any(storage)
    assert load(newest) == 0  # the same once more


@pytest.mark.requirement("EX-14")
def test_the_key_is_told_nowhere(tmp_path: Path, key: Path, signed: Path) -> None:
    trust = Trust(key, tmp_path / "ledger")
    bundle = read_bundle(signed, trust=trust)
    executor = Executor(bundle, make_runner=native, trust=trust)
    executor.log.write(tmp_path / "log.jsonl")
    secret = key.read_text().strip()
    told = repr(bundle.satellites[0].seal)
    for path in [*signed.iterdir(), tmp_path / "ledger", tmp_path / "log.jsonl"]:
        assert bytes.fromhex(secret) not in path.read_bytes() and secret.encode() not in path.read_bytes()
    assert secret not in told and repr(bytes.fromhex(secret)) not in told and "sequence=7" in told


def test_a_key_must_be_a_key_and_private(tmp_path: Path, key: Path) -> None:
    assert len(read_key(key)) == 32
    with pytest.raises(AuthenticityError, match="cannot be written"):
        new_key(key)
    key.chmod(0o644)
    with pytest.raises(AuthenticityError, match="may be read by others"):
        read_key(key)
    key.chmod(0o600)
    for text in ("", "zz" * 32, "00" * 31):
        key.write_text(text)
        with pytest.raises(AuthenticityError, match="64 hexadecimal digits"):
            read_key(key)


def test_ed25519_on_the_ground(tmp_path: Path, key: Path) -> None:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    paths = []
    for name in ("mine", "other"):
        private = Ed25519PrivateKey.generate()
        encoding, none = serialization.Encoding.PEM, serialization.NoEncryption()
        secret = private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, none)
        (tmp_path / f"{name}.pem").write_bytes(secret)
        public = private.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)
        paths.append(tmp_path / f"{name}.pub")
    write_sample(tmp_path / "bundle")
    sign.sign(tmp_path / "bundle", key, 3, tmp_path / "mine.pem")
    assert sign.verify(tmp_path / "bundle", key, paths[0]) == 3
    with pytest.raises(AuthenticityError, match="Ed25519 signature is not that of"):
        sign.verify(tmp_path / "bundle", key, paths[1])
    (tmp_path / "not.pem").write_text("no PEM at all\n")
    for wrong in ("mine.pem", "not.pem", "nosuch.pub"):
        with pytest.raises(AuthenticityError, match=f"{wrong} is not allowed: it must be a public key as PEM"):
            sign.verify(tmp_path / "bundle", key, tmp_path / wrong)
    signature = tmp_path / "bundle" / SIGNATURE
    content = json.loads(signature.read_text())
    content["ed25519"]["signature"] = "no hexadecimal digits"
    signature.write_text(json.dumps(content))
    with pytest.raises(AuthenticityError, match="Ed25519 signature is not that of"):
        sign.verify(tmp_path / "bundle", key, paths[0])
