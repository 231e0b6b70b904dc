"""States and words of CiA 402 (IEC 61800-7-201), for the driver and for the simulated drives.

The helpers of the library ``canopen`` are not used for it: its ``reset_from_fault`` goes
straight on to operation enabled, and its ``op_mode`` logs a time-out and goes on.
"""

from __future__ import annotations

from enum import IntEnum


class DriveState(IntEnum):
    """States of a drive."""

    UNKNOWN = 0
    NOT_READY = 1
    SWITCH_ON_DISABLED = 2
    READY_TO_SWITCH_ON = 3
    SWITCHED_ON = 4
    OPERATION_ENABLED = 5
    QUICK_STOP_ACTIVE = 6
    FAULT_REACTION_ACTIVE = 7
    FAULT = 8


_S = DriveState

#: Mask and value of the statusword in each state.
STATUS: dict[DriveState, tuple[int, int]] = {
    _S.NOT_READY: (0x4F, 0x00),
    _S.SWITCH_ON_DISABLED: (0x4F, 0x40),
    _S.READY_TO_SWITCH_ON: (0x6F, 0x21),
    _S.SWITCHED_ON: (0x6F, 0x23),
    _S.OPERATION_ENABLED: (0x6F, 0x27),
    _S.QUICK_STOP_ACTIVE: (0x6F, 0x07),
    _S.FAULT_REACTION_ACTIVE: (0x4F, 0x0F),
    _S.FAULT: (0x4F, 0x08),
}

#: States in which a drive can make torque.
POWERED = frozenset({_S.SWITCHED_ON, _S.OPERATION_ENABLED, _S.QUICK_STOP_ACTIVE})
FAULTED = frozenset({_S.FAULT, _S.FAULT_REACTION_ACTIVE})

VOLTAGE_ENABLED = 0x0010
INTERNAL_LIMIT = 0x0800

DISABLE_VOLTAGE = 0x0000
QUICK_STOP = 0x0002
SHUTDOWN = 0x0006
SWITCH_ON = 0x0007
ENABLE_OPERATION = 0x000F
FAULT_RESET = 0x0080


def decode(statusword: int) -> DriveState:
    """Return the state that a statusword reports, UNKNOWN where it is none."""
    for state, (mask, value) in STATUS.items():
        if statusword & mask == value:
            return state
    return _S.UNKNOWN


def command_of(controlword: int) -> int:
    """Return which of the commands above a controlword is, bit 7 apart.

    Bits 0 to 3 are switch on, enable voltage, no quick stop, enable operation.
    """
    if not controlword & 0x2:
        return DISABLE_VOLTAGE
    if not controlword & 0x4:
        return QUICK_STOP
    if not controlword & 0x1:
        return SHUTDOWN
    return ENABLE_OPERATION if controlword & 0x8 else SWITCH_ON


#: Where a command leads in a state; a pair that is not here changes nothing.
TRANSITIONS: dict[tuple[DriveState, int], DriveState] = {
    (_S.SWITCH_ON_DISABLED, SHUTDOWN): _S.READY_TO_SWITCH_ON,  # 2
    (_S.READY_TO_SWITCH_ON, SWITCH_ON): _S.SWITCHED_ON,  # 3
    (_S.READY_TO_SWITCH_ON, ENABLE_OPERATION): _S.SWITCHED_ON,  # 3, then 4
    (_S.SWITCHED_ON, ENABLE_OPERATION): _S.OPERATION_ENABLED,  # 4
    (_S.OPERATION_ENABLED, SWITCH_ON): _S.SWITCHED_ON,  # 5
    (_S.SWITCHED_ON, SHUTDOWN): _S.READY_TO_SWITCH_ON,  # 6
    (_S.READY_TO_SWITCH_ON, DISABLE_VOLTAGE): _S.SWITCH_ON_DISABLED,  # 7
    (_S.READY_TO_SWITCH_ON, QUICK_STOP): _S.SWITCH_ON_DISABLED,  # 7
    (_S.OPERATION_ENABLED, SHUTDOWN): _S.READY_TO_SWITCH_ON,  # 8
    (_S.OPERATION_ENABLED, DISABLE_VOLTAGE): _S.SWITCH_ON_DISABLED,  # 9
    (_S.SWITCHED_ON, DISABLE_VOLTAGE): _S.SWITCH_ON_DISABLED,  # 10
    (_S.SWITCHED_ON, QUICK_STOP): _S.SWITCH_ON_DISABLED,  # 10
    (_S.OPERATION_ENABLED, QUICK_STOP): _S.QUICK_STOP_ACTIVE,  # 11
    (_S.QUICK_STOP_ACTIVE, DISABLE_VOLTAGE): _S.SWITCH_ON_DISABLED,  # 12
}


class Goal(IntEnum):
    """What the driver wants of a drive."""

    OFF = 0
    LOWERED = 1
    STOPPED = 2
    ENABLED = 3
    RESET = 4


def toward(state: DriveState, goal: Goal) -> int:
    """Return the controlword of the next step from `state` toward `goal`.

    No step leads out of a fault: a reset is the caller's own edge of bit 7, which ends in
    switch on disabled and never goes on by itself.
    """
    if goal is Goal.LOWERED:
        return SHUTDOWN
    if goal is Goal.STOPPED:
        return QUICK_STOP
    if goal is not Goal.ENABLED:
        return DISABLE_VOLTAGE
    return {
        _S.SWITCH_ON_DISABLED: SHUTDOWN,
        _S.READY_TO_SWITCH_ON: SWITCH_ON,
        _S.SWITCHED_ON: ENABLE_OPERATION,
        _S.OPERATION_ENABLED: ENABLE_OPERATION,
    }.get(state, DISABLE_VOLTAGE)
