"""The mechanical model, written as MJCF from the sizes of a body.

A planar biped stands on a belt: torso (3 degrees of freedom), thighs, shanks and feet. An
orthosis of two links a leg runs beside it, with a motor at hip and knee; cuffs (a spring and
a damper between each pair of joints) carry force from it to the leg. A frame holds the
trunk upright and over the middle of the belt, as the frame of a driven treadmill orthosis
does, and leaves it free in height. A rope unloads the body, and catches who falls.

x points forward, z up. Every joint is positive for flexion (dorsiflexion at the ankle).
The belt is a box on a slide whose speed is set at every step and whose position is always 0:
contact does not see where along a belt without features it happens.
"""

from __future__ import annotations

from typing import Any

from device_interface.mujoco.body import Body, Segment

STEP_S = 0.001
JOINTS = (
    "hip_l", "knee_l", "ankle_l", "hip_r", "knee_r", "ankle_r",
    "hip_drive_l", "knee_drive_l", "hip_drive_r", "knee_drive_r",
)  # fmt: skip
"""Joints with a torque of their own, in the order of the state: 6 of the body, 4 drives."""
ROOT = 4
"""Degrees of freedom before `JOINTS`: belt, forward, up, pitch."""

CUFF_NM_RAD = 1200.0
CUFF_NMS_RAD = 8.0
FRAME_N_M = 20000.0
FRAME_NM_RAD = 3000.0
ROPE_TOP_M = 2.0
"""From the hip of the standing body up to the hook; the rope can be longer, see the plant."""
_END = 'solreflimit="0.005 1" solimplimit="0.98 0.999 0.001"'
_SOLE_M = 0.02
_LINKS_KG = (4.0, 2.5)
_DRIVE_KG_M2 = 0.15

HIP = (-0.67, 2.05)
KNEE = (-0.04, 2.05)
ANKLE = (-0.80, 0.60)
"""Ranges of the joints in rad, of the body and of the drives alike."""


def _inertial(segment: Segment, x: float, z: float) -> str:
    i = segment.inertia_kg_m2
    return (
        f'<inertial pos="{x:.6f} 0 {z:.6f}" mass="{segment.mass_kg:.6f}" '
        f'diaginertia="{i:.8f} {i:.8f} {i:.8f}"/>'
    )


def _hinge(name: str, flexes: str, limits: tuple[float, float], more: str = "") -> str:
    axis = "0 1 0" if flexes == "backward" else "0 -1 0"
    low, high = limits
    return f'<joint name="{name}" axis="{axis}" range="{low} {high}" {_END} {more}/>'


def _leg(body: Body, side: str) -> str:
    thigh, shank, foot = body.thigh, body.shank, body.foot
    heel = -0.25 * foot.length_m
    toe = 0.75 * foot.length_m - 2.0 * _SOLE_M
    down = -(body.ankle_m - _SOLE_M)
    passive = 'damping="1.0" armature="0.01"'
    return f"""
    <body name="thigh_{side}">
      {_hinge(f"hip_{side}", "forward", HIP, passive)}
      {_inertial(thigh, 0.0, -thigh.centre_m)}
      <body name="shank_{side}" pos="0 0 {-thigh.length_m:.6f}">
        {_hinge(f"knee_{side}", "backward", KNEE, passive)}
        {_inertial(shank, 0.0, -shank.centre_m)}
        <body name="foot_{side}" pos="0 0 {-shank.length_m:.6f}">
          {_hinge(f"ankle_{side}", "forward", ANKLE, passive)}
          {_inertial(foot, 0.25 * foot.length_m, 0.5 * down)}
          <geom name="heel_{side}" type="sphere" size="{_SOLE_M}" pos="{heel:.6f} 0 {down:.6f}"/>
          <geom name="toe_{side}" type="sphere" size="{_SOLE_M}" pos="{toe:.6f} 0 {down:.6f}"/>
          <site name="foot_{side}" type="box" size="0.3 0.1 0.1" pos="0.05 0 {down:.6f}"/>
          <site name="sole_{side}" pos="{toe:.6f} 0 {down - _SOLE_M:.6f}"/>
        </body>
      </body>
    </body>"""


