"""A freeze of the data while a session is open: the session goes on, the next is refused."""

from __future__ import annotations

from typing import Any

import pytest

from trialkit.errors import DataLocked
from trialkit.session import AttendingOperator, run_session
from trialkit.study.datalock import freeze, release

USUBJID = "SCI-RAGT-01-001"


@pytest.mark.requirement("R21", "R22")
@pytest.mark.parametrize("scope", [USUBJID, None])
def test_an_open_session_goes_on_to_its_end(study: Any, scope: str | None) -> None:
    study.add_user("dora", role="data_manager")

    class Freezing(AttendingOperator):
        def answer(self, block: str, prompts: Any, view: Any) -> Any:
            if not study.state.frozen:
                freeze(study.as_user("dora"), scope)
            return super().answer(block, prompts, view)

    outcome = run_session(study, USUBJID, number=1, day=1, rate="stride", operator=Freezing())
    assert outcome.completed
    assert study.state.frozen == {(scope, None)}
    done = study.participant(USUBJID).sessions[1]
    assert (done.status, done.sealed) == ("completed", True)
    frozen = next(study.record.read(kinds=["data.frozen"])).seq
    assert done.opened_seq < frozen < done.closed_seq
    with pytest.raises(DataLocked, match="frozen"):
        run_session(study, USUBJID, number=2, day=2, rate="stride")
    assert 2 not in study.participant(USUBJID).sessions
    release(study, scope, reason="the next session is due")
    assert run_session(study, USUBJID, number=2, day=2, rate="stride").completed
