"""A file of another system, as rows of text cells, and what its own dictionary says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trialkit.errors import Finding

FieldType = Literal["number", "choice", "yes_no", "date", "time", "text", "other"]


@dataclass(frozen=True)
class Field:
    """What the file's dictionary says of one column.

    `codes` are its possible values with their labels; `unit` is empty where none is given.
    """

    column: str
    type: FieldType
    label: str = ""
    codes: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """One row: the participant as the file names them, the event, and the cells by column.

    `instance` numbers a repetition, and is empty where nothing repeats. `where` and `line` tell a
    person where it stands.
    """

    where: str
    line: int | None
    participant: str
    event: str
    instrument: str
    instance: str
    cells: Mapping[str, str]

    @property
    def place(self) -> str:
        """The event, with ``#`` and the number of the repetition where there is one."""
        return f"{self.event}#{self.instance}" if self.instance else self.event


@dataclass
class Table:
    """A file that was read; with `findings` the rows are not to be used.

    Attributes
    ----------
    name, sha256 : str
    columns : list of str
        Columns that a mapping has to map or to ignore.
    fields : dict of str to Field
        By column; empty where there is no dictionary.
    units : list of str
        Columns that hold nothing but the unit of others.
    """

    name: str
    sha256: str
    columns: list[str] = field(default_factory=list)
    fields: dict[str, Field] = field(default_factory=dict)
    units: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def fault(self, where: str, line: int | None, message: str, remedy: str) -> None:
        """Add a finding about the file."""
        self.findings.append(Finding(where, message, remedy, line))
