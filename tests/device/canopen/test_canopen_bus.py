from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import can
import pytest
from canopen_bench import hub, until

from device_interface.canopen.bus import INTERFACE, HubControl, UnixBus

ECHO = """
import can, sys
bus = can.Bus(interface="afunix", channel=sys.argv[1], name="other")
print("here", flush=True)
while True:
    message = bus.recv()
    message.arbitration_id += 1
    bus.send(message)
"""


def frame(number: int, data: bytes = b"") -> can.Message:
    return can.Message(arbitration_id=number, data=data, is_extended_id=False)


def other(path: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", ECHO, path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def test_frames_cross_processes_and_are_not_echoed(tmp_path: Path) -> None:
    with hub(tmp_path) as (path, _), can.Bus(interface=INTERFACE, channel=path) as bus:
        process = other(path)
        try:
            bus.send(frame(0x181, b"\x27\x02"))
            bus.send(can.Message(arbitration_id=0x1ABCDEF, data=b"12345678", is_extended_id=True))
            first, second = bus.recv(30), bus.recv(30)
            assert first is not None
            assert second is not None
            assert (first.arbitration_id, bytes(first.data)) == (0x182, b"\x27\x02")
            assert (second.arbitration_id, second.is_extended_id) == (0x1ABCDF0, True)
            assert bus.recv(0.05) is None  # one's own frames do not come back
        finally:
            end(process)
        bus.send(frame(1))  # a peer that is gone is no error


@pytest.mark.slow
def test_a_peer_that_stands_still_delays_nobody(tmp_path: Path) -> None:
    with hub(tmp_path) as (path, _), can.Bus(interface=INTERFACE, channel=path) as bus:
        process = other(path)
        reader = UnixBus(path, name="reader")
        control = HubControl(path)
        try:
            os.kill(process.pid, signal.SIGSTOP)
            for number in range(4000):
                bus.send(frame(number % 0x700, number.to_bytes(2, "little")))
                message = reader.recv(30)
                assert message is not None
                assert int.from_bytes(message.data, "little") == number
            counts = control.counts()
            assert counts["other"]["lost"] > 0  # the oldest went; the queue is bounded
            assert counts["reader"]["lost"] == 0
        finally:
            control.close()
            reader.shutdown()
            end(process)


def test_a_bench_can_cut_one_way_and_put_a_peer_off_the_bus(tmp_path: Path) -> None:
    with hub(tmp_path) as (path, _):
        a, b, control = UnixBus(path, name="a"), UnixBus(path, name="b"), HubControl(path)
        try:
            control.cut("a", "b")
            a.send(frame(1))
            b.send(frame(2))
            got = a.recv(30)
            assert got is not None
            assert got.arbitration_id == 2
            control.join("a", "b")
            a.send(frame(3))
            got = b.recv(30)
            assert got is not None
            assert got.arbitration_id == 3  # and 1 was never carried
            control.bus_off("a", 0.2)
            told = a.recv(30)
            assert told is not None
            assert told.is_error_frame
            assert a.state is can.BusState.ERROR
            with pytest.raises(can.CanOperationError, match="bus off"):
                a.send(frame(4))
            until(lambda: a.recv(0.01) is not None or a.state is can.BusState.ACTIVE)
            a.send(frame(5))
            got = b.recv(30)
            assert got is not None
            assert got.arbitration_id == 5
        finally:
            control.close()
            a.shutdown()
            b.shutdown()


def test_a_hub_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with hub(tmp_path) as (path, process):
        bus = UnixBus(path)
        process.kill()
        process.wait()
        with pytest.raises(can.CanOperationError, match="gone"):
            bus.recv(30)
        with pytest.raises(can.CanOperationError, match="gone"):
            bus.send(frame(1))
        bus.shutdown()
        bus.shutdown()
    with pytest.raises(can.CanInitializationError, match="no bus"):
        UnixBus(str(tmp_path / "nowhere"))


def test_a_greeting_is_never_taken_for_a_frame(tmp_path: Path) -> None:
    """One of these is 16 bytes of JSON, as long as a frame."""
    with hub(tmp_path) as (path, _):
        reader = UnixBus(path, name="reader")
        for name in ("", "a", "host", "a long name"):
            writer = UnixBus(path, name=name)
            writer.send(frame(7))
            first = reader.recv(30)
            assert first is not None, name
            assert first.arbitration_id == 7, name
            writer.shutdown()
        reader.shutdown()
