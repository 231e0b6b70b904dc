from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from device_interface.contract import Block, Channel, DeviceState, Limits, Stream
from trialkit.session.guards import GUARDS, gravest, guard_table, seen_in
from trialkit.session.spasm import SpasmWatch
from trialkit.session.summary import Summariser
from trialkit.session.watch import StreamWatch
from trialkit.session.words import Summary

RATE = 100.0
MOTION = Stream(
    "motion",
    RATE,
    (
        Channel("knee_velocity_l", "rad/s", "flexion", -20, 20),
        Channel("knee_interaction_torque_l", "N.m", "toward flexion", -200, 200),
        Channel("belt_speed_set_m_s", "m/s", "forward", 0, 1),
        Channel(
            "belt_speed_m_s",
            "m/s",
            "forward",
            -0.2,
            1.2,
            follows="belt_speed_set_m_s",
            allowed_gap=0.1,
            gap_after_s=0.5,
        ),
        Channel("tracking_error_rad", "rad", "off the path", 0, 2),
        Channel(
            "support_load_n", "N", "upward", 0, 2000, limits=Limits(alarm=(0, 900), hysteresis=50)
        ),
        Channel("device_state", "1", "enumeration", 0, 9, kind="int16"),
        Channel("fault_code", "1", "0 is none", 0, 32767, kind="int16"),
    ),
)
HEART = Stream("physio", 1.0, (Channel("heart_rate_bpm", "1/min", "beats", 20, 250),))
EMG = Stream("emg", 1000.0, (Channel("soleus_v", "V", "raw", -1, 1),))


class Feed:
    """Rows of one stream, one block after the other, on a steady clock."""

    def __init__(self, stream: Stream, seq: int = 0) -> None:
        self.stream = stream
        self.seq = seq
        self.row_ns = round(1e9 / (stream.rate_hz or 1.0))
        self.t_ns = 0
        self.rng = np.random.default_rng(1)

    def block(self, n: int = 10, **values: Any) -> Block:
        usual = {
            "knee_velocity_l": self.rng.normal(0, 1, n),
            "soleus_v": self.rng.normal(0, 1, n),
            "belt_speed_set_m_s": 0.4,
            "belt_speed_m_s": 0.4,
            "tracking_error_rad": 0.05,
            "support_load_n": 300.0,
            "heart_rate_bpm": 90.0,
            "device_state": int(DeviceState.RUNNING),
        } | values
        rows = np.zeros((n, len(self.stream.channels)), np.float32)
        for at, channel in enumerate(self.stream.channels):
            rows[:, at] = usual.get(channel.name, 0.0)
        seq = (self.seq + np.arange(n)) & 0xFFFFFFFF
        t = self.t_ns + self.row_ns * np.arange(1, n + 1, dtype=np.int64)
        self.seq, self.t_ns = (self.seq + n) & 0xFFFFFFFF, self.t_ns + n * self.row_ns
        return Block(self.stream.name, seq.astype(np.uint32), t, t + 5, rows)


@pytest.fixture
def feed() -> Feed:
    return Feed(MOTION)


@pytest.fixture
def look(feed: Feed) -> Any:
    """Feed one tick of 0.1 s to a summariser that has seen somebody walk."""
    summariser = Summariser([MOTION])
    assert summariser.summary([feed.block()], 0.1).guards == {}

    def tick(n: int = 10, **values: Any) -> Summary:
        return summariser.summary([feed.block(n, **values)], n / RATE)

    return tick


def test_walking_trips_nothing(look: Any) -> None:
    for n in (1, 3, 10, 100):
        assert look(n).guards == {}


def test_without_strides_to_compare_only_a_great_jump_is_a_spasm(look: Any) -> None:
    slow = np.linspace(-70, 70, 100)  # 7 N.m in 50 ms
    assert look(100, knee_interaction_torque_l=slow).guards == {}
    assert look(10, knee_interaction_torque_l=-49.0).guards == {}
    assert look(10, knee_interaction_torque_l=72.0).guards == {"spasm": pytest.approx(121.0)}
    sudden = np.r_[[72.0] * 5, [-60.0] * 5]
    assert look(10, knee_interaction_torque_l=sudden).guards["spasm"] == pytest.approx(132.0)


