from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_interface.contract import DeviceState
from trialkit._content import find_content
from trialkit.protocol import load_protocol
from trialkit.record.kinds import (
    DeviationRaised,
    SessionAdapted,
    SessionCommand,
    SessionPrompt,
    SessionTransition,
)
from trialkit.session import words as w
from trialkit.session.machine import FINAL, State, start, step
from trialkit.session.program import Program, make_course

PROTOCOL = load_protocol(find_content("protocols", "stroke-robotic"))
COURSE = make_course(PROTOCOL)
PROGRAM = Program(COURSE, "X-S01")
PLANNED_S = sum(block.seconds for block in COURSE.blocks)
FIT = {
    "systolic_mmhg": 120.0,
    "diastolic_mmhg": 75.0,
    "heart_rate_bpm": 70.0,
    "spo2_percent": 97.0,
    "pain_0_10": 0.0,
    "open_wound": 0.0,
}
EASY = {"rpe": 11.0, "trips": 0.0, "knee_collapses": 0.0, "gait_acceptable": 1.0}
SHIFTS = {
    "planned": {"ready", "stopped_operator", "stopped_participant", "stopped_safety"}
    | {"device_fault"},
    "ready": {"running", "stopped_operator", "stopped_participant", "stopped_safety"}
    | {"device_fault"},
    "running": {"pausing", "held"} | FINAL,
    "pausing": {"held"} | (FINAL - {"completed"}),
    "held": {"running"} | FINAL,
}


def tick(
    dt: float, state: DeviceState | None = DeviceState.RUNNING, speed: float = 0.4, **changes: Any
) -> w.Tick:
    number = None if state is None else int(state)
    return w.Tick(dt, w.Summary(1, device_state=number, speed_m_s=speed, **changes))


def run(state: State, *inputs: w.Input) -> tuple[State, list[w.Effect]]:
    effects: list[w.Effect] = []
    for given_ in inputs:
        state, more = step(state, given_)
        effects += more
    return state, effects


def running() -> State:
    state, _ = run(start(PROGRAM), w.Ready(), w.Begin(FIT))
    assert state.phase == "running"
    return state


def payloads(effects: Sequence[w.Effect], kind: type[Any]) -> list[Any]:
    return [e.payload for e in effects if isinstance(e, w.Append) and isinstance(e.payload, kind)]


def walk_to_end(state: State) -> tuple[State, list[w.Effect]]:
    """Deliver what remains, answering every prompt with easy values."""
    effects: list[w.Effect] = []
    for _ in range(5000):
        state, more = step(state, tick(10.0))
        effects += more
        for asked in [e for e in more if isinstance(e, w.Ask)]:
            values = {sign: EASY.get(sign, FIT.get(sign, 0.0)) for sign in asked.prompts}
            state, answered = step(state, w.Answered(asked.block, values))
            effects += answered
        for proposed in [e for e in effects if isinstance(e, w.Propose)]:
            if proposed.number in state.proposals:
                state, decided = step(state, w.Decide(proposed.number, True, "PT"))
                effects += decided
        if state.final:
            return state, effects
    raise AssertionError("the session does not end")


def test_a_session_delivers_every_block_once_and_completes() -> None:
    state, effects = walk_to_end(running())
    assert state.phase == "completed"
    assert state.delivered_s == pytest.approx(PLANNED_S)
    asked = [e.block for e in effects if isinstance(e, w.Ask)]
    assert asked == [block.id for block in COURSE.blocks if block.prompts]
    assert len(payloads(effects, SessionPrompt)) == len(asked)


def test_commands_are_committed_before_they_are_sent() -> None:
    _, effects = walk_to_end(running())
    sent = [at for at, e in enumerate(effects) if isinstance(e, w.Send)]
    assert len(sent) >= 6
    for at in sent:
        before, send = effects[at - 1], effects[at]
        assert isinstance(before, w.Append)
        assert isinstance(before.payload, SessionCommand)
        assert isinstance(send, w.Send)
        assert before.payload.phase == "requested"
        assert before.payload.number == send.number
        assert before.payload.setpoints == send.values


