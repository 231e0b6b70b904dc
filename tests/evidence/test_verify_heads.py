"""The shipped verifier and the Merkle heads in the record: computed anew, with their signatures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trialkit._canonical import canonical_json, sha256_text
from trialkit._clock import SimulatedClock
from trialkit.evidence import verify as shipped
from trialkit.record import KeyStore, Record
from trialkit.record.heads import MEANING, body_of, digest_of, make_head
from trialkit.record.kinds import HeadSigned, StudyCreated, UserAdded


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    """The texts of a record with six signed heads, one after each user."""
    keys = KeyStore(tmp_path / "keys")
    clock = SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))
    with Record.create(tmp_path / "study.db", clock) as record, record.batch():
        first = StudyCreated(study_id="S", title="T", protocols={}, software="0")
        record.append(first, actor="u0", role="owner")
        for number in range(6):
            user = f"u{number}"
            added = UserAdded(
                user=user, name=user, user_role="owner", key_fingerprint=keys.create(user)
            )
            record.append(added, actor=user, role="owner")
            head = make_head(record, study="S", at="2026-01-05T00:00:00.000000Z")
            signature = keys.sign(user, user, MEANING, digest_of(head))
            head = head.model_copy(update={"signature": signature})
            record.append(head, actor=user, role="owner")
        return [body_of(event).decode() for event in record.read()]


def checked(texts: list[str]) -> shipped.Report:
    rows = [canonical_json({"body": t, "hash": sha256_text(t)}) for t in texts]
    events, faults = shipped.read_events("\n".join(rows).encode())
    assert not faults
    report = shipped.Report()
    shipped.check_heads(None, events, report)  # type: ignore[arg-type]
    return report


def changed(text: str, **payload: Any) -> str:
    fields = json.loads(text)
    return canonical_json({**fields, "payload": fields["payload"] | payload})


def test_heads_as_they_were_signed(lines: list[str]) -> None:
    report = checked(lines)
    assert report.faults == []
    last = HeadSigned.model_validate(json.loads(lines[-1])["payload"])
    assert report.facts["merkle"] == f"12 events, root {last.root}"


def test_an_unsigned_head_is_computed_as_well(lines: list[str]) -> None:
    lines[-1] = changed(lines[-1], signature=None)
    assert checked(lines).faults == []
    lines[-1] = changed(lines[-1], root="0" * 64)
    assert "not that of the events before it" in checked(lines).faults[0].message


@pytest.mark.parametrize("field", ["study", "root", "chain", "at"])
def test_a_head_that_was_changed(lines: list[str], field: str) -> None:
    lines[-1] = changed(lines[-1], **{field: "0" * 64})
    (fault,) = checked(lines).faults
    assert fault.where == "event 13 (head.signed, line 13)"
    assert "Merkle head" in fault.message


def test_a_history_written_anew_under_signed_heads(lines: list[str]) -> None:
    """Every head after the first event that differs is named; the chain alone was mended."""
    lines[3] = lines[3].replace('"name":"u1"', '"name":"x1"')
    where = [fault.where for fault in checked(lines).faults]
    assert where == [f"event {n} (head.signed, line {n})" for n in (5, 7, 9, 11, 13)]


def test_a_key_that_the_record_does_not_know(lines: list[str], tmp_path: Path) -> None:
    head = HeadSigned.model_validate(json.loads(lines[-1])["payload"])
    other = KeyStore(tmp_path / "other")
    other.create("u5")
    signature = other.sign("u5", "u5", MEANING, digest_of(head))
    lines[-1] = changed(lines[-1], signature=signature.model_dump())
    assert "another key" in checked(lines).faults[0].message
