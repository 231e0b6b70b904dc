"""Random sequences of inputs: whatever happens, in whatever order, the machine's promises hold.

A sequence is bytes, two an input, read against the state that has been reached, so that
answers find open prompts and decisions find open proposals, and most sequences get far.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from device_interface.contract import DeviceState
from trialkit._content import find_content
from trialkit.protocol import load_protocol
from trialkit.record.kinds import SessionCommand, SessionTransition
from trialkit.session import reasons
from trialkit.session import words as w
from trialkit.session.guards import GUARDS, REPEATS
from trialkit.session.machine import FINAL, State, start, step
from trialkit.session.program import Course, Program, make_course

FIT = {
    "systolic_mmhg": 120.0,
    "diastolic_mmhg": 75.0,
    "heart_rate_bpm": 70.0,
    "spo2_percent": 97.0,
    "pain_0_10": 0.0,
    "open_wound": 0.0,
    "dysreflexia": 0.0,
    "dvt_or_fracture": 0.0,
}
EASY = {"rpe": 11.0, "trips": 0.0, "knee_collapses": 0.0, "gait_acceptable": 1.0}
STOPPED = FINAL - {"completed"}
SHIFTS = {
    "planned": {"ready"} | STOPPED,
    "ready": {"running"} | STOPPED,
    "running": {"pausing", "held"} | FINAL,
    "pausing": {"held"} | STOPPED,
    "held": {"running"} | FINAL,
}
R, H = int(DeviceState.RUNNING), int(DeviceState.HOLD)


def _course(name: str) -> Course:
    return make_course(load_protocol(find_content("protocols", name)))


def _mixed() -> Course:
    """A session with blocks off the device between, and two without prompts."""
    protocol = load_protocol(find_content("protocols", "stroke-robotic"))
    blocks = list(protocol.session.blocks)
    away = blocks[2].model_copy(
        update={"id": "overground", "kind": "overground", "prompts": ["rpe"], "minutes": 5.0}
    )
    last = away.model_copy(update={"id": "therapy", "kind": "therapy", "prompts": []})
    blocks = [blocks[0], blocks[1], away, blocks[2].model_copy(update={"prompts": []})]
    blocks += [protocol.session.blocks[3], last]
    session = protocol.session.model_copy(update={"blocks": blocks})
    return make_course(protocol.model_copy(update={"session": session}))


COURSES = [_course("stroke-robotic"), _mixed(), _course("sci-robotic-30x5")]
SECONDS = [0.1, 0.1, 1.0, 7.3, 60.0, 120.0, 240.0, 500.0]
CODES = [f"{code}-x" if code in ("alarm", "stale") else code for code in GUARDS] + ["unknown"]


def _running(state: State, p: int) -> w.Input:
    return w.Tick(SECONDS[p % 8], w.Summary(1, R, 0, 0.4, measures={"tracking_error_rad": p / 2e3}))


def _standing(state: State, p: int) -> w.Input:
    return w.Tick(SECONDS[p % 5], w.Summary(1, H, 401 * (p & 1), 0.0 if p % 16 else 0.3))


def _odd(state: State, p: int) -> w.Input:
    seen = [
        w.Summary(0, gap_s=0.5),
        w.Summary(0, gap_s=2.0),
        w.Summary(1, int(DeviceState.DISARMED)),
        w.Summary(1, int(DeviceState.FAULT), 202),
        w.Summary(1, 42),
        w.Summary(1, R, speed_m_s=0.4, silent=("emg",)),
        w.Summary(1, R, speed_m_s=0.4, late_s=5.0),
        w.Summary(1, R, speed_m_s=0.4, measures={"heart_rate_bpm": math.nan}),
    ]
    return w.Tick(0.1, seen[p % 8])


def _guard(state: State, p: int) -> w.Input:
    return w.Tick(0.1, w.Summary(1, R, speed_m_s=0.4, guards={CODES[p % len(CODES)]: 99.0}))


def _answered(state: State, p: int) -> w.Input:
    open_now = sorted(state.waiting)
    block = open_now[p % len(open_now)] if open_now else "walk-1"
    other = [{}, {"rpe": 17.0}, {"rpe": 15.0, "trips": 2.0}, {"pain_0_10": 5.0}]
    values = {**EASY, **FIT} if p < 240 else {**EASY, **other[p % 4]}
    return w.Answered(block, {**values, "spo2_percent": math.nan} if p == 255 else values)


def _decide(state: State, p: int) -> w.Input:
    number = min(state.proposals, default=p % 5)
    value = [None, None, None, -2.0, 0.4, 5.0, math.nan, math.inf][p % 8]
    return w.Decide(number, p % 3 > 0, "PT", value)


def _resume(state: State, p: int) -> w.Input:
    return [w.Resume("", "rest_taken"), w.Resume("checked"), w.Resume(), w.Resume("", "nonsense")][
        p % 4
    ]


def _rare(state: State, p: int) -> w.Input:
    rare: list[w.Input] = [
        w.Stop("operator", "stop"),
        w.Stop("participant", "tired"),
        w.Stop("safety"),
        w.DeviceFailed("link_lost"),
        w.Acknowledged(state.commands, False, {}, "refused"),
        w.Ready(),
        w.Begin(FIT),
        w.Begin({}),
    ]
    return rare[p % 8]


ACTS: list[Callable[[State, int], w.Input]] = [
    *[_running] * 24,
    *[_standing] * 6,
    *[_answered] * 12,
    *[_decide] * 5,
    *[_resume] * 7,
    *[lambda state, p: w.Acknowledged(state.commands, True)] * 2,
    *[lambda state, p: w.BlockLogged(state.block_id, 5.0)] * 2,
    lambda state, p: w.BlockLogged(state.block_id, [5.0, 0.0, -1.0, math.nan][p % 4]),
    lambda state, p: w.Hold("pain" if p & 1 else "operator"),
    lambda state, p: w.Hold("nonsense", "text"),
    _guard,
    _odd,
    _rare,
]
assert len(ACTS) == 64  # a byte finds each equally often


class Watch:
    """Holds a session against its promises, step by step."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.running_s = 0.0
        self.planned_s = sum(block.seconds for block in course.blocks if block.on_device)
        self.commands = 0

    def look(
        self, before: State, given: w.Input, after: State, effects: tuple[w.Effect, ...]
    ) -> None:
        if before.phase in FINAL:
            assert after is before
            assert effects == ((w.StopDevice(1),) if isinstance(given, w.Stop) else ())
            return
        assert after.phase == before.phase or after.phase in SHIFTS[before.phase]
        if before.phase in ("held", "pausing") and after.phase == "running":
            assert before.phase == "held"
            assert isinstance(given, w.Resume)
        self.look_at_dose(before, given, after)
        self.look_at_effects(before, given, after, effects)
        for name, level in after.levels.items():
            envelope = self.course.envelopes.get(name)
            assert envelope is None or envelope.minimum <= level <= envelope.maximum
        assert all(times < REPEATS for times in after.trips.values()) or after.final

    def look_at_dose(self, before: State, given: w.Input, after: State) -> None:
        gained = after.delivered_s - before.delivered_s
        if not isinstance(given, w.Tick) or not before.delivering:
            assert gained == 0.0
            return
        assert -1e-9 <= gained <= given.dt_s + 1e-9
        blocks = self.course.blocks
        ahead = before.left_s
        if after.phase == "running" or after.phase == "completed":
            for block in blocks[before.block + 1 :]:
                if not block.on_device:
                    break
                ahead += block.seconds
        assert abs(gained - min(given.dt_s, ahead)) < 1e-6
        self.running_s += min(given.dt_s, ahead)
        assert abs(after.delivered_s - self.running_s) < 1e-5
        assert after.delivered_s <= self.planned_s + 1e-6
        done = sum(b.seconds for b in blocks[: after.block] if b.on_device)
        if after.on_device:
            done += blocks[after.block].seconds - after.left_s
        assert abs(after.delivered_s - done) < 1e-5  # each block once, none twice

    def look_at_effects(
        self, before: State, given: w.Input, after: State, effects: tuple[w.Effect, ...]
    ) -> None:
        logged = False
        for at, effect in enumerate(effects):
            if isinstance(effect, w.Append):
                logged = True
                if isinstance(effect.payload, SessionTransition):
                    self.look_at_code(given, effect)
            elif isinstance(effect, w.StopDevice | w.HoldDevice):
                assert not logged
            elif isinstance(effect, w.Send):
                told = effects[at - 1]
                assert isinstance(told, w.Append)
                assert isinstance(told.payload, SessionCommand)
                assert (told.payload.number, told.payload.phase) == (effect.number, "requested")
                self.commands += 1
                assert effect.number == self.commands
                assert before.phase in ("ready", "running", "held")
                self.look_at_setpoints(effect)
            elif isinstance(effect, w.Arm | w.ResumeDevice):
                assert before.phase in ("ready", "running", "held")
        if after.phase in STOPPED:
            assert isinstance(effects[0], w.StopDevice)
            assert not any(isinstance(e, w.Send | w.Arm | w.ResumeDevice) for e in effects)

    def look_at_setpoints(self, send: w.Send) -> None:
        for name, value in send.values.items():
            limit = self.course.limits[name]
            rest = name == "speed_m_s" and value == 0.0
            assert rest or limit.minimum <= value <= limit.maximum
            assert 0 < send.rates[name] <= limit.rate_per_s

    def look_at_code(self, given: w.Input, effect: w.Append) -> None:
        payload = effect.payload
        assert isinstance(payload, SessionTransition)
        if isinstance(given, w.Stop):
            assert payload.code in reasons.STOP
        elif isinstance(given, w.Hold):
            assert payload.code in reasons.HOLD
        elif isinstance(given, w.Resume):
            assert payload.code in reasons.RESUME
            assert payload.code != "other" or effect.reason


