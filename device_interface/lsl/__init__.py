"""LSL streams, such as EMG or IMU, beside another device (extra ``lsl``)."""

from device_interface.lsl.device import BesideStreams
from device_interface.lsl.inlet import WantedStream

__all__ = ["BesideStreams", "WantedStream"]
