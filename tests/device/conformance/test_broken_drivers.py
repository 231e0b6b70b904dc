"""Each broken driver is caught by the check that is there for it, and by no other."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from device_interface.conformance import group_names, run_kit

BROKEN = Path(__file__).resolve().parent.parent / "broken"

CAUGHT = {
    "UnknownSchema": "identity.opens",
    "NoSerial": "identity.descriptor-complete",
    "Degrees": "identity.units-si",
    "KneeFlexionNegative": "identity.knee-flexion-positive",
    "RateOverstated": "identity.rate-holds",
    "WatchdogTooLong": "identity.times-declared",
    "Clamps": "limits.over-range",
    "TakesNaN": "limits.not-finite",
    "HalfApplied": "limits.refused-whole",
    "Jumps": "limits.own-rate-kept",
    "PushesOutward": "limits.inward-at-position-limit",
    "MovesUncalibrated": "limits.uncalibrated-refuses",
    "ArmsTwice": "ordering.double-arm",
    "TakesAnyToken": "ordering.stale-token",
    "ReenablesAfterFault": "ordering.arm-after-fault",
    "DisarmsWhileRunning": "ordering.disarm-while-running",
    "SlowStop": "stop.cat1-from-running",
    "DeafInHold": "stop.cat1-from-hold",
    "QueueOutlivesStop": "stop.full-queue",
    "PowerOffKeepsTorque": "stop.cat0-from-running",
    "EstopReadAsZero": "estop.pressed",
    "EstopNotLatched": "estop.released-stays-latched",
    "UnpluggedIsFree": "estop.unplugged-is-pressed",
    "BlindAtPowerUp": "estop.pressed-at-power-up",
    "AcknowledgedWhilePressed": "estop.pressed-cannot-be-acknowledged",
    "NoWatchdog": "watchdog.link-lost-to-device",
    "TakesOldKeepalives": "watchdog.replayed-keepalive",
    "RevivedByKeepalive": "watchdog.late-keepalive",
    "HidesGaps": "freshness.gap-shows",
    "RepeatsLastRow": "freshness.frozen-source",
    "RestartsNumbers": "freshness.sequence-consecutive",
    "HoldsEveryFifthRow": "freshness.values-move",
    "LogsOnly": "fault.removes-torque",
    "FaultClearsItself": "fault.latches",
    "UnknownIsNone": "fault.unknown-code",
    "WrongCode": "fault.carries-code",
    "SpasmIgnored": "spasm.spasm-yields",
    "ResumesByItself": "spasm.no-auto-resume",
    "RepeatsCommands": "resume.nothing-repeated",
    "KeepsToken": "resume.new-token",
    "TimesOfArrival": "record.effective-time",
    "RampsDownInRunningOnly": "record.ramp-down",
    "Leaks": "soak.no-leak",
    "LosesRowsLater": "soak.rows-complete",
}
FAST = {
    "UnknownSchema", "KneeFlexionNegative", "Clamps", "PushesOutward", "TakesAnyToken",
    "ReenablesAfterFault", "SlowStop", "QueueOutlivesStop", "EstopReadAsZero",
    "UnpluggedIsFree", "BlindAtPowerUp", "NoWatchdog", "HidesGaps", "RepeatsLastRow",
    "LogsOnly", "UnknownIsNone", "SpasmIgnored", "ResumesByItself", "RepeatsCommands",
    "KeepsToken", "TimesOfArrival", "RampsDownInRunningOnly",
}  # fmt: skip
"""In every run of the tests; the others in the slow tier."""
REAL_SECONDS = ("watchdog.", "soak.")


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(BROKEN))


@pytest.mark.parametrize(
    "name",
    [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in CAUGHT],
)
def test_each_is_caught_by_its_check(name: str) -> None:
    quick = not CAUGHT[name].startswith(REAL_SECONDS)
    group = CAUGHT[name].partition(".")[0]
    result = run_kit(f"broken_trainers:{name}", groups=[group], quick=quick)
    assert [o.check.id for o in result.failed] == [CAUGHT[name]], [
        (o.check.id, o.observed) for o in result.failed
    ]


def test_every_driver_and_every_group_has_its_line() -> None:
    sys.path.insert(0, str(BROKEN))
    try:
        import broken_trainers  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(BROKEN))
    kinds = {
        name
        for name, kind in vars(broken_trainers).items()
        if inspect.isclass(kind)
        and issubclass(kind, broken_trainers.Trainer)
        and kind is not broken_trainers.Trainer
    }
    assert kinds == set(CAUGHT)
    assert {check.partition(".")[0] for check in CAUGHT.values()} == set(group_names())


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CAUGHT if not CAUGHT[n].startswith(REAL_SECONDS)])
def test_all_groups_together_catch_it_too(name: str) -> None:
    result = run_kit(f"broken_trainers:{name}", quick=True)
    assert CAUGHT[name] in {o.check.id for o in result.failed}
