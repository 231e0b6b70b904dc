"""A trial on a disk that fills or cannot be written, and under a clock that steps back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import conduct_steps
import pytest

from trialkit._clock import SimulatedClock
from trialkit.errors import StorageRefused
from trialkit.record import KeyStore
from trialkit.study import Study


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a real file system of a size on a new folder; needs the right to mount."""
    mount = shutil.which("mount") or "mount"
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here; the limits of test_events remain")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    with small_disk(tmp_path / "disk", "4m") as folder:
        yield folder


def fill(folder: Path, free: int) -> Path:
    """Write a file that leaves so many bytes free, and return it."""
    path, left = folder / "ballast", os.statvfs(folder)
    path.write_bytes(bytes(max(0, left.f_bavail * left.f_frsize - free)))
    return path


def taken(study: Study, told: list[str], first: int = 0) -> int:
    """Take the steps from `first` on; return the first that the disk refused, or their number."""
    for at in range(first, len(conduct_steps.steps())):
        try:
            conduct_steps.run(study, told.append, at, at + 1)
        except StorageRefused:
            return at
    return len(conduct_steps.steps())


def try_full_disk(template: Path, plain: conduct_steps.Run, disk: Path, free: int) -> int:
    """Fill the disk under a trial; it stops whole, and goes on when there is space again."""
    folder, told = conduct_steps.copied(template, disk / "trial"), list[str]()
    ballast = fill(disk, free)
    with conduct_steps.opened(folder) as study:
        stopped = taken(study, told)
        assert (study.state.seq, study.state.hash) == study.record.head
        assert study.record.verify().ok
        ballast.unlink()
        # the same open study goes on, from a step of which nothing was kept: one that logs in
        # first and then sets a password has kept the login
        if stopped % 2 and study.state.seq in plain.ends:
            assert taken(study, told, stopped) == len(plain.ends)
    assert conduct_steps.wrong_after(folder, plain, "".join(told)) == []
    shutil.rmtree(disk / "trial")
    return stopped


def test_a_disk_that_fills(tmp_path: Path, disk: Path) -> None:
    template = conduct_steps.make(tmp_path / "template")
    plain = conduct_steps.undisturbed(conduct_steps.copied(template, tmp_path / "plain"))
    stopped = try_full_disk(template, plain, disk, 200_000)
    assert 0 < stopped < len(plain.ends)


@pytest.mark.slow(seconds=40)
def test_a_disk_that_fills_at_every_page(tmp_path: Path, disk: Path) -> None:
    template = conduct_steps.make(tmp_path / "template")
    plain = conduct_steps.undisturbed(conduct_steps.copied(template, tmp_path / "plain"))
    places = {try_full_disk(template, plain, disk, free) for free in range(90_000, 500_000, 8192)}
    assert len(places) > 10


def test_a_read_only_disk(tmp_path: Path, disk: Path) -> None:
    template = conduct_steps.make(tmp_path / "template")
    folder = conduct_steps.copied(template, disk / "trial")
    with conduct_steps.opened(folder) as study:
        conduct_steps.run(study, lambda _: None, 0, 7)
        head = study.record.head
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        with pytest.raises(StorageRefused), conduct_steps.opened(folder):
            pass
        with Study.open(folder, actor="olga", write=False) as seen:
            assert seen.record.head == head
            assert seen.status().chain_ok
            assert seen.arm_of(conduct_steps.name("01", 1)) in ("ROBOTIC", "CONVENTIONAL")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


class SetBack(SimulatedClock):
    """A clock whose wall time is set back by an hour when it is asked for the n-th time."""

    def __init__(self, n: int) -> None:
        super().__init__(conduct_steps.START)
        self.n, self.asked = n, 0

    def now(self) -> datetime:
        self.asked += 1
        if self.asked == self.n:
            self._start -= timedelta(hours=1)
        return super().now()

    def move_to(self, moment: datetime) -> None:
        """Go on by a minute."""
        self.advance(60)


def try_clock(template: Path, folder: Path, n: int) -> tuple[int, int]:
    """Take all steps under such a clock; return how often it was asked, and steps it noticed."""
    clock, told = SetBack(n), list[str]()
    copy = conduct_steps.copied(template, folder)
    keys = KeyStore(copy.parent / "keys")
    with Study.open(copy, actor="olga", clock=clock, keys=keys) as study:
        conduct_steps.run(study, told.append)
        last, digest = conduct_steps.acknowledged("".join(told))
        assert study.record.head == (last, digest)
        assert conduct_steps.wrong_at_end_of(study) == []
        noticed = [e.payload["by_s"] for e in study.record.read(kinds=["clock.stepped"])]
    assert set(noticed) <= {-3600.0}
    shutil.rmtree(copy.parent)
    return clock.asked, len(noticed)


def test_a_clock_that_steps_back_in_a_command(tmp_path: Path) -> None:
    template = conduct_steps.make(tmp_path / "template")
    assert try_clock(template, tmp_path / "case", 30)[1] == 1


@pytest.mark.slow(seconds=60)
def test_a_clock_that_steps_back_at_any_time(tmp_path: Path) -> None:
    template = conduct_steps.make(tmp_path / "template")
    asked, none = try_clock(template, tmp_path / "plain", 0)
    assert none == 0
    noticed = [try_clock(template, tmp_path / f"case-{n}", n)[1] for n in range(1, asked, 4)]
    assert set(noticed[2:-2]) == {1}
