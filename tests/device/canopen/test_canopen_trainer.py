"""The driver on real processes: what it sends, what it refuses, and what it does on faults."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import can
import numpy as np
import pytest
from canopen_bench import (
    WALK,
    Sniffer,
    arm,
    bench,
    clear,
    last_row,
    linked,
    reach,
    site_on,
    torque_nm,
    until,
    walk,
)

from device_interface import DeviceLink, DeviceState, Setpoints, device_names, load_driver
from device_interface.canopen import cia402 as c
from device_interface.canopen import objects as o
from device_interface.canopen import wire as w
from device_interface.canopen.bench import bench_site
from device_interface.canopen.bus import UnixBus
from device_interface.canopen.cia402 import DriveState
from device_interface.canopen.faults import FAULTS
from device_interface.canopen.objects import Bench
from device_interface.contract import Block
from device_interface.errors import LimitRefused, StateRefused, TokenRefused
from trialkit.errors import UsageError

KNEE_L, BELT, SUPPORT = 12, 21, 22
QUICK = {"motor_overtemperature", "node_lies", "self_restart", "bus_off"}
LATCHING = [
    pytest.param(fault.kind, marks=[] if fault.kind in QUICK else pytest.mark.slow)
    for fault in FAULTS
    if fault.reaction == "fault"
]


@pytest.fixture(scope="module")
def rig() -> Iterator[tuple[DeviceLink, Sniffer]]:
    """A driver that was told where the bus is, and a second listener on that bus."""
    with bench() as made:
        sniffer = Sniffer(made.channel)
        try:
            with linked({"site": site_on(made.channel)}) as link:
                yield link, sniffer
        finally:
            sniffer.bus.shutdown()


@pytest.fixture
def link(rig: tuple[DeviceLink, Sniffer]) -> DeviceLink:
    clear(rig[0])
    until(lambda: rig[0].wait(0.05) is not None and not rig[0].preflight())
    return rig[0]


@pytest.fixture
def sniffer(rig: tuple[DeviceLink, Sniffer]) -> Sniffer:
    rig[1].frames.clear()
    return rig[1]


def bench_fault(sniffer: Sniffer, node: int, kind: int, ms: int) -> None:
    """Ask a drive for a fault behind the driver's back."""
    for entry, value in ((o.BENCH_DURATION, ms), (o.BENCH_FAULT, kind)):
        request = w.sdo_write_request(entry.index, entry.sub, entry.encode(value))
        sniffer.send(w.SDO_REQUEST + node, request)


def test_the_driver_is_found_by_name() -> None:
    assert "canopen" in device_names()


def test_the_wire_from_arming_to_the_end(link: DeviceLink, sniffer: Sniffer) -> None:
    token = arm(link)
    for node in (11, KNEE_L, BELT, SUPPORT):
        until(lambda n=node: c.ENABLE_OPERATION in sniffer.words(w.RPDO[0] + n))  # type: ignore[misc]
        words = sniffer.words(w.RPDO[0] + node)
        assert words[-3:] == [c.SHUTDOWN, c.SWITCH_ON, c.ENABLE_OPERATION]
        assert c.FAULT_RESET not in words
        states = [c.decode(word) for word in sniffer.words(w.TPDO[0] + node)]
        assert states[-3:] == [
            DriveState.READY_TO_SWITCH_ON, DriveState.SWITCHED_ON, DriveState.OPERATION_ENABLED,
        ]  # fmt: skip
    link.apply(Setpoints(WALK, {}, token))
    until(lambda: last_row(link)["belt_speed_m_s"] > 0.2)
    link.stop(0)
    reach(link, DeviceState.DISARMED)
    # the brake holds, then it is let down
    let_down = [c.ENABLE_OPERATION, c.DISABLE_VOLTAGE, c.SHUTDOWN]
    until(lambda: sniffer.words(w.RPDO[0] + SUPPORT)[-3:] == let_down)
    until(lambda: sniffer.words(w.RPDO[0] + BELT)[-1] == c.DISABLE_VOLTAGE)
    assert sniffer.words(w.RPDO[0] + KNEE_L)[-1] == c.DISABLE_VOLTAGE
    belt = sniffer.words(w.RPDO[0] + BELT)
    assert belt[-3:-1] == [c.ENABLE_OPERATION, c.QUICK_STOP]
    states = [c.decode(word) for word in sniffer.words(w.TPDO[0] + BELT)]
    assert states[states.index(DriveState.QUICK_STOP_ACTIVE) + 1] is DriveState.SWITCH_ON_DISABLED
    cycle = [number for number, _ in sniffer.frames if number < 0x580]
    first = cycle.index(w.SYNC)
    order = cycle[first + 1 : cycle.index(w.SYNC, first + 1)]
    assert sorted(n for n in order if 0x200 < n < 0x280) == [0x200 + n for n in
                                                             (*range(11, 17), 21, 22)]  # fmt: skip


