"""A driven treadmill orthosis with a planar body in a physics engine: masses, joints, contacts.

It needs the extra ``sim``. Everything of the model is made here, in code; sizes and masses
come from height and weight, every other number is a start value of this simulator and no
claim about a device or about patients. ``docs/simulators.md`` says what it is and is not.
"""

from __future__ import annotations

from device_interface.mujoco.trainer import BipedGaitTrainer

__all__ = ["BipedGaitTrainer"]