def test_setpoints_carry_the_rates_of_the_protocol() -> None:
    _, effects = run(start(PROGRAM), w.Ready(), w.Begin(FIT))
    send = next(e for e in effects if isinstance(e, w.Send))
    assert send.values == {"speed_m_s": 0.333, "support_fraction": 0.40, "guidance": 1.0}
    assert send.rates == {"speed_m_s": 0.1, "support_fraction": 0.05, "guidance": 0.1}
    kinds = [type(e) for e in effects]
    assert kinds.index(w.Arm) < kinds.index(w.Send)


@pytest.mark.parametrize(
    ("signs", "rule"),
    [
        ({"systolic_mmhg": 181.0}, "bp-high-rest"),
        ({"systolic_mmhg": 89.0}, "bp-low-rest"),
        ({"spo2_percent": 91.0}, "spo2-rest"),
        ({"open_wound": 1.0}, "wound"),
    ],
)
def test_screening_keeps_a_session_from_starting(signs: dict[str, float], rule: str) -> None:
    state, effects = run(start(PROGRAM), w.Ready(), w.Begin({**FIT, **signs}))
    assert state.phase == "stopped_safety"
    assert state.code == rule
    assert not [e for e in effects if isinstance(e, w.Arm | w.Send)]
    assert payloads(effects, SessionPrompt)[0].values[next(iter(signs))] in signs.values()


def test_a_sign_that_was_not_entered_is_no_permission() -> None:
    without = {name: value for name, value in FIT.items() if name != "systolic_mmhg"}
    state, _ = run(start(PROGRAM), w.Ready(), w.Begin(without))
    assert state.phase == "stopped_safety"
    assert state.code == "bp-high-rest.not_entered"


def test_the_bounds_themselves_do_not_trip() -> None:
    state, _ = run(start(PROGRAM), w.Ready(), w.Begin({**FIT, "systolic_mmhg": 180.0}))
    assert state.phase == "running"


def test_hold_is_sent_first_and_only_a_resume_leaves_held() -> None:
    state, _ = run(running(), tick(50.0))
    state, effects = step(state, w.Hold())
    assert isinstance(effects[0], w.HoldDevice)
    assert state.phase == "pausing"
    state, _ = step(state, w.Resume("too early"))
    assert state.phase == "pausing"
    state, _ = step(state, tick(0.5, DeviceState.HOLD, 0.2))
    assert state.phase == "pausing"
    state, _ = step(state, tick(0.5, DeviceState.HOLD, 0.0))
    assert state.phase == "held"
    for _ in range(50):
        state, effects = step(state, tick(30.0, DeviceState.HOLD, 0.0))
        assert (state.phase, effects) == ("held", ())
    state, effects = step(state, w.Resume(" "))
    assert state.phase == "held"
    state, effects = step(state, w.Resume("rest taken"))
    assert state.phase == "running"
    kinds = [type(e) for e in effects]
    assert kinds.index(w.ResumeDevice) < kinds.index(w.Send)
    first = effects[0]
    assert isinstance(first, w.Append)
    assert first.reason == "rest taken"


def test_resume_continues_what_remains() -> None:
    state, _ = run(running(), tick(100.0), w.Hold(), tick(1.0, DeviceState.HOLD, 0.0))
    left = state.left_s
    assert left == COURSE.blocks[0].seconds - 100.0
    state, effects = run(state, tick(600.0, DeviceState.HOLD, 0.0), w.Resume("rest taken"))
    assert state.left_s == left
    send = next(e for e in effects if isinstance(e, w.Send))
    assert send.values["speed_m_s"] == 0.333  # everything is sent anew: the belt starts from rest
    state, _ = walk_to_end(state)
    assert state.delivered_s == pytest.approx(PLANNED_S)


def test_a_device_that_does_not_come_to_rest_is_stopped() -> None:
    state, _ = run(running(), tick(10.0), w.Hold())
    state, effects = run(state, *[tick(1.0, DeviceState.HOLD, 0.4)] * 6)
    assert state.phase == "stopped_safety"
    assert effects[0] == w.StopDevice(0)


