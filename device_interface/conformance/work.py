"""Judges checks: one after another or several at once, and again where this machine was late."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Check, Deviates, NotJudged, Outcome, Verdict
from trialkit.errors import TrialkitError, UnknownName, UsageError

OPENS = "identity.opens"
LATE_S = 0.02
"""A machine that ran something so much too late may have caused what was seen of a device."""
TRIES = 5
_PAUSE_S = 1.0
Progress = Callable[[Check, Outcome | None], None]


class Work:
    """The checks of a run and what became of them.

    A check that fails in real time while this machine was late says nothing about the device.
    It is done again with a new device, up to `TRIES` times; the record has how often.

    Parameters
    ----------
    checks : sequence of Check
        Those that a check needs come before it; the first is that the device opens.
    quick : bool
        Leave out the slow ones.
    progress : callable or None
        See `run.run_kit`.
    """

    def __init__(
        self, checks: Sequence[Check], *, quick: bool, progress: Progress | None = None
    ) -> None:
        self._checks = list(checks)
        self._quick = quick
        self._progress = progress
        self._begin = time.monotonic()
        self._waiting = list(checks)
        self._unjudged = {check.id for check in checks}
        self._found: dict[str, Outcome] = {}
        self._changed = Condition()

    @property
    def passed(self) -> set[str]:
        """Ids of the checks that passed."""
        return {name for name, outcome in self._found.items() if outcome.verdict == "passed"}

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what became of each check, in their order."""
        return tuple(self._found[c.id] for c in self._checks if c.id in self._found)

    # --- several at once -------------------------------------------------------------------

    def together(self, first: Bench, at_once: int) -> None:
        """Judge what waits, on `first` and on as many more benches as make up `at_once`."""
        if at_once == 1:
            self._serve(first)
            return
        self._waiting.sort(key=lambda check: not check.one_bench)  # the longest first
        benches = [first, *(first.another(at) for at in range(1, at_once))]
        with ThreadPoolExecutor(at_once) as pool:
            serving = [pool.submit(self._serve, bench) for bench in benches]
            try:
                for done in serving:
                    done.result()
            finally:
                self._end()

    def _serve(self, bench: Bench) -> None:
        try:
            while (checks := self._next()) is not None:
                for check in checks:
                    self.judge(bench, check)
        except BaseException:
            self._end()
            raise
        finally:
            bench.close()

    def _end(self) -> None:
        """Let nobody begin another check."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()

    def _next(self) -> list[Check] | None:
        """Return checks whose turn it is, waiting for what they need; None at the end."""
        with self._changed:
            while self._waiting:
                for check in self._waiting:
                    if not self._unjudged.intersection(check.needs):
                        return self._take(check)
                self._changed.wait()
        return None

    def _take(self, check: Check) -> list[Check]:
        """Take `check`, with all of its group where they need one bench."""
        taken = [check]
        if check.one_bench:
            taken = [c for c in self._waiting if c.group == check.group]
        for each in taken:
            self._waiting.remove(each)
        return taken

    # --- one check -------------------------------------------------------------------------

    def judge(self, bench: Bench, check: Check) -> None:
        """Judge `check` on `bench` and keep the outcome.

        Raises
        ------
        UnknownName, UsageError
            If there is no such driver, or it does not take the options.
        """
        with self._changed:
            if check in self._waiting:
                self._waiting.remove(check)
            if self._progress is not None:
                self._progress(check, None)
        outcome = self._judged(bench, check)
        with self._changed:
            self._found[check.id] = outcome
            self._unjudged.discard(check.id)
            if self._progress is not None:
                self._progress(check, outcome)
            self._changed.notify_all()

    def _judged(self, bench: Bench, check: Check) -> Outcome:
        at, tries = time.monotonic(), 0
        while True:
            tries += 1
            with bench.lateness() as late:
                verdict, observed = _tried(bench, check, self.passed, quick=self._quick)
                timed, late_s = bench.timed, bench.late_s
                bench.end_check()
            late_s = max(late_s, late.worst_s)
            excused = verdict == "failed" and timed and late_s > LATE_S
            if not excused or tries == TRIES:
                break
            bench.close()
            time.sleep(_PAUSE_S)
        if tries > 1:
            observed += f" (try {tries}: this machine was late by up to {late_s:.2f} s)"
        seconds = round(time.monotonic() - at, 3)
        begun = round(at - self._begin, 3)
        return Outcome(check, verdict, observed, begun, seconds, tries, round(late_s, 3))


def _tried(
    bench: Bench, check: Check, passed: Collection[str], *, quick: bool
) -> tuple[Verdict, str]:
    missing = [name for name in check.needs if name not in passed]
    if check.id != OPENS and OPENS not in passed:
        missing = [OPENS]
    try:
        if quick and check.slow:
            raise NotJudged("left out of a quick run")
        if missing:
            raise NotJudged(f"not judged, because {missing[0]} did not pass")
        return "passed", check.run(bench)
    except NotJudged as why:
        by_hand = f". By hand: {check.by_hand}" if check.by_hand and not missing else ""
        return "not_applicable", f"{why}{by_hand}"
    except Deviates as what:
        return "failed", str(what)
    except (UnknownName, UsageError) as error:
        if check.id == OPENS:
            raise
        return "failed", str(error)
    except TrialkitError as error:
        return "failed", str(error)
    except Exception as error:  # what a driver answers may be of any type
        return "failed", f"{type(error).__name__}: {error}"
