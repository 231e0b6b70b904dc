"""Schemes of adaptation that a protocol may name, with their options and what these may be.

A protocol says which scheme moves a parameter inside its envelope, and with which numbers;
how a scheme computes is in the adaptive software.
"""

from __future__ import annotations

from dataclasses import dataclass

from trialkit.protocol.model import PARAMETERS, Parameter


@dataclass(frozen=True)
class Option:
    """A number of a scheme.

    It must lie above `above` (where given) and in [`minimum`, `maximum`]; outside `usual`
    there is a notice.
    """

    name: str
    minimum: float = float("-inf")
    maximum: float = float("inf")
    above: float | None = None
    usual: tuple[float, float] | None = None

    def fault(self, value: float) -> str | None:
        """Return why the value cannot be, or None."""
        if self.above is not None and value <= self.above:
            return f"{self.name} must be above {self.above:g}."
        if not self.minimum <= value <= self.maximum:
            return f"{self.name} must lie between {self.minimum:g} and {self.maximum:g}."
        return None


@dataclass(frozen=True)
class Scheme:
    """A scheme: the parameters it may move, its options, and pairs that must ascend.

    `has_measure` says that it follows a measure of the device or a prompted sign.
    """

    name: str
    parameters: tuple[Parameter, ...]
    options: tuple[Option, ...]
    has_measure: bool
    ascending: tuple[tuple[str, str], ...] = ()


_GAIN = Option("gain", above=0.0)

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "forgetting_factor",
            PARAMETERS,
            (Option("forget", above=0.0, maximum=1.0, usual=(0.80, 0.97)), _GAIN),
            has_measure=True,
        ),
        Scheme(
            "adaptive_support",
            ("support_fraction",),
            (Option("target_low"), Option("target_high"), _GAIN),
            has_measure=True,
            ascending=(("target_low", "target_high"),),
        ),
        Scheme(
            "daily_state",
            PARAMETERS,
            (
                Option("process_level", minimum=0.0),
                Option("process_slope", minimum=0.0),
                Option("measurement", above=0.0),
                Option("ease", minimum=0.0),
                Option("add", minimum=0.0),
            ),
            has_measure=False,
        ),
    )
}
