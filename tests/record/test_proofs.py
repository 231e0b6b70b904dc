"""Proofs that leave the study, and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kept_record import lines_of as stored
from kept_record import opened, replace, rewritten, write_record

from trialkit.errors import OutOfOrder, OutOfRange, UsageError
from trialkit.record import KeyStore
from trialkit.record.heads import heads_of, newest_head
from trialkit.record.proofs import check_proof, prove_continuation, prove_event, read_proof


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_record(tmp_path_factory.mktemp("proofs"))


def parsed(data: Any) -> Any:
    return read_proof(data, "proof.json")


def test_every_covered_event_is_proved_and_checked_offline(path: Path) -> None:
    with opened(path) as record:
        proofs = [prove_event(record, seq).text() for seq in range(1, 17)]
    key = KeyStore(path.parent / "keys").fingerprint("olga")
    for seq, text in enumerate(proofs, start=1):
        report = check_proof(parsed(json.loads(text)), key)
        assert report.ok, report.faults
        assert report.says == f"event {seq} is among the 16 events of the head"
        assert report.fingerprint == key
    assert not check_proof(parsed(json.loads(proofs[0])), "00" * 16).ok


def test_every_head_is_continued_by_the_newest(path: Path) -> None:
    with opened(path) as record:
        for _, head in heads_of(record):
            text = prove_continuation(record, head).text()
            report = check_proof(parsed(json.loads(text)))
            assert report.ok, report.faults
            assert report.says == f"the head of 16 events continues that of {head.size}"


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("seq", 4, "does not lead"),
        ("body", "{}", "does not lead"),
        ("path", ["0" * 64] * 4, "does not lead"),
        ("path", [], "does not lead"),
        ("head.root", "0" * 64, "do not give its root"),
        ("head.at", "2027-01-01T00:00:00.000000Z", "signature is not by its key"),
        ("head.size", 15, "peaks are not those"),
        ("head.chain", "0" * 64, "signature is not by its key"),
    ],
)
def test_a_changed_proof_is_refused(path: Path, name: str, value: Any, fault: str) -> None:
    with opened(path) as record:
        data = json.loads(prove_event(record, 3).text())
    place, _, inner = name.partition(".")
    if inner:
        data[place][inner] = value
    else:
        data[place] = value
    report = check_proof(parsed(data))
    assert not report.ok
    assert fault in "; ".join(report.faults)
    assert report.to_dict()["ok"] is False


def test_a_text_under_another_number(tmp_path: Path) -> None:
    """Somebody who could write leaves stores an event under the number of another."""
    path = write_record(tmp_path, sign=False)
    lines = stored(path)
    body = lines[3][0].replace('"seq":4', '"seq":5')
    replace(path, rewritten([*lines[:3], (body, ""), *lines[4:]], 1, heads="forged"))
    with opened(path) as record:
        report = check_proof(prove_event(record, 4))
    assert "the text is not that of event 4" in report.faults


def test_unsigned_heads_prove_without_a_signer(tmp_path: Path) -> None:
    path = write_record(tmp_path, sign=False)
    with opened(path) as record:
        report = check_proof(prove_event(record, 3))
        assert (report.ok, report.signer, report.fingerprint) == (True, None, None)
        assert not check_proof(prove_event(record, 3), "00" * 16).ok


def test_what_cannot_be_proved(path: Path, tmp_path: Path) -> None:
    with opened(path) as record:
        with pytest.raises(OutOfOrder, match="no head covers event 17"):
            prove_event(record, 17)
        with pytest.raises(OutOfRange, match="no event 18"):
            prove_event(record, 18)
        longer = newest_head(record).model_copy(update={"size": 99})
        with pytest.raises(OutOfOrder, match="no head covers"):
            prove_continuation(record, longer)
        fork = newest_head(record).model_copy(update={"size": 8, "root": "0" * 64, "peaks": []})
        with pytest.raises(OutOfRange, match="the two histories"):
            prove_continuation(record, fork)
    empty = write_record(tmp_path, rounds=0)
    with opened(empty) as record, pytest.raises(OutOfOrder, match="no head yet"):
        prove_event(record, 1)
    lines = stored(path)
    cut = write_record(tmp_path / "cut") if (tmp_path / "cut").mkdir() is None else path
    replace(cut, [*lines[:3], lines[-1]], gaps=True)
    with opened(cut) as record, pytest.raises(OutOfRange, match="the record ends"):
        prove_event(record, 2)


@pytest.mark.parametrize("data", [{}, [], {"schema": "trialkit.proof/1"}, {"schema": "x"}])
def test_what_is_no_proof(data: Any) -> None:
    with pytest.raises(UsageError, match="proof"):
        parsed(data)
