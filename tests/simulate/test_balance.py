"""Balance and predictability against exact results."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.protocol.model import Minimisation, Randomisation, Stratum
from trialkit.simulate.balance import (
    Spread,
    blocks_guessed,
    guess,
    imbalance,
    simulate_balance,
)

TWO = ("R", "C")
SEX = Stratum(name="sex", attribute="sex", levels=["F", "M"])


def blocks(*sizes: int, by_site: bool = False) -> Randomisation:
    return Randomisation(ratio=[1, 1], block_sizes=list(sizes), by_site=by_site)


def minimising(probability: float, *strata: Stratum, by_site: bool = False) -> Randomisation:
    return Randomisation(
        method="minimisation",
        ratio=[1, 1],
        by_site=by_site,
        strata=list(strata),
        minimisation=Minimisation(probability=probability),
    )


def right_in(order: tuple[int, ...]) -> Fraction:
    """Right guesses of one sequence of two equal arms, by the definition."""
    seen, right = [0, 0], Fraction(0)
    for arm in order:
        fewest = [i for i in (0, 1) if seen[i] == min(seen)]
        right += Fraction(arm in fewest, len(fewest))
        seen[arm] += 1
    return right


@pytest.mark.parametrize("half", [1, 2, 3])
def test_the_formula_of_blackwell_and_hodges(half: int) -> None:
    """Every order of a block counted: 3/2, 17/6 and 41/10 for blocks of 2, 4 and 6."""
    orders = set(permutations([0] * half + [1] * half))
    mean = sum(right_in(order) for order in orders) / len(orders)
    assert mean == {1: Fraction(3, 2), 2: Fraction(17, 6), 3: Fraction(41, 10)}[half]
    assert blocks_guessed(half) == pytest.approx(float(mean), rel=1e-15)


@pytest.mark.parametrize("half", [1, 2, 3])
def test_fixed_blocks_are_guessed_as_often_as_the_formula_says(half: int) -> None:
    made = simulate_balance(TWO, blocks(2 * half), participants=24, trials=100, seed=half)
    exact = blocks_guessed(half) / (2 * half)
    for view in ("stratum", "site", "trial"):
        assert made.scheme.guessed[view] == pytest.approx(
            exact, abs=4 * made.scheme.guessed_se[view] + 1e-12
        )
    assert made.scheme.overall.largest == 0  # whole blocks
    assert made.scheme.running.largest == half


def test_complete_randomisation_is_guessed_half_of_the_time() -> None:
    made = simulate_balance(TWO, blocks(4), participants=100, trials=50)
    for view in ("stratum", "site", "trial"):
        rate, se = made.complete.guessed[view], made.complete.guessed_se[view]
        assert abs(rate - 0.5) < 4 * se
        assert se == pytest.approx(0.05 / sqrt(50), rel=0.4)


def test_a_sure_coin_and_one_factor_are_blocks_of_two() -> None:
    """p = 1, range, one level: the second of each pair is the other arm, so 3/4 are guessed."""
    made = simulate_balance(TWO, minimising(1, by_site=True), participants=40, trials=100)
    assert made.scheme.guessed["trial"] == 0.75
    assert made.scheme.guessed_se["trial"] == 0.0
    assert made.scheme.running.largest == 1
    assert made.scheme.overall.largest == 0


def biased_coin(p: float, n: int) -> float:
    """Right guesses of Efron's biased coin after n people, by its Markov chain of |D|."""
    chance, right = {0: 1.0}, 0.0
    for _ in range(n):
        following: dict[int, float] = {}
        for d, weight in chance.items():
            right += weight * (0.5 if d == 0 else p)
            for to, q in ((d + 1, 1.0 if d == 0 else 1 - p), (d - 1, 0.0 if d == 0 else p)):
                following[to] = following.get(to, 0.0) + weight * q
        chance = {d: weight for d, weight in following.items() if weight > 1e-14}
    return right / n