def test_pain_holds_and_must_be_entered_again_before_a_resume() -> None:
    state, _ = run(running(), tick(240.0), w.Answered("warm-up", {"rpe": 10.0}), tick(480.0))
    pain = {"rpe": 12.0, "pain_0_10": 5.0, "trips": 0.0, "knee_collapses": 0.0}
    state, effects = step(state, w.Answered("walk-1", {**pain, "gait_acceptable": 1.0}))
    assert isinstance(effects[0], w.HoldDevice)
    state, _ = step(state, tick(1.0, DeviceState.HOLD, 0.0))
    state, effects = step(state, w.Resume("sign checked"))
    assert state.phase == "held"
    asked = [e for e in effects if isinstance(e, w.Ask)]
    assert asked == [w.Ask("recheck-pain_0_10", ("pain_0_10",))]
    state, _ = step(state, w.Answered("recheck-pain_0_10", {"pain_0_10": 3.0}))
    assert state.phase == "held"
    state, _ = step(state, w.Resume("sign checked"))
    assert state.phase == "running"


@pytest.mark.parametrize(
    ("summary", "phase", "code"),
    [
        (w.Summary(0, gap_s=1.2), "stopped_safety", "telemetry-gap"),
        (w.Summary(1, device_state=6, fault_code=202), "device_fault", "fault-202"),
        (w.Summary(1, device_state=7, fault_code=301), "device_fault", "estop_physical-301"),
        (w.Summary(1, device_state=9, fault_code=210), "device_fault", "link_lost-210"),
        (w.Summary(1, device_state=1), "device_fault", "left_running-disarmed"),
    ],
)
def test_what_the_device_shows_ends_the_session(summary: w.Summary, phase: str, code: str) -> None:
    state, _ = run(running(), tick(10.0))
    state, effects = step(state, w.Tick(0.1, summary))
    assert (state.phase, state.code) == (phase, code)
    assert isinstance(effects[0], w.StopDevice)


def test_a_device_that_holds_by_itself_is_held() -> None:
    state, _ = run(running(), tick(10.0))
    state, _ = step(state, tick(0.1, DeviceState.HOLD, 0.3, fault_code=401))
    assert state.phase == "pausing"
    state, effects = step(state, tick(0.5, DeviceState.HOLD, 0.0))
    assert state.phase == "held"
    assert payloads(effects, SessionTransition)[0].new == "held"


def test_rows_from_before_the_arming_do_not_count_as_a_fault() -> None:
    state, _ = run(running(), tick(0.1, DeviceState.DISARMED), tick(0.1, DeviceState.ARMED))
    assert state.phase == "running"


def test_a_refused_setpoint_holds() -> None:
    state, effects = step(running(), w.Acknowledged(1, False, {"speed_m_s": 0.3}, "too fast"))
    assert isinstance(effects[0], w.HoldDevice)
    assert payloads(effects, SessionCommand)[0].phase == "refused"
    assert state.phase == "pausing"


def test_progression_waits_for_the_therapist_and_moves_one_setting_by_one_step() -> None:
    state, _ = run(running(), tick(240.0), w.Answered("warm-up", {"rpe": 9.0}), tick(480.0))
    state, effects = step(state, w.Answered("walk-1", {**EASY, "pain_0_10": 0.0}))
    asked = [e for e in effects if isinstance(e, w.Propose)]
    assert [(p.parameter, p.old, p.proposed) for p in asked] == [("speed_m_s", 0.417, 0.445)]
    assert not payloads(effects, SessionAdapted)
    assert state.levels["speed_m_s"] == 0.417
    state, effects = step(state, w.Decide(asked[0].number, True, "PT"))
    adapted = payloads(effects, SessionAdapted)
    assert [(a.accepted, a.by, a.proposed) for a in adapted] == [(True, "PT", 0.445)]
    assert adapted[0].inputs == {"rpe": 11.0, "trips": 0.0}
    assert state.levels["speed_m_s"] == 0.445
    state, effects = run(state, tick(120.0))
    sends = [e.values for e in effects if isinstance(e, w.Send)]
    assert sends == [{"speed_m_s": 0.445}]


