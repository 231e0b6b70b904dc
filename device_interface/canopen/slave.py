"""The CANopen end of a simulated node: NMT, heartbeat, SDO server, PDO mapping, EMCY.

Written for this simulator, so that both ends of the wire are not the same library; the
tests talk to it with the library ``canopen`` as well.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from device_interface.canopen import objects as o
from device_interface.canopen import wire as w
from device_interface.canopen.wire import Entry, Nmt, NmtState, Pdo

Send = Callable[[int, bytes], None]
_RPDO_MAP, _TPDO_MAP = 0x1600, 0x1A00
_RPDO_COM, _TPDO_COM = 0x1400, 0x1800


class _Refused(Exception):
    """An SDO abort code."""

    def __init__(self, code: int) -> None:
        super().__init__(hex(code))
        self.code = code


class Slave:
    """A node's object dictionary and its services.

    Parameters
    ----------
    node_id : int
    entries : mapping of Entry to int
        The objects and their values at start.
    writable : set of Entry
    limits : mapping of Entry to (low, high)
        An SDO download outside is aborted.
    send : callable
        Takes an identifier and data.
    """

    def __init__(
        self,
        node_id: int,
        entries: dict[Entry, int],
        writable: set[Entry],
        limits: dict[Entry, tuple[int, int]],
        send: Send,
    ) -> None:
        self.node_id = node_id
        self._entries = {(e.index, e.sub): e for e in entries}
        self._first = dict(entries)
        self.values = dict(entries)
        self._writable = writable
        self._limits = limits
        self._send = send
        self.nmt = NmtState.BOOT_UP
        self.silent = False
        self.heard_s: float | None = None
        """When our own heartbeat consumer last heard the host; None while it does not watch."""
        self._beat_s = 0.0
        self._maps: dict[int, list[int]] = {}
        self._off: set[int] = set()
        self._received: dict[Entry, int] = {}
        self.tpdos: list[Pdo] = []
        self.on_write: Callable[[Entry, int], None] = lambda _entry, _value: None
        self.on_reset: Callable[[int], None] = lambda _command: None

    # --- life ------------------------------------------------------------------------------

    def boot(self, now_s: float) -> None:
        """Start with the values of the beginning, and say so."""
        self.values.update(self._first)
        self._maps = {}
        self._off = set()
        self._received = {}
        self.tpdos = []
        self.heard_s = None
        self.nmt = NmtState.PRE_OPERATIONAL
        self.send(w.HEARTBEAT + self.node_id, bytes([NmtState.BOOT_UP]))
        self._beat_s = now_s

    def send(self, number: int, data: bytes) -> None:
        """Send a frame, where the node is not silent."""
        if not self.silent:
            self._send(number, data)

    def tick(self, now_s: float) -> None:
        """Send the heartbeat when it is due."""
        period = self.values[o.PRODUCER_HEARTBEAT] / 1000
        if period and now_s - self._beat_s >= period:
            self._beat_s = max(self._beat_s + period, now_s - period)
            self.send(w.HEARTBEAT + self.node_id, bytes([self.nmt]))

    def host_is_late(self, now_s: float) -> float | None:
        """Return the age of the host's last heartbeat where it is too old; then stop watching."""
        watch_s = (self.values[o.CONSUMER_HEARTBEAT] & 0xFFFF) / 1000
        if self.heard_s is None or not watch_s or now_s - self.heard_s <= watch_s:
            return None
        age, self.heard_s = now_s - self.heard_s, None
        return age

    def emergency(self, code: int) -> None:
        """Send an emergency message, and keep the error register."""
        self.values[o.ERROR_REGISTER] = 1 if code else 0
        self.send(w.EMCY + self.node_id, w.emcy(code, self.values[o.ERROR_REGISTER]))

    # --- frames ----------------------------------------------------------------------------

    def receive(self, number: int, data: bytes, now_s: float) -> None:
        """Take a frame, SYNC apart."""
        if self.silent:
            return
        if number == w.SDO_REQUEST + self.node_id and len(data) == 8:
            self._serve_sdo(data)
        elif number == w.NMT and len(data) == 2 and data[1] in (0, self.node_id):
            self._manage(data[0], now_s)
        elif number == w.RPDO[0] + self.node_id and self.nmt is NmtState.OPERATIONAL:
            self._take_rpdo(data)
        elif number == w.HEARTBEAT + (self.values[o.CONSUMER_HEARTBEAT] >> 16 & 0x7F):
            self.heard_s = now_s

    def synchronised(self) -> dict[Entry, int]:
        """Return what RPDOs brought since the last SYNC, to be used from now on."""
        received, self._received = self._received, {}
        return received

    def send_tpdos(self) -> None:
        """Answer a SYNC with every TPDO."""
        for at, pdo in enumerate(self.tpdos):
            data = pdo.pack([self.values[entry] for entry in pdo.entries])
            self.send(w.TPDO[at] + self.node_id, data)

    def _take_rpdo(self, data: bytes) -> None:
        pdo = self._mapped(_RPDO_MAP)
        if pdo is not None and len(data) == pdo.size:
            self._received.update(zip(pdo.entries, pdo.unpack(data), strict=True))

    def _manage(self, command: int, now_s: float) -> None:
        if command in (Nmt.RESET_NODE, Nmt.RESET_COMMUNICATION):
            self.on_reset(command)
            self.boot(now_s)
            return
        states = {
            Nmt.START: NmtState.OPERATIONAL,
            Nmt.STOP: NmtState.STOPPED,
            Nmt.PRE_OPERATIONAL: NmtState.PRE_OPERATIONAL,
        }
        if command in list(states):
            self.nmt = states[Nmt(command)]
        if self.nmt is NmtState.OPERATIONAL:
            found = (self._mapped(_TPDO_MAP + at) for at in range(len(w.TPDO)))
            self.tpdos = [pdo for pdo in found if pdo is not None]

    # --- SDO -------------------------------------------------------------------------------

    def _serve_sdo(self, data: bytes) -> None:
        if self.nmt is NmtState.STOPPED:
            return
        command, index, sub, value = w.sdo_parse(data)
        after: tuple[Entry, int] | None = None
        try:
            if command == 0x40:
                reply = w.sdo_read_reply(index, sub, self._read(index, sub))
            elif command == 0x20:
                after = self._write(index, sub, value)
                reply = w.sdo_write_reply(index, sub)
            else:
                raise _Refused(w.ABORT_COMMAND)
        except _Refused as refused:
            reply = w.sdo_abort(index, sub, refused.code)
        self.send(w.SDO_REPLY + self.node_id, reply)
        if after is not None:
            self.on_write(*after)

    def _entry(self, index: int, sub: int) -> Entry:
        entry = self._entries.get((index, sub))
        if entry is None:
            known = any(i == index for i, _ in self._entries)
            raise _Refused(w.ABORT_NO_SUB if known else w.ABORT_NO_OBJECT)
        return entry

    def _read(self, index: int, sub: int) -> bytes:
        if index in self._maps or index & 0xFF00 in (0x1600, 0x1A00):
            words = self._maps.get(index, [])
            if sub == 0:
                return bytes([len(words)])
            if sub > len(words):
                raise _Refused(w.ABORT_NO_SUB)
            return struct.pack("<I", words[sub - 1])
        if index & 0xFF00 in (_RPDO_COM, _TPDO_COM) and sub in (1, 2):
            return self._communication(index, sub)
        entry = self._entry(index, sub)
        return entry.encode(self.values[entry])

    def _communication(self, index: int, sub: int) -> bytes:
        """Predefined identifiers, and transmission type 1: at every SYNC."""
        if sub == 2:
            return b"\x01"
        at = index & 0xFF
        row = w.RPDO if index & 0xFF00 == _RPDO_COM else w.TPDO
        if at >= len(row):
            raise _Refused(w.ABORT_NO_OBJECT)
        off = w.PDO_OFF if index + 0x200 in self._off else 0
        return struct.pack("<I", row[at] + self.node_id | off)

    def _write_communication(self, index: int, sub: int, data: bytes) -> None:
        """Take the predefined identifier with or without bit 31, which turns the PDO off."""
        value = int.from_bytes(data, "little")
        own = int.from_bytes(self._communication(index, sub), "little")
        if value & ~w.PDO_OFF != own & ~w.PDO_OFF:
            raise _Refused(w.ABORT_TOO_HIGH)
        if sub == 1 and value & w.PDO_OFF:
            self._off.add(index + 0x200)
        elif sub == 1:
            self._off.discard(index + 0x200)

    def _write(self, index: int, sub: int, data: bytes) -> tuple[Entry, int] | None:
        if index & 0xFF00 in (_RPDO_MAP, _TPDO_MAP):
            self._write_map(index, sub, data)
            return None
        if index & 0xFF00 in (_RPDO_COM, _TPDO_COM):
            self._write_communication(index, sub, data)
            return None
        entry = self._entry(index, sub)
        if entry not in self._writable:
            raise _Refused(w.ABORT_READ_ONLY)
        if len(data) != entry.bits // 8:
            raise _Refused(w.ABORT_LENGTH)
        value = entry.decode(data)
        low, high = self._limits.get(entry, (value, value))
        if not low <= value <= high:
            raise _Refused(w.ABORT_TOO_HIGH if value > high else w.ABORT_TOO_LOW)
        self.values[entry] = value
        return entry, value

    def _write_map(self, index: int, sub: int, data: bytes) -> None:
        """Map a PDO that is off: number of entries to zero, the entries, the number again."""
        if self.nmt is NmtState.OPERATIONAL or index not in self._off:
            raise _Refused(w.ABORT_STATE)
        words = self._maps.setdefault(index, [])
        if sub == 0:
            if data[0] not in (0, len(words)):
                raise _Refused(w.ABORT_MAPPING)
            if data[0] == 0:
                words.clear()
            return
        word = int.from_bytes(data, "little")
        entry = self._entries.get((word >> 16, word >> 8 & 0xFF))
        if entry is None or entry.mapping != word or sub != len(words) + 1:
            raise _Refused(w.ABORT_MAPPING)
        if sum(w & 0xFF for w in words) + entry.bits > 64:
            raise _Refused(w.ABORT_MAPPING)
        words.append(word)

    def _mapped(self, index: int) -> Pdo | None:
        words = self._maps.get(index)
        if not words or index in self._off:
            return None
        return Pdo(tuple(self._entries[word >> 16, word >> 8 & 0xFF] for word in words))
