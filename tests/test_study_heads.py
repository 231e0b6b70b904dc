"""Heads that a study signs: by whom, over what, at what cost, and never in the way."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from small_study import enrolled, make_study

from trialkit._clock import SimulatedClock
from trialkit.errors import NotPermitted
from trialkit.record import KeyStore
from trialkit.record.heads import head_fault, make_head
from trialkit.record.kinds import HeadSigned
from trialkit.record.merkle import leaf_hash, tree_root
from trialkit.record.verification import verify_record
from trialkit.study import Study
from trialkit.study.heads import last_head, sign_head


def roots(study: Study) -> list[str]:
    """Return the root before each event, from the stored rows."""
    leaves = [leaf_hash(row.body) for row in study.record.rows()]
    return [tree_root(leaves[:n]).hex() for n in range(len(leaves) + 1)]


def test_heads_follow_each_other(tmp_path: Path) -> None:
    with make_study(tmp_path) as study:
        assert last_head(study) is None
        for _ in range(3):
            enrolled(study)
            event = sign_head(study)
            head = last_head(study)
            assert head is not None
            assert event.model() == head
            assert (head.size, head.chain) == (event.seq - 1, event.prev)
            assert head.root == roots(study)[head.size]
            assert head.signature is not None
            assert head.signature.signer == "olga"
            assert head_fault(head, {"olga": study.keys.fingerprint("olga")}) is None
        report = verify_record(study.record)
        assert report.ok
        assert (report.heads, report.signed) == (3, 3)
    with Study.open(tmp_path / "study", actor="olga", keys=study.keys, clock=study.clock) as again:
        assert last_head(again) == head
        assert sign_head(again).payload["size"] == head.size + 1


def test_only_the_events_since_the_last_head_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_study(tmp_path) as study:
        sign_head(study)
        enrolled(study)
        read: list[int] = []
        original = study.record.read

        def watched(**given: int) -> object:
            for event in original(**given):  # type: ignore[arg-type]
                read.append(event.seq)
                yield event

        before = study.state.seq
        monkeypatch.setattr(study.record, "read", watched)
        head = make_head(study.record, study="SMALL", at="", known=study.state.last_head)
        assert read == list(range(before - 2, before + 1))
        assert head.root == roots(study)[before]


def test_without_a_key_the_head_is_unsigned(tmp_path: Path) -> None:
    with make_study(tmp_path) as study:
        study.add_user("adam", role="administrator")  # who signs nothing and gets no key
        assert sign_head(study.as_user("adam")).payload["signature"] is None
        key = study.keys.folder / "olga.pem"
        text = key.read_bytes()
        key.write_text("no key")
        assert sign_head(study).payload["signature"] is None
        key.unlink()
        assert sign_head(study).payload["signature"] is None
        KeyStore(study.keys.folder).create("olga")  # another key than the record knows
        assert sign_head(study).payload["signature"] is None
        key.write_bytes(text)
        assert sign_head(study).payload["signature"] is not None
        report = verify_record(study.record)
        assert report.ok
        assert (report.heads, report.signed) == (5, 1)


def test_a_head_in_a_batch_covers_what_is_not_committed_yet(tmp_path: Path) -> None:
    with make_study(tmp_path) as study:
        with study.batch():
            enrolled(study)
            sign_head(study)
        kept = last_head(study)
        with pytest.raises(ZeroDivisionError), study.batch():  # noqa: PT012
            enrolled(study)
            sign_head(study)
            raise ZeroDivisionError
        assert last_head(study) == kept
        sign_head(study)
        assert verify_record(study.record).ok


def test_a_stranger_signs_nothing(tmp_path: Path) -> None:
    with make_study(tmp_path) as study:
        stranger = Study(study._shared, "nobody")
        with pytest.raises(NotPermitted):
            sign_head(stranger)


def test_the_signature_covers_every_field(tmp_path: Path) -> None:
    with make_study(tmp_path) as study:
        head = HeadSigned.model_validate(sign_head(study).payload)
    for change in ({"study": "X"}, {"size": 1, "peaks": []}, {"root": "0" * 64, "peaks": []},
                   {"chain": "0" * 64}, {"at": ""}):  # fmt: skip
        assert head_fault(head.model_copy(update=change)) is not None, change


def test_a_clock_that_was_set_comes_before_the_head(tmp_path: Path) -> None:
    """A head counts every event before it, also one that says that the clock was set."""
    with make_study(tmp_path) as study:
        clock = study.clock
        assert isinstance(clock, SimulatedClock)
        sign_head(study)
        clock._start += timedelta(hours=1)
        head = sign_head(study)
        kinds = [event.kind for event in study.record.read()]
        assert kinds[-2:] == ["clock.stepped", "head.signed"]
        assert head.payload["size"] == head.seq - 1
        assert verify_record(study.record).ok
