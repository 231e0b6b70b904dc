"""The simulated drives by themselves: a bare host on the bus, and no driver of ours."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import can
import pytest
from canopen_bench import account, bench, until

from device_interface.canopen import cia402 as c
from device_interface.canopen import objects as o
from device_interface.canopen import wire as w
from device_interface.canopen.bench import bench_site
from device_interface.canopen.bus import INTERFACE
from device_interface.canopen.cia402 import DriveState
from device_interface.canopen.master import Master
from device_interface.canopen.motor import SafetyChain
from device_interface.canopen.moving import JOINT_LIMITS, JointDrive
from device_interface.canopen.objects import Bench, Kind
from device_interface.canopen.remote import RemoteDrive
from device_interface.canopen.wire import Nmt
from device_interface.errors import LinkLost

_S = DriveState
HOST = 127


class BareHost:
    """One drive, a controlword that the test says, a SYNC every 10 ms, and heartbeats or not."""

    def __init__(self, channel: str, name: str, *, beats: bool = True) -> None:
        kind: Kind = o.KINDS[name]
        self.drive = RemoteDrive(name, kind, bench_site()["nodes"][name]["id"], 1, 10_000)
        self.drive.begin()
        self.word = 0
        self.targets: tuple[int, ...] = self.drive.targets
        self.emergencies: list[int] = []
        self.beats = beats
        self.on = True
        self.master = Master(
            can.Bus(interface=INTERFACE, channel=channel, name="host"),
            {name: self.drive},
            host_id=HOST,
            period_s=0.01,
            on_cycle=lambda: None,
            on_trouble=lambda kind, _node, text: self.emergencies.append(int(text, 16)),
        )
        self.master.start()
        until(self._heard)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._closing = False

    def _heard(self) -> bool:
        self.master.manage(Nmt.RESET_COMMUNICATION)
        time.sleep(0.05)
        return self.drive.nmt is not None

    def configure(self, watch_ms: int = 240) -> None:
        self.master.manage(Nmt.PRE_OPERATIONAL)
        self.master.configure(self.drive, watch_ms=watch_ms, heartbeat_ms=100)
        self.master.manage(Nmt.START)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing:
            if self.on:
                data = self.drive.profile.rpdo.pack((self.word, *self.targets))
                self.master.send(w.RPDO[0] + self.drive.node_id, data)
                self.master.send_sync()
            if self.beats:
                self.master.send(w.HEARTBEAT + HOST, b"\x05")
            time.sleep(0.01)

    def lead(self, word: int, state: DriveState) -> None:
        self.word = word
        until(lambda: self.drive.state is state)

    def enable(self) -> None:
        self.lead(c.DISABLE_VOLTAGE, _S.SWITCH_ON_DISABLED)
        self.lead(c.SHUTDOWN, _S.READY_TO_SWITCH_ON)
        self.lead(c.SWITCH_ON, _S.SWITCHED_ON)
        self.lead(c.ENABLE_OPERATION, _S.OPERATION_ENABLED)

    def passes(self, syncs: int) -> None:
        """Let the drive answer so many more SYNCs."""
        begin = self.drive._sync
        until(lambda: self.drive._sync >= begin + syncs and self.drive.age_periods < 3)

    def close(self) -> None:
        self._closing = True
        if self._thread.ident is not None:
            self._thread.join()
        self.master.close()


@contextlib.contextmanager
def host(channel: str, name: str, **options: Any) -> Iterator[BareHost]:
    bare = BareHost(channel, name, **options)
    try:
        yield bare
    finally:
        bare.close()


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    path = tmp_path_factory.mktemp("drives") / "account.jsonl"
    settings = {"account": str(path), "unhomed": ["ankle_r"], "mode_stuck": ["ankle_l"]}
    with bench(**settings) as made:
        yield made.channel, path


def test_the_library_canopen_can_talk_to_them(drives: tuple[str, Path]) -> None:
    import canopen

    network = canopen.Network(can.Bus(interface=INTERFACE, channel=drives[0]))
    network.connect()
    try:
        dictionary = canopen.ObjectDictionary()
        for entry in (o.SERIAL, o.STATUSWORD, o.CONSUMER_HEARTBEAT):
            variable = canopen.objectdictionary.ODVariable("x", entry.index, entry.sub)
            variable.data_type = canopen.objectdictionary.UNSIGNED32
            dictionary.add_object(variable)
        node = network.add_node(21, dictionary)
        until(lambda: _reset(network, node))
        serial = node.sdo.upload(o.SERIAL.index, o.SERIAL.sub)
        assert struct.unpack("<I", serial) == (1021,)
        node.sdo.download(0x1017, 0, struct.pack("<H", 50))
        assert node.nmt.wait_for_heartbeat(10) == "PRE-OPERATIONAL"
        node.nmt.state = "OPERATIONAL"
        until(lambda: node.nmt.state == "OPERATIONAL")
        for index, sub, data, code in (
            (0x6041, 0, b"\0\0", w.ABORT_READ_ONLY),
            (0x7777, 0, b"\0", w.ABORT_NO_OBJECT),
            (0x6040, 0, b"\0", w.ABORT_LENGTH),
            (0x60FF, 0, struct.pack("<i", 10_000_000), w.ABORT_TOO_HIGH),
            (0x60FF, 0, struct.pack("<i", -1), w.ABORT_TOO_LOW),
        ):
            with pytest.raises(canopen.SdoAbortedError) as refused:
                node.sdo.download(index, sub, data)
            assert refused.value.code == code
        node.sdo.download(o.BENCH_FAULT.index, 2, struct.pack("<H", Bench.UNKNOWN_CODE))
        until(lambda: bool(node.emcy.log))
        assert node.emcy.log[0].code == o.UNHEARD_OF
    finally:
        network.disconnect()


def _reset(network: Any, node: Any) -> bool:
    network.nmt.send_command(Nmt.RESET_NODE)
    time.sleep(0.05)
    return node.nmt.timestamp is not None


def test_a_pdo_is_mapped_only_while_it_is_off(drives: tuple[str, Path]) -> None:
    with host(drives[0], "hip_r") as bare:
        with pytest.raises(LinkLost, match="0x08000022"):
            bare.master.write(bare.drive, w.Entry(0x1600, 0, 8), 0)
        bare.configure()
        assert bare.master.read(bare.drive, w.Entry(0x1A00, 1, 32)) == o.STATUSWORD.mapping


def test_without_our_heartbeat_nothing_is_enabled(drives: tuple[str, Path]) -> None:
    with host(drives[0], "hip_l", beats=False) as bare:
        bare.configure()
        bare.lead(c.DISABLE_VOLTAGE, _S.SWITCH_ON_DISABLED)
        bare.lead(c.SHUTDOWN, _S.READY_TO_SWITCH_ON)
        bare.lead(c.SWITCH_ON, _S.SWITCHED_ON)
        bare.word = c.ENABLE_OPERATION
        until(lambda: o.NOT_READY in bare.emergencies)
        bare.passes(20)
        assert bare.drive.state is _S.SWITCHED_ON
        bare.beats = True
        bare.lead(c.ENABLE_OPERATION, _S.OPERATION_ENABLED)


def test_a_host_that_goes_silent_is_noticed_by_the_drive(drives: tuple[str, Path]) -> None:
    with host(drives[0], "hip_l") as bare:
        bare.configure()
        bare.enable()
        known = len(account(drives[1]))
        bare.beats = False  # and controlwords go on: they are no sign of life
        until(lambda: o.HEARTBEAT_LOST in bare.emergencies)
        bare.lead(c.ENABLE_OPERATION, _S.FAULT)
        lost = [line for line in account(drives[1])[known:] if line["what"] == "heartbeat_lost"]
        assert lost[0]["node"] == "hip_l"
        assert 0.24 < lost[0]["age_s"] < 0.5  # on the drive's own clock
        bare.beats = True
        bare.passes(30)
        assert bare.drive.state is _S.FAULT  # a host that comes back finds it so


@pytest.mark.slow
def test_a_controlword_that_stops_coming_is_noticed_as_well(drives: tuple[str, Path]) -> None:
    with host(drives[0], "knee_l") as bare:
        bare.configure()
        bare.enable()
        bare.on = False
        until(lambda: o.RPDO_TIMEOUT in bare.emergencies)


def test_a_fault_is_reset_by_an_edge_and_leads_to_switch_on_disabled(
    drives: tuple[str, Path],
) -> None:
    with host(drives[0], "knee_r") as bare:
        bare.configure()
        bare.enable()
        bare.word = c.ENABLE_OPERATION | c.FAULT_RESET  # bit 7 is high before the fault
        bare.passes(5)
        bare.master.write(bare.drive, o.BENCH_DURATION, 100)
        bare.master.write(bare.drive, o.BENCH_FAULT, Bench.OVERLOAD)
        until(lambda: bare.drive.state is _S.FAULT)
        assert bare.emergencies[-1] == o.EXCESS_TORQUE
        bare.passes(30)
        assert bare.drive.state is _S.FAULT  # a level is no edge
        bare.word = c.ENABLE_OPERATION
        bare.passes(10)
        assert bare.drive.state is _S.FAULT  # nor is enable operation
        bare.lead(c.FAULT_RESET, _S.SWITCH_ON_DISABLED)
        bare.word = c.ENABLE_OPERATION
        bare.passes(10)
        assert bare.drive.state is _S.SWITCH_ON_DISABLED  # no way leads on by itself


@pytest.mark.slow
def test_a_fault_whose_cause_lasts_is_not_reset(drives: tuple[str, Path]) -> None:
    with host(drives[0], "knee_r") as bare:
        bare.configure()
        bare.enable()
        bare.master.write(bare.drive, o.BENCH_DURATION, 8000)
        bare.master.write(bare.drive, o.BENCH_FAULT, Bench.OVER_TEMPERATURE)
        until(lambda: bare.drive.state is _S.FAULT)
        bare.word = c.FAULT_RESET
        bare.passes(10)
        assert bare.drive.state is _S.FAULT

        def reset() -> bool:
            for word in (c.DISABLE_VOLTAGE, c.FAULT_RESET):
                bare.word = word
                bare.passes(5)
            return bare.drive.state is _S.SWITCH_ON_DISABLED

        until(reset)


@pytest.mark.parametrize("name", ["ankle_r", "ankle_l"])
def test_not_homed_or_in_another_mode_nothing_is_enabled(
    drives: tuple[str, Path], name: str
) -> None:
    with host(drives[0], name) as bare:
        bare.configure()
        bare.lead(c.DISABLE_VOLTAGE, _S.SWITCH_ON_DISABLED)
        bare.lead(c.SHUTDOWN, _S.READY_TO_SWITCH_ON)
        bare.lead(c.SWITCH_ON, _S.SWITCHED_ON)
        bare.word = c.ENABLE_OPERATION
        until(lambda: o.NOT_READY in bare.emergencies)
        bare.passes(5)
        assert bare.drive.state is _S.SWITCHED_ON
        assert bare.drive.flag(o.HOMED) is (name == "ankle_l")


def test_targets_outside_the_limits_are_cut_and_said(drives: tuple[str, Path]) -> None:
    with host(drives[0], "knee_r") as bare:
        bare.configure()
        bare.enable()
        bare.targets = (round(9.0 / o.POSITION_UNIT), 10_000)
        until(lambda: bool((bare.drive.value(o.STATUSWORD) or 0) & c.INTERNAL_LIMIT))
        until(lambda: bare.drive.flag(o.AT_LIMIT))
        bare.passes(60)
        at = (bare.drive.value(o.POSITION) or 0) * o.POSITION_UNIT
        assert at < JOINT_LIMITS["knee"].high + 0.03
        bare.targets = (0, 0)


def test_quick_stop_brings_the_belt_to_rest_and_ends_in_switch_on_disabled(
    drives: tuple[str, Path],
) -> None:
    with host(drives[0], "belt") as bare:
        bare.configure()
        until(lambda: bool((bare.drive.value(o.DIGITAL_INPUTS) or 0) & o.CHAIN_RELEASED))
        bare.word = c.FAULT_RESET
        bare.passes(5)
        bare.enable()
        bare.targets = (50_000,)
        until(lambda: (bare.drive.value(o.VELOCITY) or 0) > 45_000)
        bare.word = c.QUICK_STOP
        until(lambda: bare.drive.state is _S.QUICK_STOP_ACTIVE)
        until(lambda: bare.drive.state is _S.SWITCH_ON_DISABLED)
        assert abs(bare.drive.value(o.VELOCITY) or 0) < 1000


def joint(**options: Any) -> JointDrive:
    made = JointDrive(
        "knee_l", 12, 0, SafetyChain(closed=True), lambda *_: None, lambda *_: None, **options
    )
    made.boot(0.0)
    return made


def test_torque_at_a_position_limit_points_inward_only() -> None:
    knee = joint()
    knee.state = _S.OPERATION_ENABLED
    knee._share = 1.0
    for at, inward in ((JOINT_LIMITS["knee"].high + 0.01, -1), (-0.11, 1)):
        for target in (-0.1, 0.5, 1.6):
            knee.q, knee._target, knee.v, knee._target_v = at, target, 0.0, inward * -30.0
            assert knee.wanted_torque() * inward >= 0.0
        knee._target_v = 0.0
        knee._target = 0.5
        assert knee.wanted_torque() * inward > 0.0


def test_torque_and_speed_limits() -> None:
    knee = joint()
    knee._share, knee._target = 1.0, 1.5
    assert knee.wanted_torque() == JOINT_LIMITS["knee"].torque
    knee.v = JOINT_LIMITS["knee"].speed + 0.1
    knee._target_v = 100.0
    assert knee.wanted_torque() == 0.0  # no push beyond the speed limit
    knee._target, knee._target_v = -0.1, 0.0
    assert knee.wanted_torque() < 0.0  # but braking


def test_a_stalled_process_does_not_take_its_own_delay_for_ours() -> None:
    from device_interface.canopen.drives import Bank

    bank = Bank.__new__(Bank)
    bank._looked_s = bank._clock_s = time.monotonic() - 5.0
    begin = bank._clock_s
    assert bank._now() - begin < 0.1  # of the 5 s that the process stood still
