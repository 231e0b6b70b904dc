"""Numbers as printed: the interval of values that round to them, and the words around them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

NUMBER = r"[-+]?(?:\d+\.\d+|\.\d+|\d+)"
_RATIO = re.compile(
    rf"(?:\b(?:OR|RR|IRR|HR)\b\s*)?({NUMBER})\s*\(({NUMBER})\s*(?:-|to|,|–)\s*({NUMBER})\)"
)
_LONE = re.compile(rf"\b(?:OR|RR|IRR|HR)\b\s*({NUMBER})")
_P = re.compile(rf"(?<![a-z])(?:2?p)\s*([=<>])\s*({NUMBER})", re.IGNORECASE)
_NAMED = re.compile(rf"\b(AMD|eta2|t)\s*=?\s*({NUMBER})")
_PERCENT = re.compile(rf"({NUMBER})\s*%")


@dataclass(frozen=True)
class Printed:
    """A printed number.

    Parameters
    ----------
    value : float
        As printed.
    low, high : float
        The values that round to it; for ``p<.001`` from 0 to .001.
    """

    value: float
    low: float
    high: float

    def meets(self, low: float, high: float) -> bool:
        """Tell whether a range and the values that round to this number have one in common."""
        slack = 1e-9 * max(abs(self.value), abs(self.high - self.low))
        return low <= self.high + slack and high >= self.low - slack


def read_number(text: object, *, exact: bool = False) -> Printed | None:
    """Read the first number of a cell; its last printed digit gives the rounding.

    Parameters
    ----------
    text : object
        A text, which keeps trailing zeros, or a number.
    exact : bool
        For counts, which are not rounded.
    """
    found = re.search(NUMBER, str(text)) if text is not None else None
    if found is None:
        return None
    digits = found.group()
    value = float(digits)
    half = 0.0 if exact else 0.5 * 10.0 ** -decimals(digits)
    return Printed(value, value - half, value + half)


def decimals(digits: str) -> int:
    """Return how many digits stand behind the decimal point."""
    return len(digits.partition(".")[2])


def read_reported(text: str) -> dict[str, Printed]:
    """Read the numbers of a reported result.

    Only the part before a semicolon is read. Keys: ``estimate``, ``lower``, ``upper`` (a ratio,
    with an interval in brackets), ``p``, ``AMD`` (adjusted mean difference), ``eta2``, ``t``,
    ``percent 1``, ``percent 2``.
    """
    text = text.partition(";")[0]
    out: dict[str, Printed] = {}
    ratio = _RATIO.search(text)
    if ratio:
        for key, part in zip(("estimate", "lower", "upper"), ratio.groups(), strict=True):
            out[key] = must_read(part)
    elif lone := _LONE.search(text):
        out["estimate"] = must_read(lone.group(1))
    for name, part in _NAMED.findall(text):
        out[name] = must_read(part)
    if p := _P.search(text):
        out["p"] = _bounded(p.group(1), must_read(p.group(2)))
    for i, part in enumerate(_PERCENT.findall(text), start=1):
        out[f"percent {i}"] = must_read(part)
    return out


def must_read(part: str) -> Printed:
    """Read a text that is known to be a number."""
    found = read_number(part)
    assert found is not None
    return found


def _bounded(sign: str, p: Printed) -> Printed:
    if sign == "<":
        return Printed(p.value, 0.0, p.value)
    if sign == ">":
        return Printed(p.value, p.value, 1.0)
    return Printed(p.value, max(p.low, 0.0), min(p.high, 1.0))


def is_mean_of_integers(mean: Printed, n: int) -> bool:
    """Tell whether n whole numbers can have this printed mean.

    Source: Brown NJL, Heathers JAJ (2017), The GRIM test, Soc Psychol Personal Sci 8:363.
    """
    slack = 1e-9 * max(1.0, abs(mean.value) * n)
    return math.floor(mean.high * n + slack) >= math.ceil(mean.low * n - slack)