def test_rows_come_with_every_signal(link: DeviceLink) -> None:
    walk(link)
    row = last_row(link)
    assert all(math.isfinite(value) for value in row.values())
    channels = {channel.name: channel for channel in link.capability.streams[0].channels}
    for name, value in row.items():
        assert channels[name].minimum <= value <= channels[name].maximum, name
    until(lambda: abs(last_row(link)["support_fraction"] - 0.05) < 0.005)
    assert row["guidance"] > 0
    assert row["device_state"] == DeviceState.RUNNING
    knees = []
    until(lambda: knees.append(last_row(link)["knee_angle_l"]) is None and max(knees) > 0.7)
    assert abs(row["grf_vertical_l"] + row["grf_vertical_r"] - 75 * 9.81) < 75.0
    assert 0.2 < row["bus_load"] < 0.5
    # by the number: none was lost on the way
    blocks: list[Block] = []
    until(lambda: blocks.extend(link.wait(0.05)[1]) is None and sum(map(len, blocks)) > 40)
    seq = np.concatenate([block.seq for block in blocks]).astype(int)
    assert (np.diff(seq) == 1).all()


def test_what_is_out_of_range_is_refused_and_changes_nothing(link: DeviceLink) -> None:
    with pytest.raises(StateRefused, match="apply is not legal in DISARMED"):
        link.apply(Setpoints(WALK, {}, 1))
    token = arm(link)
    with pytest.raises(StateRefused, match="arm is not legal"):
        link.arm()
    for values, rates in (
        ({"speed_m_s": 2.0}, {}),
        ({"speed_m_s": math.nan}, {}),
        ({"guidance": -0.1}, {}),
        ({"support_fraction": math.inf}, {}),
        ({"nosuch": 1.0}, {}),
        ({"speed_m_s": 0.2}, {"speed_m_s": 99.0}),
    ):
        with pytest.raises(LimitRefused):
            link.apply(Setpoints(values, rates, token))
    with pytest.raises(TokenRefused):
        link.apply(Setpoints(WALK, {}, token - 1))
    reach(link, DeviceState.ARMED)
    assert last_row(link)["belt_speed_set_m_s"] == 0.0
    link.disarm()
    reach(link, DeviceState.DISARMED)


def test_hold_and_resume_start_from_rest_with_a_new_token(link: DeviceLink) -> None:
    token = walk(link)
    link.hold()
    reach(link, DeviceState.HOLD)
    until(lambda: last_row(link)["belt_speed_m_s"] < 0.01)
    new = link.resume()
    assert new != token
    with pytest.raises(TokenRefused):
        link.apply(Setpoints(WALK, {}, token))
    assert last_row(link)["belt_speed_set_m_s"] == 0.0
    link.apply(Setpoints({"speed_m_s": 0.3}, {}, new))
    until(lambda: last_row(link)["belt_speed_m_s"] > 0.1)
    link.stop(2)
    reach(link, DeviceState.HOLD)
    link.stop(1)
    link.stop(1)
    reach(link, DeviceState.DISARMED)
    link.stop(0)
    assert link.preflight() == []


@pytest.mark.parametrize("kind", LATCHING)
def test_each_fault_removes_torque_latches_and_keeps_its_code(
    link: DeviceLink, sniffer: Sniffer, kind: str
) -> None:
    walk(link)
    link.inject(kind)
    reach(link, DeviceState.FAULT)
    code = next(fault.code for fault in FAULTS if fault.kind == kind)
    assert code in [number for number, _ in link.faults()]
    until(lambda: torque_nm(row := last_row(link)) < 2.0 and row["belt_speed_m_s"] < 0.05)
    assert last_row(link)["fault_code"] == code
    assert last_row(link)["guidance"] == 0.0
    for refused in (link.arm, link.resume, link.hold):
        with pytest.raises(StateRefused):
            refused()
    assert link.state is DeviceState.FAULT
    sniffer.frames.clear()
    clear(link)
    assert link.faults() == []
    words = sniffer.words(w.RPDO[0] + KNEE_L)
    assert c.ENABLE_OPERATION not in words  # no way from a fault to enabled but a new arming
    arm(link)


def test_a_spasm_holds_and_nothing_goes_on_by_itself(link: DeviceLink) -> None:
    walk(link)
    link.inject("spasm")
    reach(link, DeviceState.HOLD)
    until(lambda: last_row(link)["belt_speed_m_s"] < 0.01)
    for _ in range(10):
        assert last_row(link)["belt_speed_set_m_s"] == 0.0
    assert link.state is DeviceState.HOLD


