"""Section 2.1 of RFC 6962, transcribed word by word and recursively; no line of it is ours.

MTH, PATH, PROOF and SUBPROOF are the functions of sections 2.1, 2.1.1 and 2.1.2 over a list of
entries ``d``; the notation ``D[k1:k2]`` of the RFC is Python's slice. See README.md.
"""

from __future__ import annotations

from hashlib import sha256


def k_of(n: int) -> int:
    """The largest power of two smaller than n (k < n <= 2k)."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    n = len(d)
    if n == 0:
        return sha256().digest()
    if n == 1:
        return sha256(b"\x00" + d[0]).digest()
    k = k_of(n)
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: list[bytes]) -> list[bytes]:
    n = len(d)
    if n == 1:
        return []
    k = k_of(n)
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def proof(m: int, d: list[bytes]) -> list[bytes]:
    return subproof(m, d, True)


def subproof(m: int, d: list[bytes], b: bool) -> list[bytes]:
    n = len(d)
    if m == n:
        return [] if b else [mth(d)]
    k = k_of(n)
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]
