"""What a device can refuse, and how it can fail.

::

    trialkit.errors.DeviceError        TK-DEVICE
    |-- DeviceRefused                  TK-DEVICE-REFUSED   the device is unchanged
    |   |-- LimitRefused               TK-DEVICE-LIMIT     out of range, not a number, too fast
    |   |-- StateRefused               TK-DEVICE-STATE     not legal in the device's state
    |   `-- TokenRefused               TK-DEVICE-TOKEN     from an arming that has ended
    |-- SchemaRefused                  TK-DEVICE-SCHEMA    a descriptor of another version
    |-- DeviceFaulted                  TK-DEVICE-FAULT     a latched fault
    `-- LinkLost                       TK-DEVICE-LINK      the device's process or bus is gone
"""

from __future__ import annotations

from trialkit.errors import DeviceError


class DeviceRefused(DeviceError):
    """The device refused a call; its state did not change."""

    code = "TK-DEVICE-REFUSED"


class LimitRefused(DeviceRefused):
    """A setpoint is outside the device's hard limits, not finite, or too fast."""

    code = "TK-DEVICE-LIMIT"


class StateRefused(DeviceRefused):
    """The call is not legal in the state that the device is in."""

    code = "TK-DEVICE-STATE"


class TokenRefused(DeviceRefused):
    """The setpoints belong to an arming that has ended."""

    code = "TK-DEVICE-TOKEN"


class SchemaRefused(DeviceError):
    """The descriptor is of a version of the contract that this version does not know."""

    code = "TK-DEVICE-SCHEMA"


class DeviceFaulted(DeviceError):
    """The device has a latched fault."""

    code = "TK-DEVICE-FAULT"


class LinkLost(DeviceError):
    """The device's process or its bus does not answer."""

    code = "TK-DEVICE-LINK"


BY_CODE: dict[str, type[DeviceError]] = {
    kind.code: kind
    for kind in (
        DeviceError,
        DeviceRefused,
        LimitRefused,
        StateRefused,
        TokenRefused,
        SchemaRefused,
        DeviceFaulted,
        LinkLost,
    )
}