@pytest.mark.slow
def test_a_leg_that_does_not_follow_its_path_holds(link: DeviceLink) -> None:
    walk(link, {"speed_m_s": 0.6, "guidance": 1.0})
    until(lambda: last_row(link)["belt_speed_m_s"] > 0.5)
    rows: list[dict[str, float]] = []
    link.inject("tracking_error")
    until(lambda: rows.append(last_row(link)) is None and rows[-1]["fault_code"] == 403)
    assert rows[-1]["device_state"] == DeviceState.HOLD
    assert max(row["tracking_error_rad"] for row in rows) > 0.7 / math.sqrt(6)  # of six joints
    until(lambda: last_row(link)["belt_speed_m_s"] < 0.01)
    until(lambda: last_row(link)["fault_code"] == 0)  # it held, and does not latch
    assert link.state is DeviceState.HOLD


def test_the_emergency_stop_stays_until_it_is_released_and_acknowledged(link: DeviceLink) -> None:
    walk(link)
    link.inject("estop")
    reach(link, DeviceState.ESTOP_PHYSICAL)
    until(lambda: torque_nm(row := last_row(link)) < 2.0 and row["belt_speed_m_s"] < 0.05)
    with pytest.raises(StateRefused, match="pressed"):
        link.acknowledge()
    with pytest.raises(StateRefused):
        link.arm()
    link.inject("estop_release")
    reach(link, DeviceState.ESTOP_LATCHED)
    with pytest.raises(StateRefused):
        link.arm()
    link.inject("estop")
    reach(link, DeviceState.ESTOP_PHYSICAL)
    clear(link)
    assert link.faults() == []
    arm(link)


@pytest.mark.slow
def test_nothing_is_acknowledged_while_the_belt_moves(link: DeviceLink) -> None:
    for left in (2, 1, 0):  # a machine that stalls lets the device hold before it is that fast
        walk(link, {"speed_m_s": 0.8})
        try:
            until(lambda: last_row(link)["belt_speed_m_s"] > 0.5)
            break
        except AssertionError:
            if not left:
                raise
            clear(link)
    link.inject("encoder")
    reach(link, DeviceState.FAULT)
    if last_row(link)["belt_speed_m_s"] > 0.1:  # a busy machine may have let it stop
        with pytest.raises(StateRefused, match="moves"):
            link.acknowledge()
    clear(link)
    assert last_row(link)["belt_speed_m_s"] < 0.05


def test_a_drive_that_enables_itself_after_a_fault_is_held_down(
    link: DeviceLink, sniffer: Sniffer
) -> None:
    walk(link)
    bench_fault(sniffer, KNEE_L, Bench.RESTART, 300)
    reach(link, DeviceState.FAULT)
    states = w.TPDO[0] + KNEE_L
    until(lambda: bool(_after_fault(sniffer, states)))  # nobody has reset it
    assert link.state is DeviceState.FAULT
    assert c.FAULT_RESET not in sniffer.words(w.RPDO[0] + KNEE_L)
    until(lambda: len(link.faults()) == 2)
    assert sorted(code for code, _ in link.faults()) == [202, 503]
    words = sniffer.words(w.RPDO[0] + KNEE_L)
    assert words[-1] == c.DISABLE_VOLTAGE
    assert _after_fault(sniffer, states)[-1] is DriveState.SWITCH_ON_DISABLED


def _after_fault(sniffer: Sniffer, number: int) -> list[DriveState]:
    states = [c.decode(word) for word in sniffer.words(number)]
    return states[states.index(DriveState.FAULT) + 1 :] if DriveState.FAULT in states else []


def test_a_drive_that_says_operational_whatever_it_is_told_is_reset(
    link: DeviceLink, sniffer: Sniffer
) -> None:
    walk(link)
    bench_fault(sniffer, KNEE_L, Bench.LIAR, 60_000)
    until(lambda: last_row(link)["device_state"] == DeviceState.RUNNING)
    link.stop(0)
    reach(link, DeviceState.FAULT)
    assert [code for code, _ in link.faults()] == [502]
    until(lambda: (w.NMT, bytes([w.Nmt.RESET_NODE, KNEE_L])) in sniffer.frames)


@pytest.mark.slow
def test_a_node_that_starts_anew_is_set_up_again_on_acknowledging(
    link: DeviceLink, sniffer: Sniffer
) -> None:
    walk(link)
    bench_fault(sniffer, KNEE_L, Bench.REBOOT, 1)
    reach(link, DeviceState.FAULT)
    assert [code for code, _ in link.faults()] == [501]
    clear(link)
    arm(link)


