"""Checks of how a trial allocates: blocks and minimisation."""

from __future__ import annotations

import difflib
from fractions import Fraction

from trialkit._yaml import Document
from trialkit.protocol.model import Minimisation, Randomisation

_AT = ("trial", "randomisation")


def check_blocks(document: Document, plan: Randomisation) -> None:
    """Add the faults of permuted blocks, whose ratio has one number an arm."""
    total = sum(plan.ratio)
    wrong = [size for size in plan.block_sizes if size % total]
    if not plan.block_sizes:
        document.add((*_AT, "block_sizes"), "there is no block size.", f"Use [{2 * total}].")
    elif wrong:
        document.add(
            (*_AT, "block_sizes"),
            f"{', '.join(map(str, wrong))} is no multiple of the ratio's sum {total}.",
            f"Use multiples of {total}, such as [{2 * total}, {3 * total}].",
        )
    if plan.minimisation is not None:
        document.add(
            (*_AT, "minimisation"),
            "permuted blocks do not minimise.",
            "Remove it, or give method: minimisation.",
        )


def check_minimisation(document: Document, plan: Randomisation) -> None:
    """Add the faults of minimisation, whose ratio has one number an arm."""
    if plan.block_sizes:
        document.add((*_AT, "block_sizes"), "minimisation has no blocks.", "Remove block_sizes.")
    factors = plan.factors
    if not factors:
        document.add(
            _AT,
            "there is no factor to minimise over.",
            "Add strata, or by_site: true, or use permuted blocks.",
        )
    chosen = plan.minimisation or Minimisation()
    for name in chosen.weights:
        if name not in factors:
            close = difflib.get_close_matches(name, factors, n=1)
            document.add(
                (*_AT, "minimisation", "weights", name),
                f"{name} is no factor.",
                f"Did you mean {close[0]}?" if close else f"Use one of {', '.join(factors)}.",
            )
    chance = Fraction(min(plan.ratio), sum(plan.ratio))
    if Fraction(str(chosen.probability)) <= chance:
        document.add(
            (*_AT, "minimisation", "probability"),
            f"a coin of {chosen.probability:g} balances no better than chance ({chance}).",
            "Use 0.7 to 0.9.",
        )