def _orthosis(body: Body, side: str) -> str:
    thigh, shank = (s.length_m for s in (body.thigh, body.shank))
    links = []
    for mass, length in zip(_LINKS_KG, (thigh, shank), strict=True):
        inertia = mass * length * length / 12.0
        links.append(_inertial(Segment(mass, length, length / 2, inertia), 0.0, -length / 2))
    drive = f'damping="0.5" armature="{_DRIVE_KG_M2}"'
    return f"""
    <body name="thigh_link_{side}" gravcomp="1">
      {_hinge(f"hip_drive_{side}", "forward", HIP, drive)}
      {links[0]}
      <body name="shank_link_{side}" pos="0 0 {-thigh:.6f}" gravcomp="1">
        {_hinge(f"knee_drive_{side}", "backward", KNEE, drive)}
        {links[1]}
      </body>
    </body>"""


def _cuff(joint: str, side: str) -> str:
    return f"""
    <fixed name="cuff_{joint}_{side}" stiffness="{CUFF_NM_RAD}" damping="{CUFF_NMS_RAD}">
      <joint joint="{joint}_{side}" coef="1"/><joint joint="{joint}_drive_{side}" coef="-1"/>
    </fixed>"""


def model_xml(body: Body) -> str:
    """Return the model of `body` in orthosis, belt and harness, as MJCF."""
    legs = "".join(_leg(body, side) for side in "lr")
    links = "".join(_orthosis(body, side) for side in "lr")
    cuffs = "".join(_cuff(joint, side) for side in "lr" for joint in ("hip", "knee"))
    motors = "".join(f'<motor name="{joint}" joint="{joint}"/>' for joint in JOINTS)
    return f"""<mujoco model="biped">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{STEP_S}" integrator="implicitfast" cone="elliptic" jacobian="dense"
    gravity="0 0 -9.81"><flag autoreset="disable"/></option>
  <default><geom condim="3" friction="0.9 0.005 0.0001" solref="0.03 1.5" contype="1"
    conaffinity="2"/></default>
  <worldbody>
    <site name="hook" pos="0 0 {body.hip_m + ROPE_TOP_M:.6f}"/>
    <body name="belt" pos="0 0 -0.05">
      <joint name="belt" type="slide" axis="1 0 0"/>
      <geom name="belt" type="box" size="3 0.5 0.05" mass="2000" contype="2" conaffinity="1"/>
    </body>
    <body name="torso" pos="0 0 {body.hip_m:.6f}">
      <joint name="forward" type="slide" axis="1 0 0" stiffness="{FRAME_N_M}" damping="600"/>
      <joint name="up" type="slide" axis="0 0 1" damping="20"/>
      <joint name="pitch" axis="0 1 0" stiffness="{FRAME_NM_RAD}" damping="150"/>
      {_inertial(body.torso, 0.0, body.torso.centre_m)}
      <site name="harness"/>
      {legs}
      {links}
    </body>
  </worldbody>
  <tendon>
    <spatial name="rope" limited="true" range="0 {ROPE_TOP_M}" solreflimit="0.03 1">
      <site site="hook"/><site site="harness"/>
    </spatial>
    {cuffs}
  </tendon>
  <actuator>{motors}<motor name="rope" tendon="rope"/></actuator>
  <sensor>
    <touch name="foot_l" site="foot_l"/><touch name="foot_r" site="foot_r"/>
    <framepos name="sole_l" objtype="site" objname="sole_l"/>
    <framepos name="sole_r" objtype="site" objname="sole_r"/>
    <tendonlimitfrc name="rope" tendon="rope"/>
  </sensor>
</mujoco>"""


def compiled(body: Body) -> tuple[Any, Any]:
    """Return the compiled model of `body` and its state (``MjModel``, ``MjData``)."""
    import mujoco

    model = mujoco.MjModel.from_xml_string(model_xml(body))
    return model, mujoco.MjData(model)
