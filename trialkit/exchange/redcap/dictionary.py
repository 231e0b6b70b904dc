"""The data dictionary: a row a field, in REDCap's 18 columns."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from trialkit.errors import Finding
from trialkit.exchange.foreign.contents import Group
from trialkit.exchange.foreign.table import Field, FieldType
from trialkit.exchange.redcap.branching import Words, branching
from trialkit.exchange.redcap.names import RECORD_ID, Names, box, choice_codes, flagged
from trialkit.protocol.forms import Item
from trialkit.protocol.forms.model import NUMERIC, choice_text

COLUMNS = (
    "Variable / Field Name",
    "Form Name",
    "Section Header",
    "Field Type",
    "Field Label",
    "Choices, Calculations, OR Slider Labels",
    "Field Note",
    "Text Validation Type OR Show Slider Number",
    "Text Validation Min",
    "Text Validation Max",
    "Identifier?",
    "Branching Logic (Show field only if...)",
    "Required Field?",
    "Custom Alignment",
    "Question Number (surveys only)",
    "Matrix Group Name",
    "Matrix Ranking?",
    "Field Annotation",
)
#: The same columns in what REDCap's API gives.
_API = (
    "field_name",
    "form_name",
    "section_header",
    "field_type",
    "field_label",
    "select_choices_or_calculations",
    "field_note",
    "text_validation_type_or_show_slider_number",
    "text_validation_min",
    "text_validation_max",
    "identifier",
    "branching_logic",
    "required_field",
    "custom_alignment",
    "question_number",
    "matrix_group_name",
    "matrix_ranking",
    "field_annotation",
)
_TYPES: dict[str, FieldType] = {
    "text": "text",
    "notes": "text",
    "dropdown": "choice",
    "radio": "choice",
    "checkbox": "choice",
    "yesno": "yes_no",
    "truefalse": "yes_no",
    "calc": "other",
    "file": "other",
    "slider": "number",
    "descriptive": "other",
    "sql": "other",
}
_YES_NO = {"1": "Yes", "0": "No"}
_UNIT = re.compile(r"Unit: (\S.*)")
Cells = dict[str, str]


def dictionary_rows(groups: list[Group], names: Names) -> list[Cells]:
    """Return the rows of the dictionary; the record id comes first, in the first form."""
    rows = [
        {
            COLUMNS[0]: RECORD_ID,
            COLUMNS[1]: names.forms[groups[0].code],
            COLUMNS[3]: "text",
            COLUMNS[4]: "Participant",
        }
    ]
    for group in groups:
        rows += [_row(group, item, names) for item in group.items]
        if group.code in names.flags:
            rows.append(_flags(group, names))
    return rows


def write_csv(columns: list[str] | tuple[str, ...], rows: list[Cells]) -> bytes:
    """Return rows as CSV in UTF-8, quoted as needed; an absent cell is empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _row(group: Group, item: Item, names: Names) -> Cells:
    row = {
        COLUMNS[0]: names.variables[group.code, item.id],
        COLUMNS[1]: names.forms[group.code],
        COLUMNS[4]: item.label or item.id,
        COLUMNS[12]: "y" if item.required else "",
        COLUMNS[6]: f"Unit: {item.unit}" if item.unit else "",
    }
    if item.when is not None:
        row[COLUMNS[11]] = branching(item.when, _words(group, names))
    if item.choices:
        row[COLUMNS[3]] = "radio" if len(item.choices) <= 6 else "dropdown"
        row[COLUMNS[5]] = _choices(item)
    elif item.type == "yes_no":
        row[COLUMNS[3]] = "yesno"
    elif item.type == "text":
        row[COLUMNS[3]] = "notes" if item.max_length > 200 else "text"
        row[COLUMNS[17]] = f"@CHARLIMIT='{item.max_length}'"
    else:
        row[COLUMNS[3]] = "text"
        row |= _validation(item)
    return row


def _choices(item: Item) -> str:
    """Return ``code, label | code, label``; a bar would begin another choice."""
    codes = choice_codes(item)
    labels = {text: item.meanings.get(text, text).replace("|", "/") for text in codes}
    return " | ".join(f"{code}, {labels[text]}" for text, code in codes.items())