@pytest.mark.parametrize("p", [0.6, 0.8, 0.95])
def test_one_factor_is_efrons_coin(p: float) -> None:
    made = simulate_balance(TWO, minimising(p, by_site=True), participants=50, trials=100, seed=3)
    rate, se = made.scheme.guessed["trial"], made.scheme.guessed_se["trial"]
    assert abs(rate - biased_coin(p, 50)) < 4 * se
    # far out the chain is at 0 with probability (2p - 1) / 2p
    limit = (2 * p - 1) / (4 * p) + p * (1 - (2 * p - 1) / (2 * p))
    assert biased_coin(p, 1000) == pytest.approx(limit, abs=4e-3)


def test_minimisation_balances_margins_better_than_many_strata() -> None:
    strata = [SEX, Stratum(name="side", attribute="side", levels=["left", "right"])]
    stratified = Randomisation(ratio=[1, 1], block_sizes=[4, 6], strata=strata)
    wide = {"participants": 60, "sites": 6, "trials": 25, "seed": 2}
    by_blocks = simulate_balance(TWO, stratified, **wide)
    by_minimising = simulate_balance(TWO, minimising(0.8, *strata, by_site=True), **wide)
    assert by_blocks.strata == by_minimising.strata == 24
    assert by_minimising.scheme.overall.mean < by_blocks.scheme.overall.mean
    assert by_minimising.scheme.margin.mean < by_blocks.scheme.margin.mean
    assert by_blocks.scheme.margin.mean < by_blocks.complete.margin.mean
    assert by_blocks.scheme.stratum.mean < by_minimising.scheme.stratum.mean


def test_the_same_seed_gives_the_same_numbers() -> None:
    plan = minimising(0.8, SEX, by_site=True)
    made = [simulate_balance(TWO, plan, participants=20, sites=2, trials=5, seed=s)
            for s in (1, 1, 2)]  # fmt: skip
    assert made[0] == made[1]
    assert made[0].scheme != made[2].scheme
    assert "guessed right, knowing the stratum" in str(made[0])


def test_unequal_shares() -> None:
    """2:1 in blocks of 3: the large arm is guessed until it is ahead; all orders counted."""
    plan = Randomisation(ratio=[2, 1], block_sizes=[3], by_site=False)
    made = simulate_balance(TWO, plan, participants=30, trials=100, seed=5)
    # RRC: R, then C is guessed twice: 2 right of 3; RCR: 3; CRR: C missed, then R twice: 2
    exact = Fraction(2 + 3 + 2, 9)
    assert abs(made.scheme.guessed["trial"] - exact) < 4 * made.scheme.guessed_se["trial"]
    assert made.scheme.overall.largest == 0


@given(
    ratio=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    counts=st.lists(st.integers(0, 9), min_size=4, max_size=4),
)
def test_the_guess_is_the_arm_with_fewest(ratio: list[int], counts: list[int]) -> None:
    counts = counts[: len(ratio)]
    shares = [Fraction(n, r) for n, r in zip(counts, ratio, strict=True)]
    guesses = guess(counts, ratio)
    assert guesses
    assert all(shares[i] == min(shares) for i in guesses)
    assert len({ratio[i] for i in guesses}) == 1
    spread = imbalance(counts, ratio)
    assert spread == pytest.approx(float(max(shares) - min(shares)) * min(ratio))


def test_spread() -> None:
    spread = Spread.of([0, 0, 2, 4])
    assert (spread.mean, spread.p95, spread.largest) == (1.5, 4, 4)
    assert spread.distribution == {"0": 0.5, "2": 0.25, "4": 0.25}


def test_calls_that_are_wrong() -> None:
    with pytest.raises(UsageError, match="positive"):
        simulate_balance(TWO, blocks(4), participants=0)
    with pytest.raises(UsageError, match="ratio"):
        simulate_balance(("R", "C", "D"), blocks(4), participants=4)
