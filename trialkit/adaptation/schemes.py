"""The schemes that may move a setting of a session, under one signature.

``propose(state, inputs, options) -> (new state, proposed value)``: state and inputs are flat
mappings of str to float, options too. A scheme is pure, has no clock, and never raises on finite
numbers; the session asks it between strides or bouts, holds its proposal to the envelope of the
protocol, and records inputs, proposal and outcome.

Inputs hold ``current``, the value of the setting now; without it a scheme goes on from its own
last proposal. Where a protocol names another measure than the usual one, inputs hold its value
as ``measure``. A measure that is missing or not finite leaves state and setting as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trialkit._canonical import sha256_json
from trialkit.adaptation import daily
from trialkit.adaptation.between import adaptive_support, forgetting_factor
from trialkit.errors import UnknownName, UsageError

Flat = Mapping[str, float]
Law = Callable[[Flat, Flat, Flat], tuple[dict[str, float], float]]
_BOUND = 1e6
"""Inputs and results are held within this, so that sums and products stay finite."""


@dataclass(frozen=True)
class Option:
    """One option of a scheme: its bounds, its default, and what it is.

    A `positive` one lies above its minimum; a value outside `usual` is possible and unusual.
    """

    minimum: float
    maximum: float
    default: float
    meaning: str
    positive: bool = False
    usual: tuple[float, float] | None = None

    def fault(self, value: float) -> str | None:
        """Return why the value cannot be, or None."""
        if self.positive and value <= self.minimum:
            return f"it must be above {self.minimum:g}."
        if not self.minimum <= value <= self.maximum:
            return f"it must lie between {self.minimum:g} and {self.maximum:g}."
        return None


@dataclass(frozen=True)
class Scheme:
    """A scheme of adaptation.

    Attributes
    ----------
    name : str
    version : int
        Of the formula: a new version may decide otherwise on the same inputs.
    measures : tuple of str
        Inputs that it needs beside ``current``; ``measure`` stands for the first.
    follows : tuple of str
        Measures that may stand for the first: they rise and fall with the same.
    optional : tuple of str
        Inputs that it uses where they are there.
    settings : tuple of str
        Parameters that it may move; more of each is more help.
    options : mapping of str to Option
    source : str
        Key of `trialkit.adaptation.SOURCES`.
    law : callable
        Called by `propose` with options that are complete and within bounds.
    """

    name: str
    version: int
    measures: tuple[str, ...]
    follows: tuple[str, ...]
    optional: tuple[str, ...]
    settings: tuple[str, ...]
    options: Mapping[str, Option]
    source: str
    law: Law

    def propose(self, state: Flat, inputs: Flat, options: Flat) -> tuple[dict[str, float], float]:
        """Return the new state and the proposed value of the setting.

        Parameters
        ----------
        state : mapping of str to float
            What the last call returned; empty at first.
        inputs : mapping of str to float
            ``current`` and the measures of the stride or bout that just ended.
        options : mapping of str to float
            Those that are missing have their default; values are held to their bounds.
        """
        current = _number(inputs, "current", _number(state, "proposed", 0.0))
        usual = self.measures[0]
        given = {**inputs, usual: inputs["measure"]} if "measure" in inputs else inputs
        if any(not math.isfinite(given.get(m, math.nan)) for m in self.measures):
            return {**state, "proposed": current}, current
        known = {
            name: min(max(_number(options, name, o.default), o.minimum), o.maximum)
            for name, o in self.options.items()
        }
        held = {name: _number(given, name, 0.0) for name in given}
        after, proposed = self.law(state, {**held, "current": current}, known)
        proposed = _held(proposed)
        return {**{k: _held(v) for k, v in after.items()}, "proposed": proposed}, proposed

    def resolve(self, options: Flat) -> dict[str, float]:
        """Return `options` with every default filled in.

        Raises
        ------
        UsageError
            If an option is unknown, not finite, or out of its bounds.
        """
        unknown = sorted(set(options) - set(self.options))
        if unknown:
            raise UsageError(
                f"{self.name} has no option {', '.join(unknown)}.",
                remedy=f"Use {', '.join(self.options)}.",
            )
        full = {name: float(options.get(name, o.default)) for name, o in self.options.items()}
        for name, value in full.items():
            fault = "it is no number." if value != value else self.options[name].fault(value)
            if fault is not None:
                raise UsageError(f"{self.name}: {name}={value!r}: {fault}", remedy="Correct it.")
        return full


def _held(value: float) -> float:
    return min(max(value, -_BOUND), _BOUND) if value == value else 0.0


def _number(values: Flat, name: str, default: float) -> float:
    value = float(values.get(name, default))
    return _held(value) if math.isfinite(value) else default


def _forgetting(_state: Flat, inputs: Flat, options: Flat) -> tuple[dict[str, float], float]:
    error = max(0.0, abs(inputs["tracking_error_rad"]) - options["dead_band"])
    return {}, forgetting_factor(
        inputs["current"], error, forget=options["forget"], gain=options["gain"]
    )


def _support(_state: Flat, inputs: Flat, options: Flat) -> tuple[dict[str, float], float]:
    low = min(options["target_low"], options["target_high"])
    high = max(options["target_low"], options["target_high"])
    return {}, adaptive_support(
        inputs["current"],
        inputs["lesser_load_share"],
        target_low=low,
        target_high=high,
        gain=options["gain"],
    )


def _daily(state: Flat, inputs: Flat, options: Flat) -> tuple[dict[str, float], float]:
    """Ease by the rise of the level, add by the rise of fatigue, since the last call.

    ``proposed = current - ease * (level - level before) + add * (fatigue - fatigue before)``:
    in changes, so that a value that a person set stays the one to start from.
    """
    noise = {k: options[k] for k in ("process_level", "process_slope", "process_fatigue")}
    first = daily.begin(options["process_fatigue"])
    fields = daily.DailyState._fields
    seen = all(name in state for name in fields)
    before = daily.DailyState(*(_number(state, name, 0.0) for name in fields)) if seen else first
    now = before
    if seen:
        rest = inputs.get("rest_s", options["recovery_s"])
        now = daily.predict(before, kept=daily.kept_fatigue(rest, options["recovery_s"]), **noise)
    after, _ = daily.update(now, -abs(inputs["tracking_error_rad"]), options["measurement"])
    proposed = inputs["current"]
    if seen:
        proposed -= options["ease"] * (after.level - before.level)
        proposed += options["add"] * (after.fatigue - before.fatigue)
    return after._asdict(), proposed


SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            name="forgetting_factor",
            version=1,
            measures=("tracking_error_rad",),
            follows=("tracking_error_rad", "step_asymmetry"),
            optional=(),
            settings=("guidance", "support_fraction"),
            options={
                "forget": Option(
                    *(0.0, 1.0, 0.9, "share of the support kept from call to call"),
                    usual=(0.80, 0.97),
                ),
                "gain": Option(0.0, _BOUND, 1.0, "support a rad of error", positive=True),
                "dead_band": Option(0.0, 1.0, 0.0, "error of usual variability, rad"),
            },
            source="forgetting_factor",
            law=_forgetting,
        ),
        Scheme(
            name="adaptive_support",
            version=1,
            measures=("lesser_load_share",),
            follows=("lesser_load_share",),
            optional=(),
            settings=("support_fraction",),
            options={
                "target_low": Option(
                    -_BOUND, _BOUND, 0.40, "least share of the leg that carries less"
                ),
                "target_high": Option(
                    -_BOUND, _BOUND, 0.50, "load share above which support is eased"
                ),
                "gain": Option(
                    *(0.0, _BOUND, 0.1, "fraction of body weight a unit of load share"),
                    positive=True,
                ),
            },
            source="adaptive_support",
            law=_support,
        ),
        Scheme(
            name="daily_state",
            version=1,
            measures=("tracking_error_rad",),
            follows=("tracking_error_rad", "step_asymmetry"),
            optional=("rest_s",),
            settings=("guidance", "support_fraction"),
            options={
                "process_level": Option(0.0, _BOUND, 1e-6, "variance of the level a bout, rad^2"),
                "process_slope": Option(0.0, _BOUND, 1e-8, "variance of the slope a bout, rad^2"),
                "measurement": Option(
                    *(0.0, _BOUND, 2.5e-5, "variance of a bout's error, rad^2"), positive=True
                ),
                "ease": Option(0.0, _BOUND, 3.0, "support taken away a rad of ability gained"),
                "add": Option(0.0, _BOUND, 3.0, "support added a rad of fatigue"),
                "process_fatigue": Option(0.0, _BOUND, 2.5e-5, "variance of fatigue a bout, rad^2"),
                "recovery_s": Option(1.0, _BOUND, 180.0, "rest that halves fatigue, s"),
            },
            source="daily_state",
            law=_daily,
        ),
    )
}
"""By name."""


def find_scheme(name: str) -> Scheme:
    """Return a scheme by name.

    Raises
    ------
    UnknownName
        If there is none.
    """
    if name not in SCHEMES:
        raise UnknownName(
            f"there is no scheme {name}.", remedy=f"Use one of {', '.join(sorted(SCHEMES))}."
        )
    return SCHEMES[name]


def model_hash(name: str, options: Flat) -> str:
    """Return the SHA-256 of what decides: scheme, version of its formula, and all its options.

    The library's version is no part of it, so that a patch release replays the same decisions.

    Raises
    ------
    UnknownName
        If there is no such scheme.
    UsageError
        If an option is unknown or out of bounds.
    """
    scheme = find_scheme(name)
    return sha256_json(
        {"scheme": name, "version": scheme.version, "options": scheme.resolve(options)}
    )
