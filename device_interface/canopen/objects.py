"""Objects, scales, PDO mappings and emergency codes of the eight nodes.

Indexes from 0x6000 are those of CiA 402; those from 0x2000 are ours, and a drive of another
maker needs its own there. Scales: positions 1e-5 rad, speeds 1e-5 rad/s or 1e-5 m/s, torque
0x6077 in thousandths of the rated torque, interaction torque 0.01 N.m, loads 0.1 N, ground
reaction 1 N, share 1e-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from device_interface.canopen.wire import Entry, Pdo

Kind = Literal["joint", "belt", "support"]

DEVICE_TYPE = Entry(0x1000, 0, 32)
ERROR_REGISTER = Entry(0x1001, 0, 8)
CONSUMER_HEARTBEAT = Entry(0x1016, 1, 32)
PRODUCER_HEARTBEAT = Entry(0x1017, 0, 16)
VENDOR = Entry(0x1018, 1, 32)
PRODUCT = Entry(0x1018, 2, 32)
REVISION = Entry(0x1018, 3, 32)
SERIAL = Entry(0x1018, 4, 32)

CONTROLWORD = Entry(0x6040, 0, 16)
STATUSWORD = Entry(0x6041, 0, 16)
ERROR_CODE = Entry(0x603F, 0, 16)
MODE = Entry(0x6060, 0, 8, signed=True)
MODE_DISPLAY = Entry(0x6061, 0, 8, signed=True)
POSITION = Entry(0x6064, 0, 32, signed=True)
VELOCITY = Entry(0x606C, 0, 32, signed=True)
MAX_TORQUE = Entry(0x6072, 0, 16)
RATED_TORQUE = Entry(0x6076, 0, 32)
TORQUE = Entry(0x6077, 0, 16, signed=True)
TARGET_POSITION = Entry(0x607A, 0, 32, signed=True)
POSITION_MIN = Entry(0x607D, 1, 32, signed=True)
POSITION_MAX = Entry(0x607D, 2, 32, signed=True)
MAX_VELOCITY = Entry(0x607F, 0, 32)
QUICK_STOP_DECELERATION = Entry(0x6085, 0, 32)
MAX_ACCELERATION = Entry(0x60C5, 0, 32)
DIGITAL_INPUTS = Entry(0x60FD, 0, 32)
TARGET_VELOCITY = Entry(0x60FF, 0, 32, signed=True)
SUPPORTED_MODES = Entry(0x6502, 0, 32)

LIFE = Entry(0x2001, 0, 8)
"""Bits 0 to 3 count SYNCs in the drive's application; see the flags below for the others."""
SHARE = Entry(0x2002, 0, 16)
INTERACTION = Entry(0x2003, 0, 16, signed=True)
TARGET_LOAD = Entry(0x2004, 0, 16, signed=True)
LOAD = Entry(0x2005, 0, 16, signed=True)
GROUND_L = Entry(0x2006, 0, 16, signed=True)
GROUND_R = Entry(0x2007, 0, 16, signed=True)
BENCH_DURATION = Entry(0x2F00, 1, 32)
BENCH_FAULT = Entry(0x2F00, 2, 16)
"""Simulated drives only: a fault on request, see `Bench`, for so many milliseconds."""

LIFE_COUNT = 0x0F
HOMED = 0x10
CALIBRATED = 0x20
AT_LIMIT = 0x40

CONTACT_CLOSED = 0x1
"""Digital input of the belt node: the e-stop's normally closed contact."""
CHAIN_RELEASED = 0x2
"""Digital input of the belt node: the safety relay is not latched."""

POSITION_UNIT = 1e-5
VELOCITY_UNIT = 1e-5
INTERACTION_UNIT = 0.01
LOAD_UNIT = 0.1
SHARE_UNIT = 1e-4
TORQUE_UNIT = 1e-3

MODE_VELOCITY = 9
MODE_IMPEDANCE = -3
MODE_LOAD = -4


@dataclass(frozen=True)
class Profile:
    """How a kind of node is used: mode of operation and PDO mappings."""

    mode: int
    rpdo: Pdo
    tpdos: tuple[Pdo, ...]


PROFILES: dict[Kind, Profile] = {
    "joint": Profile(
        MODE_IMPEDANCE,
        Pdo((CONTROLWORD, TARGET_POSITION, SHARE)),
        (
            Pdo((STATUSWORD, POSITION, MODE_DISPLAY, LIFE)),
            Pdo((VELOCITY, TORQUE, INTERACTION)),
        ),
    ),
    "belt": Profile(
        MODE_VELOCITY,
        Pdo((CONTROLWORD, TARGET_VELOCITY)),
        (
            Pdo((STATUSWORD, VELOCITY, MODE_DISPLAY, LIFE)),
            Pdo((DIGITAL_INPUTS, GROUND_L, GROUND_R)),
        ),
    ),
    "support": Profile(
        MODE_LOAD,
        Pdo((CONTROLWORD, TARGET_LOAD)),
        (Pdo((STATUSWORD, LOAD, MODE_DISPLAY, LIFE)),),
    ),
}

JOINTS = ("hip_l", "knee_l", "ankle_l", "hip_r", "knee_r", "ankle_r")
KINDS: dict[str, Kind] = {
    **dict.fromkeys(JOINTS, "joint"),
    "belt": "belt",
    "support": "support",
}

# Emergency codes of CiA 301 and CiA 402.
NO_ERROR = 0x0000
OVER_TEMPERATURE = 0x4310
SENSOR = 0x7305
HEARTBEAT_LOST = 0x8130
BUS_OFF_RECOVERED = 0x8140
RPDO_TIMEOUT = 0x8250
EXCESS_TORQUE = 0x8311
OVER_SPEED = 0x8400
# Ours.
NOT_READY = 0xFF01
TORQUE_OFF = 0xFF10
UNHEARD_OF = 0xFFAA


class Bench:
    """Faults that a simulated drive makes on request; durations in object 0x2F00:1."""

    OVER_TEMPERATURE = 1
    OVERLOAD = 2
    ENCODER = 3
    SILENT = 4
    """The node neither sends nor hears."""
    STUCK = 5
    """The application stands still and the last values go out again at every SYNC."""
    RESTART = 6
    """A visible fault, after which the drive enables itself 100 ms later."""
    SECRET_RESTART = 7
    """A fault between two SYNCs, of which only the emergency message's end is seen."""
    LIAR = 8
    """The statusword stays as it is, and so does the state, whatever is commanded."""
    SPASM = 9
    ESTOP_OPEN = 10
    ESTOP_CLOSE = 11
    UNKNOWN_CODE = 12
    REBOOT = 13
    LOSE_HOME = 14
    PUSH = 15
    """The joint is pushed slowly to the upper end of its range."""
    SLIP = 16
    """The joint's coupling slips: the drive moves nothing, and the leg hangs straight."""
