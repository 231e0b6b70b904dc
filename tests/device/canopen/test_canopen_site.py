from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from device_interface import load_driver
from device_interface.canopen.bench import bench_site
from device_interface.canopen.load import LIMIT, bus_load, frame_bits
from device_interface.canopen.objects import KINDS
from device_interface.canopen.site import read_site
from device_interface.errors import LinkLost
from trialkit.errors import UsageError


def stuffed(bits: str) -> int:
    """Stuff bits inserted: after five equal ones, and a stuff bit counts for the next five."""
    count, run, last = 0, 0, ""
    for bit in bits:
        run = run + 1 if bit == last else 1
        last = bit
        if run == 5:
            count += 1
            last, run = ("0" if bit == "1" else "1"), 1
    return count


@pytest.mark.parametrize("n", range(9))
def test_the_longest_frame_is_that_of_the_worst_pattern(n: int) -> None:
    exposed = 34 + 8 * n
    pattern = ("00000" + "1111" + "0000" * 1) + "".join("1111" if i % 2 == 0 else "0000"
                                                        for i in range(30))  # fmt: skip
    worst = stuffed(pattern[:exposed])
    # 1 + 11 + 1 + 1 + 1 + 4 + 8 n + 15 are stuffed; 1 + 2 + 7 and 3 between frames are not
    assert frame_bits(n) == exposed + worst + 13


def test_frame_bits_of_the_paper() -> None:
    assert frame_bits(8) == 135
    with pytest.raises(ValueError, match="0 to 8"):
        frame_bits(9)


def test_the_load_counts_every_frame() -> None:
    load = bus_load(
        KINDS.values(), sync_hz=100, bitrate=1_000_000, node_heartbeat_s=0.1, host_heartbeat_s=0.05
    )
    # SYNC, six joints with three PDOs, belt with three, support with two; heartbeats
    assert load.frames_per_s == 100 * (1 + 18 + 3 + 2) + 80 + 20
    joints = 6 * (frame_bits(8) + frame_bits(8) + frame_bits(8))
    belt = frame_bits(6) + frame_bits(8) + frame_bits(8)
    support = frame_bits(4) + frame_bits(6)
    bits = 100 * (frame_bits(0) + joints + belt + support) + 100 * frame_bits(1)
    assert load.bits_per_s == bits
    assert math.isclose(load.fraction, bits / 1e6)


@pytest.mark.parametrize(
    ("sync_hz", "bitrate", "percent"), [(100, 250_000, 127), (200, 500_000, 125), (250, 10**6, 78)]
)
def test_a_bus_above_the_limit_is_refused_with_the_numbers(
    sync_hz: float, bitrate: int, percent: int
) -> None:
    site = bench_site() | {"sync_hz": sync_hz}
    site["bus"] = {**site["bus"], "bitrate": bitrate}
    with pytest.raises(UsageError, match=rf"of {bitrate // 1000} kbit/s: {percent}%.*{LIMIT:.0%}"):
        load_driver("canopen", {"site": site})


def test_a_bus_below_the_limit_is_taken() -> None:
    site = bench_site()
    site["bus"] = {**site["bus"], "bitrate": 500_000}
    assert 0.6 < read_site(site).load.fraction < LIMIT


def test_a_site_file(tmp_path: Path) -> None:
    site: dict[str, Any] = bench_site()
    site["nodes"]["knee_l"] = {"id": 12, "serial": 77, "positive": "extension"}
    del site["device"]["simulated"]
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(site), encoding="utf-8")
    read = read_site(path)
    assert (read.nodes["knee_l"].sign, read.nodes["knee_l"].serial) == (-1, 77)
    assert read.calibrated_on == "2026-01-01"
    assert not read.simulated
    capability = load_driver("canopen", {"site": str(path)}).describe()
    assert capability.serial == "CAN-SIM-1"
    assert not capability.lockstep


def broken(change: str) -> dict[str, Any]:
    site: dict[str, Any] = bench_site()
    if change == "twin":
        site["nodes"]["knee_l"]["id"] = 11
    elif change == "missing":
        del site["nodes"]["belt"]
    elif change == "unknown":
        site["nodes"]["hip_l"]["colour"] = "red"
    elif change == "date":
        site["device"]["calibrated_on"] = "yesterday"
    elif change == "host":
        site["host_id"] = 21
    elif change == "schema":
        site["schema"] = "trialkit.canopen-site/9"
    elif change == "bitrate":
        site["bus"]["bitrate"] = "fast"
    elif change == "sense":
        site["nodes"]["hip_r"]["positive"] = "up"
    elif change == "watch":
        site["watch_ms"] = 5000
    elif change == "vendor":
        site["device"]["vendor"] = ""
    return site


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("twin", r"nodes.knee_l.id 11 is also that of nodes.hip_l"),
        ("missing", r"nodes.belt is missing"),
        ("unknown", r"nodes.hip_l does not know 'colour'"),
        ("date", r"device.calibrated_on is 'yesterday'"),
        ("host", r"host_id 21 is also that of a node"),
        ("schema", r"reads 'trialkit.canopen-site/1'"),
        ("bitrate", r"bus.bitrate is 'fast'; it must be a whole number"),
        ("sense", r"nodes.hip_r.positive is 'up'"),
        ("watch", r"watch_ms is 5000; it must be a whole number from 200 to 250"),
        ("vendor", r"device.vendor must be a text"),
    ],
)
def test_a_fault_of_a_site_is_named(change: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        read_site(broken(change))


def test_every_fault_is_named_at_once() -> None:
    site = broken("twin") | {"schema": "x", "host_id": 500}
    with pytest.raises(UsageError) as caught:
        read_site(site)
    assert all(text in str(caught.value) for text in ("schema", "host_id", "knee_l"))


def test_what_is_no_site_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_site(tmp_path / "none.yaml")
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="must be a mapping"):
        read_site(path)


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="leave out"):
        load_driver("canopen", {"site": bench_site(), "simulation": {"ability": 0.5}})
    with pytest.raises(UsageError, match="weight_kg"):
        load_driver("canopen", {"weight_kg": 3})
    real = bench_site()
    real["device"] = {**real["device"], "simulated": False}
    with pytest.raises(UsageError, match="simulated drives"):
        load_driver("canopen", {"site": real, "faults": [{"at_s": 1.0, "kind": "estop"}]})


def test_a_bus_that_is_not_there_is_a_lost_link(tmp_path: Path) -> None:
    site = bench_site()
    site["bus"] = {"interface": "afunix", "channel": str(tmp_path / "bus"), "bitrate": 1_000_000}
    with pytest.raises(LinkLost, match="cannot be opened"):
        load_driver("canopen", {"site": site}).connect(lockstep=False)
    site["bus"] = {"interface": "nosuch", "channel": "x", "bitrate": 1_000_000}
    with pytest.raises(LinkLost, match="nosuch"):
        load_driver("canopen", {"site": site}).connect(lockstep=False)


def test_without_python_can_the_extra_is_named() -> None:
    code = "import sys; sys.modules['can'] = None; from device_interface import load_driver\n"
    code += "try: load_driver('canopen', {})\n"
    code += "except Exception as error: print(type(error).__name__, error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingTool")
    assert "trialkit[can]" in done.stdout


def test_lockstep_is_refused() -> None:
    with pytest.raises(UsageError, match="lock-step"):
        load_driver("canopen", {}).connect(lockstep=True)