def _validation(item: Item) -> Cells:
    if item.type in NUMERIC:
        whole = item.type == "integer" or item.decimals == 0
        low, high = item.minimum, item.maximum
        return {
            COLUMNS[7]: "integer" if whole else "number",
            COLUMNS[8]: "" if low is None else f"{low:.10g}",
            COLUMNS[9]: "" if high is None else f"{high:.10g}",
        }
    return {COLUMNS[7]: "date_ymd" if item.type == "date" else "time"}


def _flags(group: Group, names: Names) -> Cells:
    boxes = " | ".join(f"{code}, {label}" for code, label in flag_codes(group).items())
    return {
        COLUMNS[0]: names.flags[group.code],
        COLUMNS[1]: names.forms[group.code],
        COLUMNS[3]: "checkbox",
        COLUMNS[4]: "Outside the plausible range (by the software)",
        COLUMNS[5]: boxes,
        COLUMNS[17]: "@READONLY",
    }


def flag_codes(group: Group) -> dict[str, str]:
    """Return code and label of each box that says that an item is not plausible."""
    return {
        re.sub(r"[^a-z0-9_]", "_", item.id.lower()): (item.label or item.id).replace("|", "/")
        for item in flagged(group)
    }


def _words(group: Group, names: Names) -> Words:
    items = {item.id: item for item in group.items}

    def code(name: str, value: str | float | int) -> str:
        if items[name].type == "yes_no":
            return {"Y": "1", "N": "0"}[str(value)]
        return choice_codes(items[name]).get(choice_text(value), choice_text(value))

    return Words(lambda name: names.variables[group.code, name], code)


# --- reading -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dictionary:
    """A data dictionary: `fields` by the column that they have in the records, and `forms`.

    A checkbox gives one field a box (``variable___code``), of which 1 is ticked and 0 is not.
    Fields that hold no value (descriptive texts) give none. `findings` has every fault.
    """

    fields: dict[str, Field]
    forms: list[str]
    findings: list[Finding]


def read_dictionary(path: Path) -> Dictionary:
    """Return a data dictionary, in the columns of its download or of the API."""
    findings: list[Finding] = []

    def fault(line: int, variable: str, message: str, remedy: str) -> None:
        findings.append(Finding(f"{path.name}:{variable}", message, remedy, line))

    fields: dict[str, Field] = {}
    forms: dict[str, None] = {}
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            if tuple(header) not in (COLUMNS, _API):
                fault(1, "", "the header is not REDCap's 18 columns.", "Download it again.")
                return Dictionary(fields, [], findings)
            for cells in reader:
                if not any(cells):
                    continue
                row = dict(zip(COLUMNS, cells, strict=False))
                name, line = row[COLUMNS[0]].strip(), reader.line_num
                if len(cells) != len(COLUMNS):
                    fault(line, name, f"{len(cells)} cells, not 18.", "Mend the row.")
                elif name in seen:
                    fault(line, name, "the field is there twice.", "Keep one.")
                elif row[COLUMNS[3]] not in _TYPES:
                    known = ", ".join(_TYPES)
                    fault(line, name, f"field type {row[COLUMNS[3]]!r}.", f"Use {known}.")
                else:
                    seen.add(name)
                    fields |= _fields(row)
                    forms[row[COLUMNS[1]]] = None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fault(0, "", f"cannot be read: {error}.", "Give a CSV file in UTF-8.")
    return Dictionary(fields, list(forms), findings)


def _fields(row: Cells) -> dict[str, Field]:
    name, label = row[COLUMNS[0]].strip(), row[COLUMNS[4]]
    kind, valid = row[COLUMNS[3]], row[COLUMNS[7]]
    if kind == "descriptive":
        return {}
    codes = _codes(row[COLUMNS[5]]) if kind in ("radio", "dropdown", "checkbox") else {}
    if kind == "checkbox":
        return {
            box(name, code): Field(box(name, code), "yes_no", f"{label}: {text}", dict(_YES_NO))
            for code, text in codes.items()
        }
    found = _TYPES[kind]
    if found == "yes_no":
        codes = dict(_YES_NO)
    elif kind == "text" and valid.startswith(("integer", "number")):
        found = "number"
    elif kind == "text" and valid.startswith("date_"):
        found = "date"
    elif kind == "text" and valid == "time":
        found = "time"
    unit = _UNIT.fullmatch(row[COLUMNS[6]].strip())
    return {name: Field(name, found, label, codes, unit[1] if unit else "")}


def _codes(text: str) -> dict[str, str]:
    pairs = [part.partition(",") for part in text.split("|") if part.strip()]
    return {code.strip(): label.strip() for code, _, label in pairs}