def test_an_override_is_recorded_as_a_refusal_and_a_decision() -> None:
    state, _ = run(running(), tick(240.0), w.Answered("warm-up", {"rpe": 9.0}), tick(480.0))
    state, effects = step(state, w.Answered("walk-1", {**EASY, "pain_0_10": 0.0}))
    number = next(e.number for e in effects if isinstance(e, w.Propose))
    state, effects = step(state, w.Decide(number, False, "PT", value=5.0))
    adapted = payloads(effects, SessionAdapted)
    assert [a.accepted for a in adapted] == [False, True]
    assert adapted[1].rule == "override"
    assert state.levels["speed_m_s"] == 0.833  # clamped to envelope and limit


def test_an_undecided_proposal_is_closed_as_refused() -> None:
    state, _ = run(running(), tick(240.0), w.Answered("warm-up", {"rpe": 9.0}), tick(480.0))
    state, _ = step(state, w.Answered("walk-1", {**EASY, "pain_0_10": 0.0}))
    _, effects = step(state, w.Stop())
    adapted = payloads(effects, SessionAdapted)
    assert [(a.accepted, a.by) for a in adapted] == [(False, "undecided")]


def test_a_rule_that_fires_after_the_last_block_is_a_deviation() -> None:
    state = running()
    for block in COURSE.blocks:
        state, _ = step(state, tick(block.seconds))
        if block.id != "cool-down":
            state, _ = step(state, w.Answered(block.id, {}))
    assert state.finishing
    assert not state.final
    state, effects = step(state, w.Answered("cool-down", {"skin_blister": 1.0}))
    assert state.phase == "completed"
    assert payloads(effects, DeviationRaised)[0].category == "stop_rule"


def test_a_block_without_the_device_is_logged_and_never_ticks_away() -> None:
    changed = PROTOCOL.model_copy(
        update={
            "session": PROTOCOL.session.model_copy(
                update={
                    "blocks": [
                        PROTOCOL.session.blocks[0].model_copy(update={"prompts": []}),
                        PROTOCOL.session.blocks[0].model_copy(
                            update={
                                "id": "ground",
                                "kind": "overground",
                                "speed_m_s": None,
                                "support_fraction": None,
                                "guidance": None,
                                "prompts": [],
                            }
                        ),
                        PROTOCOL.session.blocks[6].model_copy(update={"prompts": []}),
                    ]
                }
            )
        }
    )
    program = Program(make_course(changed), "X-S01")
    state, _ = run(start(program), w.Ready(), w.Begin(FIT))
    state, effects = step(state, tick(240.0))
    assert [type(e) for e in effects] == [w.RampDown, w.LogBlock]
    state, effects = run(state, *[tick(600.0, DeviceState.DISARMED, 0.0)] * 5)
    assert (effects, state.block_id) == ([], "ground")
    assert state.delivered_s == 240.0
    state, effects = step(state, w.BlockLogged("ground", 5.0))
    kinds = [type(e) for e in effects]
    assert kinds.index(w.Arm) < kinds.index(w.Send)
    state, _ = step(state, tick(180.0))
    assert state.phase == "completed"
    assert state.delivered_s == 420.0


# --- properties --------------------------------------------------------------------------