reached: set[str] = set()


def play(data: bytes) -> None:
    """Play one sequence: the first byte chooses the course, and whether it is begun at once."""
    first = data[0] if data else 0
    course = COURSES[first % len(COURSES)]
    watch = Watch(course)
    state = start(Program(course, "X-S01"))
    at_once: list[w.Input] = [] if first >= 250 else [w.Ready(), w.Begin(FIT)]
    acts = [(ACTS[a % len(ACTS)], p) for a, p in zip(data[1::2], data[2::2], strict=False)]
    for n in range(len(at_once) + len(acts)):
        given_ = at_once[n] if n < len(at_once) else None
        if given_ is None:
            act, p = acts[n - len(at_once)]
            given_ = act(state, p)
        before = state
        state, effects = step(before, given_)
        watch.look(before, given_, state, effects)
        reached.add(state.phase)
        stopped, halted = step(state, w.Stop("participant", "asked"))
        assert halted[0] == w.StopDevice(1)
        assert stopped.phase == (state.phase if state.final else "stopped_participant")


SEQUENCES = st.binary(min_size=1, max_size=61)
COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate, Phase.shrink],
}


@settings(max_examples=2000, **COMMON)  # type: ignore[arg-type]
@given(data=SEQUENCES)
def test_two_thousand_sequences(data: bytes) -> None:
    play(data)


