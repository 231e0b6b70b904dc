"""Signatures: Ed25519 keys of people, kept outside the study, and what they sign.

A signature covers the canonical JSON of ``{digest, meaning, name, signer}``, so that neither
its meaning nor its signer can be changed and it cannot be moved to another document.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from trialkit._canonical import canonical_json, sha256_bytes, sync_folder
from trialkit.errors import IntegrityError, StorageRefused, UnknownName, UsageError
from trialkit.record.kinds import Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


def check_user(user: str) -> str:
    """Return `user` if it may name a person: letters, digits and ``_.@-``, at most 64.

    Raises
    ------
    UsageError
        If not.
    """
    if not _USER.fullmatch(user):
        raise UsageError(
            f"{user!r} cannot name a user.",
            remedy="Use letters, digits and _ . @ -, beginning with a letter or digit.",
        )
    return user


def fingerprint(public_key_hex: str) -> str:
    """Return the fingerprint of a raw public key: 32 hex digits of its SHA-256 in fours."""
    digits = sha256_bytes(bytes.fromhex(public_key_hex))[:32]
    return ":".join(digits[i : i + 4] for i in range(0, 32, 4))


def signed_text(*, digest: str, meaning: str, name: str, signer: str) -> str:
    """Return the text that a signature covers."""
    return canonical_json({"digest": digest, "meaning": meaning, "name": name, "signer": signer})


def verify(signature: Signature, digest_hex: str) -> bool:
    """Return True where `signature` is its key's signature of `digest_hex` with that meaning."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    text = signed_text(
        digest=digest_hex,
        meaning=signature.meaning,
        name=signature.name,
        signer=signature.signer,
    )
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.public_key))
        key.verify(bytes.fromhex(signature.signature), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return signature.fingerprint == fingerprint(signature.public_key)


class KeyStore:
    """A folder of private keys, one file a person, readable by its owner alone.

    Parameters
    ----------
    folder : Path or None
        None: the environment variable ``TRIALKIT_KEYS``, else
        ``~/.local/share/trialkit/keys``.
    """

    def __init__(self, folder: Path | None = None) -> None:
        default = Path.home() / ".local/share/trialkit/keys"
        self.folder = folder or Path(os.environ.get("TRIALKIT_KEYS") or default)

    def _path(self, user: str) -> Path:
        return self.folder / f"{check_user(user)}.pem"

    def create(self, user: str) -> str:
        """Create the key of `user` unless there is one, and return its fingerprint.

        Raises
        ------
        StorageRefused
            If the folder cannot be written.
        """
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        path = self._path(user)
        if path.exists():
            return self.fingerprint(user)
        text = Ed25519PrivateKey.generate().private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial.unlink(missing_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            partial.rename(path)
            sync_folder(self.folder)
        except OSError as error:
            raise StorageRefused(
                f"{self.folder}: {error.strerror}.",
                remedy="Set TRIALKIT_KEYS to a folder that you can write.",
            ) from error
        return self.fingerprint(user)

    def has(self, user: str) -> bool:
        """Return True where `user` has a key here."""
        return self._path(user).is_file()

    def load(self, user: str) -> Ed25519PrivateKey:
        """Return the private key of `user`.

        Raises
        ------
        UnknownName
            If there is none.
        IntegrityError
            If the file is no Ed25519 key.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self._path(user)
        if not path.is_file():
            raise UnknownName(
                f"no signing key of {user} in {self.folder}.",
                remedy="Set TRIALKIT_KEYS to the folder of that person's key.",
            )
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            raise IntegrityError(f"{path}: no key.", remedy="Restore it from a copy.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise IntegrityError(f"{path}: not an Ed25519 key.", remedy="Restore it from a copy.")
        return key

    def public_key(self, user: str) -> str:
        """Return the raw public key of `user` as 64 hex digits."""
        from cryptography.hazmat.primitives import serialization as form

        raw = self.load(user).public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
        return raw.hex()

    def fingerprint(self, user: str) -> str:
        """Return the fingerprint of the key of `user`."""
        return fingerprint(self.public_key(user))

    def sign(self, user: str, name: str, meaning: str, digest_hex: str) -> Signature:
        """Return the signature of `user` over `digest_hex` with a meaning (such as ``approval``).

        Parameters
        ----------
        name : str
            The printed name.
        """
        text = signed_text(digest=digest_hex, meaning=meaning, name=name, signer=user)
        public = self.public_key(user)
        return Signature(
            signer=user,
            name=name,
            meaning=meaning,
            public_key=public,
            fingerprint=fingerprint(public),
            signature=self.load(user).sign(text.encode()).hex(),
        )
