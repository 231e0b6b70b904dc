"""Minimisation with a biased coin, as pure functions of a seed and of who came before.

Sources
-------
Pocock SJ, Simon R. Sequential treatment assignment with balancing for prognostic factors in
the controlled clinical trial. Biometrics 1975;31:103-115 (factors with weights, range or
variance as imbalance, a coin of probability p for the arm that balances best).

Han B, Enas NH, McEntegart D. Randomization by minimization for unbalanced treatment
allocation. Statistics in Medicine 2009;28:3329-3346 (biased-coin minimisation: counts are
divided by the allocation ratio, and each arm has its own high and low probabilities).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from typing import Literal

from trialkit._canonical import sha256_json
from trialkit.protocol.model import Minimisation, Randomisation
from trialkit.record.blocks import Place
from trialkit.record.draws import Draws

#: The name under which the allocations of a minimised trial are stored.
STRATUM = "minimisation"


@dataclass(frozen=True)
class Rule:
    """What decides a minimised allocation.

    Attributes
    ----------
    arms, ratio : sequence
        Arm codes and their shares, of the same length.
    weights : mapping of str to Fraction
        Factor to its weight; these are the factors that count.
    measure : str
        ``range`` or ``variance`` of the arms' counts divided by the ratio.
    probability : Fraction
        p: of the arm that balances best, where the arms have equal shares; with unequal
        shares, of the arm of the smallest share when it is the one.
    """

    arms: tuple[str, ...]
    ratio: tuple[int, ...]
    weights: Mapping[str, Fraction]
    measure: Literal["range", "variance"] = "range"
    probability: Fraction = Fraction(4, 5)

    @classmethod
    def of(cls, arms: Sequence[str], plan: Randomisation) -> Rule:
        """Return the rule of a protocol's randomisation; a factor without a weight has 1."""
        chosen = plan.minimisation or Minimisation()
        given = chosen.weights
        return cls(
            tuple(arms),
            tuple(plan.ratio),
            {name: exact(given.get(name, 1)) for name in plan.factors},
            chosen.measure,
            exact(chosen.probability),
        )


def exact(number: float) -> Fraction:
    """Return the fraction that the number's shortest text says: 0.8 is 4/5."""
    return Fraction(str(number))


@dataclass
class Minimiser:
    """The counts of those who came before, and what they mean for the next.

    All arithmetic is exact, so that a tie is a tie on every machine.
    """

    rule: Rule
    counts: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Scale weights and ratio to whole numbers, which changes no comparison."""
        weights = self.rule.weights
        whole = lcm(*(weight.denominator for weight in weights.values()))
        self._weights = {name: int(weight * whole) for name, weight in weights.items()}
        common = lcm(*self.rule.ratio)
        self._scale = [common // share for share in self.rule.ratio]
        self._coins = [coin(self.rule, arm) for arm in range(len(self.rule.arms))]

    def add(self, levels: Mapping[str, str], arm: str) -> None:
        """Count a participant with these factor levels in an arm."""
        index = self.rule.arms.index(arm)
        for name in self._weights:
            counts = self.counts.setdefault((name, levels[name]), [0] * len(self.rule.arms))
            counts[index] += 1

    def imbalances(self, levels: Mapping[str, str]) -> list[int]:
        """Return the total imbalance that each arm would leave, if the next one went there.

        For every factor the arms' counts at the participant's level, the participant included,
        are divided by the ratio; their range, or their variance, is weighted and added up
        (Pocock and Simon 1975, section 3; Han et al. 2009, section 2). The unit is arbitrary.
        """
        arms = range(len(self.rule.arms))
        totals = [0] * len(self.rule.arms)
        for name, weight in self._weights.items():
            counts = self.counts.get((name, levels[name])) or [0] * len(self.rule.arms)
            for arm in arms:
                shares = [(counts[k] + (k == arm)) * self._scale[k] for k in arms]
                totals[arm] += weight * self._spread(shares)
        return totals

    def _spread(self, shares: Sequence[int]) -> int:
        if self.rule.measure == "range":
            return max(shares) - min(shares)
        # K (K - 1) times the variance
        return len(shares) * sum(s * s for s in shares) - sum(shares) ** 2

    def preferred(self, levels: Mapping[str, str]) -> list[int]:
        """Return the indices of the arms that would leave the least imbalance."""
        totals = self.imbalances(levels)
        return [index for index, total in enumerate(totals) if total == min(totals)]

    def draw(self, levels: Mapping[str, str], draws: Draws) -> str:
        """Return the arm of the next participant, who is not counted yet.

        Of several arms that balance alike one is preferred at random, in the ratio; then the
        biased coin decides (`coin`).
        """
        best = self.preferred(levels)
        shares = [self.rule.ratio[index] for index in best]
        tied = best[0]
        if len(best) > 1:
            tied = best[draws.index([Fraction(share, sum(shares)) for share in shares])]
        return self.rule.arms[draws.index(self._coins[tied])]


def coin(rule: Rule, preferred: int) -> list[Fraction]:
    """Return the probability of each arm while the arm of index `preferred` balances best.

    With ratio r, R its sum and s the smallest share, another arm j has
    ``(1 - p) r_j / (R - s)``, and the preferred one the rest (Han et al. 2009, section 3).
    An arm that is preferred with probability r_i / R is then given with probability r_i / R.
    With equal shares that is p, and (1 - p) / (K - 1) for each other arm.
    """
    low = (1 - rule.probability) / (sum(rule.ratio) - min(rule.ratio))
    chances = [low * share for share in rule.ratio]
    chances[preferred] = 1 - (sum(chances) - chances[preferred])
    return chances


def allocate(minimiser: Minimiser, seed: str, number: int, levels: Mapping[str, str]) -> Place:
    """Return arm and salt of the participant who is randomised as number `number`, from 1.

    The draws are those of ``[seed, "minimisation", number]`` and nothing else, so that after
    the seed is revealed anyone obtains them again.
    """
    draws = Draws(sha256_json([seed, STRATUM, number]))
    arm = minimiser.draw(levels, draws)
    return Place(number, 1, arm, draws.salt())


def sequence(seed: str, rule: Rule, people: Iterable[Mapping[str, str]]) -> list[Place]:
    """Return the allocations of people, given by factor levels in order of randomisation."""
    minimiser = Minimiser(rule)
    places: list[Place] = []
    for number, levels in enumerate(people, 1):
        places.append(allocate(minimiser, seed, number, levels))
        minimiser.add(levels, places[-1].arm)
    return places