SIGNS = st.fixed_dictionaries(
    {},
    optional={
        "rpe": st.sampled_from([9.0, 13.0, 16.0, 18.0]),
        "pain_0_10": st.sampled_from([0.0, 4.0, 5.0]),
        "trips": st.sampled_from([0.0, 2.0]),
        "knee_collapses": st.sampled_from([0.0, 1.0]),
        "gait_acceptable": st.sampled_from([0.0, 1.0]),
        "systolic_mmhg": st.sampled_from([120.0, 210.0]),
        "skin_blister": st.sampled_from([0.0, 0.0, 1.0]),
    },
)
BLOCKS = st.sampled_from([b.id for b in COURSE.blocks] + ["recheck-pain_0_10", "recheck-rpe", "?"])
TICKS = st.builds(
    tick,
    st.sampled_from([0.01, 0.1, 0.5, 7.0, 60.0, 300.0, 1000.0]),
    st.sampled_from(
        [DeviceState.RUNNING] * 8 + [DeviceState.HOLD] * 5 + [None, DeviceState.DISARMED]
    ),
    st.sampled_from([0.0, 0.4]),
    gap_s=st.sampled_from([0.0] * 20 + [2.0]),
)
INPUTS: st.SearchStrategy[w.Input] = st.one_of(
    TICKS,
    TICKS,
    TICKS,
    st.builds(w.Ready),
    st.builds(w.Begin, st.just(FIT)),
    st.builds(w.Hold),
    st.builds(w.Resume, st.sampled_from(["rest taken", ""])),
    st.builds(w.Answered, BLOCKS, SIGNS),
    st.builds(
        w.Decide,
        st.integers(1, 4),
        st.booleans(),
        st.just("PT"),
        st.one_of(st.none(), st.floats(-2, 2)),
    ),
    st.builds(w.BlockLogged, BLOCKS, st.just(5.0)),
    st.builds(w.Acknowledged, st.integers(1, 9), st.sampled_from([True] * 9 + [False])),
)
LONG = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check_effects(before: State, after: State, effects: tuple[w.Effect, ...]) -> None:
    assert before.phase == after.phase or after.phase in SHIFTS[before.phase]
    for effect in effects:
        if isinstance(effect, w.Send):
            for name, value in effect.values.items():
                limit = COURSE.limits[name]
                rest = name == "speed_m_s" and value == 0.0
                assert rest or limit.minimum <= value <= limit.maximum
                assert effect.rates[name] <= limit.rate_per_s
            assert after.phase == "running"
    halts = [at for at, e in enumerate(effects) if isinstance(e, w.StopDevice | w.HoldDevice)]
    logged = [at for at, e in enumerate(effects) if isinstance(e, w.Append)]
    if halts and not any(isinstance(e, w.Ask) for e in effects):
        assert not logged or halts[0] < logged[0]
    for name, level in after.levels.items():
        envelope = COURSE.envelopes[name]
        assert envelope.minimum - 1e-9 <= level <= envelope.maximum + 1e-9


@LONG
@given(inputs=st.lists(INPUTS, max_size=60))
def test_whatever_happens(inputs: list[w.Input]) -> None:
    state = start(PROGRAM)
    ended: str | None = None
    for given_ in [w.Ready(), w.Begin(FIT), *inputs]:
        before = state
        state, effects = step(state, given_)
        if ended is not None:  # nothing resumes or commands after the end
            assert (state, effects) == (before, ())
            continue
        check_effects(before, state, effects)
        if state.phase == "running" and before.phase == "held":
            assert isinstance(given_, w.Resume)
        assert state.delivered_s <= PLANNED_S + 1e-6
        if not isinstance(given_, w.Tick) or before.phase != "running":
            assert state.delivered_s == before.delivered_s
        ended = state.phase if state.final else None
        if state.phase == "completed":
            assert state.delivered_s == pytest.approx(PLANNED_S)
        # from here, a stop works
        stopped, effects = step(state, w.Stop("participant", "asked"))
        assert effects[0] == w.StopDevice(1)
        assert stopped.final
        assert stopped.phase == (ended or "stopped_participant")


@LONG
@given(
    pieces=st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.5, 3.0, 33.3, 60.0, 240.0, 500.0]),
            st.booleans(),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_held_and_resumed_never_repeats_dose(pieces: list[tuple[float, bool]]) -> None:
    """However a session is cut into ticks and holds, each block is delivered exactly once."""
    state = running()
    delivered = 0.0
    for dt, pause in pieces:
        if state.final or state.finishing:
            break
        state, _ = step(state, tick(dt))
        delivered += dt
        if pause and state.phase == "running" and not state.finishing:
            state, _ = run(state, w.Hold(), tick(2.0, DeviceState.HOLD, 0.0))
            assert state.phase == "held"
            state, _ = run(state, tick(99.0, DeviceState.HOLD, 0.0), w.Resume("rest taken"))
            assert state.phase == "running"
        assert state.delivered_s == pytest.approx(min(delivered, PLANNED_S))
    while not state.final:
        state, _ = step(state, tick(7.0))
        for block in list(state.waiting):
            state, _ = step(state, w.Answered(block, {}))
    assert state.phase == "completed"
    assert state.delivered_s == pytest.approx(PLANNED_S)


