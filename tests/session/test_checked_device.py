"""A device in which people walk is taken only if it names itself and the kit passed on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from device_interface.conformance import group_names
from device_interface.simulated import SimulatedGaitTrainer
from trialkit.errors import OutOfOrder
from trialkit.record.kinds import DeviceChecked
from trialkit.session import run_session

pytestmark = pytest.mark.requirement("R10")
USUBJID = "SCI-RAGT-01-001"
REAL = f"{__name__}:Real"
NOBODY = f"{__name__}:Nobody"


class Real(SimulatedGaitTrainer):
    """A device that says it is of the real world."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._capability = replace(self._capability, simulated=False)


class Nobody(Real):
    """One without a serial number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, serial="")


def check(study: Any, **changed: Any) -> str:
    """Append the record of a run of the kit; the device is the one of `REAL`."""
    own = Real(rate="stride").describe().identity() | changed.pop("device", {})
    fields: dict[str, Any] = {
        "driver": REAL,
        "package": "acme",
        "package_version": "1.0",
        "device": own,
        "descriptor_sha256": "0" * 64,
        "kit": "2",
        "groups": group_names(),
        "quick": False,
        "passed": 70,
        "failed": 0,
        "not_applicable": 0,
        "failures": [],
        "file": "conformance/0.json",
        "digest": "0" * 64,
    }
    hashed: str = study.append(DeviceChecked(**{**fields, **changed})).hash
    return hashed


def run(study: Any, device: str = REAL) -> Any:
    return run_session(study, USUBJID, number=1, day=1, rate="stride", device=device)


def refused(study: Any, match: str, device: str = REAL) -> None:
    before = study.state.seq
    with pytest.raises(OutOfOrder, match=match):
        run(study, device)
    assert study.state.seq == before
    assert study.participant(USUBJID).sessions == {}


def test_an_unknown_device_is_refused_until_the_kit_has_passed(study: Any) -> None:
    refused(study, "no whole run of the conformance kit")
    check(study, quick=True)
    check(study, groups=["identity", "limits"])
    check(study, device={"serial": "another"})
    check(study, device={"firmware": "another"})
    refused(study, "no whole run of the conformance kit")
    hashed = check(study)
    run(study)
    assert study.participant(USUBJID).sessions[1].conformance == hashed


def test_a_later_failure_counts_until_a_whole_run_passes(study: Any) -> None:
    check(study)
    check(study, quick=True, failed=1, failures=["limits.hard"])
    refused(study, "failed on it: limits.hard")
    check(study, quick=True)
    refused(study, "failed on it: limits.hard")
    newest = check(study)
    run(study)
    assert study.participant(USUBJID).sessions[1].conformance == newest


def test_a_device_that_does_not_say_what_it_is_is_refused(study: Any) -> None:
    check(study, device={"serial": ""})
    refused(study, "does not say its serial", NOBODY)


def test_a_simulated_device_needs_no_check(study: Any) -> None:
    assert run(study, "simulated").completed
