"""Keys and signatures: they hold for what was signed, and for nothing else."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trialkit.errors import IntegrityError, StorageRefused, UnknownName, UsageError
from trialkit.record import KeyStore, fingerprint, verify
from trialkit.record.kinds import Signature

DIGEST = "ab" * 32
# RFC 8032, section 7.1, TEST 1: public key of the secret key 9d61b19d...7f60
RFC_PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    store = KeyStore(tmp_path / "keys")
    store.create("ivan")
    return store


def test_key_file_is_private_and_kept(keys: KeyStore) -> None:
    path = keys.folder / "ivan.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700
    before = path.read_bytes()
    assert keys.create("ivan") == keys.fingerprint("ivan")
    assert path.read_bytes() == before
    assert keys.has("ivan")
    assert not keys.has("stan")


def test_fingerprint() -> None:
    digest = hashlib.sha256(bytes.fromhex(RFC_PUBLIC)).hexdigest()
    shown = fingerprint(RFC_PUBLIC)
    assert shown.replace(":", "") == digest[:32]
    assert [len(part) for part in shown.split(":")] == [4] * 8


def test_signature_holds_for_what_was_signed(keys: KeyStore) -> None:
    signed = keys.sign("ivan", "Ivan Ivanov", "approval", DIGEST)
    assert verify(signed, DIGEST)
    assert signed.fingerprint == keys.fingerprint("ivan")
    text = json.dumps(
        {"digest": DIGEST, "meaning": "approval", "name": "Ivan Ivanov", "signer": "ivan"},
        sort_keys=True,
        separators=(",", ":"),
    )
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed.public_key))
    key.verify(bytes.fromhex(signed.signature), text.encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("meaning", "review"),
        ("name", "Stan"),
        ("signer", "stan"),
        ("public_key", RFC_PUBLIC),
        ("fingerprint", "0000:" * 7 + "0000"),
        ("signature", "00" * 64),
        ("signature", "zz"),
    ],
)
def test_signature_cannot_be_moved(keys: KeyStore, field: str, value: str) -> None:
    signed = keys.sign("ivan", "Ivan Ivanov", "approval", DIGEST)
    moved = Signature.model_validate({**signed.model_dump(), field: value})
    assert not verify(moved, DIGEST)
    assert not verify(signed, "cd" * 32)


def test_faults(keys: KeyStore, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="stan"):
        keys.sign("stan", "Stan", "approval", DIGEST)
    with pytest.raises(UsageError):
        keys.create("../ivan")
    (keys.folder / "mona.pem").write_text("no key")
    with pytest.raises(IntegrityError):
        keys.load("mona")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageRefused, match="TRIALKIT_KEYS") as caught:
        KeyStore(tmp_path / "file").create("ivan")
    assert caught.value.exit_status == 5


def test_folder_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "there"))
    assert KeyStore().folder == tmp_path / "there"
    monkeypatch.delenv("TRIALKIT_KEYS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert KeyStore().folder == tmp_path / ".local/share/trialkit/keys"