@LONG
@given(inputs=st.lists(INPUTS, max_size=40))
def test_the_same_inputs_give_the_same_decisions(inputs: list[w.Input]) -> None:
    def play() -> list[Any]:
        state, out = start(PROGRAM), []
        for given_ in [w.Ready(), w.Begin(FIT), *inputs]:
            state, effects = step(state, given_)
            out.append((state, effects))
        return out

    assert play() == play()


# --- guards, codes, means ----------------------------------------------------------------------


def guarded(*codes: str, speed: float = 0.4, state: DeviceState = DeviceState.RUNNING) -> w.Tick:
    return tick(0.1, state, speed, guards=dict.fromkeys(codes, 99.0))


REST = tick(1.0, DeviceState.HOLD, 0.0)
CHECKED = w.Resume("", "sign_checked")


@pytest.mark.parametrize("code", ["spasm", "alarm-knee_angle_l", "set_gap-x", "sequence-motion"])
def test_a_guard_holds_and_only_a_resume_goes_on(code: str) -> None:
    state, _ = run(running(), tick(10.0))
    state, effects = step(state, guarded(code))
    assert isinstance(effects[0], w.HoldDevice)
    moved = payloads(effects, SessionTransition)[0]
    assert (moved.new, moved.cause, moved.code) == ("pausing", "guard", code)
    state, _ = run(state, REST, *[REST] * 100)
    assert state.phase == "held"
    state, _ = run(state, guarded(code, speed=0.0, state=DeviceState.HOLD))
    refused, effects = step(state, CHECKED)
    assert refused.phase == "held"
    assert any(isinstance(e, w.Notice) and code in e.text for e in effects)
    state, effects = run(state, REST, CHECKED)
    assert state.phase == "running"
    assert payloads(effects, SessionTransition)[-1].code == "sign_checked"


@pytest.mark.parametrize("code", ["overload", "stale-motion", "vendor-thing"])
@pytest.mark.parametrize("held", [True, False])
def test_a_grave_guard_stops_also_a_session_that_is_held(code: str, held: bool) -> None:
    state, _ = run(running(), tick(10.0))
    if held:
        state, _ = run(state, w.Hold(), REST)
    state, effects = step(state, guarded("spasm", code, speed=0.0))
    assert effects[0] == w.StopDevice(1)
    assert (state.phase, state.code) == ("stopped_safety", code)


@pytest.mark.parametrize("by_device", [True, False])
def test_the_third_hold_by_the_same_guard_ends_the_session(by_device: bool) -> None:
    state, _ = run(running(), tick(10.0))
    trip = tick(2.0, DeviceState.HOLD, 0.3, fault_code=401) if by_device else guarded("spasm")
    for _ in range(2):
        state, _ = run(state, trip, REST, CHECKED, tick(5.0))
        assert state.phase == "running"
    state, _ = run(state, guarded("velocity_reversal"), REST, CHECKED, tick(5.0))
    assert state.phase == "running"  # another guard has a count of its own
    state, effects = step(state, trip)
    assert effects[0] == w.StopDevice(1)
    code = "device_held-401" if by_device else "spasm"
    assert (state.phase, state.code) == ("stopped_safety", f"{code}.repeated")


def test_a_guard_that_trips_before_the_arming_keeps_the_session_from_starting() -> None:
    before = guarded("alarm-knee_angle_l", speed=0.0, state=DeviceState.DISARMED)
    state, effects = run(start(PROGRAM), w.Ready(), before, w.Begin(FIT))
    assert (state.phase, state.code) == ("stopped_safety", "alarm-knee_angle_l")
    assert not [e for e in effects if isinstance(e, w.Arm | w.Send)]
    well = tick(0.1, DeviceState.DISARMED, 0.0)
    state, _ = run(start(PROGRAM), w.Ready(), before, well, w.Begin(FIT))
    assert state.phase == "running"


def test_a_loop_that_is_too_late_holds() -> None:
    state, _ = run(running(), tick(10.0), tick(1.4, late_s=1.3))
    assert state.phase == "pausing"


