"""The lock of a plan: who signs, what is pinned, what moves it, and when it is too late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import data_schemas
from trialkit import methods
from trialkit._canonical import sha256_json
from trialkit.errors import (
    Duplicate,
    IntegrityError,
    LockMismatch,
    NotLocked,
    NotPermitted,
    OutOfOrder,
    PlanFindings,
    UnknownName,
)
from trialkit.plan import current_lock, current_plan, lock_plan, plan_hash, require_lock
from trialkit.record.kinds import AllocationRevealed, PlanLocked
from trialkit.record.sign import KeyStore, verify
from trialkit.study import Study

Change = Callable[..., Path]


def locked(study: Study) -> PlanLocked:
    lock_plan(study.as_user("stan"), signer="stan", second_signer="iris")
    lock = current_lock(study)
    assert lock is not None
    return lock


def test_no_lock(study: Study) -> None:
    assert current_lock(study) is None
    with pytest.raises(NotLocked, match="trialkit plan lock"):
        require_lock(study)


def test_lock_pins_plan_methods_and_schemas(study: Study) -> None:
    event = lock_plan(study.as_user("stan"), signer="stan", second_signer="iris")
    assert (event.kind, event.actor, event.role) == ("plan.locked", "stan", "statistician")
    lock = require_lock(study)
    assert lock == event.model() == current_lock(study)
    assert study.plan_file is not None
    assert lock.plan == plan_hash(study.plan_file)
    used = {"mmrm", "ancova", "negative_binomial", "cox", "kaplan_meier", "binary", "recurrent"}
    used |= {"impute", "rubin"}  # behind the word imputation
    assert lock.methods == {n: methods.VERSIONS[n] for n in used | {"fixed_sequence"}}
    assert lock.schemas == data_schemas.VERSIONS
    pinned = {"plan": lock.plan, "methods": lock.methods, "schemas": lock.schemas}
    assert lock.lock == sha256_json(pinned)
    assert (study.folder / lock.file).read_bytes() == study.plan_file.read_bytes()
    assert current_plan(study) == study.folder / lock.file


def test_two_people_sign(study: Study) -> None:
    lock = locked(study)
    assert [(s.signer, s.name) for s in lock.signatures] == [
        ("stan", "Stan Abel"),
        ("iris", "Iris Bell"),
    ]
    assert all(verify(s, lock.lock) for s in lock.signatures)
    assert all("approve" in s.meaning for s in lock.signatures)
    assert not verify(lock.signatures[0], "0" * 64)


@pytest.mark.parametrize(
    ("actor", "signer", "second", "message"),
    [
        ("stan", "stan", "stan", "stan cannot sign twice"),
        ("stan", "stan", "cora", r"cora \(coordinator\) may not sign plans"),
        ("stan", "ada", "iris", r"ada \(assessor\) may not sign plans"),
        ("stan", "stan", "nobody", "nobody is not a user of the study"),
        ("cora", "stan", "iris", r"cora \(coordinator\) may not lock plan"),
    ],
)
def test_who_may_not(study: Study, actor: str, signer: str, second: str, message: str) -> None:
    before = study.record.head
    with pytest.raises(NotPermitted, match=message) as caught:
        lock_plan(study.as_user(actor), signer=signer, second_signer=second)
    assert caught.value.exit_status == 5
    assert caught.value.remedy
    written = {event.kind for event in study.record.read(after=before[0])}
    assert written <= {"command.refused"}


def test_a_key_that_is_not_the_persons_own(study: Study, tmp_path: Path) -> None:
    KeyStore(tmp_path / "other").create("iris")
    (tmp_path / "keys" / "iris.pem").write_bytes((tmp_path / "other" / "iris.pem").read_bytes())
    with pytest.raises(NotPermitted, match="the key of iris here is"):
        locked(study)
    assert current_lock(study) is None


def test_a_faulty_plan_is_not_locked(study: Study, changed_plan: Change) -> None:
    path = changed_plan(("    visit: W12", "    visit: W99"))
    with pytest.raises(PlanFindings, match="no visit W99"):
        lock_plan(study, signer="stan", second_signer="iris", plan=path)
    assert current_lock(study) is None


def test_a_plan_that_is_not_there(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no such plan"):
        lock_plan(study, signer="stan", second_signer="iris", plan=tmp_path / "none.yaml")


def test_the_same_plan_twice(study: Study) -> None:
    locked(study)
    with pytest.raises(Duplicate, match="locked already"):
        lock_plan(study, signer="stan", second_signer="iris", reason="again")


def test_an_amendment_needs_a_reason(study: Study, changed_plan: Change) -> None:
    first = locked(study)
    path = changed_plan(('version: "1.1"', 'version: "1.2"'))
    with pytest.raises(OutOfOrder, match="give a reason"):
        lock_plan(study, signer="stan", second_signer="iris", plan=path, reason=" ")
    event = lock_plan(study, signer="stan", second_signer="iris", plan=path, reason="new cut-off")
    assert event.reason == "new cut-off"
    second = require_lock(study)
    assert (second.plan, second.lock != first.lock) == (plan_hash(path), True)
    assert (study.folder / first.file).is_file()
    with pytest.raises(LockMismatch, match="was locked"):
        require_lock(study, study.folder / first.file)


def test_no_lock_after_the_arms_are_known(study: Study, changed_plan: Change) -> None:
    lock = locked(study)
    study.append(AllocationRevealed(plan_lock=lock.lock, arms={}))
    path = changed_plan(('version: "1.1"', 'version: "1.2"'))
    with pytest.raises(OutOfOrder, match="exploratory"):
        lock_plan(study, signer="stan", second_signer="iris", plan=path, reason="late")


def test_a_plan_that_moved(study: Study, changed_plan: Change) -> None:
    lock = locked(study)
    other = changed_plan(("alpha: 0.05", "alpha: 0.050"))
    with pytest.raises(LockMismatch, match=lock.plan[:12]) as caught:
        require_lock(study, other)
    assert caught.value.exit_status == 5
    file = study.folder / lock.file
    file.write_text(file.read_text() + "# later\n")
    with pytest.raises(LockMismatch):
        require_lock(study)
    file.unlink()
    with pytest.raises(LockMismatch, match="is not there"):
        require_lock(study)


def test_versions_that_moved(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = locked(study)
    monkeypatch.setitem(methods.VERSIONS, "mmrm", "99")
    monkeypatch.setitem(methods.VERSIONS, "hedges_g", "99")  # not in the plan
    monkeypatch.delitem(methods.VERSIONS, "cox")
    monkeypatch.setitem(data_schemas.VERSIONS, "adam", "99")
    with pytest.raises(LockMismatch) as caught:
        require_lock(study)
    assert caught.value.details["moved"] == [
        f"method cox is version none and {lock.methods['cox']} was locked",
        f"method mmrm is version 99 and {lock.methods['mmrm']} was locked",
        f"schema adam is version 99 and {lock.schemas['adam']} was locked",
    ]


@pytest.mark.parametrize(
    "change",
    [{"lock": "0" * 64}, {"plan": "0" * 64}, {"methods": {}}, {"signatures": []}],
    ids=lambda change: next(iter(change)),
)
def test_a_lock_that_was_not_signed(study: Study, change: dict[str, object]) -> None:
    study.state.lock = locked(study).model_copy(update=change)
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        require_lock(study)


def test_one_signature_is_not_enough(study: Study) -> None:
    lock = locked(study)
    study.state.lock = lock.model_copy(update={"signatures": [lock.signatures[0]] * 2})
    with pytest.raises(IntegrityError):
        require_lock(study)


def test_lock_survives_reopening(study: Study, tmp_path: Path) -> None:
    lock = locked(study)
    study.close()
    with Study.open(tmp_path / "study", write=False, keys=KeyStore(tmp_path / "keys")) as again:
        assert require_lock(again) == lock
