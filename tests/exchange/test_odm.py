"""ODM 2.0: valid by the official schema, read by another program, and back item by item."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from forms_study import enter_people, fill, make, prepare, standing
from hypothesis import given
from small_study import enrolled, make_study, randomised
from test_redcap import DESIGN, FORM, VALUES, filled, form_group

from trialkit._canonical import sha256_file
from trialkit.errors import DataFindings, MappingFindings
from trialkit.exchange.foreign.mapping import ExchangeMapping
from trialkit.exchange.foreign.read import Reading
from trialkit.exchange.odm import draft_odm, export_odm, import_odm, read_odm
from trialkit.exchange.odm.clinical import subject_data
from trialkit.exchange.odm.xml import FORBIDDEN, NAMESPACE, written
from trialkit.participants import assess, hold_visit, miss_session
from trialkit.protocol.forms import read_entries

ODM = {"o": NAMESPACE}
HEAD = (
    f'<ODM xmlns="{NAMESPACE}" FileType="{{}}" FileOID="F" ODMVersion="2.0" '
    'CreationDateTime="2026-01-01T00:00:00Z">'
)


class Desk:
    def __init__(self, folder: Path) -> None:
        self.file, self.mapping = folder / "out.xml", folder / "mapping.yaml"
        self.first = make(folder / "a")
        fill(self.first, enter_people(self.first))
        self.given = export_odm(self.first.as_user("dana"), self.file)
        self.whole = folder / "whole.xml"
        export_odm(self.first.as_user("ivan"), self.whole)
        self.root = ElementTree.parse(self.file).getroot()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("odm"))
    yield made
    made.first.close()


def test_the_official_schema_finds_nothing(desk: Desk, tmp_path: Path) -> None:
    etree = pytest.importorskip("lxml.etree")
    odmlib = pytest.importorskip("odmlib")
    folder = Path(odmlib.__file__).parent / "schemas" / "odm" / "2.0"
    schema = etree.XMLSchema(etree.parse(str(folder / "ODM.xsd")))
    export_odm(desk.first, tmp_path / "open.xml")
    for path in (desk.file, tmp_path / "open.xml"):
        assert schema.validate(etree.parse(str(path))), schema.error_log
    broken = desk.file.read_text(encoding="utf-8").replace("<SiteRef ", "<SiteRfe ", 1)
    assert not schema.validate(etree.fromstring(broken.encode()))


def test_another_program_reads_it_and_misses_no_reference(desk: Desk) -> None:
    loader = pytest.importorskip("odmlib.loader")
    odm_loader = pytest.importorskip("odmlib.odm_loader")
    reader = loader.ODMLoader(odm_loader.XMLODMLoader(model_package="odm_2_0", ns_uri=NAMESPACE))
    reader.open_odm_document(str(desk.file))
    (study,) = reader.load_odm().Study
    (design,) = study.MetaDataVersion
    forms = desk.first.design.instruments
    groups = {group.OID: group for group in design.ItemGroupDef}
    assert {f"IG.{code}" for code in forms} <= set(groups)
    for code, form in forms.items():
        refs = [ref.ItemOID for ref in groups[f"IG.{code}"].ItemRef]
        assert [f"IT.{code}.{item.id}" for item in form.items] == refs[: len(form.items)]


def test_every_reference_is_defined(desk: Desk) -> None:
    defined = {e.get("OID") for e in desk.root.iter() if e.get("OID")}
    for part in desk.root.iter():
        for name, value in part.attrib.items():
            if name.endswith("OID") and name not in ("OID", "FileOID"):
                assert value in defined, (part.tag, name, value)


def test_every_value_has_its_audit_record(desk: Desk) -> None:
    values = desk.root.findall(".//o:ItemData", ODM)
    assert len(values) >= desk.given.values
    for value in values:
        audit = value.find("o:AuditRecord", ODM)
        assert audit is not None
        assert audit.find("o:UserRef", ODM).get("UserOID") in {"USR.asta", "USR.olga"}  # type: ignore[union-attr]
        assert audit.findtext("o:DateTimeStamp", namespaces=ODM)


def test_a_correction_leaves_the_old_value(desk: Desk) -> None:
    path = (
        ".//o:SubjectData[@SubjectKey='SMALL-02-001']//o:StudyEventData[@StudyEventOID='SE.V.BL']"
        "//o:ItemData[@ItemOID='IT.10MWT.{}']"
    )
    steps = desk.root.findall(path.format("C1_S"), ODM)
    assert [s.get("TransactionType") for s in steps] == ["Insert", "Update", "Update"]
    assert [s.findtext("o:Value", namespaces=ODM) for s in steps][1:] == ["21.25", "22.5"]
    reasons = [s.findtext("o:AuditRecord/o:ReasonForChange", namespaces=ODM) for s in steps]
    assert reasons == [None, "hidden while blinded", "again"]
    taken = desk.root.findall(path.format("F1_S"), ODM)
    assert [s.get("TransactionType") for s in taken] == ["Insert", "Remove"]
    assert taken[1].find("o:Value", ODM) is None


def test_every_form_comes_back_item_by_item(desk: Desk, tmp_path: Path) -> None:
    with make(tmp_path) as second:
        prepare(second, desk.first)
        desk.mapping.write_text(draft_odm(second, desk.file), encoding="utf-8")
        dana = second.as_user("dana")
        head = second.record.head
        assert import_odm(dana, desk.mapping, desk.whole, check_only=True).event is None
        assert second.record.head == head
        done = import_odm(dana, desk.mapping, desk.whole)
        assert standing(second) == standing(desk.first)
        assert done.event is not None
        assert done.event.payload["format"] == "odm"
        assert done.event.payload["file_sha256"] == sha256_file(desk.whole)
        head = second.record.head
        again = import_odm(dana, desk.mapping, desk.whole)
        assert (again.changes, again.event, second.record.head) == ([], None, head)


def test_nothing_tells_the_arm(desk: Desk, tmp_path: Path) -> None:
    text = desk.file.read_text(encoding="utf-8")
    assert "ROBOTIC" not in text
    assert "CONVENTIONAL" not in text
    export_odm(desk.first, tmp_path / "open.xml")
    shown = (tmp_path / "open.xml").read_text(encoding="utf-8")
    assert "CONVENTIONAL" in shown
    assert re.search("<SourceID>[0-9a-f]{16}<", shown)
    assert "SourceID" not in text


def test_a_session_leaves_no_trace(tmp_path: Path) -> None:
    texts = []
    for sessions in (0, 2):
        with make_study(tmp_path / str(sessions)) as study:
            study.add_user("dana", role="data_manager")
            usubjid = randomised(study)
            for number in range(1, sessions + 1):
                miss_session(study, usubjid, number=number, day=0, code="ill")
            hold_visit(study, usubjid, "W4", day=28)
            out = tmp_path / f"{sessions}.xml"
            export_odm(study.as_user("dana"), out)
            texts.append(out.read_bytes())
    assert texts[0] == texts[1]


def test_a_character_that_xml_has_not_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    with make(tmp_path) as study:
        (usubjid,) = enter_people(study, 1)
        hold_visit(study, usubjid, "BL", day=0)
        assess(
            study.as_user("asta"),
            usubjid,
            visit="BL",
            instrument="10MWT",
            status="not_done",
            code="a\x0bb",
        )
        head = study.record.head
        with pytest.raises(DataFindings) as caught:
            export_odm(study.as_user("dana"), tmp_path / "out.xml")
        (finding,) = caught.value.findings
        assert "10MWT.FORM.CODE" in finding.where
        assert [p.name for p in tmp_path.glob("*out.xml*")] == []
        assert study.record.head == head


@given(VALUES)
def test_any_value_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory, raw: dict[str, Any]
) -> None:
    values = {n: v for n, v in read_entries(FORM, raw).values.items() if v is not None}
    if FORBIDDEN.search(str(values.get("T", ""))):
        return
    path = tmp_path_factory.getbasetemp() / "any.xml"
    body = written(subject_data(filled(values), {"ANY": form_group()}))
    of = b'<ClinicalData StudyOID="S" MetaDataVersionOID="M">'
    path.write_bytes(HEAD.format("Transactional").encode() + of + body + b"</ClinicalData></ODM>")
    table = read_odm(path)
    if not values:
        assert "has no values" in table.findings[0].message
        return
    assert table.findings == []
    items = {
        item.id: {"column": f"IT.ANY.{item.id}"} | ({"unit": "s"} if item.unit else {})
        for item in FORM.items
    }
    mapping = ExchangeMapping.model_validate(
        {
            "schema": "trialkit.exchange/1",
            "format": "odm",
            "forms": [{"form": "ANY", "visits": {"SE.V.V": "V"}, "items": items}],
        }
    )
    reading = Reading(mapping, DESIGN, table)
    assert reading.findings == []
    assert read_entries(FORM, reading.forms[0].items).values == values


# --- files of others -------------------------------------------------------------------------

FOREIGN = (
    HEAD.format("Snapshot")
    + """
