"""Requests of a site, signed by the key that the centre gave it.

The signature covers what is asked, the SHA-256 of the body, a time and a nonce. The time is the
centre's, which the site asks for first, so that no clock has to be right. A request that is sent
a second time is refused within the window, and would change nothing: each step is idempotent.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trialkit._canonical import canonical_json, sha256_bytes
from trialkit.errors import NotAuthenticated

TIME, NONCE, SIGNATURE = "x-trialkit-time", "x-trialkit-nonce", "x-trialkit-signature"
WINDOW_S = 300.0


def _text(target: str, body: bytes, time: str, nonce: str) -> bytes:
    return canonical_json(["trialkit.sync/1", target, sha256_bytes(body), time, nonce]).encode()


def sign_request(key: Ed25519PrivateKey, target: str, body: bytes, now: float) -> dict[str, str]:
    """Return the headers that sign a request.

    Parameters
    ----------
    target : str
        Site, what is asked, and its arguments, as they stand in the address.
    now : float
        The centre's time, in seconds since 1970.
    """
    time, nonce = f"{now:.3f}", secrets.token_hex(16)
    signature = key.sign(_text(target, body, time, nonce)).hex()
    return {TIME: time, NONCE: nonce, SIGNATURE: signature}


class Requests:
    """Checks signed requests, and remembers those of the window."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def check(
        self, public_key: str, target: str, body: bytes, headers: Mapping[str, str], now: float
    ) -> None:
        """Refuse a request that the key did not sign, or that was answered before.

        Raises
        ------
        NotAuthenticated
            If so, or if its time is further than the window from `now`.
        """
        time, nonce = headers.get(TIME, ""), headers.get(NONCE, "")
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
            key.verify(bytes.fromhex(headers.get(SIGNATURE, "")), _text(target, body, time, nonce))
            age = abs(now - float(time))
        except (InvalidSignature, ValueError) as error:
            raise NotAuthenticated(
                "the request is not signed by the key of the site or home device.",
                remedy="Push from the folder that the centre made for it.",
            ) from error
        self._seen = {n: t for n, t in self._seen.items() if now - t <= WINDOW_S}
        if not age <= WINDOW_S or nonce in self._seen:
            raise NotAuthenticated("the request is not of now.", remedy="Push again.")
        self._seen[nonce] = now
