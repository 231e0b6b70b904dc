"""Concealed lists in permuted blocks of random size, as pure functions of a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trialkit._canonical import sha256_json, sha256_text
from trialkit.record.draws import Draws

LIST_LENGTH = 48


def commitment(salt: str, usubjid: str, arm: str) -> str:
    """Return the SHA-256 of ``salt|usubjid|arm``: binds the arm without telling it."""
    return sha256_text(f"{salt}|{usubjid}|{arm}")


@dataclass(frozen=True)
class Place:
    """One place of a list; `part` counts the parts in which the list was drawn, from 1."""

    place: int
    part: int
    arm: str
    salt: str


@dataclass(frozen=True)
class ListPart:
    """A part of a list as the record knows it."""

    stratum: str
    part: int
    length: int
    commitment: str


def draw_part(
    seed: str,
    stratum: str,
    part: int,
    *,
    arms: Sequence[str],
    ratio: Sequence[int],
    block_sizes: Sequence[int],
    first: int = 1,
    length: int = LIST_LENGTH,
) -> list[Place]:
    """Draw whole permuted blocks until there are at least `length` places.

    Parameters
    ----------
    seed : str
        Secret; with stratum and part it gives the list.
    arms, ratio : sequence
        Arm codes and their shares, of the same length.
    block_sizes : sequence of int
        Sizes to choose from, each a multiple of ``sum(ratio)``.
    first : int
        Number of the first place.

    Raises
    ------
    ValueError
        If a block size is no multiple of the ratio's sum.
    """
    share = sum(ratio)
    if len(arms) != len(ratio) or not block_sizes or any(size % share for size in block_sizes):
        raise ValueError(f"block sizes {list(block_sizes)} do not fit the ratio {list(ratio)}")
    draws = Draws(sha256_json([seed, stratum, part]))
    drawn: list[str] = []
    while len(drawn) < length:
        size = block_sizes[draws.below(len(block_sizes))]
        block = [arm for arm, n in zip(arms, ratio, strict=True) for _ in range(n * size // share)]
        drawn += draws.shuffled(block)
    return [Place(first + i, part, arm, draws.salt()) for i, arm in enumerate(drawn)]


def list_commitment(stratum: str, places: Sequence[Place]) -> str:
    """Return the SHA-256 that the record holds of a part of a list."""
    return sha256_json([stratum, [[p.place, p.arm, p.salt] for p in places]])
