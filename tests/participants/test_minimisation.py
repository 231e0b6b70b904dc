"""Minimisation against a published example, exact chances, and known sequences."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit._canonical import sha256_json
from trialkit.participants.minimisation import Minimiser, Rule, allocate, coin, exact, sequence
from trialkit.protocol.model import Minimisation, Randomisation, Stratum
from trialkit.record.draws import Draws, seed_commitment

ratios = st.lists(st.integers(1, 5), min_size=2, max_size=4)


def rule(
    *factors: str,
    ratio: tuple[int, ...] = (1, 1),
    measure: str = "range",
    p: str = "0.8",
    **weights: float,
) -> Rule:
    return Rule(
        tuple("ABCD"[: len(ratio)]),
        ratio,
        {name: exact(weights.get(name, 1)) for name in factors},
        measure,  # type: ignore[arg-type]
        Fraction(p),
    )


def with_counts(chosen: Rule, counts: dict[tuple[str, str], list[int]]) -> Minimiser:
    return Minimiser(chosen, counts)


def test_published_example() -> None:
    """Scott et al. 2002 as in PMC3503622, table 3: 4 if intervention, 2 if control."""
    counts = {
        ("baseline", "high"): [2, 2],
        ("baseline", "moderate"): [2, 3],
        ("baseline", "low"): [1, 1],
        ("covariate", "high"): [2, 3],
        ("covariate", "moderate"): [3, 1],
        ("covariate", "low"): [1, 1],
    }
    new = {"baseline": "high", "covariate": "moderate"}
    before = with_counts(rule("baseline", "covariate"), counts)
    assert before.imbalances(new) == [4, 2]
    assert before.preferred(new) == [1]


def test_variance_and_weights() -> None:
    """Variances of (3, 2), (4, 1) and of (2, 3), (3, 2): 1/2 + 9/2 and 1/2 + 1/2, here twice."""
    counts = {("a", "x"): [2, 2], ("b", "y"): [3, 1]}
    levels = {"a": "x", "b": "y"}
    assert with_counts(rule("a", "b", measure="variance"), counts).imbalances(levels) == [10, 2]
    # weights 2 and 0.5 are 4 and 1 in halves: 4 * 1 + 3, 4 * 1 + 1
    assert with_counts(rule("a", "b", a=2, b=0.5), counts).imbalances(levels) == [7, 5]


def test_unequal_ratio_divides_the_counts() -> None:
    """2:1 with (2, 1): next in A 3/2 against 1, in B 2/2 against 2; in halves of one 1 and 2."""
    before = with_counts(rule("a", ratio=(2, 1)), {("a", "x"): [2, 1]})
    assert before.imbalances({"a": "x"}) == [1, 2]


@given(ratio=ratios, tenths=st.integers(50, 100))
def test_chances_keep_the_ratio(ratio: list[int], tenths: int) -> None:
    """Han et al. 2009: preferred with r_i / R each, an arm is given with r_i / R."""
    whole = sum(ratio)
    p = max(Fraction(tenths, 100), Fraction(min(ratio), whole))
    chosen = Rule(tuple("ABCD"[: len(ratio)]), tuple(ratio), {"a": Fraction(1)}, "range", p)
    rows = [coin(chosen, preferred) for preferred in range(len(ratio))]
    for preferred, row in enumerate(rows):
        assert sum(row) == 1
        assert min(row) >= 0
        assert row[preferred] >= p
        if ratio[preferred] == min(ratio):
            assert row[preferred] == p
    for arm, share in enumerate(ratio):
        given_ = sum(Fraction(r, whole) * row[arm] for r, row in zip(ratio, rows, strict=True))
        assert given_ == Fraction(share, whole)


def test_equal_shares_are_pocock_and_simons_coin() -> None:
    assert coin(rule("a", ratio=(1, 1, 1), p="0.8"), 1) == [
        Fraction(1, 10), Fraction(4, 5), Fraction(1, 10)
    ]  # fmt: skip


@given(seed=st.text(max_size=6), pairs=st.integers(1, 15))
def test_a_sure_coin_gives_pairs(seed: str, pairs: int) -> None:
    """p = 1, range, one factor: the second of each pair is the other arm."""
    drawn = [p.arm for p in sequence(seed, rule("a", p="1"), [{"a": "x"}] * (2 * pairs))]
    for start in range(0, 2 * pairs, 2):
        assert set(drawn[start : start + 2]) == {"A", "B"}


@given(
    seed=st.text(max_size=6),
    ratio=ratios,
    people=st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("FM")), max_size=25),
    measure=st.sampled_from(["range", "variance"]),
)
def test_an_allocation_depends_on_seed_number_and_those_before(
    seed: str, ratio: list[int], people: list[tuple[str, str]], measure: str
) -> None:
    """Whoever comes later changes nothing, and each is drawn again alone."""
    chosen = rule("site", "sex", ratio=tuple(ratio), measure=measure)
    levels = [{"site": site, "sex": sex} for site, sex in people]
    places = sequence(seed, chosen, levels)
    for n in range(len(levels)):
        assert sequence(seed, chosen, levels[: n + 1]) == places[: n + 1]
        before = Minimiser(chosen)
        for person, place in zip(levels[:n], places[:n], strict=True):
            before.add(person, place.arm)
        assert allocate(before, seed, n + 1, levels[n]) == places[n]


def test_the_coin_falls_as_often_as_it_should() -> None:
    """3,000 second people, the first in A: B by 0.8; four standard errors are 0.029."""
    chosen, levels = rule("a"), {"a": "x"}
    before = with_counts(chosen, {("a", "x"): [1, 0]})
    hits = sum(allocate(before, str(s), 2, levels).arm == "B" for s in range(3000))
    assert abs(hits / 3000 - 0.8) < 0.0293


def test_ties_fall_in_the_ratio() -> None:
    """Nobody yet, p = 1 and equal imbalances by weight: 1:1 ties are even, four SE 0.037."""
    hits = Counter(
        allocate(Minimiser(rule("a", p="1")), str(s), 1, {"a": "x"}).arm for s in range(3000)
    )
    assert abs(hits["A"] / 3000 - 0.5) < 0.0366


@pytest.mark.parametrize("ratio", [(2, 1), (3, 2), (1, 2, 3)])
def test_long_run_ratio(ratio: tuple[int, ...]) -> None:
    people = [{"a": x, "b": y} for x, y in product("xy", "uvw")] * 40
    counts = Counter(p.arm for p in sequence("s", rule("a", "b", ratio=ratio), people))
    for arm, share in zip("ABCD", ratio, strict=False):
        assert abs(counts[arm] - len(people) * share / sum(ratio)) < 8


def test_rule_of_a_protocol() -> None:
    plan = Randomisation(
        method="minimisation",
        ratio=[1, 1],
        strata=[Stratum(name="sex", attribute="sex", levels=["F", "M"])],
        minimisation=Minimisation(measure="variance", probability=0.85, weights={"sex": 2.5}),
    )
    made = Rule.of(["R", "C"], plan)
    assert made.weights == {"site": 1, "sex": Fraction(5, 2)}
    assert (made.measure, made.probability) == ("variance", Fraction(17, 20))
    assert Rule.of(["R", "C"], plan.model_copy(update={"minimisation": None})).probability == (
        Fraction(4, 5)
    )


def test_draws_from_chances_are_exact() -> None:
    """A chance of 1 is certain, of 0 impossible; the index follows `below`."""
    assert {Draws(str(s)).index([Fraction(0), Fraction(1)]) for s in range(50)} == {1}
    for s in range(50):
        value = Draws(str(s)).below(10)
        thirds = [Fraction(3, 10), Fraction(1, 2), Fraction(1, 5)]
        assert Draws(str(s)).index(thirds) == (0 if value < 3 else 1 if value < 8 else 2)
    with pytest.raises(ValueError, match="add up"):
        [Draws(str(s)).index([Fraction(1, 2), Fraction(1, 4)]) for s in range(200)]


def test_commitment_binds_study_arms_and_seed() -> None:
    held = seed_commitment("S", ["A", "B"], "1")
    assert held == sha256_json(["allocation seed", "S", ["A", "B"], "1"])
    others = [("T", ["A", "B"], "1"), ("S", ["B", "A"], "1"), ("S", ["A", "B"], "2")]
    assert all(seed_commitment(*other) != held for other in others)
