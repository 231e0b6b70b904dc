"""Every driver passes the whole kit, soak included; what cannot be judged on it is named.

Each in one run to its end, several devices at the same time. The kit itself tells a machine
that is late from a device that is, and repeats what failed then; see docs/write-a-driver.md.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from device_interface.conformance import GROUPS, KitResult, run_kit
from trialkit._clock import SimulatedClock
from trialkit._content import find_content
from trialkit.participants import consent, enrol
from trialkit.record.sign import KeyStore
from trialkit.session import ScriptedOperator, run_session
from trialkit.study import Study

pytestmark = pytest.mark.slow
CHECKS = [check.id for group in GROUPS for check in group.checks]
USUBJID = "SCI-RAGT-01-001"
NO_REVERSAL = {"spasm.velocity-reversal-yields"}
NO_OPTIONS = {
    "limits.uncalibrated-refuses", "estop.pressed-at-power-up", "freshness.rollover-counted",
}  # fmt: skip
"""A driver around another device, or around a file, takes neither of the three options."""
UNSEEN = {
    "stop.reader-blocked", "watchdog.link-lost-from-device", "watchdog.host-stopped",
    "watchdog.host-killed", "record.ramp-down-without-host",
}  # fmt: skip
"""Without a belt the black box cannot tell motion."""
PLAYER = NO_OPTIONS | UNSEEN | {
    "identity.knee-flexion-positive", "identity.velocity-agrees",
    "limits.refused-whole", "limits.own-rate-kept", "limits.asked-rate-kept",
    "limits.inward-at-position-limit", "record.effective-time",
    "stop.cat0-from-ramp-down", "stop.cat1-from-ramp-down", "stop.cat2-from-ramp-down",
    "estop.unplugged-is-pressed",
    "freshness.frozen-source", "freshness.gap-shows", "freshness.duplicate-shows",
    "freshness.reorder-shows", "freshness.clock-step-shows",
    "spasm.spasm-yields", "spasm.velocity-reversal-yields", "spasm.tracking-error-yields",
    "spasm.overload-removes-torque", "spasm.no-auto-resume", "spasm.spasm-reported",
    "spasm.each-spasm-counts",
    "resume.while-moving-refused", "resume.nothing-repeated", "resume.pending-dropped",
    "resume.ramps-from-zero",
}  # fmt: skip
"""A player moves nobody: it has no joint, no spasm, no ramp, and no telemetry to be hurt."""
NO_PARAMETER = {
    "identity.parameters-declared", "limits.over-range", "limits.not-finite",
    "limits.not-a-number", "limits.rate-out-of-range", "limits.limits-accepted",
}  # fmt: skip


def passes(result: KitResult, left_out: set[str]) -> None:
    """Every check was run; none failed; those not applicable are `left_out` and no other."""
    assert [o.check.id for o in result.outcomes] == CHECKS
    assert [(o.check.id, o.observed, o.tries, o.late_s) for o in result.failed] == []
    others = {o.check.id for o in result.outcomes if o.verdict == "not_applicable"}
    assert others == left_out
    assert not result.quick


def test_the_body() -> None:
    pytest.importorskip("mujoco")
    result = run_kit("mujoco", soak_s=600.0, at_once=2)  # real seconds of a processor
    passes(result, NO_REVERSAL | {"spasm.tracking-error-yields"})


@pytest.mark.alone
def test_the_drives_on_a_bus() -> None:
    passes(run_kit("canopen", soak_s=30.0, at_once=2), NO_REVERSAL)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed session as the shipped protocol has it: 34 minutes, with rests."""
    folder = tmp_path_factory.mktemp("recording")
    with Study.create(
        folder / "study",
        protocols=[find_content("protocols", "sci-robotic-30x5")],
        actor="owner",
        clock=SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)),
        keys=KeyStore(folder / "keys"),
    ) as study:
        enrol(study, USUBJID, site="01")
        consent(study, USUBJID, version="1")
        run_session(study, USUBJID, number=1, day=1, operator=ScriptedOperator([]))
        return study.folder / "telemetry" / f"{USUBJID}-S01"


def test_a_recorded_session(recording: Path) -> None:
    options = {"recording": str(recording), "setpoints": "ignore"}
    passes(run_kit("replay", options, soak_s=1500.0, at_once=3), PLAYER)


def test_a_foreign_recording(shared: Path) -> None:
    path = shared / "data" / "exo_openexo_ankle_clockwrap_299s.csv.gz"
    options = {"recording": str(path), "setpoints": "ignore"}
    result = run_kit("replay", options, soak_s=240.0, at_once=3)  # no longer than it is
    passes(result, PLAYER | NO_PARAMETER)


LOOPBACK = """
[ports]
IPv6 = disable
[multicast]
ResolveScope = machine
[lab]
KnownPeers = {127.0.0.1}
"""


@contextlib.contextmanager
def sender(name: str) -> Iterator[None]:
    script = Path(__file__).resolve().parents[1] / "lsl" / "lsl_outlet.py"
    process = subprocess.Popen(
        [sys.executable, str(script), name, "EMG", "200"], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        yield
    finally:
        process.kill()
        process.communicate()


def test_a_device_with_a_stream_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pylsl", exc_type=ImportError)
    (tmp_path / "lsl_api.cfg").write_text(LOOPBACK)
    monkeypatch.setenv("LSLAPICFG", str(tmp_path / "lsl_api.cfg"))
    stream = {"stream": "emg", "name": "whole-kit", "required": True}
    options: dict[str, Any] = {"device": "simulated", "streams": [stream], "find_s": 20.0}
    with sender("whole-kit"):
        passes(run_kit("lsl", options, soak_s=30.0, at_once=6), NO_OPTIONS)
