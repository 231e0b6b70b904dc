"""Fixtures of the methods' tests: comparison with somebody else's numbers."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

Compare = Callable[..., float]
DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def shown() -> set[tuple[str, ...]]:
    """Return the comparisons that docs/reference/agreement.md holds."""
    spec = importlib.util.spec_from_file_location("build_agreement", DOCS / "build_agreement.py")
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    found: set[tuple[str, ...]] = builder.keys_of(builder.PAGE.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def documented() -> set[tuple[str, ...]]:
    """The comparisons of the documents; empty while the page is being made."""
    return set() if os.environ.get("TRIALKIT_AGREEMENT") else shown()


@pytest.fixture
def compare(request: pytest.FixtureRequest, documented: set[tuple[str, ...]]) -> Compare:
    """Assert agreement with an oracle, and note the largest difference for the documents.

    ``compare(method, variant, oracle, quantity, got, expected, rel=... or abs=...)``: ``method``
    is an exported name, ``variant`` says which of its variants, ``oracle`` names the other
    program, with its version, and the data, and ``quantity`` what was compared.
    ``make docs`` collects the notes into ``docs/reference/agreement.md``.
    """

    def check(
        method: str,
        variant: str,
        oracle: str,
        quantity: str,
        got: ArrayLike,
        expected: ArrayLike,
        *,
        rel: float | None = None,
        abs: float | None = None,
    ) -> float:
        if (rel is None) == (abs is None):
            raise TypeError("give one of rel and abs")
        mine = np.atleast_1d(np.asarray(got, dtype=np.float64))
        theirs = np.atleast_1d(np.asarray(expected, dtype=np.float64))
        assert mine.shape == theirs.shape, f"{quantity}: shapes {mine.shape} and {theirs.shape}"
        assert mine.size, f"{quantity}: nothing to compare"
        assert (np.isfinite(mine) == np.isfinite(theirs)).all(), f"{quantity}: {mine} {theirs}"
        odd = ~np.isfinite(theirs)
        np.testing.assert_array_equal(mine[odd], theirs[odd])
        gap = np.abs(mine[~odd] - theirs[~odd])
        if rel is not None:
            gap = np.divide(gap, np.abs(theirs[~odd]), out=gap.copy(), where=theirs[~odd] != 0)
        worst = float(gap.max(initial=0.0))
        allowed = rel if rel is not None else abs
        assert allowed is not None
        note(
            {
                "method": method,
                "variant": variant,
                "oracle": oracle,
                "quantity": quantity,
                "kind": "relative" if rel is not None else "absolute",
                "tolerance": allowed,
                "worst": worst,
                "n": int(mine.size),
                "test": request.node.nodeid.split("[")[0],
            }
        )
        key = (method, *(" ".join(word.replace("|", "/").split()) for word in (variant, oracle)))
        assert not documented or key in documented, f"run `make docs`: {key} is not in the table"
        assert worst <= allowed, (
            f"{method} ({variant}) differs from {oracle} in {quantity} by {worst:.3g}, "
            f"more than {allowed:g}:\n{mine}\n{theirs}"
        )
        return worst

    return check


def note(row: dict[str, object]) -> None:
    """Append a comparison to the file named by TRIALKIT_AGREEMENT, if any."""
    where = os.environ.get("TRIALKIT_AGREEMENT")
    if where:
        with Path(where).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
