"""Walks the physical body of the driver ``mujoco`` and prints how fast and how well it walks.

Run ``python benchmarks/biped.py [--minutes M] [--speed V] [--support S] [--guidance G] ...``.
With several values of a setting it walks every combination. One line each: steps of 1 ms a
second of wall time and of processor time, times real time, whether it fell, and the gait.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time

import numpy as np

from device_interface.contract import Block, DeviceState, Setpoints
from device_interface.mujoco import BipedGaitTrainer
from device_interface.mujoco.model import STEP_S


def walk(
    options: dict[str, float], values: dict[str, float], minutes: float
) -> tuple[float, list[Block], str]:
    """Return the seconds that the device walked, its rows, and how it ended."""
    device = BipedGaitTrainer(**options)  # type: ignore[arg-type]
    device.connect(lockstep=True)
    token = device.arm()
    still = {name: value for name, value in values.items() if name != "speed_m_s"}
    device.apply(Setpoints(still, {}, token))
    device.advance(10_000_000_000)
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
    sys.stdout.write(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before\n")
    for speed, support, guidance in itertools.product(given.speed, given.support, given.guidance):
        values = {"speed_m_s": speed, "support_fraction": support, "guidance": guidance}
        wall, cpu = time.perf_counter(), time.process_time()
        passed, blocks, how = walk({"strength": given.strength}, values, given.minutes)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        simulated = passed + 10.0
        sys.stdout.write(
            f"{speed:g} m/s, support {support:g}, guidance {guidance:g}, strength "
            f"{given.strength:g}: walked {passed / 60:.1f} min, {how}\n"
            f"  {simulated / STEP_S / wall:,.0f} steps/s, {simulated / wall:.1f} x real time "
            f"({simulated / cpu:.1f} x by processor time)\n  {gait(blocks)}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
