"""Sample size and power in closed form, one pair of functions for every endpoint type.

The size is the real number of participants at which the endpoint's power function has the value
asked for, found to double precision; it is then inflated for interim looks and dropout, and
rounded up in each arm. Formulas and their sources stand with the endpoint types.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from scipy import optimize

from trialkit.errors import UsageError
from trialkit.methods.planning.clusters import Clusters
from trialkit.methods.planning.endpoint import Endpoint, between, one_of, positive
from trialkit.methods.planning.events import Proportion, Rate, TimeToEvent
from trialkit.methods.planning.means import Mean, RepeatedMeasures
from trialkit.methods.planning.ranks import Ordinal, Ranks
from trialkit.methods.planning.result import Frame, Size

ENDPOINTS: dict[str, type[Endpoint]] = {
    kind.name: kind
    for kind in (Mean, RepeatedMeasures, Proportion, Rate, TimeToEvent, Ordinal, Ranks)
}
#: More control participants than this count as unreachable.
MOST = 1e9


def sample_size(
    endpoint: str | Endpoint,
    *,
    power: float = 0.9,
    alpha: float = 0.025,
    sided: int = 1,
    allocation: float = 1.0,
    dropout: float = 0.0,
    inflation: float = 1.0,
    clusters: Clusters | dict[str, Any] | None = None,
    **assumptions: Any,
) -> Size:
    """Return the size of a trial of two arms.

    Parameters
    ----------
    endpoint : str or Endpoint
        ``mean``, ``mmrm``, ``proportion``, ``rate``, ``time_to_event``, ``ordinal`` or ``ranks``.
    power : float
        To reach.
    alpha : float
        Type I error; `sided` 1: of the one tail, 2: of both together.
    allocation : float
        Participants in treatment to those in control.
    dropout : float
        Share of the randomised who cannot be evaluated (for ``mmrm``: beyond `retention`; for
        ``time_to_event``: beyond `dropout_hazard`).
    inflation : float
        Factor for interim looks, from a group-sequential design.
    clusters : Clusters, dict of its parameters, or None
        ``{"size": 8, "icc": 0.05, "cv": 0.3, "arm": "treatment"}``.
    **assumptions
        Of the endpoint type: ``mean`` difference, sd, sd_treatment, correlation, null, test;
        ``mmrm`` difference, sd, correlation, retention, retention_control, baseline_correlation,
        visits, structure, null; ``proportion`` treatment, control, null, test; ``rate`` control,
        ratio, dispersion, exposure, null, variance; ``time_to_event`` hazard_ratio,
        median_control, hazard_control, accrual, followup, dropout_hazard, null, formula;
        ``ordinal`` control, odds_ratio; ``ranks`` probability.

    Raises
    ------
    UsageError
        For an unknown endpoint type or assumption, or a value out of its range.

    Examples
    --------
    >>> sample_size("mean", difference=0.16, sd=0.4, power=0.9).n
    266
    """
    made = make_endpoint(endpoint, assumptions)
    frame = make_frame(alpha, sided, allocation, dropout, inflation, clusters)
    between(frame.tail, 1.0, power=power)
    _whole_clusters(made, frame)
    if isinstance(made, TimeToEvent):
        return _events(made, frame, power)

    def reached(control: float) -> float:
        arms = frame.arms(control * allocation, control)
        return made.power(arms, frame.tail)

    least = max(made.fewest / (1.0 + allocation), 1e-6)
    found = _solve(reached, least, power)
    if found is None:
        return _failed(made, frame, power, f"a power of {power:g} needs more than {MOST:g} an arm")
    return _rounded(made, frame, found, power)


def power(
    endpoint: str | Endpoint,
    *,
    n: int | tuple[int, int] | None = None,
    events: float | None = None,
    alpha: float = 0.025,
    sided: int = 1,
    allocation: float = 1.0,
    dropout: float = 0.0,
    inflation: float = 1.0,
    clusters: Clusters | dict[str, Any] | None = None,
    **assumptions: Any,
) -> Size:
    """Return the power of a trial of a given size.

    Parameters
    ----------
    n : int or (treatment, control)
        Randomised participants: of each arm, or of the two.
    events : float
        Instead of n, for ``time_to_event``; `allocation` then counts.
    endpoint, alpha, sided, dropout, inflation, clusters, **assumptions
        As in :func:`sample_size`.

    Examples
    --------
    >>> round(power("mean", n=100, difference=0.16, sd=0.4).power, 3)
    0.804
    """
    made = make_endpoint(endpoint, assumptions)
    if (n is None) == (events is None):
        raise UsageError("give one of n and events.", remedy="n=100, or events=160.")
    if events is not None:
        frame = make_frame(alpha, sided, allocation, dropout, inflation, clusters)
        if not isinstance(made, TimeToEvent):
            raise UsageError(f"{made.name} is not planned by events.", remedy="Give n.")
        positive(events=events)
        _whole_clusters(made, frame)
        value = _event_power(made, frame, events / inflation)
        return Size(made, frame, None, None, math.nan, events, value, None, "power")
    assert n is not None
    treatment, control = n if isinstance(n, tuple) else (n, n)
    for value in (treatment, control):
        if isinstance(value, bool) or value != int(value) or value < 1:
            raise UsageError(f"n is {n!r}.", remedy="Give whole numbers of 1 or more.")
    frame = make_frame(alpha, sided, treatment / control, dropout, inflation, clusters)
    _whole_clusters(made, frame)
    if isinstance(made, TimeToEvent) and not made.timed:
        raise UsageError(
            "participants have no events without a control hazard.",
            remedy="Give median_control, accrual and followup, or events instead of n.",
        )
    if treatment + control < made.fewest:
        return _failed(made, frame, None, f"{treatment + control} participants are too few")
    return _sized(made, frame, int(treatment), int(control), math.nan, None)


def make_endpoint(endpoint: str | Endpoint, assumptions: dict[str, Any]) -> Endpoint:
    """Return an endpoint from its type and assumptions."""
    if isinstance(endpoint, Endpoint):
        if assumptions:
            raise UsageError(
                f"{', '.join(assumptions)} are given beside a complete endpoint.",
                remedy="Put them into the endpoint.",
            )
        return endpoint
    one_of("endpoint", endpoint, tuple(ENDPOINTS))
    kind = ENDPOINTS[endpoint]
    known = [f.name for f in fields(kind) if f.init]
    unknown = [name for name in assumptions if name not in known]
    if unknown:
        raise UsageError(
            f"{endpoint} has no assumption {', '.join(unknown)}.",
            remedy=f"Its assumptions are: {', '.join(known)}.",
        )
    try:
        return kind(**assumptions)
    except TypeError as error:
        raise UsageError(
            f"{endpoint} lacks an assumption or has one of the wrong type ({error}).",
            remedy=f"Its assumptions are: {', '.join(known)}.",
        ) from error


def _whole_clusters(made: Endpoint, frame: Frame) -> None:
    """Refuse clusters in one arm for a time to event: its events are counted over both."""
    one = frame.clusters is not None and frame.clusters.arm != "both"
    if one and isinstance(made, TimeToEvent):
        raise UsageError(
            "a time to event cannot be planned with clusters in one arm.",
            remedy="Take clusters in both arms, or inflation=.",
        )


def make_frame(
    alpha: float,
    sided: int,
    allocation: float,
    dropout: float,
    inflation: float,
    clusters: Clusters | dict[str, Any] | None,
) -> Frame:
    """Check and return what does not depend on the endpoint."""
    between(0.0, 1.0, alpha=alpha)
    if sided not in (1, 2):
        raise UsageError(f"sided is {sided!r}.", remedy="Use 1 or 2.")
    positive(allocation=allocation, inflation=inflation)
    if dropout != 0.0:
        between(0.0, 1.0, dropout=dropout)
    if isinstance(clusters, dict):
        try:
            clusters = Clusters(**clusters)
        except TypeError as error:
            raise UsageError(
                f"clusters {clusters!r} cannot be read.", remedy="Give size, icc, cv, arm."
            ) from error
    return Frame(alpha, sided, allocation, dropout, inflation, clusters)


def _solve(reached: Callable[[float], float], least: float, target: float) -> float | None:
    """Return the least size of the control arm with the power asked for."""
    low, high = math.log(least), math.log(MOST)
    if reached(MOST) < target:
        return None
    if reached(least) >= target:
        return least
    root = optimize.brentq(lambda v: reached(math.exp(v)) - target, low, high, xtol=1e-15)
    return math.exp(float(root))


def _rounded(made: Endpoint, frame: Frame, control: float, target: float) -> Size:
    grown = control * frame.inflation / (1.0 - frame.dropout)
    treatment = max(2, math.ceil(grown * frame.allocation * (1.0 - 1e-12)))
    rounded = max(2, math.ceil(grown * (1.0 - 1e-12)))
    while treatment + rounded < made.fewest:
        rounded += 1
    return _sized(made, frame, treatment, rounded, control * (1.0 + frame.allocation), target)


def _sized(
    made: Endpoint, frame: Frame, treatment: int, control: int, fixed: float, target: float | None
) -> Size:
    kept = 1.0 - frame.dropout
    return Size(
        made,
        frame,
        treatment,
        control,
        fixed,
        made.events(treatment * kept, control * kept),
        frame.power(made, treatment, control),
        target,
        "power" if target is None else "sample_size",
        notes=[*made.notes, *_notes(made, frame)],
    )


def _notes(made: Endpoint, frame: Frame) -> list[str]:
    notes = []
    if frame.clusters is not None:
        notes.append(f"design effect {frame.clusters.effect:.4g} ({frame.clusters.arm})")
        if not isinstance(made, Mean) or made.test == "z":
            notes.append("few clusters: the normal quantile makes the power look too high")
    if frame.dropout and isinstance(made, RepeatedMeasures) and len(made.retention):
        notes.append("dropout is counted beside retention")
    return notes


def _failed(made: Endpoint, frame: Frame, target: float | None, reason: str) -> Size:
    method = "power" if target is None else "sample_size"
    nothing = math.nan
    return Size(
        made, frame, None, None, nothing, None, nothing, target, method, reason, converged=False
    )


def _event_power(made: TimeToEvent, frame: Frame, events: float) -> float:
    from scipy import special

    if frame.clusters is not None:
        events /= frame.clusters.effect
    effect, null, se = made.signal_of(events, frame.allocation)
    return float(special.ndtr((effect + float(special.ndtri(frame.tail)) * null) / se))


def _events(made: TimeToEvent, frame: Frame, target: float) -> Size:
    """Solve for events, then for the participants who have them."""
    needed = _solve(lambda d: _event_power(made, frame, d), 1e-6, target)
    if needed is None:
        return _failed(
            made, frame, target, f"a power of {target:g} needs more than {MOST:g} events"
        )
    if not made.timed:
        events = needed * frame.inflation
        return Size(made, frame, None, None, math.nan, events, target, target, "sample_size")
    first, second = made.probabilities()
    per_control = frame.allocation * first + second
    if per_control * MOST < needed:
        return _failed(made, frame, target, "hardly any participant would have an event")
    return _rounded(made, frame, needed / per_control, target)
