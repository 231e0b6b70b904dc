"""The thread that owns the bus: it receives, sends RPDOs and SYNC, and judges the drives.

It is the only cyclic sender, and what ends it is kept and told: python-can's own cyclic
task ends silently at the first error of the bus.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import can

from device_interface.canopen import objects as o
from device_interface.canopen import wire as w
from device_interface.canopen.hub import ERROR_BUS_OFF, ERROR_RESTARTED
from device_interface.canopen.load import frame_bits
from device_interface.canopen.remote import RemoteDrive
from device_interface.canopen.wire import Entry, Nmt, NmtState
from device_interface.errors import LinkLost
from trialkit.errors import TrialkitError

SDO_TIMEOUT_S = 0.5
_LOAD_WINDOW_S = 1.0
_HEARTBEAT_GAP_S = 0.02
_HALTED_S = 0.15
_REMEDY = "Look at the cabling, the bitrate and the power of the drives."


class Stopped(Exception):
    """Ends the thread from a bench."""


class Master:
    """The driver's end of the bus.

    Parameters
    ----------
    bus : can.BusABC
    drives : mapping of str to RemoteDrive
    host_id : int
        Node id of our heartbeat.
    period_s : float
        Between two SYNCs.
    on_cycle : callable
        Called in the thread before the RPDOs of a cycle go out; sets targets.
    on_trouble : callable
        Called in the thread with the kind of a fault, the node's name and a text.
    """

    def __init__(
        self,
        bus: can.BusABC,
        drives: Mapping[str, RemoteDrive],
        *,
        host_id: int,
        period_s: float,
        on_cycle: Callable[[], None],
        on_trouble: Callable[[str, str, str], None],
    ) -> None:
        self._bus = bus
        self._drives = drives
        self._by_id = {drive.node_id: drive for drive in drives.values()}
        self._host_id = host_id
        self._period_s = period_s
        self._on_cycle = on_cycle
        self._on_trouble = on_trouble
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._answers: queue.Queue[tuple[int, bytes]] = queue.Queue(64)
        self._bits: deque[tuple[float, int]] = deque()
        self._bits_sum = 0
        self._beat_s = 0.0
        self.cycling = False
        self.kill = False
        self.lateness_s = 0.0
        self.cycled_s = 0.0
        self.bus_fault: str | None = None
        self.death: BaseException | None = None

    # --- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; also again, after it has died."""
        if self.alive:
            return
        self.kill = False
        self.cycled_s = time.monotonic() if self.death is None else self.cycled_s
        self._thread = threading.Thread(target=self._run, name="can", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """End the thread and leave the bus."""
        self._closing = True
        if self._thread is not None:
            self._thread.join(2.0)
        self._bus.shutdown()

    def _run(self) -> None:
        due = time.monotonic() + self._period_s
        try:
            while not self._closing:
                self._receive_until(due)
                now = time.monotonic()
                self.lateness_s = now - due
                if self.cycling:
                    self._cycle()
                self.cycled_s = now
                due = max(due + self._period_s, now)
        except BaseException as error:
            self.death = error

    # --- receiving ---------------------------------------------------------------------------

    def _receive_until(self, due: float) -> None:
        """Take frames until `due`, and then those that wait already."""
        while True:
            left = due - time.monotonic()
            try:
                message = self._bus.recv(max(0.0, left))
            except can.CanOperationError as error:
                self._bus_trouble(str(error))
                time.sleep(min(max(0.0, left), self._period_s))
                return
            if message is None:
                if left <= 0:
                    return
                continue
            if left < -self._period_s:  # never starve the cycle
                return
            if message.is_error_frame:
                self._take_error(message.arbitration_id)
            elif not message.is_extended_id:
                with self._lock:
                    self._count(len(message.data))
                self._take(message.arbitration_id, bytes(message.data))

    def _take_error(self, bits: int) -> None:
        if bits & ERROR_RESTARTED:
            self.bus_fault = None
        elif bits & ERROR_BUS_OFF:
            self._bus_trouble("our controller is off the bus")

    def _bus_trouble(self, text: str) -> None:
        self.bus_fault = text
        if self.cycling:
            self._on_trouble("bus_off", "bus", text)

    def _take(self, number: int, data: bytes) -> None:
        base, node = number & 0x780, number & 0x7F
        drive = self._by_id.get(node)
        if drive is None:
            return
        if base in w.TPDO:
            drive.take(w.TPDO.index(base), data)
        elif base == w.HEARTBEAT and len(data) == 1:
            drive.nmt = NmtState(data[0]) if data[0] in list(NmtState) else None
            drive.booted = drive.booted or drive.nmt is NmtState.BOOT_UP
        elif base == w.EMCY and len(data) == 8:
            drive.emergency = w.emcy_parse(data)[0]
            self._on_trouble("emergency", drive.name, f"{drive.emergency:#06x}")
        elif base == w.SDO_REPLY and len(data) == 8:
            if self._answers.full():
                self._answers.get_nowait()
            self._answers.put_nowait((node, data))

    def _count(self, size: int) -> None:
        now = time.monotonic()
        bits = frame_bits(size)
        self._bits.append((now, bits))
        self._bits_sum += bits
        while self._bits and now - self._bits[0][0] > _LOAD_WINDOW_S:
            self._bits_sum -= self._bits.popleft()[1]

    @property
    def bits_per_s(self) -> float:
        """Bits of all frames of the last second, counted at worst-case length."""
        return self._bits_sum / _LOAD_WINDOW_S

    # --- sending -----------------------------------------------------------------------------

    def send(self, number: int, data: bytes) -> bool:
        """Send a frame from any thread; return False where the bus does not take it."""
        message = can.Message(arbitration_id=number, data=data, is_extended_id=False)
        try:
            with self._lock:
                self._bus.send(message)
                self._count(len(data))
        except can.CanOperationError as error:
            self._bus_trouble(str(error))
            return False
        self.bus_fault = None
        return True

    def heartbeat(self) -> None:
        """Say that the host lives; while the cycle stands still, nothing is said."""
        now = time.monotonic()
        halted = not self.alive or now - self.cycled_s > _HALTED_S
        if halted or now - self._beat_s < _HEARTBEAT_GAP_S:
            return
        self._beat_s = now
        self.send(w.HEARTBEAT + self._host_id, bytes([NmtState.OPERATIONAL]))

    def manage(self, command: Nmt, node_id: int = 0) -> None:
        """Send an NMT command to one node, or to all."""
        self.send(w.NMT, bytes([command, node_id]))

    def send_rpdos(self) -> None:
        """Send every drive its RPDO now."""
        for drive in self._drives.values():
            if not self.send(w.RPDO[0] + drive.node_id, drive.rpdo()):
                return

    def send_sync(self) -> None:
        """Send SYNC, at which drives use what they got and answer.

        One that the bus did not take counts as well: what was heard before it grows old.
        """
        self.send(w.SYNC, b"")
        for drive in self._drives.values():
            drive.passed_sync()

    def _cycle(self) -> None:
        if self.kill:
            raise Stopped("stopped on the bench")
        self._on_cycle()
        self.send_rpdos()
        self.send_sync()

    # --- SDO ---------------------------------------------------------------------------------

    def read(self, drive: RemoteDrive, entry: Entry) -> int:
        """Read an object.

        Raises
        ------
        LinkLost
            If the node does not answer, or aborts.
        """
        data = self._transfer(drive, entry, w.sdo_read_request(entry.index, entry.sub))
        return entry.decode(data.ljust(4, b"\0"))

    def write(self, drive: RemoteDrive, entry: Entry, value: int) -> None:
        """Write an object.

        Raises
        ------
        LinkLost
            If the node does not answer, or aborts.
        """
        request = w.sdo_write_request(entry.index, entry.sub, entry.encode(value))
        self._transfer(drive, entry, request)

    def _transfer(self, drive: RemoteDrive, entry: Entry, request: bytes) -> bytes:
        where = f"{drive.name} (node {drive.node_id}), object {entry.index:#06x}:{entry.sub}"
        while not self._answers.empty():
            self._answers.get_nowait()
        self.send(w.SDO_REQUEST + drive.node_id, request)
        end = time.monotonic() + SDO_TIMEOUT_S
        while (left := end - time.monotonic()) > 0:
            try:
                node, data = self._answers.get(timeout=left)
            except queue.Empty:
                break
            command, index, sub, value = w.sdo_parse(data)
            if node == drive.node_id and (index, sub) == (entry.index, entry.sub):
                if command == 0x80:
                    code = int.from_bytes(data[4:8], "little")
                    raise LinkLost(f"{where} was refused: {code:#010x}.", remedy=_REMEDY)
                return value
        raise LinkLost(f"{where} was not answered.", remedy=_REMEDY)

    def configure(self, drive: RemoteDrive, *, watch_ms: int, heartbeat_ms: int) -> None:
        """Set heartbeats, mode and PDO mappings, and read back what safety depends on.

        Raises
        ------
        LinkLost
            If the node does not take it. The mode is read back from 0x6061 later, in the
            cycle: a drive that has not changed its mode is not armed.
        """
        drive.booted = False
        watch = self._host_id << 16 | watch_ms
        self.write(drive, o.CONSUMER_HEARTBEAT, watch)
        if self.read(drive, o.CONSUMER_HEARTBEAT) != watch:
            raise LinkLost(f"{drive.name} does not watch our heartbeat.", remedy=_REMEDY)
        self.write(drive, o.PRODUCER_HEARTBEAT, heartbeat_ms)
        self.write(drive, o.MODE, drive.profile.mode)
        self._map(drive, 0x1400, w.RPDO[0], drive.profile.rpdo)
        for at, pdo in enumerate(drive.profile.tpdos):
            self._map(drive, 0x1800 + at, w.TPDO[at], pdo)

    def _map(self, drive: RemoteDrive, index: int, number: int, pdo: w.Pdo) -> None:
        """Turn a PDO off, map it, let it go at every SYNC, and turn it on."""
        identifier, mapping = Entry(index, 1, 32), index + 0x200
        self.write(drive, identifier, number + drive.node_id | w.PDO_OFF)
        self.write(drive, Entry(mapping, 0, 8), 0)
        for sub, entry in enumerate(pdo.entries, 1):
            self.write(drive, Entry(mapping, sub, 32), entry.mapping)
        self.write(drive, Entry(mapping, 0, 8), len(pdo.entries))
        self.write(drive, Entry(index, 2, 8), 1)
        self.write(drive, identifier, number + drive.node_id)

    def identity(self, drive: RemoteDrive) -> dict[str, Any]:
        """Return device type, revision and serial number."""
        return {
            "type": self.read(drive, o.DEVICE_TYPE),
            "revision": self.read(drive, o.REVISION),
            "serial": self.read(drive, o.SERIAL),
        }


def as_text(error: TrialkitError) -> str:
    """Return the message of an error without its full stop."""
    return error.message.rstrip(".")