@pytest.mark.slow
def test_a_planned_fault_comes(link: DeviceLink) -> None:
    with linked({"faults": [{"at_s": 0.5, "kind": "encoder"}]}) as other:
        reach(other, DeviceState.FAULT)
        assert [code for code, _ in other.faults()] == [203]
    with pytest.raises(UsageError, match="unknown fault"):
        load_driver("canopen", {"faults": [{"at_s": 1, "kind": "nosuch"}]})


@pytest.mark.slow
def test_what_is_not_ready_refuses_to_arm() -> None:
    """A mode that is not taken is no line in a log: the device is not armed."""
    device = {**bench_site()["device"], "calibrated_on": None}
    simulation = {"unhomed": ["knee_r"], "mode_stuck": ["hip_l"], "site": {"device": device}}
    with linked({"simulation": simulation, "weight_kg": 140.0}) as link:
        problems = "; ".join(link.preflight())
        for problem in (
            "knee_r is not homed",
            "hip_l has not taken its mode of operation",
            "the device is not calibrated",
            "the patient is heavier than 135 kg",
        ):
            assert problem in problems
        with pytest.raises(StateRefused, match="hip_l has not taken its mode"):
            link.arm()
        assert link.state is DeviceState.DISARMED


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pressed", "unplugged"])
def test_an_emergency_stop_at_power_up(how: str) -> None:
    with linked({"simulation": {"estop": how}}) as link:
        reach(link, DeviceState.ESTOP_PHYSICAL)
        with pytest.raises(StateRefused):
            link.arm()
        link.inject("estop_release")
        reach(link, DeviceState.ESTOP_LATCHED)
        clear(link)
        assert link.preflight() == []


@pytest.mark.slow
def test_a_node_with_another_serial_number_or_sense(link: DeviceLink) -> None:
    site = bench_site()
    nodes = {**site["nodes"], "knee_l": {"id": 12, "serial": 1012, "positive": "extension"}}
    with bench() as made:
        changed = site_on(made.channel, nodes=nodes)
        with linked({"site": changed}) as other:
            text = "; ".join(other.preflight())
            assert "knee_l has serial number 1002, the site says 1012" in text


@pytest.mark.slow
def test_a_drive_that_counts_extension_as_positive_bends_the_same_way() -> None:
    nodes = {**bench_site()["nodes"], "knee_l": {"id": 12, "positive": "extension"}}
    with linked({"simulation": {"site": {"nodes": nodes}}}) as link:
        walk(link, {**WALK, "guidance": 1.0})
        left: list[float] = []
        until(lambda: left.append(last_row(link)["knee_angle_l"]) is None and max(left) > 0.7)
        assert min(left) > -0.15
        link.stop(1)
        reach(link, DeviceState.DISARMED)


class EchoBus(UnixBus):
    """A bus that gives a sender its own frames, as udp_multicast does."""

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        super().send(msg, timeout)
        self.own.append(msg)

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        if self.own:
            return self.own.pop(0), False
        return super()._recv_internal(timeout)

    def __init__(self, *args: Any, **options: Any) -> None:
        self.own: list[can.Message] = []
        super().__init__(*args, **options)


@pytest.mark.slow
def test_our_own_frames_coming_back_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third controlword and all after it are sent, echo or not."""
    with bench() as made:
        monkeypatch.setattr(
            "device_interface.canopen.trainer.open_bus", lambda _site, path: EchoBus(path)
        )
        sniffer = Sniffer(made.channel)
        device = load_driver("canopen", {"site": site_on(made.channel)})
        device.connect(lockstep=False)
        try:
            number = iter(range(1, 10**6))

            def stands(state: DeviceState) -> bool:
                device.keepalive(next(number))
                device.advance(20_000_000)
                return device.state is state

            token = device.arm()
            device.apply(Setpoints({"speed_m_s": 0.3}, {}, token))
            until(lambda: stands(DeviceState.RUNNING))
            for node in (11, BELT, SUPPORT):
                assert sniffer.words(w.RPDO[0] + node)[-1] == c.ENABLE_OPERATION
            targets = w.RPDO[0] + BELT
            until(lambda: stands(DeviceState.RUNNING) and _fastest(sniffer, targets) == 30_000)
            device.stop(1)
            until(lambda: stands(DeviceState.DISARMED))
        finally:
            device.close()
            sniffer.bus.shutdown()


def _fastest(sniffer: Sniffer, number: int) -> int:
    data = [data for identifier, data in list(sniffer.frames) if identifier == number]
    return max((int.from_bytes(d[2:6], "little") for d in data), default=0)