<Study OID="S" StudyName="S" ProtocolName="S"><MetaDataVersion OID="M" Name="M">
 <ItemGroupDef OID="IG.WALK" Name="Walk" Repeating="No" Type="Form">
  <ItemRef ItemOID="I.DIST" UnitsItemOID="I.U1" Mandatory="Yes"/>
  <ItemRef ItemOID="I.T1" UnitsItemOID="I.U2" Mandatory="No"/>
  <ItemRef ItemOID="I.U1" PreSpecifiedValue="m" Mandatory="No"/>
  <ItemRef ItemOID="I.U2" PreSpecifiedValue="s" Mandatory="No"/>
 </ItemGroupDef>
 <ItemDef OID="I.DIST" Name="Dist" DataType="integer"><Question>
  <TranslatedText xml:lang="en" Type="text/plain">Timed distance</TranslatedText></Question>
  <CodeListRef CodeListOID="CL.D"/></ItemDef>
 <ItemDef OID="I.T1" Name="C1_S" DataType="float"/>
 <ItemDef OID="I.U1" Name="u" DataType="text"/><ItemDef OID="I.U2" Name="u2" DataType="text"/>
 <CodeList OID="CL.D" Name="d" DataType="integer"><CodeListItem CodedValue="1"><Decode>
  <TranslatedText xml:lang="en" Type="text/plain">6</TranslatedText></Decode></CodeListItem>
  <CodeListItem CodedValue="2"><Decode><TranslatedText Type="text/plain">10</TranslatedText>
  </Decode></CodeListItem></CodeList>
