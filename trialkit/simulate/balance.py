"""How well a randomisation balances, and how often a guesser is right: by simulation.

The trials are allocated by the code that allocates participants. Everybody's site and strata
levels are drawn independently and uniformly.

Guessing is the convergence strategy: the arm of which there are fewest so far, in relation to
the ratio; of several, the one with the largest share, and of several of these one at random.
For two equal arms that is the strategy of Blackwell D, Hodges JL. Design for the control of
selection bias. Annals of Mathematical Statistics 1957;28:449-460.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from math import comb, lcm, sqrt
from typing import Any

from trialkit._canonical import sha256_json
from trialkit.errors import UsageError
from trialkit.participants.minimisation import Minimiser, Rule, allocate
from trialkit.participants.randomisation import stratum_text
from trialkit.protocol.model import Randomisation
from trialkit.record.blocks import draw_part
from trialkit.record.draws import Draws

Levels = Mapping[str, str]
Allocate = Callable[[Levels], str]
VIEWS = ("stratum", "site", "trial")


def blocks_guessed(half: int) -> float:
    """Return how many of a block of 2 `half` places the convergence strategy guesses right.

    ``b + (4^b / C(2b, b) - 1) / 2`` for two equal arms (Blackwell and Hodges 1957).
    """
    orders = float(comb(2 * half, half))
    return half + (float(4**half) / orders - 1) / 2


@dataclass(frozen=True)
class Spread:
    """Mean, 95th percentile and maximum over the trials of an imbalance, in participants.

    The imbalance is the range of the arms' counts divided by the ratio, times the smallest
    share: for two equal arms the difference of their numbers.
    """

    mean: float
    p95: float
    largest: float
    distribution: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one value a trial."""
        ordered = sorted(values)
        counts = Counter(f"{value:g}" for value in ordered)
        shares = {name: n / len(ordered) for name, n in counts.items()}
        place = -(-95 * len(ordered) // 100) - 1
        return cls(sum(ordered) / len(ordered), ordered[place], ordered[-1], shares)


@dataclass(frozen=True)
class Behaviour:
    """What one way to allocate does.

    ``overall`` and ``margin`` and ``stratum`` are imbalances at the end of a trial: of the whole,
    of the worst level of a factor, of the worst combination of site and strata. ``running`` is
    the worst imbalance of the whole at any time. ``guessed`` is the share of right guesses of
    somebody who knows the arms of the stratum, of the site, or of the whole trial so far, and
    ``guessed_se`` its Monte Carlo standard error.
    """

    overall: Spread
    margin: Spread
    stratum: Spread
    running: Spread
    guessed: dict[str, float]
    guessed_se: dict[str, float]


@dataclass(frozen=True)
class Balance:
    """What `simulate_balance` returns: the scheme, and complete randomisation beside it."""

    method: str
    participants: int
    sites: int
    strata: int
    trials: int
    seed: int
    scheme: Behaviour
    complete: Behaviour

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield label, text of the scheme and text of complete randomisation."""
        for name, label in (
            ("overall", "whole trial, at the end"),
            ("running", "whole trial, at any time"),
            ("margin", "worst level of a factor"),
            ("stratum", "worst stratum"),
        ):
            two = [getattr(behaviour, name) for behaviour in (self.scheme, self.complete)]
            texts = [f"{s.mean:.2f}  {s.p95:g}  {s.largest:g}" for s in two]
            yield f"imbalance, {label}", texts[0], texts[1]
        for view in VIEWS:
            two = [(b.guessed[view], b.guessed_se[view]) for b in (self.scheme, self.complete)]
            texts = [f"{rate:.4f} ({se:.4f})" for rate, se in two]
            yield f"guessed right, knowing the {view}", texts[0], texts[1]

    def __str__(self) -> str:
        """Return the table."""
        head = (
            f"{self.trials} trials of {self.participants} participants at {self.sites} sites, "
            f"{self.strata} strata; seed {self.seed}\n"
            "imbalance in participants: mean, 95th percentile, maximum; guesses: share (SE)\n"
        )
        method = self.method.replace("_", " ")
        table = [("", method, "complete randomisation"), *self.rows()]
        return head + "\n".join(f"{a:<38}{b:<24}{c}".rstrip() for a, b, c in table)


def simulate_balance(
    arms: Sequence[str],
    plan: Randomisation,
    *,
    participants: int,
    sites: int = 1,
    trials: int = 1000,
    seed: int | str = 1,
) -> Balance:
    """Simulate trials and report balance and predictability.

    Parameters
    ----------
    arms : sequence of str
        Arm codes in the order of the ratio.
    plan : Randomisation
        Of a protocol that was checked.
    participants, sites, trials : int
        Randomised in each trial; sites; trials.
    seed : int or str
        With it the result is the same everywhere.

    Raises
    ------
    UsageError
        If a number is not positive, or the ratio does not fit the arms.
    """
    if min(participants, sites, trials) < 1:
        raise UsageError("a number is not positive.", remedy="Give 1 or more of each.")
    if len(plan.ratio) != len(arms):
        raise UsageError("the ratio does not fit the arms.", remedy="Give one number an arm.")
    choices = {"site": [f"{n:02d}" for n in range(1, sites + 1)]}
    choices |= {s.name: list(s.levels) or ["all"] for s in plan.strata}
    made: dict[str, list[_Trial]] = {"scheme": [], "complete": []}
    for number in range(trials):
        people = list(_people(choices, participants, Draws(sha256_json([seed, number, "people"]))))
        secret = sha256_json([seed, number])
        for name, take in (
            ("scheme", _allocator(arms, plan, secret)),
            ("complete", _coin(arms, plan.ratio, secret)),
        ):
            made[name].append(_run(arms, plan, people, take))
    factors = [choices[name] for name in plan.factors]
    strata = 1
    for levels in factors:
        strata *= len(levels)
    return Balance(
        plan.method,
        participants,
        sites,
        strata,
        trials,
        seed if isinstance(seed, int) else 0,
        _behaviour(made["scheme"], participants),
        _behaviour(made["complete"], participants),
    )


def _people(choices: Mapping[str, list[str]], n: int, draws: Draws) -> Iterator[dict[str, str]]:
    for _ in range(n):
        yield {name: levels[draws.below(len(levels))] for name, levels in choices.items()}


def _allocator(arms: Sequence[str], plan: Randomisation, seed: str) -> Allocate:
    """Return what allocates the next person of one trial."""
    if plan.method == "minimisation":
        minimiser, number = Minimiser(Rule.of(arms, plan)), 0

        def minimise(levels: Levels) -> str:
            nonlocal number
            number += 1
            arm = allocate(minimiser, seed, number, levels).arm
            minimiser.add(levels, arm)
            return arm

        return minimise
    lists: dict[str, list[str]] = {}
    parts: Counter[str] = Counter()

    def take(levels: Levels) -> str:
        stratum = stratum_text({name: levels[name] for name in plan.factors})
        if not lists.get(stratum):
            parts[stratum] += 1
            places = draw_part(
                seed,
                stratum,
                parts[stratum],
                arms=arms,
                ratio=plan.ratio,
                block_sizes=plan.block_sizes,
                length=1,
            )
            lists[stratum] = [place.arm for place in reversed(places)]
        return lists[stratum].pop()

    return take


def _coin(arms: Sequence[str], ratio: Sequence[int], seed: str) -> Allocate:
    draws = Draws(sha256_json([seed, "complete"]))
    chances = [Fraction(share, sum(ratio)) for share in ratio]
    return lambda _: arms[draws.index(chances)]


@dataclass(frozen=True)
class _Trial:
    overall: float
    margin: float
    stratum: float
    running: float
    right: dict[str, float]


def _run(
    arms: Sequence[str], plan: Randomisation, people: Sequence[Levels], take: Allocate
) -> _Trial:
    """Allocate everybody of one trial; count imbalances and right guesses on the way."""
    places = {arm: index for index, arm in enumerate(arms)}
    counts: dict[tuple[str, str], list[int]] = {}
    right = dict.fromkeys(VIEWS, 0.0)
    running = 0.0
    for levels in people:
        stratum = stratum_text({name: levels[name] for name in plan.factors})
        keys = {"stratum": ("stratum", stratum), "site": ("site", levels["site"])}
        keys |= {"trial": ("trial", "")} | {f: (f, levels[f]) for f in plan.factors}
        arm = places[take(levels)]
        for view in VIEWS:
            guesses = guess(counts.get(keys[view], [0] * len(arms)), plan.ratio)
            right[view] += (arm in guesses) / len(guesses)
        for key in keys.values():
            counts.setdefault(key, [0] * len(arms))[arm] += 1
        running = max(running, imbalance(counts["trial", ""], plan.ratio))

    def worst(names: Sequence[str]) -> float:
        return max(
            (imbalance(held, plan.ratio) for (name, _), held in counts.items() if name in names),
            default=0.0,
        )

    return _Trial(
        worst(["trial"]), worst(plan.factors or ["trial"]), worst(["stratum"]), running, right
    )


def guess(counts: Sequence[int], ratio: Sequence[int]) -> list[int]:
    """Return the arms that the convergence strategy guesses, each as likely as the others."""
    common = lcm(*ratio)
    shares = [n * (common // r) for n, r in zip(counts, ratio, strict=True)]
    least = min(shares)
    fewest = [i for i, share in enumerate(shares) if share == least]
    share = max(ratio[i] for i in fewest)
    return [i for i in fewest if ratio[i] == share]


def imbalance(counts: Sequence[int], ratio: Sequence[int]) -> float:
    """Return the range of counts divided by the ratio, times the smallest share."""
    shares = [n * min(ratio) / r for n, r in zip(counts, ratio, strict=True)]
    return max(shares) - min(shares)


def _behaviour(trials: Sequence[_Trial], participants: int) -> Behaviour:
    guessed, errors = {}, {}
    for view in VIEWS:
        rates = [trial.right[view] / participants for trial in trials]
        mean = sum(rates) / len(rates)
        squares = sum((rate - mean) ** 2 for rate in rates)
        guessed[view] = mean
        errors[view] = sqrt(squares / max(1, len(rates) - 1) / len(rates))
    return Behaviour(
        Spread.of([trial.overall for trial in trials]),
        Spread.of([trial.margin for trial in trials]),
        Spread.of([trial.stratum for trial in trials]),
        Spread.of([trial.running for trial in trials]),
        guessed,
        errors,
    )
