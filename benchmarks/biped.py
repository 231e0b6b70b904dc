"""Walks the physical body of the driver ``mujoco`` and prints how well it walks.

Run ``python benchmarks/biped.py [--minutes M] [--speed V] [--support S] [--guidance G] ...``.
With several values of a setting it walks every combination. One line each: whether it fell, and
the gait. How fast it is, ``benchmarks/device.py`` prints.
"""

from __future__ import annotations

import argparse
import itertools
import sys

import numpy as np

from device_interface.contract import Block, DeviceState, Setpoints
from device_interface.mujoco import BipedGaitTrainer

STANDING_S = 10.0
"""It stands this long before it walks."""


def walk(
    options: dict[str, float], values: dict[str, float], minutes: float
) -> tuple[float, list[Block], str]:
    """Return the seconds that the device walked, its rows, and how it ended."""
    device = BipedGaitTrainer(**options)  # type: ignore[arg-type]
    device.connect(lockstep=True)
    token = device.arm()
    still = {name: value for name, value in values.items() if name != "speed_m_s"}
    device.apply(Setpoints(still, {}, token))
    device.advance(int(STANDING_S * 1e9))
    device.apply(Setpoints({"speed_m_s": values["speed_m_s"]}, {}, token))
    blocks: list[Block] = []
    passed = 0
    while passed < minutes * 60e9 and device.state is DeviceState.RUNNING:
        done, more = device.advance(10_000_000_000)
        passed += done
        blocks += more
    faults = "; ".join(text for _, text in device.faults())
    return passed / 1e9, blocks, faults or f"{device.state.name}"


def gait(blocks: list[Block]) -> str:
    device = BipedGaitTrainer()
    motion, stride = device.describe().streams
    rows = np.concatenate([b.values for b in blocks if b.stream == "motion"])[1000:]
    strides = np.concatenate(
        [np.empty((0, len(stride.channels))), *(b.values for b in blocks if b.stream == "stride")]
    )[3:]
    if not len(rows) or not len(strides):
        return "too short to judge the gait"
    shown = []
    for joint, side in itertools.product(("hip", "knee"), "lr"):
        angle = np.degrees(rows[:, motion.index(f"{joint}_angle_{side}")])
        shown.append(f"{joint} {side} {angle.min():.0f}..{angle.max():.0f} deg")
    for side in "lr":
        share = 100 * strides[:, stride.index(f"stance_{side}_fraction")]
        shown.append(f"stance {side} {share.mean():.1f} +/- {share.std():.1f} %")
    clearance = 1e3 * strides[:, stride.index("toe_clearance_m")]
    return ", ".join([*shown, f"toe clearance {clearance.mean():.0f} mm, {len(strides)} strides"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--speed", type=float, nargs="+", default=[0.3, 0.5, 0.8889])
    parser.add_argument("--support", type=float, nargs="+", default=[0.3])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0])
    parser.add_argument("--strength", type=float, default=0.8)
    given = parser.parse_args()
    for speed, support, guidance in itertools.product(given.speed, given.support, given.guidance):
        values = {"speed_m_s": speed, "support_fraction": support, "guidance": guidance}
        passed, blocks, how = walk({"strength": given.strength}, values, given.minutes)
        sys.stdout.write(
            f"{speed:g} m/s, support {support:g}, guidance {guidance:g}, strength "
            f"{given.strength:g}: walked {passed / 60:.1f} min, {how}\n  {gait(blocks)}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