def test_a_device_that_moves_while_held_is_stopped() -> None:
    state, _ = run(running(), tick(10.0), w.Hold(), REST)
    state, effects = step(state, tick(0.1, DeviceState.HOLD, 0.2))
    assert effects[0] == w.StopDevice(0)
    assert (state.phase, state.code) == ("stopped_safety", "no_rest")


def test_the_time_of_a_tick_that_ends_in_a_hold_is_not_given_again() -> None:
    state, _ = run(running(), tick(100.0), guarded("spasm"))
    assert state.delivered_s == pytest.approx(100.1)
    assert state.left_s == pytest.approx(COURSE.blocks[0].seconds - 100.1)


def test_a_device_state_that_there_is_not_is_a_fault() -> None:
    state, _ = run(running(), tick(10.0), w.Tick(0.1, w.Summary(1, device_state=42)))
    assert (state.phase, state.code) == ("device_fault", "unknown_state_42-0")


def test_a_stream_that_falls_silent_is_named_once() -> None:
    state, _ = run(running(), tick(10.0))
    state, effects = run(state, *[tick(1.0, silent=("emg",))] * 3, tick(1.0, silent=("emg", "imu")))
    assert state.phase == "running"
    raised = payloads(effects, DeviationRaised)
    assert [(d.category, d.detail.partition(":")[0]) for d in raised] == [
        ("stream_silent", "emg"),
        ("stream_silent", "imu"),
    ]


def test_codes_are_of_the_list_and_text_stands_beside_them() -> None:
    state, effects = step(running(), w.Stop("participant", "tired", "wants to go home"))
    last = next(e for e in effects if isinstance(e, w.Append))
    assert (state.code, last.reason) == ("tired", "wants to go home")
    state, effects = step(running(), w.Stop("participant", "vendor code"))
    last = next(e for e in effects if isinstance(e, w.Append))
    assert (state.code, last.reason) == ("other", "vendor code")
    state, effects = run(running(), w.Hold("pain", "left knee"), REST, w.Resume("", "other"))
    assert state.phase == "held"
    assert payloads(effects, SessionTransition)[0].code == "pain"


def test_what_is_no_number_was_not_entered() -> None:
    nan = float("nan")
    state, _ = run(start(PROGRAM), w.Ready(), w.Begin({**FIT, "systolic_mmhg": nan}))
    assert state.code == "bp-high-rest.not_entered"
    state, _ = run(running(), tick(240.0))
    state, effects = step(state, w.Answered("warm-up", {"rpe": nan}))
    assert not payloads(effects, SessionPrompt)
    assert any(isinstance(e, w.Notice) for e in effects)


def test_progression_looks_at_the_mean_over_the_block() -> None:
    rule = PROTOCOL.progression.order[0].model_copy(  # type: ignore[union-attr]
        update={"advance_if": ["tracking_error_rad <= 0.1"], "regress_if": []}
    )
    progression = PROTOCOL.progression.model_copy(update={"order": [rule]})  # type: ignore[union-attr]
    course = make_course(PROTOCOL.model_copy(update={"progression": progression}))

    def error(dt: float, value: float) -> w.Tick:
        return tick(dt, measures={"tracking_error_rad": value})

    def judged(*ticks: w.Tick) -> list[Any]:
        state, _ = run(start(Program(course, "X")), w.Ready(), w.Begin(FIT))
        state, _ = run(state, error(240.0, 0.9), *ticks)  # the warm-up does not count
        _, effects = run(state, w.Answered("walk-1", {"rpe": 11.0}))
        return [e for e in effects if isinstance(e, w.Propose)]

    assert judged(error(400.0, 0.05), error(80.0, 0.3))  # 0.092, though it ended at 0.3
    assert not judged(error(60.0, 0.9), error(420.0, 0.05))  # 0.156, though it ended at 0.05


def test_what_is_measured_while_held_is_not_in_the_mean() -> None:
    state, _ = run(running(), tick(60.0, measures={"tracking_error_rad": 0.2}), w.Hold(), REST)
    state, _ = run(state, tick(900.0, DeviceState.HOLD, 0.0, measures={"tracking_error_rad": 0.0}))
    assert state.means == {"tracking_error_rad": pytest.approx(0.2)}
