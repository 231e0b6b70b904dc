"""Identifiers and frame coding of CANopen (CiA 301): NMT, heartbeat, EMCY, SDO, PDO.

Only expedited SDO transfers are used: no object here is longer than four bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

NMT = 0x000
SYNC = 0x080
EMCY = 0x080
TPDO = (0x180, 0x280)
RPDO = (0x200,)
SDO_REPLY = 0x580
SDO_REQUEST = 0x600
HEARTBEAT = 0x700
PDO_OFF = 0x80000000
"""Bit 31 of a PDO's identifier: the PDO is not used, and may be mapped anew."""


class Nmt(IntEnum):
    """Commands of network management."""

    START = 0x01
    STOP = 0x02
    PRE_OPERATIONAL = 0x80
    RESET_NODE = 0x81
    RESET_COMMUNICATION = 0x82


class NmtState(IntEnum):
    """States of network management, as a heartbeat reports them."""

    BOOT_UP = 0x00
    STOPPED = 0x04
    OPERATIONAL = 0x05
    PRE_OPERATIONAL = 0x7F


_CODES = {(8, False): "B", (8, True): "b", (16, False): "H", (16, True): "h",
          (32, False): "I", (32, True): "i"}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """An object of at most 32 bits.

    Parameters
    ----------
    index, sub : int
        Where it is in the object dictionary.
    bits : {8, 16, 32}
    signed : bool
    """

    index: int
    sub: int
    bits: int
    signed: bool = False

    @property
    def code(self) -> str:
        """Its letter for ``struct``."""
        return _CODES[self.bits, self.signed]

    @property
    def mapping(self) -> int:
        """The word that maps it into a PDO: index, sub-index, bits."""
        return self.index << 16 | self.sub << 8 | self.bits

    def encode(self, value: int) -> bytes:
        """Return `value` little-endian.

        Raises
        ------
        struct.error
            If it does not fit.
        """
        return struct.pack("<" + self.code, value)

    def decode(self, data: bytes) -> int:
        """Return the value of the first bytes of `data`."""
        value: int = struct.unpack_from("<" + self.code, data)[0]
        return value


@dataclass(frozen=True)
class Pdo:
    """What a PDO carries, in order."""

    entries: tuple[Entry, ...]

    @cached_property
    def layout(self) -> struct.Struct:
        """Its coding."""
        return struct.Struct("<" + "".join(entry.code for entry in self.entries))

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.layout.size

    def pack(self, values: Sequence[int]) -> bytes:
        """Return the data of the PDO."""
        return self.layout.pack(*values)

    def unpack(self, data: bytes) -> tuple[int, ...]:
        """Return the values in the order of the entries.

        Raises
        ------
        struct.error
            If the data are of another length.
        """
        return self.layout.unpack(data)


# --- SDO, expedited (CiA 301, 7.2.4.3) -------------------------------------------------------

ABORT_NO_OBJECT = 0x06020000
ABORT_NO_SUB = 0x06090011
ABORT_READ_ONLY = 0x06010002
ABORT_LENGTH = 0x06070010
ABORT_TOO_HIGH = 0x06090031
ABORT_TOO_LOW = 0x06090032
ABORT_STATE = 0x08000022
ABORT_COMMAND = 0x05040001
ABORT_MAPPING = 0x06040041

_HEAD = struct.Struct("<BHB")


def sdo_read_request(index: int, sub: int) -> bytes:
    """Return an upload request."""
    return _HEAD.pack(0x40, index, sub) + bytes(4)


def sdo_write_request(index: int, sub: int, data: bytes) -> bytes:
    """Return an expedited download request for 1 to 4 bytes of `data`."""
    return _HEAD.pack(0x23 | (4 - len(data)) << 2, index, sub) + data.ljust(4, b"\0")


def sdo_read_reply(index: int, sub: int, data: bytes) -> bytes:
    """Return the answer to an upload request."""
    return _HEAD.pack(0x43 | (4 - len(data)) << 2, index, sub) + data.ljust(4, b"\0")


def sdo_write_reply(index: int, sub: int) -> bytes:
    """Return the answer to a download request."""
    return _HEAD.pack(0x60, index, sub) + bytes(4)


def sdo_abort(index: int, sub: int, code: int) -> bytes:
    """Return an abort."""
    return _HEAD.pack(0x80, index, sub) + struct.pack("<I", code)


def sdo_parse(data: bytes) -> tuple[int, int, int, bytes]:
    """Return command specifier, index, sub-index and the data of an expedited transfer.

    The specifier is the first byte without its length bits: 0x20 download, 0x40 upload or
    its answer, 0x60 answer to a download, 0x80 abort.
    """
    first, index, sub = _HEAD.unpack_from(data)
    size = 4 - (first >> 2 & 3) if first & 0x3 == 0x3 else 4
    return first & 0xE0, index, sub, bytes(data[4 : 4 + size])


def emcy(code: int, register: int, detail: int = 0) -> bytes:
    """Return an emergency message: error code, error register, five manufacturer bytes."""
    return struct.pack("<HBI", code, register, detail) + b"\0"


def emcy_parse(data: bytes) -> tuple[int, int]:
    """Return the error code and the error register."""
    code, register = struct.unpack_from("<HB", data)
    return code, register
