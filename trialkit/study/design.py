"""What a study is made of, whatever it came from: arms, visits, diaries, instruments.

For a trial it is taken from the shared sections of its protocols and from the instruments as
they were at creation; for an import, from the mapping. It is stored in the study as
``design.yaml`` and pinned by its hash in the first event, so that a later version of an
instrument cannot change a score.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import Field

from trialkit._yaml import Model, load_yaml, parse_model
from trialkit.errors import IntegrityError, UnknownName
from trialkit.protocol.forms import Form, find_form, forms_for
from trialkit.protocol.model import (
    Arm,
    Diary,
    Eligibility,
    Part,
    Protocol,
    Randomisation,
    SafetyReporting,
    Visit,
)

SCHEMA = "trialkit.design/1"
Named = TypeVar("Named", Arm, Diary, Visit)


class Design(Part):
    """Arms, randomisation, visits, diaries and instruments of a study."""

    schema_: Literal["trialkit.design/1"] = Field(default="trialkit.design/1", alias="schema")
    arms: list[Arm]
    randomisation: Randomisation | None = None
    eligibility: Eligibility | None = None
    visits: list[Visit] = Field(default_factory=list)
    diaries: list[Diary] = Field(default_factory=list)
    instruments: dict[str, Form] = Field(default_factory=dict)
    late_entry_days: int | None = None
    ae_reporting: SafetyReporting | None = None

    @classmethod
    def from_protocols(cls, protocols: Mapping[Path, Protocol]) -> Design:
        """Return the design that the protocols of one trial share, by their files.

        Raises
        ------
        UnknownName
            If a visit names an instrument that there is not.
        """
        path, first = next(iter(protocols.items()))
        known = forms_for(path)
        wanted = [code for visit in first.visits for code in visit.assessments]
        return cls(
            arms=first.trial.arms,
            randomisation=first.trial.randomisation,
            eligibility=first.trial.eligibility,
            visits=first.visits,
            diaries=first.diaries,
            late_entry_days=first.trial.late_entry_days,
            ae_reporting=first.trial.ae_reporting,
            instruments={code: find_form(known, code) for code in dict.fromkeys(wanted)},
        )

    def to_yaml(self) -> str:
        """Return the text of ``design.yaml``."""
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=False)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)

    @property
    def baseline_visits(self) -> list[str]:
        """Codes of the baseline visits."""
        return [visit.code for visit in self.visits if visit.baseline]

    def visit(self, code: str) -> Visit:
        """Return the visit of that code, or raise `UnknownName`."""
        return _named({visit.code: visit for visit in self.visits}, code, "visit")

    def arm(self, code: str) -> Arm:
        """Return the arm of that code, or raise `UnknownName`."""
        return _named({arm.code: arm for arm in self.arms}, code, "arm")

    def diary(self, paramcd: str) -> Diary:
        """Return the diary of that PARAMCD, or raise `UnknownName`."""
        return _named({diary.paramcd: diary for diary in self.diaries}, paramcd, "diary")

    def instrument(self, code: str) -> Form:
        """Return the instrument of that code, or raise `UnknownName`."""
        return find_form(self.instruments, code)


def read_pinned(path: Path, model: type[Model]) -> Model:
    """Read a YAML file whose hash is in the record: parsed, and not judged again.

    A later version of trialkit may find faults in what an earlier one accepted; a study that
    began stays readable.

    Raises
    ------
    IntegrityError
        If the file is not of the model.
    """
    data, lines, findings = load_yaml(path)
    read, faults = parse_model(model, data, lines) if data is not None else (None, [])
    if read is None or findings:
        raise IntegrityError(
            f"{path}: cannot be read: {[*findings, *faults][0]}",
            remedy="Read the study with the version of trialkit that wrote it.",
        )
    return read


def _named(known: Mapping[str, Named], code: str, what: str) -> Named:
    if code in known:
        return known[code]
    raise unknown_name(what, code, list(known))


def unknown_name(what: str, name: str, known: list[str]) -> UnknownName:
    """Return the error for a name that does not exist, with the nearest that does."""
    close = difflib.get_close_matches(name, known, n=1)
    some = f"Use one of {', '.join(known[:12])}." if known else "There is none yet."
    return UnknownName(f"no {what} {name}.", remedy=f"Did you mean {close[0]}?" if close else some)
