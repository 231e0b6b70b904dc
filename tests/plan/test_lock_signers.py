"""Where a study requires a login, both signers of a plan have logged in."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialkit.errors import NotAuthenticated
from trialkit.plan import current_lock, lock_plan
from trialkit.study import Study
from trialkit.study.accounts import login, require_login, set_password
from trialkit.study.signing import sign, signatures

WORD = "four dry wooden spoons"


def test_nobody_signs_a_plan_in_the_name_of_another(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRIALKIT_PASSWORD", raising=False)
    for user in ("olga", "stan", "iris"):
        set_password(study.as_user(user), WORD)
    require_login(study, password=WORD)
    stan = study.as_user("stan", password=WORD)
    with pytest.raises(NotAuthenticated, match="not logged in"):
        lock_plan(stan, signer="stan", second_signer="iris")
    assert current_lock(study) is None
    login(study, "iris", WORD)
    lock_plan(stan, signer="stan", second_signer="iris")
    assert current_lock(study) is not None
    sign(stan, "plan", "I ran the dry run", password=WORD, signer="stan")
    assert [(s.what, s.broken) for s in signatures(study)] == [("plan", None)]
    lock = study.state.lock
    assert lock is not None
    event = study.append(lock, reason="amended")
    assert [s.broken for s in signatures(study)] == [f"changed by event {event.seq}"]
