"""Words and states, and one drive as the driver sees it: what is old is not believed."""

from __future__ import annotations

import itertools
import struct

import pytest

from device_interface.canopen import cia402 as c
from device_interface.canopen import objects as o
from device_interface.canopen import wire as w
from device_interface.canopen.cia402 import DriveState, Goal
from device_interface.canopen.remote import OBEY_PERIODS, RemoteDrive
from device_interface.canopen.wire import Pdo

_S = DriveState
STALE = 5


def test_every_state_is_told_from_every_other() -> None:
    for state, (_, value) in c.STATUS.items():
        for noise in (0x0000, c.VOLTAGE_ENABLED, c.INTERNAL_LIMIT, 0xF600):
            assert c.decode(value | noise) is state
    assert c.decode(0x0027) is _S.OPERATION_ENABLED
    assert c.decode(0x002F) is _S.FAULT_REACTION_ACTIVE  # bit 5 does not count there
    assert c.decode(0x0025) is _S.UNKNOWN


def test_the_library_canopen_reads_the_same_states() -> None:
    from canopen.profiles.p402 import State402

    names = {
        "NOT READY TO SWITCH ON": _S.NOT_READY,
        "READY TO SWITCH ON": _S.READY_TO_SWITCH_ON,
        "QUICK STOP ACTIVE": _S.QUICK_STOP_ACTIVE,
    }
    for name, pair in State402.SW_MASK.items():
        state = names.get(name) or _S[name.replace(" ", "_")]
        assert c.STATUS[state] == pair


@pytest.mark.parametrize("state", [_S.SWITCH_ON_DISABLED, _S.READY_TO_SWITCH_ON, _S.SWITCHED_ON])
def test_the_way_to_operation_enabled(state: DriveState) -> None:
    for _ in range(3):
        state = c.TRANSITIONS.get((state, c.command_of(c.toward(state, Goal.ENABLED))), state)
    assert state is _S.OPERATION_ENABLED


def test_no_command_leads_out_of_a_fault() -> None:
    for word in range(0x100):
        for state in c.FAULTED:
            assert (state, c.command_of(word)) not in c.TRANSITIONS
    for goal in Goal:
        assert not c.toward(_S.FAULT, goal) & c.FAULT_RESET


def drive() -> RemoteDrive:
    made = RemoteDrive("hip_l", "joint", 11, 1, STALE)
    made.begin()
    return made


def say(to: RemoteDrive, state: DriveState, life: int) -> None:
    to.passed_sync()
    to.take(0, struct.pack("<HibB", c.STATUS[state][1], 1000, o.MODE_IMPEDANCE, life & 0xF))
    to.take(1, struct.pack("<ihh", 0, 0, 0))


def test_nothing_is_believed_before_the_first_word() -> None:
    fresh = drive()
    assert fresh.silent
    assert fresh.state is _S.UNKNOWN
    assert fresh.value(o.POSITION) is None


def test_a_frozen_drive_is_not_operational() -> None:
    frozen = drive()
    for life in range(10):
        say(frozen, _S.OPERATION_ENABLED, life)
    assert frozen.state is _S.OPERATION_ENABLED
    for _ in range(STALE):
        frozen.passed_sync()
    assert frozen.state is _S.UNKNOWN
    assert frozen.value(o.POSITION) is None
    assert frozen.trouble() == "node_silent"


def test_one_missing_tpdo_is_enough_to_be_silent() -> None:
    half = drive()
    say(half, _S.OPERATION_ENABLED, 0)
    for life in range(STALE):
        half.passed_sync()
        half.take(0, struct.pack("<HibB", 0x27, 1000, o.MODE_IMPEDANCE, life + 1))
    assert half.trouble() == "node_silent"
    half.take(1, b"\0")  # of another length: nothing was said
    assert half.trouble() == "node_silent"


def test_a_drive_that_repeats_itself_is_not_operational() -> None:
    stuck = drive()
    for life in range(10):
        say(stuck, _S.OPERATION_ENABLED, life)
    for _ in range(STALE):
        say(stuck, _S.OPERATION_ENABLED, 9)
    assert stuck.state is _S.UNKNOWN
    assert stuck.trouble() == "node_lies"


