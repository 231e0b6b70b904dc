"""A proposal for the settings of the next session, which a person accepts or overrides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

HARDER = {"speed_m_s": 1.0, "support_fraction": -1.0, "guidance": -1.0}
"""Settings in the order in which they advance, and the sign of a harder value."""
RULES = "next_settings/1"
"""Names the rules; other rules have another name."""
LEAST_RISE = 0.02
"""A smaller rise of step asymmetry is none: a start value."""
LEAST_MOVE = 1e-6
"""A setting that could move less is at the end of its envelope."""
TIRED_RAD = 0.02
"""Fatigue of the daily state above which nothing advances, in rad: a start value."""


class Bounds(Protocol):
    """What is needed of a setting's envelope; the envelope of a protocol has it."""

    @property
    def minimum(self) -> float:
        """Least value."""

    @property
    def maximum(self) -> float:
        """Greatest value."""

    @property
    def max_step(self) -> float:
        """Greatest change at once."""


@dataclass(frozen=True)
class SettingProposal:
    """One setting of the next session.

    Attributes
    ----------
    setting : str
    old, proposed : float
        Alike where nothing is to change.
    reason : str
        In words, with the numbers that it rests on.
    needs_person : bool
        Always True: nothing takes effect before a person accepts or overrides it.
    """

    setting: str
    old: float
    proposed: float
    reason: str
    needs_person: bool = True


def next_settings(
    settings: Mapping[str, float],
    envelopes: Mapping[str, Bounds],
    *,
    measures: Mapping[str, float],
    daily_state: Mapping[str, float] | None = None,
    load_target: float = 0.40,
    error_limit_rad: float = 0.06,
) -> list[SettingProposal]:
    """Return a proposal for each setting that has an envelope.

    At most one setting moves, by the step of its envelope, and never outside. Back where the
    last session was too much (RPE of 16 or more, two trips, step asymmetry up by more than a
    fifth and by 0.02), in the order guidance up, support up, speed down. On where the session
    was completed, RPE was 13 or less, there was no trip, and the daily state tells neither of
    fatigue nor of falling ability, in the order speed up, support down (if the paretic leg, or
    where no side is known the one that carries less, carries `load_target`), guidance down (if
    the tracking error is below `error_limit_rad`). Otherwise all stay.

    Parameters
    ----------
    settings : mapping of setting to value
        At the end of the last session; those of `HARDER` are considered.
    envelopes : mapping of setting to Bounds
        From the locked protocol; a setting without one stays and is not listed.
    measures : mapping of str to float
        Of the last session: ``rpe, trips, completed`` (0 or 1), ``step_asymmetry,
        step_asymmetry_before, paretic_load_share, lesser_load_share, tracking_error_rad``.
        Without RPE nothing advances.
    daily_state : mapping of str to float, optional
        State of the scheme ``daily_state``: ``slope`` and ``fatigue``; with ``slope_sd`` ability
        falls where the slope is below minus that.
    load_target : float
        Least load share of the paretic leg for less support.
    error_limit_rad : float
        Greatest tracking error for less guidance.

    Notes
    -----
    The rules are those proposed in the protocols of this project (order, RPE bands, at most one
    at a time); the limits are start values, for a clinician to set.
    """
    known = [s for s in HARDER if s in settings and s in envelopes]
    too_much = _too_much(measures)
    held = {s: _held_back(s, measures, load_target, error_limit_rad) for s in known}
    if too_much:
        sign, why = -1.0, too_much
        order = known[::-1]
    else:
        sign, why = 1.0, _not_ready(measures, daily_state or {})
        order = [] if why else [s for s in known if not held[s]]
    chosen = _first(order, settings, envelopes, sign)
    proposals = []
    for setting in known:
        old, bounds = settings[setting], envelopes[setting]
        if setting == chosen:
            proposed = _moved(old, bounds, sign * HARDER[setting])
            ground = why or f"RPE was {measures['rpe']:g} and there was no trip"
            reason = f"one step {'on' if sign > 0 else 'back'}: {ground}"
        else:
            proposed = min(max(old, bounds.minimum), bounds.maximum)
            reason = _stays(chosen, why, "" if too_much else held[setting])
            if proposed != old:
                reason = f"the envelope is {bounds.minimum:g} to {bounds.maximum:g}"
        proposals.append(SettingProposal(setting, old, proposed, reason))
    return proposals


def _too_much(measures: Mapping[str, float]) -> str:
    if measures.get("rpe", 0.0) >= 16:
        return f"RPE was {measures['rpe']:g}"
    if measures.get("trips", 0.0) >= 2:
        return f"there were {measures['trips']:g} trips"
    now, before = measures.get("step_asymmetry"), measures.get("step_asymmetry_before")
    if now is None or before is None:
        return ""
    if now > 1.2 * before and now - before > LEAST_RISE:
        return f"step asymmetry rose from {before:.3g} to {now:.3g}"
    return ""


def _not_ready(measures: Mapping[str, float], state: Mapping[str, float]) -> str:
    if measures.get("completed", 1.0) < 1.0:
        return "the last session was not completed"
    if "rpe" not in measures:
        return "there is no RPE"
    if measures["rpe"] > 13:
        return f"RPE was {measures['rpe']:g}"
    if measures.get("trips", 0.0) > 0:
        return "there was a trip"
    if state.get("fatigue", 0.0) > TIRED_RAD:
        return f"fatigue was {state['fatigue']:.3g} rad at the end"
    if state.get("slope", 0.0) < -state.get("slope_sd", 0.0):
        return f"ability fell by {-state['slope']:.2g} rad a bout"
    return ""


def _held_back(
    setting: str, measures: Mapping[str, float], load_target: float, error_limit_rad: float
) -> str:
    """Return why `setting` may not advance, or nothing."""
    leg = "paretic leg" if "paretic_load_share" in measures else "leg that carries less"
    load = measures.get("paretic_load_share", measures.get("lesser_load_share"))
    error = measures.get("tracking_error_rad")
    if setting == "support_fraction" and (load is None or load < load_target):
        seen = "unknown" if load is None else f"{load:.3g}"
        return f"load share of the {leg} {seen}, target {load_target:g}"
    if setting == "guidance" and (error is None or error >= error_limit_rad):
        seen = "unknown" if error is None else f"{error:.3g} rad"
        return f"tracking error {seen}, limit {error_limit_rad:g} rad"
    return ""


def _first(
    order: Iterable[str],
    settings: Mapping[str, float],
    envelopes: Mapping[str, Bounds],
    sign: float,
) -> str | None:
    """Return the first setting that can move, or None."""
    for setting in order:
        way = sign * HARDER[setting]
        old = settings[setting]
        if (_moved(old, envelopes[setting], way) - old) * way > LEAST_MOVE:
            return setting
    return None


def _moved(old: float, bounds: Bounds, sign: float) -> float:
    goal = round(old + sign * bounds.max_step, 6)
    return min(max(goal, bounds.minimum), bounds.maximum)


def _stays(chosen: str | None, why: str, held: str) -> str:
    if chosen is not None:
        return f"stays: {held or 'one setting at a time'}"
    return f"stays: {why or held or 'at the end of its envelope'}"
