"""The watch over the rows of one stream: counts, gaps, silence, and what the guards look for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import Block, Channel, Stream
from trialkit.session.guards import GUARDS, SILENT_S, STALE_PERIODS
from trialkit.session.spasm import SpasmWatch

Rows = NDArray[np.float32]
_HALF = 1 << 31
_WRAP = 0xFFFFFFFF
_LIVELY = frozenset({"rad/s", "N.m", "V"})
"""Units of channels that never repeat exactly while somebody walks."""
_RATE_S = 2.0


class _Lasting:
    """A condition that counts only after it has lasted, over the borders of blocks."""

    def __init__(self, after_s: float) -> None:
        self._after_ns = round(after_s * 1e9)
        self._since: int | None = None

    def longer(self, bad: NDArray[np.bool_], t_ns: NDArray[np.int64]) -> bool:
        """Return whether a run of `bad` rows lasted longer than allowed."""
        if not bad.any():
            self._since = None
            return False
        found = False
        for at in np.flatnonzero(np.diff(bad, prepend=not bad[0])).tolist():
            if not bad[at]:
                continue
            rest = np.flatnonzero(~bad[at:])
            end = at + int(rest[0]) - 1 if len(rest) else len(bad) - 1
            begin = self._since if at == 0 and self._since is not None else int(t_ns[at])
            found = found or int(t_ns[end]) - begin >= self._after_ns
            self._since = begin if end == len(bad) - 1 else None
        if not bad[-1]:
            self._since = None
        return found


class StreamWatch:
    """Counts and looks at the rows of one stream.

    Parameters
    ----------
    stream : Stream
    required : bool
        Whether the session ends without it.

    Attributes
    ----------
    rows, gaps, backward : int
        Rows, places where sequence numbers are missing, and where they went back.
    silent_s : float
        Time without rows beyond the stream's own period, or of the rows that the last
        tick's gaps swallowed. Stays 0 for a stream without a rate.
    """

    def __init__(self, stream: Stream, *, required: bool) -> None:
        self.stream = stream
        self.required = required
        self.column = {channel.name: at for at, channel in enumerate(stream.channels)}
        self.rows = self.gaps = self.backward = 0
        self.silent_s = 0.0
        self._row_s = 1.0 / stream.rate_hz if stream.rate_hz else None
        self._next_seq: int | None = None
        self._waited_s = 0.0
        self._window: list[tuple[float, int]] = []
        sampled = list(enumerate(stream.channels)) if self._row_s is not None else []
        self._alarms = _Alarms(stream.channels)
        self._pairs = [
            (at, c.follows, c.allowed_gap, _Lasting(c.gap_after_s or 0.0), c.name)
            for at, c in sampled
            if c.follows is not None and c.allowed_gap is not None
        ]
        self._torques = [at for at, c in sampled if "interaction_torque" in c.name]
        self._spasm = SpasmWatch(len(self._torques), self._row_s or 1.0)
        self._lively = [at for at, c in sampled if c.unit in _LIVELY]
        self._off_path = _Lasting(GUARDS["tracking_error"].after_s)
        periods_s = STALE_PERIODS * (self._row_s or 0.0)
        self._same = _Lasting(max(periods_s, GUARDS["stale"].after_s))
        self._before: tuple[NDArray[np.int64], Rows] | None = None
        self.stale = False

    @property
    def rate_hz(self) -> float:
        """Rows a second over the last two seconds."""
        seconds = sum(s for s, _ in self._window)
        return sum(n for _, n in self._window) / seconds if seconds > 0 else 0.0

    @property
    def silent(self) -> bool:
        """True where it has waited too long, or repeats the same values."""
        period = self._row_s or 0.0
        return self.stale or self.silent_s > max(SILENT_S, STALE_PERIODS * period)

    def see(
        self, blocks: Sequence[Block], dt_s: float, latest: Mapping[str, float], *, moving: bool
    ) -> tuple[Rows | None, dict[str, float]]:
        """Take in the rows of a tick.

        Parameters
        ----------
        blocks : sequence of Block
            Of this stream, in order.
        latest : mapping
            Last values of the channels of all streams.
        moving : bool
            Whether somebody walks: only then can values not stand still.

        Returns
        -------
        rows : ndarray of shape (n, channels), or None where none came
        seen : dict of full guard code to value
        """
        lost_s, back = self._count(blocks)
        n = sum(len(block) for block in blocks)
        self._note_rate(dt_s, n)
        if self._row_s is not None:
            self._waited_s = 0.0 if n else self._waited_s + dt_s
            self.silent_s = lost_s if n else max(0.0, self._waited_s - self._row_s)
        if not n:
            return None, {}
        one = len(blocks) == 1
        values = blocks[0].values if one else np.concatenate([b.values for b in blocks])
        seen = self._alarms.look(values)
        if self._row_s is None:
            return values, seen
        t_ns = blocks[0].t_device_ns if one else np.concatenate([b.t_device_ns for b in blocks])
        threshold = GUARDS["sequence"].threshold or 0.0
        if self.required and (back or lost_s > threshold):
            seen[f"sequence-{self.stream.name}"] = lost_s
        seen.update(self._look(values, t_ns, latest, moving=moving))
        self._look_stale(values, t_ns, moving=moving)
        if self.stale and self.required:
            seen[f"stale-{self.stream.name}"] = float(t_ns[-1] - t_ns[0]) / 1e9
        self._before = (t_ns[-1:], values[-1:])
        return values, seen

    def _note_rate(self, dt_s: float, n: int) -> None:
        self._window.append((dt_s, n))
        while len(self._window) > 1 and sum(s for s, _ in self._window[1:]) >= _RATE_S:
            self._window.pop(0)

    def _count(self, blocks: Iterable[Block]) -> tuple[float, bool]:
        """Count gaps of the sequence numbers; return the seconds lost, and if any went back."""
        missing, back = 0, 0
        for block in blocks:
            seq = block.seq
            first, last, n = int(seq[0]), int(seq[-1]), len(block)
            before = 0 if self._next_seq is None else (first - self._next_seq) & _WRAP
            back += before >= _HALF
            if 0 < before < _HALF:
                self.gaps += 1
                missing += before
            numbers = seq.astype(np.int64)
            steps = (numbers[1:] - numbers[:-1] - 1) & _WRAP
            if steps.any():
                forward = steps[(steps > 0) & (steps < _HALF)]
                self.gaps += len(forward)
                missing += int(forward.sum())
                back += int(np.count_nonzero(steps >= _HALF))
            self._next_seq = (last + 1) & _WRAP
            self.rows += n
        self.backward += back
        return (missing * self._row_s if self._row_s is not None else 0.0), back > 0

    def _look(
        self,
        values: Rows,
        t_ns: NDArray[np.int64],
        latest: Mapping[str, float],
        *,
        moving: bool,
    ) -> dict[str, float]:
        seen: dict[str, float] = {}
        for at, follows, allowed, lasting, name in self._pairs:
            wanted = self._set_values(values, str(follows), latest)
            if wanted is None:
                continue
            gap = np.abs(values[:, at] - wanted)
            if lasting.longer(~(gap <= allowed), t_ns):
                seen[f"set_gap-{name}"] = float(gap.max())
        if self._torques:
            seen.update(self._look_torques(values, t_ns, moving=moving))
        belt = self.column.get("belt_speed_m_s")
        if belt is not None:
            slowest = float(values[:, belt].min())
            if slowest < (GUARDS["velocity_reversal"].threshold or 0.0):
                seen["velocity_reversal"] = slowest
        path = self.column.get("tracking_error_rad")
        if path is not None:
            error = values[:, path]
            limit = GUARDS["tracking_error"].threshold or 0.0
            if self._off_path.longer(~(error <= limit), t_ns):
                seen["tracking_error"] = float(error.max())
        return seen

    def _set_values(
        self, values: Rows, name: str, latest: Mapping[str, float]
    ) -> NDArray[np.float32] | float | None:
        at = self.column.get(name)
        return values[:, at] if at is not None else latest.get(name)

    def _look_torques(
        self, values: Rows, t_ns: NDArray[np.int64], *, moving: bool
    ) -> dict[str, float]:
        """Look for an overload and for a spasm."""
        seen: dict[str, float] = {}
        torques = values[:, self._torques]
        largest = float(np.abs(torques).max())
        if not largest <= (GUARDS["overload"].threshold or 0.0):
            seen["overload"] = largest
        at = self.column.get("gait_phase")
        phase = None if at is None else values[:, at]
        far = self._spasm.look(torques, phase, t_ns, moving=moving)
        if far is not None:
            seen["spasm"] = far
        return seen

    def _look_stale(self, values: Rows, t_ns: NDArray[np.int64], *, moving: bool) -> None:
        """See whether every lively channel stands still, or the device's clock does."""
        if self._before is not None:
            values = np.concatenate([self._before[1], values])
            t_ns = np.concatenate([self._before[0], t_ns])
        if len(t_ns) < 2:
            return
        lively = values[:, self._lively]
        still = (lively[1:] == lively[:-1]).all(axis=1) if self._lively else t_ns[1:] < 0
        if not moving:
            still = np.zeros(len(still), np.bool_)
        frozen = bool((t_ns[1:] <= t_ns[:-1]).sum() >= STALE_PERIODS)
        self.stale = self._same.longer(still, t_ns[:-1]) or frozen