def enabled() -> RemoteDrive:
    made = drive()
    made.want(Goal.ENABLED)
    say(made, _S.SWITCH_ON_DISABLED, 0)
    assert made.controlword() == c.SHUTDOWN
    say(made, _S.READY_TO_SWITCH_ON, 1)
    assert made.controlword() == c.SWITCH_ON
    say(made, _S.SWITCHED_ON, 2)
    assert made.controlword() == c.ENABLE_OPERATION
    say(made, _S.OPERATION_ENABLED, 3)
    assert made.trouble() is None
    assert made.enabled
    return made


@pytest.mark.parametrize("state", [_S.SWITCH_ON_DISABLED, _S.READY_TO_SWITCH_ON, _S.FAULT])
def test_a_drive_that_dropped_out_is_not_led_back(state: DriveState) -> None:
    dropped = enabled()
    for life in range(4, 12):
        say(dropped, state, life)
        assert dropped.controlword() == c.DISABLE_VOLTAGE
        kind = dropped.trouble()
    assert kind == "drive_fault"


def test_a_reset_is_edges_and_ends_in_switch_on_disabled() -> None:
    tripped = enabled()
    say(tripped, _S.FAULT, 4)
    tripped.want(Goal.OFF)
    tripped.want(Goal.RESET)
    words = []
    for life in range(5, 30):
        say(tripped, _S.FAULT, life)
        words.append(tripped.controlword())
    edges = [b for a, b in itertools.pairwise(words) if b & 0x80 and not a & 0x80]
    assert len(edges) >= 2  # a cause that lasts is tried again
    assert set(words) == {c.DISABLE_VOLTAGE, c.FAULT_RESET}
    say(tripped, _S.SWITCH_ON_DISABLED, 30)
    assert tripped.controlword() in (c.DISABLE_VOLTAGE, c.FAULT_RESET)  # and no further


def test_a_drive_that_enables_itself_is_seen() -> None:
    own = enabled()
    own.want(Goal.OFF)
    say(own, _S.FAULT, 4)
    own.trouble()
    say(own, _S.OPERATION_ENABLED, 5)
    assert own.trouble() == "self_restart"
    assert own.controlword() == c.DISABLE_VOLTAGE


def test_a_drive_that_leaves_a_fault_without_a_reset_is_seen() -> None:
    own = enabled()
    own.want(Goal.OFF)
    for life in range(4, 12):
        say(own, _S.FAULT, life)
        own.trouble()
    say(own, _S.SWITCH_ON_DISABLED, 12)
    assert own.trouble() == "self_restart"
    assert own.trouble() is None


def test_a_drive_that_leaves_a_fault_by_our_reset_is_right() -> None:
    reset = enabled()
    for life in range(4, 12):
        say(reset, _S.FAULT, life)
        reset.trouble()
    reset.want(Goal.RESET)
    for life in range(12, 24):
        say(reset, _S.FAULT, life)
        reset.trouble()
    say(reset, _S.SWITCH_ON_DISABLED, 24)
    assert reset.trouble() is None


def test_a_drive_that_does_not_obey_is_seen() -> None:
    deaf = enabled()
    deaf.want(Goal.OFF)
    for life in range(4, 4 + OBEY_PERIODS):
        say(deaf, _S.OPERATION_ENABLED, life)
        assert deaf.trouble() is None  # it may need a little
    say(deaf, _S.OPERATION_ENABLED, 4 + OBEY_PERIODS)
    assert deaf.trouble() == "node_lies"


def test_the_coding_of_sdo_and_pdo() -> None:
    assert w.sdo_write_request(0x1016, 1, b"\xf0\x00\x7f\x00").hex() == "23161001f0007f00"
    assert w.sdo_read_request(0x1018, 4).hex() == "4018100400000000"
    assert w.sdo_parse(bytes.fromhex("2f60600009000000")) == (0x20, 0x6060, 0, b"\x09")
    assert w.sdo_parse(bytes.fromhex("4b41600027020000")) == (0x40, 0x6041, 0, b"\x27\x02")
    abort = w.sdo_abort(0x6077, 0, w.ABORT_READ_ONLY)
    assert abort.hex() == "8077600002000106"
    assert w.emcy_parse(w.emcy(0x8130, 1)) == (0x8130, 1)
    assert o.STATUSWORD.mapping == 0x60410010
    for profile in o.PROFILES.values():
        for pdo in (profile.rpdo, *profile.tpdos):
            assert pdo.size == sum(entry.bits for entry in pdo.entries) // 8 <= 8
    assert Pdo((o.STATUSWORD, o.POSITION)).unpack(b"\x27\x00\xff\xff\xff\xff") == (0x27, -1)