</MetaDataVersion></Study>
<ClinicalData StudyOID="S" MetaDataVersionOID="M"><SubjectData SubjectKey="{who}">
 <StudyEventData StudyEventOID="SE.1" StudyEventRepeatKey="1">
  <ItemGroupData ItemGroupOID="IG.WALK">
   <ItemGroupData ItemGroupOID="IG.PART"><ItemData ItemOID="I.DIST"><Value>2</Value></ItemData>
   </ItemGroupData>
   <ItemData ItemOID="I.T1"><Value>20.5</Value></ItemData>{more}
  </ItemGroupData></StudyEventData></SubjectData></ClinicalData></ODM>
"""
)


def foreign(path: Path, who: str, more: str = "") -> Path:
    path.write_text(FOREIGN.replace("{who}", who).replace("{more}", more), encoding="utf-8")
    return path


def test_a_file_of_another_system(tmp_path: Path) -> None:
    with make_study(tmp_path) as study:
        study.add_user("dana", role="data_manager")
        usubjid = enrolled(study)
        hold_visit(study, usubjid, "BL", day=-1)
        file = foreign(tmp_path / "f.xml", usubjid)
        text = draft_odm(study, file)
        assert "column: I.DIST" in text
        assert "'2': '10'" in text
        assert "unit: s" in text
        mapping = tmp_path / "m.yaml"
        mapping.write_text(re.sub(r"visits:\n(    SE\..*\n)+", "visits: {'SE.1#1': BL}\n", text))
        head = study.record.head
        mapping.write_text(mapping.read_text().replace("unit: s", "unit: ms"))
        with pytest.raises(MappingFindings):
            import_odm(study.as_user("dana"), mapping, file)
        mapping.write_text(mapping.read_text().replace("unit: ms", "unit: s"))
        assert study.record.head == head
        import_odm(study.as_user("dana"), mapping, file)
        state = study.participant(usubjid).assessments["BL", "10MWT"]
        assert state.items == {"TIMED_M": 10, "C1_S": 20.5}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ('<ItemData ItemOID="I.T1"><Value>21</Value></ItemData>', "I.T1 of S1 at SE.1 is inserted"),
        ('<ItemData ItemOID="I.X"><Value>1</Value><Value>2</Value></ItemData>', "has 2 values"),
        ("<ItemData>", "cannot be read"),
        ("&bomb;", "cannot be read: undefined entity"),
        ("<ItemGroupData>" * 300, "nested too deeply"),
    ],
)
def test_files_with_faults(tmp_path: Path, more: str, text: str) -> None:
    table = read_odm(foreign(tmp_path / "f.xml", "S1", more))
    assert text in str(table.findings[0])
    assert table.findings[0].line


def test_what_is_null_or_of_another_namespace_is_no_value(tmp_path: Path) -> None:
    more = (
        '<ItemData ItemOID="I.X" IsNull="Yes"/>'
        '<v:ItemData xmlns:v="urn:v" ItemOID="I.Y"><Value>9</Value></v:ItemData>'
    )
    (row,) = read_odm(foreign(tmp_path / "f.xml", "S1", more)).rows
    assert row.cells == {"I.DIST": "2", "I.T1": "20.5", "I.X": ""}
    assert (row.place, row.instrument) == ("SE.1#1", "IG.WALK")


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE ODM [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    f'<ODM xmlns="{NAMESPACE}">&b;</ODM>'
)
OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE ODM [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    f'<ODM xmlns="{NAMESPACE}">&f;</ODM>'
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (BOMB, "it has a document type"),
        (OUTSIDE, "it has a document type"),
        (f'<!DOCTYPE ODM SYSTEM "x.dtd"><ODM xmlns="{NAMESPACE}"/>', "it has a document type"),
        ('<ODM xmlns="http://www.cdisc.org/ns/odm/v1.3"/>', "begins with http://www.cdisc.org"),
        ("<html/>", "the file begins with html"),
        (f'<ODM xmlns="{NAMESPACE}"/>', "the file has no values"),
        ("", "cannot be read"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "x.xml"
    path.write_text(content)
    table = read_odm(path)
    assert (len(table.findings), table.rows) == (1, [])
    assert text in table.findings[0].message