class _Alarms:
    """The alarm limits of the channels of a stream, with their hysteresis."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        limited = [(at, c) for at, c in enumerate(channels) if c.limits.alarm is not None]
        self._at = [at for at, _ in limited]
        self._names = [c.name for _, c in limited]
        bounds = [c.limits.alarm or (0.0, 0.0) for _, c in limited]
        self._low = np.array([low for low, _ in bounds])
        self._high = np.array([high for _, high in bounds])
        self._back = np.array([c.limits.hysteresis for _, c in limited])
        self._active = np.zeros(len(limited), np.bool_)

    def look(self, values: Rows) -> dict[str, float]:
        """Return the channels that were outside, or have not come back inside far enough."""
        if not self._at:
            return {}
        rows = values[:, self._at].astype(np.float64)
        inside = (rows >= self._low) & (rows <= self._high)
        back = (rows[-1] >= self._low + self._back) & (rows[-1] <= self._high - self._back)
        out = ~inside.all(axis=0)
        told = out | (self._active & ~back)
        self._active = told & ~back
        seen = {}
        for i in np.flatnonzero(told).tolist():
            beyond = rows[~inside[:, i], i]
            seen[f"alarm-{self._names[i]}"] = float(beyond[-1] if len(beyond) else rows[-1, i])
        return seen