@pytest.mark.slow(seconds=190)
@settings(max_examples=100_000, **COMMON)  # type: ignore[arg-type]
@given(data=SEQUENCES)
def test_a_hundred_thousand_sequences(data: bytes) -> None:
    play(data)


def test_sequences_get_everywhere() -> None:
    """A plain generator of the same sequences gets into every phase: the test above sees them."""
    import random

    source = random.Random(20260105)
    reached.clear()
    for _ in range(1500):
        play(source.randbytes(source.randrange(1, 160)))
    assert {*SHIFTS, *FINAL} == reached


@settings(max_examples=300, **COMMON)  # type: ignore[arg-type]
@given(data=SEQUENCES, cut=st.integers(1, 40))
def test_dose_does_not_depend_on_how_time_is_cut(data: bytes, cut: int) -> None:
    """The same time in one tick or in many delivers the same, up to the same block."""
    course = COURSES[data[0] % len(COURSES)]
    whole, _ = step(step(start(Program(course, "X")), w.Ready())[0], w.Begin(FIT))
    parts = whole
    for byte in data:
        seconds = byte / 3.0
        whole, _ = step(whole, w.Tick(seconds, w.Summary(1, R, speed_m_s=0.4)))
        for _ in range(cut):
            parts, _ = step(parts, w.Tick(seconds / cut, w.Summary(1, R, speed_m_s=0.4)))
    assert (whole.block, whole.phase) == (parts.block, parts.phase)
    assert whole.delivered_s == pytest.approx(parts.delivered_s, abs=1e-5)
