"""Criteria of eligibility in ODM: valid by the official schema, read back as they were written."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from trialkit._content import find_content
from trialkit.exchange.odm import export_odm
from trialkit.exchange.odm.criteria import criteria, criteria_conditions
from trialkit.exchange.odm.xml import NAMESPACE
from trialkit.protocol.model import Criterion, Eligibility
from trialkit.record import KeyStore
from trialkit.study import Study

ODM = {"o": NAMESPACE}


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The shipped stroke trial, before anybody is in it."""
    files = [find_content("protocols", f"stroke-{arm}") for arm in ("robotic", "conventional")]
    keys = KeyStore(tmp_path / "keys")
    with Study.create(tmp_path / "s", protocols=files, actor="olga", keys=keys) as study:
        export_odm(study, tmp_path / "out.xml")
    return tmp_path / "out.xml"


def test_the_official_schema_finds_nothing(exported: Path) -> None:
    etree = pytest.importorskip("lxml.etree")
    odmlib = pytest.importorskip("odmlib")
    folder = Path(odmlib.__file__).parent / "schemas" / "odm" / "2.0"
    schema = etree.XMLSchema(etree.parse(str(folder / "ODM.xsd")))
    assert schema.validate(etree.parse(str(exported))), schema.error_log
    broken = exported.read_text("utf-8").replace("<Criterion ", "<Criterium ", 1)
    assert not schema.validate(etree.fromstring(broken.encode()))


def test_every_criterion_is_there_with_its_text_and_bounds(exported: Path) -> None:
    root = ElementTree.parse(exported).getroot()
    conditions = {e.get("OID"): e for e in root.findall(".//o:ConditionDef", ODM)}
    found = []
    for kind in ("Inclusion", "Exclusion"):
        for one in root.findall(f".//o:Protocol//o:{kind}Criteria/o:Criterion", ODM):
            condition = conditions[one.get("ConditionOID")]
            text = condition.findtext("o:Description/o:TranslatedText", namespaces=ODM)
            code = condition.findtext("o:FormalExpression/o:Code", namespaces=ODM)
            found.append((one.get("Name"), kind.lower(), text, code))
    with Study.open(exported.parent / "s", write=False) as study:
        asked = study.design.eligibility
    assert asked is not None
    assert [row[:3] for row in found] == [(c.id, c.kind, c.text) for c in asked.criteria]
    assert {name: code for name, _, _, code in found if code} == {
        "ADULT": "age_years >= 18",
        "STROKE": "months_since_stroke >= 1 and months_since_stroke <= 6",
        "WALKS": "WS10C >= 0.1",
        "MASS": "weight_kg <= 135",
        "HEIGHT": "height_cm <= 200",
        "FEMUR": "femur_cm >= 35 and femur_cm <= 47",
    }


def test_without_criteria_there_is_no_empty_element() -> None:
    assert criteria(None) is None
    assert list(criteria_conditions(None)) == []
    only = Eligibility(version="1", criteria=[Criterion(id="A", kind="exclusion", text="x")])
    made = criteria(only)
    assert made is not None
    assert [part.tag for part in made] == ["ExclusionCriteria"]