class Strides:
    """Strides of 1.2 s whose hip torque swings by 160 N.m, as that of a body does."""

    def __init__(self) -> None:
        self.watch = SpasmWatch(1, 0.01)
        self.rng = np.random.default_rng(3)
        self.row = 0

    def look(self, rows: int, extra: float = 0.0, size: float = 1.0, **options: Any) -> Any:
        at = self.row + np.arange(rows)
        self.row += rows
        phase = (at / 120.0) % 1.0
        torque = 80.0 * size * np.sin(4 * np.pi * phase) + self.rng.normal(0, 3, rows) + extra
        phase, torque = phase.astype(np.float32), torque.astype(np.float32)[:, None]
        t_ns = (at * 10_000_000).astype(np.int64)
        return self.watch.look(torque, phase, t_ns, **{"moving": True, **options})


@pytest.mark.parametrize("rows", [1, 7, 10, 100])
def test_strides_that_are_alike_are_no_spasm_however_steep(rows: int) -> None:
    strides = Strides()
    assert [strides.look(rows) for _ in range(2400 // rows)] == [None] * (2400 // rows)
    grown = [strides.look(rows, size=1.0 + 0.0002 * n * rows) for n in range(1200 // rows)]
    assert grown == [None] * (1200 // rows)  # settings that move change strides slowly


@pytest.mark.parametrize("extra", [100.0, -100.0])
@pytest.mark.parametrize("rows", [3, 10])
def test_a_torque_far_from_the_last_strides_is_a_spasm(extra: float, rows: int) -> None:
    for begin in range(400, 520, 15):  # at every phase
        strides = Strides()
        strides.look(begin)
        found = [strides.look(rows, extra) for _ in range(2)]
        assert any(f is not None and 50 < f < 125 for f in found), begin


def test_one_row_is_no_spasm_and_a_new_walk_has_no_strides() -> None:
    strides = Strides()
    strides.look(480)
    assert strides.look(1, 75.0) is None
    assert strides.look(10, 0.0) is None
    assert strides.look(10, 75.0) is not None
    strides.look(10, moving=False)
    strides.row += 113
    assert strides.look(10, 75.0) is None


def test_lost_rows_are_no_spasm(feed: Feed) -> None:
    summariser = Summariser([MOTION])
    summariser.summary([feed.block(knee_interaction_torque_l=-70.0)], 0.1)
    feed.seq += 40
    feed.t_ns += 400_000_000
    seen = summariser.summary([feed.block(knee_interaction_torque_l=70.0)], 0.5).guards
    assert seen == {}


@pytest.mark.parametrize("torque", [151.0, -151.0, float("nan")])
def test_an_overload_is_any_torque_beyond_the_limit(look: Any, torque: float) -> None:
    assert look(1, knee_interaction_torque_l=0.0).guards == {}
    assert "overload" in look(10, knee_interaction_torque_l=torque).guards


def test_a_read_value_must_come_to_its_set_value_in_time(look: Any) -> None:
    for _ in range(5):
        assert look(belt_speed_m_s=0.29).guards == {}
    assert look(belt_speed_m_s=0.35).guards == {}  # back inside: counts from anew
    for _ in range(5):
        assert look(belt_speed_m_s=0.29).guards == {}
    assert look(belt_speed_m_s=0.29).guards == {
        "set_gap-belt_speed_m_s": pytest.approx(0.11, abs=1e-3)
    }
    assert look(belt_speed_m_s=0.4).guards == {}
    assert "set_gap-belt_speed_m_s" in look(100, belt_speed_m_s=float("nan")).guards


def test_alarm_limits_have_hysteresis_and_what_is_no_number_is_outside(look: Any) -> None:
    assert look(support_load_n=900.0).guards == {}
    outside = np.r_[[300.0] * 4, 905.0, [890.0] * 5]
    assert look(support_load_n=outside).guards == {"alarm-support_load_n": 905.0}
    assert look(support_load_n=851.0).guards == {"alarm-support_load_n": 851.0}
    assert look(support_load_n=849.0).guards == {}
    assert look(support_load_n=899.0).guards == {}
    assert "alarm-support_load_n" in look(support_load_n=float("nan")).guards


def test_joints_off_the_path_count_after_a_second(look: Any) -> None:
    for _ in range(10):
        assert look(tracking_error_rad=0.4).guards == {}
    assert look(tracking_error_rad=0.4).guards == {"tracking_error": pytest.approx(0.4)}


def test_a_belt_that_runs_backward(look: Any) -> None:
    speed = np.r_[[0.0] * 9, -0.06]
    seen = look(belt_speed_m_s=speed, belt_speed_set_m_s=0.0).guards
    assert seen == {"velocity_reversal": pytest.approx(-0.06)}


def test_the_same_values_again_and_again_are_stale_only_while_somebody_walks(look: Any) -> None:
    same = {"knee_velocity_l": 1.25, "knee_interaction_torque_l": 3.0}
    assert look(4, **same).guards == {}
    assert "stale-motion" in look(4, **same).guards
    assert look().guards == {}
    look(belt_speed_m_s=0.0, belt_speed_set_m_s=0.0)
    for _ in range(3):
        assert look(10, belt_speed_m_s=0.0, belt_speed_set_m_s=0.0, **same).guards == {}


def test_a_device_clock_that_stands_is_stale(feed: Feed) -> None:
    summariser = Summariser([MOTION])
    block = feed.block()
    frozen = Block("motion", block.seq, np.full(10, 7, np.int64), block.t_host_ns, block.values)
    assert "stale-motion" in summariser.summary([frozen], 0.1).guards


# --- counts --------------------------------------------------------------------------------


def test_sequence_numbers_wrap_without_a_gap() -> None:
    feed = Feed(MOTION, seq=0xFFFFFFFF - 14)
    watch = StreamWatch(MOTION, required=True)
    for _ in range(4):
        watch.see([feed.block()], 0.1, {}, moving=True)
    assert (watch.rows, watch.gaps, watch.backward) == (40, 0, 0)
    assert feed.seq == 25


def test_gaps_are_counted_in_and_between_blocks(feed: Feed) -> None:
    summariser = Summariser([MOTION])
    summariser.summary([feed.block()], 0.1)
    feed.seq += 20
    late = summariser.summary([feed.block()], 0.1)
    assert late.gap_s == pytest.approx(0.2)
    assert late.guards == {}  # counted, and short enough
    block = feed.block()
    keep = np.r_[0:3, 7:10]
    holed = Block(*[block.stream, *(getattr(block, n)[keep] for n in _COLUMNS)])
    assert summariser.summary([holed], 0.1).gap_s == pytest.approx(0.04)
    assert summariser.gaps == 2
    feed.seq += 60
    assert summariser.summary([feed.block()], 0.1).guards == {"sequence-motion": pytest.approx(0.6)}
    assert summariser.gaps == 3


_COLUMNS = ("seq", "t_device_ns", "t_host_ns", "values")


@pytest.mark.parametrize("order", [[0, 1, 2, 2, 3], [0, 2, 1, 3, 4]])
def test_duplicates_and_disorder_are_counted_and_no_gap_of_a_year(
    feed: Feed, order: list[int]
) -> None:
    summariser = Summariser([MOTION])
    block = feed.block(5)
    odd = Block(*[block.stream, *(getattr(block, n)[order] for n in _COLUMNS)])
    seen = summariser.summary([odd], 0.05)
    assert "sequence-motion" in seen.guards
    assert seen.gap_s < 0.05
    assert summariser.watches["motion"].backward >= 1


def test_the_rate_is_measured(feed: Feed) -> None:
    watch = StreamWatch(MOTION, required=True)
    for _ in range(40):
        watch.see([feed.block(9)], 0.1, {}, moving=True)
    assert watch.rate_hz == pytest.approx(90.0)


# --- several streams ---------------------------------------------------------------------------


def test_required_is_what_rules_and_guards_look_at() -> None:
    streams = [MOTION, HEART, EMG]

    def required(**options: Any) -> set[str]:
        watches = Summariser(**{"streams": streams, **options}).watches
        return {name for name, watch in watches.items() if watch.required}

    assert required() == {"motion"}
    assert required(signs={"heart_rate_bpm", "rpe"}) == {"motion", "physio"}
    emg = replace(EMG, required=True)
    assert required(streams=[MOTION, HEART, emg]) == {"motion", "emg"}


def test_silence_of_a_required_stream_is_a_gap_and_of_another_a_name() -> None:
    feeds = [Feed(MOTION), Feed(HEART), Feed(EMG)]
    summariser = Summariser([MOTION, HEART, EMG], {"heart_rate_bpm"})
    summariser.summary([f.block(2) for f in feeds], 0.1)
    for n in range(1, 12):
        seen = summariser.summary([feeds[0].block()], 0.1)
        assert seen.silent == (("emg",) if 0.1 * n > 1.0 + 0.001 + 1e-9 else ())
        assert seen.gap_s == pytest.approx(max(0.0, 0.1 * n - 1.0))  # beyond its own period
    back = summariser.summary([f.block(2) for f in feeds], 0.1)
    assert (back.silent, back.gap_s) == ((), 0.0)
    assert back.measures["heart_rate_bpm"] == 90.0
    for n in range(1, 4):
        assert summariser.summary([], 0.1).gap_s == pytest.approx(0.1 * n - 0.01)


def test_a_stream_that_repeats_itself_is_named_where_it_is_not_required() -> None:
    motion, emg = Feed(MOTION), Feed(EMG)
    summariser = Summariser([MOTION, EMG])
    summariser.summary([motion.block(), emg.block(100)], 0.1)
    seen = summariser.summary([motion.block(), emg.block(100, soleus_v=0.25)], 0.1)
    assert (seen.silent, seen.guards) == (("emg",), {})


def test_the_first_stream_that_has_a_channel_wins() -> None:
    second = Stream("other", RATE, MOTION.channels)
    first, other = Feed(MOTION), Feed(second)
    summariser = Summariser([MOTION, second])
    seen = summariser.summary(
        [other.block(belt_speed_m_s=0.9, device_state=6), first.block(belt_speed_m_s=0.4)], 0.1
    )
    assert (seen.speed_m_s, seen.device_state) == (pytest.approx(0.4), 3)
    assert summariser.rows == 20


def test_a_set_value_may_come_from_another_stream() -> None:
    belt = Stream("belt", RATE, (MOTION.channels[3],))
    wanted = Stream("wanted", RATE, (MOTION.channels[2],))
    one, two = Feed(belt), Feed(wanted)
    summariser = Summariser([belt, wanted])
    for _ in range(3):
        seen = summariser.summary([one.block(30), two.block(30, belt_speed_set_m_s=0.9)], 0.3)
    assert "set_gap-belt_speed_m_s" in seen.guards


# --- rules -------------------------------------------------------------------------------------


def test_no_threshold_is_verified_and_every_guard_holds_or_stops() -> None:
    assert {guard.action for guard in GUARDS.values()} == {"hold", "stop"}
    assert not [guard.code for guard in GUARDS.values() if guard.verified]
    assert [row["code"] for row in guard_table()] == list(GUARDS)


def test_the_gravest_comes_first_and_what_is_unknown_stops() -> None:
    assert gravest({}) is None
    both = gravest({"spasm": 61.0, "stale-motion": 0.1, "overload": 160.0})
    assert both is not None
    assert (both.code, both.action) == ("stale-motion", "stop")
    unknown = gravest({"spasm": 61.0, "vendor-thing": 1.0})
    assert unknown is not None
    assert (unknown.code, unknown.action) == ("vendor-thing", "stop")


def test_a_loop_that_is_late_is_seen() -> None:
    assert seen_in(Summary(1, late_s=1.0)) == {}
    assert seen_in(Summary(1, late_s=1.1, guards={"spasm": 50.0})) == {
        "spasm": 50.0,
        "late_loop": 1.1,
    }
