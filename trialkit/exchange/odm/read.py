"""ODM 2.0 in: a stream of elements, read without a document type and without entities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.parsers import expat

from trialkit._canonical import sha256_file
from trialkit.exchange.foreign.table import Field, FieldType, Row, Table
from trialkit.exchange.odm.xml import NAMESPACE

_TYPES: dict[str, FieldType] = {
    "integer": "number",
    "decimal": "number",
    "float": "number",
    "double": "number",
    "date": "date",
    "partialDate": "date",
    "time": "time",
    "partialTime": "time",
    "boolean": "yes_no",
}
_DEPTH = 200
Attributes = Mapping[str, str]
Key = tuple[str, str, str, str]


class _Stop(Exception):
    """Ends the reading of a file that is not read further."""


def read_odm(path: Path) -> Table:
    """Return the values of an ODM 2.0 file as they stand after all its transactions.

    Items are columns (by ItemOID), participants SubjectKeys, events StudyEventOIDs, and a
    repetition is an ItemGroupRepeatKey, or a StudyEventRepeatKey where the group has none. A group
    inside a group belongs to the outer one unless it repeats. A file with a document type is
    refused: entities are never expanded.

    Returns
    -------
    Table
        Its dictionary is the file's own MetaDataVersion.
    """
    table = Table(path.name, "")
    reader = _Reader(table)
    try:
        table.sha256 = sha256_file(path)
        with path.open("rb") as stream:
            reader.parser.ParseFile(stream)
    except _Stop:
        pass
    except (OSError, expat.ExpatError, LookupError) as error:
        line = getattr(error, "lineno", None)
        table.fault(path.name, line, f"cannot be read: {error}.", "Give an ODM 2.0 file.")
    if not table.findings:
        reader.finish()
        if not table.rows:
            table.fault(path.name, None, "the file has no values.", "Export them again.")
    return table


class _Reader:
    """Takes elements as they come, and makes fields and rows of them."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._stack: list[tuple[str, Attributes]] = []
        self._text: list[str] = []
        self._values: dict[Key, dict[str, str]] = {}
        self._lines: dict[Key, int] = {}
        self._items: dict[str, dict[str, str]] = {}
        self._lists: dict[str, dict[str, str]] = {}
        self._units: dict[str, str] = {}
        self._fixed: dict[str, str] = {}
        self._given: list[str] = []
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append

    def _fault(self, message: str, remedy: str, *, stop: bool = False) -> None:
        self._table.fault(self._table.name, self.parser.CurrentLineNumber, message, remedy)
        if stop:
            raise _Stop

    def _doctype(self, *_: object) -> None:
        self._fault("it has a document type.", "Write it without <!DOCTYPE>.", stop=True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if not self._stack and name != f"{NAMESPACE} ODM":
            self._fault(f"the file begins with {name}.", "Give an ODM 2.0 file.", stop=True)
        if len(self._stack) >= _DEPTH:
            self._fault("elements are nested too deeply.", "Give an ODM 2.0 file.", stop=True)
        self._stack.append((local if space == NAMESPACE else "", attributes))
        self._text.clear()
        if local == "ItemRef":
            oid = attributes.get("ItemOID", "")
            if "UnitsItemOID" in attributes:
                self._units[oid] = attributes["UnitsItemOID"]
            if "PreSpecifiedValue" in attributes:
                self._fixed[oid] = attributes["PreSpecifiedValue"]
        elif local == "ItemDef":
            oid = attributes.get("OID", "")
            self._items[oid] = {
                "type": attributes.get("DataType", ""),
                "label": attributes.get("Name", ""),
            }
        elif local == "CodeListRef" and self._stack[-2][0] == "ItemDef":
            self._items[self._stack[-2][1].get("OID", "")]["codes"] = attributes.get(
                "CodeListOID", ""
            )
        elif local == "ItemGroupData" and attributes.get("TransactionType") == "Remove":
            self._values.pop(self._key(), None)
        elif local == "ItemData":
            self._given = []

    def _end(self, _: str) -> None:
        name, attributes = self._stack[-1]
        text = "".join(self._text)
        above = [part for part, _ in self._stack[:-1]]
        if name == "Value" and above and above[-1] == "ItemData":
            self._given.append(text)
        elif name == "TranslatedText" and above[-2:] == ["ItemDef", "Question"]:
            self._items[self._stack[-3][1].get("OID", "")]["label"] = text.strip()
        elif name == "CodeListItem" and above[-1:] == ["CodeList"]:
            codes = self._lists.setdefault(self._stack[-2][1].get("OID", ""), {})
            codes.setdefault(attributes.get("CodedValue", ""), "")
        elif name == "TranslatedText" and above[-2:] == ["CodeListItem", "Decode"]:
            codes = self._lists.setdefault(self._stack[-4][1].get("OID", ""), {})
            codes[self._stack[-3][1].get("CodedValue", "")] = text.strip()
        elif name == "ItemData":
            self._value(attributes)
        self._stack.pop()
        self._text.clear()

    def _key(self) -> Key:
        """Return participant, event, group and repetition of where the reader is."""
        found: dict[str, Attributes] = {}
        group, instance = "", ""
        for name, attributes in self._stack:
            if name == "ItemGroupData":
                key = attributes.get("ItemGroupRepeatKey", "")
                if not group or key:
                    group, instance = attributes.get("ItemGroupOID", ""), key or instance
            else:
                found[name] = attributes
        event = found.get("StudyEventData", {})
        return (
            found.get("SubjectData", {}).get("SubjectKey", ""),
            event.get("StudyEventOID", ""),
            group,
            instance or event.get("StudyEventRepeatKey", ""),
        )

    def _value(self, attributes: Attributes) -> None:
        key, oid = self._key(), attributes.get("ItemOID", "")
        kind = attributes.get("TransactionType", "")
        if not key[0] or kind == "Context":
            return
        removed = {part.get("TransactionType") for _, part in self._stack} & {"Remove"}
        cells = self._values.setdefault(key, {})
        self._lines.setdefault(key, self.parser.CurrentLineNumber)
        if removed:
            cells.pop(oid, None)
        elif len(self._given) > 1:
            self._fault(f"{oid} of {key[0]} has {len(self._given)} values.", "Give one.")
        elif oid in cells and kind in ("", "Insert"):
            self._fault(f"{oid} of {key[0]} at {key[1]} is inserted twice.", "Keep one.")
        else:
            null = attributes.get("IsNull") == "Yes" or not self._given
            cells[oid] = "" if null else self._given[0]

    def finish(self) -> None:
        """Make the rows and the fields of what was read."""
        for oid, about in self._items.items():
            self._table.fields[oid] = self._field(oid, about)
        self._table.units = [u for u in dict.fromkeys(self._units.values()) if u in self._fixed]
        used = dict.fromkeys(oid for cells in self._values.values() for oid in cells)
        self._table.columns = list(dict.fromkeys([*self._items, *used]))
        for key, cells in self._values.items():
            if any(cells.values()):
                subject, event, group, instance = key
                where = "/".join(filter(None, [self._table.name, subject, event, group]))
                self._table.rows.append(
                    Row(where, self._lines[key], subject, event, group, instance, cells)
                )

    def _field(self, oid: str, about: Mapping[str, str]) -> Field:
        kind: FieldType = _TYPES.get(about["type"], "text")
        codes = self._lists.get(about.get("codes", ""), {})
        if codes:
            kind = "yes_no" if set(codes) == {"Y", "N"} else "choice"
        elif kind == "yes_no":
            codes = {"true": "Yes", "false": "No"}
        unit = self._fixed.get(self._units.get(oid, ""), "")
        return Field(oid, kind, about["label"], codes, unit)
