"""A driven treadmill orthosis with a virtual patient in it: kinematic, seeded, numpy only.

Its limits are those of a published device data sheet (belt 3.2 km/h, support 85 kg, patient
135 kg); every other number is a start value of this simulator and no claim about a device
or about patients.
"""

from __future__ import annotations

from device_interface.simulated.trainer import SimulatedGaitTrainer

__all__ = ["SimulatedGaitTrainer"]
