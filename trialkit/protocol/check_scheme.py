"""Checks of the schemes that an adaptation envelope names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trialkit._yaml import Document
from trialkit.adaptation import SCHEMES, Scheme
from trialkit.protocol.check_shared import did_you_mean
from trialkit.protocol.model import Envelope

Path = tuple[str | int, ...]


def check_schemes(
    document: Document,
    envelopes: Iterable[tuple[int, Envelope]],
    known: set[str],
    rules: Mapping[str, bool],
) -> None:
    """Add every fault of the schemes.

    Parameters
    ----------
    known : set of str
        Signs and measures that a scheme can follow.
    rules : mapping of str to bool
        Parameters of the progression, and whether they have conditions to move by.
    """
    for index, envelope in envelopes:
        at: Path = ("adaptation", index)
        if envelope.scheme is None:
            for key in ("options", "measure"):
                if getattr(envelope, key):
                    document.add(
                        (*at, key), "there is no scheme that takes it.", "Name a scheme, or remove."
                    )
            continue
        scheme = SCHEMES.get(envelope.scheme)
        if scheme is None:
            document.add(
                (*at, "scheme"),
                f"{envelope.scheme} is no known scheme.",
                did_you_mean(envelope.scheme, SCHEMES),
            )
            continue
        if envelope.parameter not in scheme.settings:
            document.add(
                (*at, "scheme"),
                f"{scheme.name} does not move {envelope.parameter}.",
                f"Use it for {', '.join(scheme.settings)}, or another scheme.",
            )
        _check_measure(document, at, scheme, envelope.measure, known)
        _check_options(document, at, scheme, envelope.options)
        if envelope.parameter not in rules:
            document.add(
                (*at, "scheme"),
                f"{envelope.parameter} has no start and no bound a session.",
                f"Add {envelope.parameter} to progression.order, without conditions.",
            )
        elif rules[envelope.parameter]:
            document.add(
                (*at, "scheme"),
                f"the conditions of progression move {envelope.parameter} as well.",
                "Remove advance_if and regress_if there: the scheme moves it.",
            )


def _check_measure(
    document: Document, at: Path, scheme: Scheme, measure: str | None, known: set[str]
) -> None:
    followed = measure or scheme.measures[0]
    where: Path = at if measure is None else (*at, "measure")
    if followed not in scheme.follows:
        document.add(
            where,
            f"{scheme.name} cannot follow {followed}.",
            did_you_mean(followed, scheme.follows),
        )
    elif document.whole("session") and followed not in known:
        document.add(
            where,
            f"nobody enters {followed} and no device measures it.",
            did_you_mean(followed, known),
        )


def _check_options(document: Document, at: Path, scheme: Scheme, given: dict[str, float]) -> None:
    for name, value in given.items():
        option = scheme.options.get(name)
        if option is None:
            document.add(
                (*at, "options", name),
                f"{scheme.name} has no option {name}.",
                did_you_mean(name, scheme.options),
            )
        elif fault := option.fault(value):
            document.add(
                (*at, "options", name), f"{name} {value:g}: {fault}", "Correct the number."
            )
    low, high = given.get("target_low"), given.get("target_high")
    if low is not None and high is not None and low >= high:
        document.add(
            (*at, "options", "target_low"),
            f"target_low {low:g} is not below target_high {high:g}.",
            "Exchange or correct them.",
        )
