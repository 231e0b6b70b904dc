"""Random numbers that anyone can obtain again from a seed: SHA-256 in counter mode."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from math import lcm

from trialkit._canonical import sha256_json


class Draws:
    """Uniform draws from ``SHA-256(seed|1)``, ``SHA-256(seed|2)``, ...: alike on every machine."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._counter = 0

    def _word(self) -> bytes:
        self._counter += 1
        return hashlib.sha256(f"{self._seed}|{self._counter}".encode()).digest()

    def below(self, n: int) -> int:
        """Return an integer from 0 to n - 1 without bias (rejection sampling)."""
        limit = (1 << 64) - (1 << 64) % n
        while True:
            value = int.from_bytes(self._word()[:8], "big")
            if value < limit:
                return value % n

    def index(self, chances: Sequence[Fraction]) -> int:
        """Return an index with exactly these chances, which add up to 1."""
        whole = lcm(*(chance.denominator for chance in chances))
        value = self.below(whole)
        for index, chance in enumerate(chances):
            value -= chance.numerator * (whole // chance.denominator)
            if value < 0:
                return index
        raise ValueError(f"the chances {list(map(str, chances))} do not add up to 1")

    def salt(self) -> str:
        """Return 128 bits as 32 hex digits."""
        return self._word()[:16].hex()

    def shuffled(self, items: list[str]) -> list[str]:
        """Return a uniform permutation (Fisher-Yates)."""
        items = list(items)
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
        return items


def site_seed(study_id: str, site: str, seed: str) -> str:
    """Return the seed of a site that draws its own lists offline, as 64 hex digits.

    It follows from the study's seed, so that the centre can draw the site's lists again, and
    tells nothing of that seed or of another site's.
    """
    return sha256_json(["site seed", study_id, site, seed])


def seed_commitment(study_id: str, arms: Sequence[str], seed: str) -> str:
    """Return the SHA-256 that binds a study to its seed, and to the order of its arms.

    The seed has 256 bits from the operating system, so that nobody can guess it; the study's
    name is the salt, so that no two studies show the same hash.
    """
    return sha256_json(["allocation seed", study_id, list(arms), seed])
