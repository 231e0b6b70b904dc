"""Checks of minimisation; old protocols stay as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trialkit.protocol import check_protocol, load_protocol
from trialkit.protocol.model import Randomisation

Changed = Callable[..., Path]
BLOCKS = "    block_sizes: [4, 6]\n"
MINIMISE = """    method: minimisation
    minimisation: {{probability: {p}, measure: variance, weights: {{{w}}}}}
"""


def minimise(p: str = "0.8", w: str = "site: 2, speed_band: 0.5") -> tuple[str, str]:
    return BLOCKS, MINIMISE.format(p=p, w=w)


def test_a_minimised_protocol_is_sound(changed: Changed) -> None:
    path = changed(minimise())
    assert check_protocol(path) == []
    plan = load_protocol(path).trial.randomisation
    assert plan is not None
    assert (plan.method, plan.block_sizes) == ("minimisation", [])
    assert plan.factors == ["site", "speed_band"]
    assert plan.minimisation is not None
    assert plan.minimisation.weights == {"site": 2, "speed_band": 0.5}


def test_the_default_is_permuted_blocks(changed: Changed) -> None:
    plan = load_protocol(changed()).trial.randomisation
    assert plan is not None
    assert (plan.method, plan.minimisation) == ("permuted_blocks", None)
    assert Randomisation(ratio=[1, 1], block_sizes=[4]).method == "permuted_blocks"


@pytest.mark.parametrize(
    ("pairs", "where", "message"),
    [
        ([(BLOCKS, BLOCKS + "    method: minimisation\n")], "block_sizes", "has no blocks"),
        ([(BLOCKS, BLOCKS + "    minimisation: {}\n")], "minimisation", "do not minimise"),
        ([(BLOCKS, "")], "block_sizes", "no block size"),
        ([minimise(p="0.5")], "minimisation.probability", "no better than chance"),
        ([minimise(w="speed_bnd: 1")], "minimisation.weights.speed_bnd", "no factor"),
        ([minimise(w="site: 0")], "minimisation.weights.site", "greater than 0"),
        ([minimise(p="1.2")], "minimisation.probability", "less than or equal to 1"),
        ([minimise(), ("by_site: true", "by_site: false")], "weights.site", "no factor"),
        ([(BLOCKS, "    method: minimization\n")], "method", "possible values"),
    ],
)
def test_faults(changed: Changed, pairs: list[tuple[str, str]], where: str, message: str) -> None:
    findings = check_protocol(changed(*pairs))
    assert [f for f in findings if where in f.where and message in f.message], findings
    assert all(f.remedy and f.line for f in findings)


def test_nothing_to_minimise_over(changed: Changed) -> None:
    path = changed(minimise(w=""), ("by_site: true", "by_site: false"))
    text = path.read_text("utf-8")
    start, end = text.index("    strata:"), text.index("  dose_match:")
    path.write_text(text[:start] + text[end:], "utf-8")
    (finding,) = check_protocol(path)
    assert "no factor to minimise over" in finding.message


def test_unequal_ratio_lowers_the_chance(changed: Changed) -> None:
    """At 2:1 the smaller arm has 1 in 3 by chance, so that 0.4 is a biased coin."""
    unequal = ("ratio: [1, 1]", "ratio: [2, 1]")
    assert check_protocol(changed(minimise(p="0.4"), unequal)) == []
    assert check_protocol(changed(minimise(p="0.33"), unequal))
