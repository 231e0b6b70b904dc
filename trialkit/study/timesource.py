"""Where the machine has its time from: a time server or none, and how far off it may be.

Three sources are asked, and none is needed: ``chronyc tracking``, ``timedatectl show-timesync``,
and the kernel (``adjtimex``, Linux), whose bound on the error is what a time daemon gives it.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
import sys
from typing import NamedTuple

from trialkit._clock import Clock, RealClock
from trialkit.record.kinds import TimeSource

_WAIT_S = 1.0
_STA_UNSYNC = 0x40
_TIME_ERROR = 5


def time_source(clock: Clock) -> TimeSource:
    """Return where `clock` has its time from; what the system does not tell is None.

    Any other clock than the machine's own is said to be simulated.
    """
    if not isinstance(clock, RealClock):
        return TimeSource(told_by="simulated")
    machine, kernel = platform.node(), _kernel()
    bound_s = kernel.bound_s if kernel else None
    if (tracked := _chrony()) is not None:
        synchronised = tracked.off_s is not None
        return TimeSource(
            told_by="chrony",
            machine=machine,
            server=tracked.server,
            synchronised=synchronised,
            off_s=tracked.off_s,
            bound_s=bound_s if synchronised else None,
        )
    if kernel is None:
        return TimeSource(told_by="unknown", machine=machine)
    server = _timesyncd()
    return TimeSource(
        told_by="kernel" if server is None else "timesyncd",
        machine=machine,
        server=server,
        synchronised=kernel.synchronised,
        bound_s=bound_s,
    )


def differs(new: TimeSource, old: TimeSource | None, *, tolerance_s: float) -> bool:
    """Return whether a source is another than before: not where it is only off a little more."""

    def key(one: TimeSource) -> tuple[object, ...]:
        far = one.off_s is not None and one.off_s > tolerance_s
        return (one.told_by, one.machine, one.server, one.synchronised, far)

    return old is None or key(new) != key(old)


class _Tracked(NamedTuple):
    """The server that chrony follows, and how far off the clock is; None where it follows none."""

    server: str | None
    off_s: float | None


class _Kernel(NamedTuple):
    """Whether the kernel holds its clock for synchronised, and its bound on the error in s."""

    synchronised: bool
    bound_s: float | None


def _chrony() -> _Tracked | None:
    """Return what ``chronyc -c tracking`` says: server, offset in s and leap status by place."""
    fields = _ask("chronyc", "-c", "tracking").strip().split(",")
    try:
        server, off_s, leap = fields[1], abs(float(fields[4])), fields[13]
    except (IndexError, ValueError):
        return None
    if leap.startswith("Not sync"):
        return _Tracked(None, None)
    return _Tracked(server or None, round(off_s, 6))


def _timesyncd() -> str | None:
    """Return the server that systemd-timesyncd follows."""
    for line in _ask("timedatectl", "show-timesync").splitlines():
        name, _, value = line.partition("=")
        if name == "ServerName" and value:
            return value
    return None


def _ask(program: str, *arguments: str) -> str:
    """Return what a program prints; nothing where it is not there or fails."""
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_WAIT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _Timex(ctypes.Structure):
    """``struct timex`` of Linux; see ``man 2 adjtimex``. Times are in microseconds."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("unused", ctypes.c_int * 11),
    )


def _kernel() -> _Kernel | None:
    """Return what ``adjtimex`` says without changing anything; None off Linux or where refused."""
    if not sys.platform.startswith("linux"):
        return None
    told = _Timex(modes=0)
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(told))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    synchronised = state != _TIME_ERROR and not told.status & _STA_UNSYNC
    return _Kernel(synchronised, round(told.maxerror / 1e6, 6) if synchronised else None)
