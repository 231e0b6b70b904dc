"""The options of an MMRM: what exists, and what goes together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trialkit.errors import UsageError
from trialkit.methods.repeated.df import DF_METHODS, KENWARD_ROGER
from trialkit.methods.repeated.empirical import SE_METHODS
from trialkit.methods.repeated.structures import STRUCTURES


@dataclass(frozen=True)
class Choices:
    """Checked options.

    Parameters
    ----------
    structures : tuple of str
        In the order in which they are tried.
    reml : bool
    df, se : str
        For the first structure.
    fallback_se : str
        For the others.
    time : tuple of str
        Columns with the coordinates of a row.
    """

    structures: tuple[str, ...]
    reml: bool
    df: str
    se: str
    fallback_se: str
    time: tuple[str, ...]

    def precision(self, turn: int) -> tuple[str, str]:
        """Return degrees of freedom and standard errors for the structure of a turn."""
        se = self.se if turn == 0 else self.fallback_se
        return ("satterthwaite" if se != "model" and self.df in KENWARD_ROGER else self.df), se

    def notes(self, turn: int) -> list[str]:
        """Say what the structure of a turn has otherwise than the first."""
        df, se = self.precision(turn)
        if turn == 0 or (df, se) == self.precision(0):
            return []
        return [f"because the first structure failed: {SE_METHODS[se]}, {DF_METHODS[df]} df"]


def check_choices(
    covariance: str | Sequence[str],
    reml: bool,
    df: str | None,
    se: str,
    fallback_se: str | None,
    time: str | Sequence[str] | None,
) -> Choices:
    """Refuse options that do not exist or do not go together."""
    structures = (covariance,) if isinstance(covariance, str) else tuple(covariance)
    columns = () if time is None else (time,) if isinstance(time, str) else tuple(time)
    check_structures(structures, columns)
    if fallback_se is not None and len(structures) == 1:
        raise UsageError(
            "fallback_se is for a structure that replaces another, and only one is given.",
            remedy="Give covariance as a list, such as ['us', 'toeph'], or use se.",
        )
    for name, value in (("se", se), ("fallback_se", fallback_se)):
        known_or_refuse(name, value, SE_METHODS)
    known_or_refuse("df", df, DF_METHODS)
    if df in KENWARD_ROGER and not reml:
        raise UsageError(
            "Kenward-Roger is defined for REML only.",
            remedy="Use reml=True, or df='satterthwaite'.",
        )
    if df in KENWARD_ROGER and se != "model":
        raise UsageError(
            f"Kenward-Roger adjusts the model-based covariance, not the empirical one ({se}).",
            remedy="Use df='satterthwaite' (or leave df out), or se='model'.",
        )
    normal = "kenward_roger_linear" if reml and se == "model" else "satterthwaite"
    return Choices(structures, reml, df or normal, se, fallback_se or se, columns)


def check_structures(structures: tuple[str, ...], time: tuple[str, ...]) -> None:
    """Refuse unknown or repeated structures, and spatial ones without their coordinates."""
    if not structures or len(set(structures)) < len(structures):
        raise UsageError(
            f"The covariance structures {list(structures)} are none, or name one twice.",
            remedy="Name each structure once, in the order in which to try them.",
        )
    for name in structures:
        if name not in STRUCTURES:
            raise UsageError(
                f"The covariance structure {name!r} is not available.",
                remedy=f"Use one of: {', '.join(STRUCTURES)}.",
            )
    spatial = [name for name in structures if STRUCTURES[name].spatial]
    if spatial and not time:
        raise UsageError(
            f"The structure {spatial[0]} needs the time of each row.",
            remedy="Name a numeric column with time=, such as the study day.",
        )
    if time and not spatial:
        raise UsageError(
            f"None of the structures {', '.join(structures)} uses time.",
            remedy="Leave time out, or use covariance='sp_exp'.",
        )


def known_or_refuse(name: str, value: str | None, known: Sequence[str] | dict[str, str]) -> None:
    """Refuse a value that does not exist."""
    if value is not None and value not in known:
        what = "degrees of freedom" if name == "df" else "standard errors"
        raise UsageError(
            f"The {what} {value!r} ({name}) are not available.",
            remedy=f"Use one of: {', '.join(known)}.",
        )
