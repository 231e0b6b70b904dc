"""Plays a recording as a device: a sealed session, or a CSV, C3D or XDF file.

Everything that is wrong in a recording is counted and reported, and nothing is mended but
the device's clock, which is given both as it was recorded and without its wraps and resets.
"""

from device_interface.replay.device import ReplayDevice
from device_interface.replay.read import read_recording
from device_interface.replay.recording import RecordedStream, Recording

__all__ = ["RecordedStream", "Recording", "ReplayDevice", "read_recording"]
