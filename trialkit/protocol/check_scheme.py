"""Checks of the schemes that an adaptation envelope names."""

from __future__ import annotations

from collections.abc import Iterable

from trialkit._yaml import Document
from trialkit.protocol.check_shared import did_you_mean
from trialkit.protocol.model import Envelope
from trialkit.protocol.schemes import SCHEMES, Scheme

Path = tuple[str | int, ...]


def check_schemes(
    document: Document, envelopes: Iterable[tuple[int, Envelope]], known: set[str]
) -> None:
    """Add every fault of the schemes; `known` are the signs that a scheme can follow."""
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
        if envelope.parameter not in scheme.parameters:
            document.add(
                (*at, "scheme"),
                f"{scheme.name} does not move {envelope.parameter}.",
                f"Use it for {', '.join(scheme.parameters)}, or another scheme.",
            )
        _check_measure(document, at, scheme, envelope.measure, known)
        _check_options(document, at, scheme, envelope.options)


def _check_measure(
    document: Document, at: Path, scheme: Scheme, measure: str | None, known: set[str]
) -> None:
    if not scheme.has_measure:
        if measure is not None:
            document.add((*at, "measure"), f"{scheme.name} follows no measure.", "Remove it.")
    elif measure is None:
        document.add(at, f"{scheme.name} follows a measure.", "Add measure.")
    elif document.whole("session") and measure not in known:
        document.add(
            (*at, "measure"),
            f"nobody enters {measure} and no device measures it.",
            did_you_mean(measure, known),
        )


def _check_options(document: Document, at: Path, scheme: Scheme, given: dict[str, float]) -> None:
    options = {option.name: option for option in scheme.options}
    for name in given.keys() - options.keys():
        document.add(
            (*at, "options", name),
            f"{scheme.name} has no option {name}.",
            did_you_mean(name, options),
        )
    if missing := [name for name in options if name not in given]:
        document.add(
            (*at, "options"),
            f"{scheme.name} needs {', '.join(missing)}.",
            "Give every option a number.",
        )
    for name, option in options.items():
        if name in given and (fault := option.fault(given[name])):
            document.add((*at, "options", name), f"{given[name]:g}: {fault}", "Correct the number.")
    for low, high in scheme.ascending:
        if low in given and high in given and given[low] >= given[high]:
            document.add(
                (*at, "options", low),
                f"{low} {given[low]:g} is not below {high} {given[high]:g}.",
                "Exchange or correct them.",
            )
