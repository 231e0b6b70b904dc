"""A program that kills sessions and looks at what is left: ``killing.py FOLDER PLAN SEED``.

It imports everything once, starts no thread, and forks a child for each session, each
`recover` and each look at the result. A child writes to a pipe what it may rely on: each
event once it is committed, the rows and lines of each sync once it has returned. It is
killed by SIGKILL from here, after one of its messages and a short while, or by itself
before or after the n-th point at which something reaches the disk: ``fsync``, a commit of
the record, a rename, a removal. Prints one JSON object.

Sessions run on the simulated trainer at its full rate in lock-step, in the child, and sync
as often as the session's loop comes by; a few run at stride level; those of the plan
``real`` in real time with the device in its own process.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import random
import select
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from device_interface import link as links
from trialkit._clock import Clock, RealClock, SimulatedClock
from trialkit._content import find_content
from trialkit.participants import consent, enrol
from trialkit.record import journal
from trialkit.record.events import Record
from trialkit.record.journal import JournalWriter, read_journal
from trialkit.record.sealing import MANIFEST, open_sealed
from trialkit.record.sign import KeyStore
from trialkit.session import inputs, recover, replay, run_session, runner
from trialkit.session.inputs import InputLog, read_inputs
from trialkit.session.recording import Recorder
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"
SESSION = f"{USUBJID}-S01"
STREAMS = {"full": "motion", "stride": "stride", "real": "motion"}
TORN = ("", "", "", "log", "both")
TORN_BYTES = 77
START = datetime(2026, 1, 5, tzinfo=UTC)
HANGS_S = 180.0
REAL_AT_ONCE = 6

Tell = Callable[..., None]
Work = Callable[[Tell], None]


@dataclass(frozen=True)
class Kill:
    """When a child dies: after its message `n`, or at its point `n`; never where `n` is 0."""

    n: int = 0
    at: str = "message"
    after: bool = False
    delay_s: float = 0.0


@dataclass
class Child:
    """What a child told, and how it ended."""

    pid: int
    pipe: int
    kill: Kill
    told: list[list[Any]] = field(default_factory=list)
    rest: bytes = b""
    due: float | None = None
    killed: bool = False

    def all(self, what: str) -> list[list[Any]]:
        """Return the messages of one sort."""
        return [message[1:] for message in self.told if message[0] == what]


@dataclass(frozen=True)
class Case:
    """One session, the kill that ends it, and those of the `recover` that follows it."""

    kill: Kill
    rate: str = "full"
    again: tuple[Kill, ...] = ()
    torn: str = ""


# --- children --------------------------------------------------------------------------------


def fork(work: Work, kill: Kill) -> Child:
    """Start `work` in a child."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return Child(pid, ours, kill)
    os.close(ours)

    def tell(*message: Any) -> None:
        os.write(theirs, (json.dumps(message) + "\n").encode())

    status = 1
    try:
        count_points(tell, kill)
        work(tell)
        tell("done")
        while kill.n and kill.at == "message":  # it is killed after its end, too
            signal.pause()
        status = 0
    except BaseException:
        tell("error", traceback.format_exc())
    finally:
        os._exit(status)


def count_points(tell: Tell, kill: Kill) -> None:
    """Count what reaches the disk, tell each, and die at the one that was asked for."""
    n = 0

    def counted(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal n
            n += 1
            mine = kill.at == "point" and kill.n == n
            tell("point", n, name)
            if mine and not kill.after:
                os.kill(os.getpid(), signal.SIGKILL)
            done = call(*arguments, **options)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return wrapper

    os.fsync = counted(os.fsync, "fsync")
    Path.replace = counted(Path.replace, "replace")  # type: ignore[method-assign]
    Path.unlink = counted(Path.unlink, "unlink")  # type: ignore[method-assign]
    Record._commit = counted(Record._commit, "commit")  # type: ignore[method-assign]
    tell_what_is_safe(tell)


def tell_what_is_safe(tell: Tell) -> None:
    """Tell each event, row and line of this process once it may be relied on."""
    committed = Record._commit
    synced = JournalWriter.sync
    logged = InputLog._sync

    def commit(self: Record) -> None:
        pending = [(row["seq"], row["hash"]) for row in self._pending]
        committed(self)
        for seq, digest in pending:
            tell("event", seq, digest)

    def sync(self: JournalWriter) -> int:
        rows = synced(self)
        tell("rows", self.path.stem, rows)
        return rows

    def log(self: InputLog) -> None:
        logged(self)
        tell("lines", self.lines)

    Record._commit = commit  # type: ignore[method-assign]
    JournalWriter.sync = sync  # type: ignore[method-assign]
    InputLog._sync = log  # type: ignore[method-assign]


def gather(children: Sequence[Child]) -> None:
    """Read what the children tell, kill each when it is due, until all have ended."""
    open_ = {child.pipe: child for child in children}
    begin = time.monotonic()
    while open_:
        now = time.monotonic()
        for child in open_.values():
            hangs = now - begin > HANGS_S
            if hangs:
                child.told.append(["error", "it hangs"])
            if hangs or (child.due is not None and now >= child.due):
                os.kill(child.pid, signal.SIGKILL)
                child.due = None
        left = [child.due - now for child in open_.values() if child.due is not None]
        for pipe in select.select(list(open_), [], [], max(0.0, min([1.0, *left])))[0]:
            if not hear(open_[pipe]):
                os.close(pipe)
                child = open_.pop(pipe)
                _, status = os.waitpid(child.pid, 0)
                child.killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def hear(child: Child) -> bool:
    """Take in what a child wrote; False where it has ended."""
    data = os.read(child.pipe, 65536)
    *lines, child.rest = (child.rest + data).split(b"\n")
    told = len(child.told)
    child.told += [json.loads(line) for line in lines]
    kill = child.kill
    if kill.n and kill.at == "message":
        ended = child.told[-1:] == [["done"]]
        if told < kill.n <= len(child.told) or (ended and told < len(child.told)):
            child.due = child.due or time.monotonic() + kill.delay_s
    return bool(data)


# --- what the children do --------------------------------------------------------------------


def make_study(folder: Path) -> Path:
    """Make the study that all cases begin with: blocks of a few seconds, one participant."""
    data = yaml.safe_load(find_content("protocols", "sci-robotic-30x5").read_text())
    for block in data["session"]["blocks"]:
        block["minutes"] = round(block["minutes"] / 300, 4)
    for envelope in data["adaptation"]:
        envelope["min_interval_s"] = 1
    data["fidelity"]["min_moving_minutes"] = 0.05
    path = folder / "protocol.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    with Study.create(
        folder / "study",
        protocols=[path],
        actor="owner",
        clock=SimulatedClock(START),
        keys=KeyStore(folder / "keys"),
    ) as study:
        enrol(study, USUBJID, site="01")
        consent(study, USUBJID, version="1")
    return folder / "study"


@contextmanager
def opened(folder: Path, clock: Clock) -> Iterator[Study]:
    """Open the study of a case for writing."""
    keys = KeyStore(folder.parent / "keys")
    with Study.open(folder, actor="owner", clock=clock, keys=keys) as study:
        yield study


def hold_session(tell: Tell, folder: Path, rate: str) -> None:
    """Run the session of a case."""
    if rate != "real":
        eager = functools.partial(eager_recorder, stride=rate == "stride")
        runner.Recorder = eager  # type: ignore[misc, assignment]
        runner.open_link = in_process  # type: ignore[assignment]
        journal.SYNC_S = inputs.SYNC_S = 0.0
    else:
        start = links.DeviceLink._start_process

        def named(self: links.DeviceLink) -> None:
            start(self)
            tell("device", self.pid)

        links.DeviceLink._start_process = named  # type: ignore[method-assign]
    finish = Recorder.finish

    def sealing(self: Recorder, status: str) -> Any:
        tell("sealing")
        return finish(self, status)

    Recorder.finish = sealing  # type: ignore[method-assign]
    clock = RealClock() if rate == "real" else SimulatedClock(START)
    with opened(folder, clock) as study:
        run_session(
            study,
            USUBJID,
            number=1,
            day=1,
            rate="stride" if rate == "stride" else "full",
            progress=lambda _: tell("tick"),
        )


def eager_recorder(*arguments: Any, stride: bool, **options: Any) -> Recorder:
    """Make a recorder that syncs on a simulated clock as one does in real time."""
    return Recorder(*arguments, **{**options, "real": not stride, "stride": stride})


def in_process(name: str, options: Any, clock: Clock, **_: Any) -> links.Link:
    """Open the simulated trainer in this process, at the rate that its options ask for."""
    return links.InProcessLink(name, options, clock)


def recover_it(_: Tell, folder: Path) -> None:
    """Recover the study of a case."""
    with opened(folder, RealClock()) as study:
        recover(study)


def look(
    tell: Tell, folder: Path, case: Case, run: Child, plain: Path | None, lost_bytes: int
) -> None:
    """Recover for the last time, and tell everything that is not as it must be."""
    wrong: list[str] = []

    def need(holds: bool, what: str) -> None:
        if not holds:
            wrong.append(what)

    events = {seq: digest for seq, digest in run.all("event")}
    synced = max((rows for _, rows in run.all("rows")), default=0)
    lines = max((n for (n,) in run.all("lines")), default=0)
    where = folder / "telemetry" / SESSION
    stream = STREAMS[case.rate]
    tkj, log = where / f"{stream}.tkj", where / inputs.NAME
    with opened(folder, RealClock()) as study:
        stored = {event.seq: event.hash for event in study.record.read()}
        need(study.record.verify().ok, "the chain does not verify")
        need(events.items() <= stored.items(), "an acknowledged event is lost")
        known = study.state.sessions.get(SESSION)
        on_disk = read_journal(tkj).rows if tkj.exists() else None
        good = read_inputs(log).lines if log.exists() else 0
        need(on_disk is None or on_disk >= synced, "a synced frame is lost")
        need(good >= lines, "a synced line is lost")
        was_open = [s.session for s in study.state.open_sessions]
        need([o.session for o in recover(study)] == was_open, "not every open session is closed")
        need(not study.state.open_sessions, "a session is open")
        head = study.record.head
        need(recover(study) == [] and study.record.head == head, "recover is not idempotent")
        need(study.record.verify().ok, "the chain does not verify after recover")
        if known is not None:
            sealed = next(study.record.read(kinds=["session.telemetry_sealed"])).payload
            table = None
            if sealed["files"]:
                digest = sealed["manifest_sha256"]
                names = {f["name"]: f["rows"] for f in sealed["files"]}
                need(names.get(inputs.NAME, 0) >= lines, "a synced line is not sealed")
                if f"{stream}.parquet" in names:
                    table = open_sealed(where, stream, sha256=digest)
            rows = table.num_rows if table is not None else 0
            need(rows >= synced, "a synced frame is not sealed")
            need(on_disk is None or rows == on_disk, "a frame on disk is not sealed")
            if table is not None and plain is not None:
                need(same_rows(table, plain / f"{stream}.parquet"), "rows are not those written")
            again = replay(study, SESSION)
            need(again.same, f"it replays otherwise: {again.difference}")
            left = [p.name for p in where.iterdir() if p.suffix in (".tkj", ".tmp", ".torn")]
            need(not left, f"left over: {left}")
            lost = [
                e
                for e in study.record.read(kinds=["deviation.raised"])
                if e.payload["category"] == "telemetry_loss"
            ]
            need(
                len(lost) == int(lost_bytes > 0), f"{lost_bytes} bytes lost, told {len(lost)} times"
            )
    with opened(folder, RealClock()) as study:
        need(recover(study) == [], "recover has something to do after it was done")
    tell("seen", wrong)


def same_rows(table: pa.Table, path: Path) -> bool:
    """Whether the rows are the first ones of a session that nobody disturbed."""
    whole = pq.read_table(path, use_threads=False).slice(0, table.num_rows)
    return bool(table.equals(whole.cast(table.schema)))


# --- cases -----------------------------------------------------------------------------------


class Killer:
    """Runs cases and counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.template = make_study(folder)
        self.phases: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.plain: dict[str, Path] = {}
        self.made = 0
        warm_up(self.copy())
        gc.freeze()

    @property
    def kills(self) -> int:
        """How many children were killed."""
        return sum(self.phases.values())

    def copy(self) -> Path:
        """Return a new copy of the study."""
        self.made += 1
        folder = self.folder / f"case-{self.made}"
        shutil.copytree(self.template, folder)
        return folder

    def undisturbed(self, rate: str) -> Child:
        """Run a session that nobody kills, to compare with, and return what it told."""
        folder = self.copy()
        child = fork(lambda tell: hold_session(tell, folder, rate), Kill())
        gather([child])
        if child.told[-1] != ["done"]:
            raise RuntimeError(f"an undisturbed session failed: {child.told[-1]}")
        self.plain[rate] = folder / "telemetry" / SESSION
        return child

    def run(self, cases: Sequence[Case]) -> list[Child]:
        """Run cases at the same time; return what the last child of each told."""
        folders = [self.copy() for _ in cases]
        runs = [
            fork(lambda tell, f=f, c=c: hold_session(tell, f, c.rate), c.kill)  # type: ignore[misc]
            for f, c in zip(folders, cases, strict=True)
        ]
        gather(runs)
        return [self.after(f, c, r) for f, c, r in zip(folders, cases, runs, strict=True)]

    def after(self, folder: Path, case: Case, run: Child) -> Child:
        """Recover, killed or not, and look; return the last child that could be killed."""
        name = f"{case}"
        self.count(run, name, self.phase(folder, run))
        where = folder / "telemetry" / SESSION
        lost = tear(where, case.torn)
        last = run
        for kill in case.again:
            last = fork(lambda tell: recover_it(tell, folder), kill)
            gather([last])
            self.count(last, name, "recovering" if ["done"] not in last.told else "recovered")
            run.told += [m for m in last.told if m[0] == "event"]
        plain = self.plain.get(case.rate)
        seen = fork(lambda tell: look(tell, folder, case, run, plain, lost), Kill())
        gather([seen])
        found = seen.all("seen")
        self.wrong += [f"{name}: {what}" for what in (found[0][0] if found else ["no answer"])]
        self.wrong += [f"{name}: {text}" for (text,) in seen.all("error")]
        self.wrong += [
            f"{name}: device {pid} lives on" for (pid,) in run.all("device") if lives(pid)
        ]
        if not self.wrong:
            shutil.rmtree(folder)
        return last

    def count(self, child: Child, name: str, phase: str) -> None:
        """Count a kill."""
        self.wrong += [f"{name}: {text}" for (text,) in child.all("error")]
        if child.killed:
            self.phases[phase] += 1
            if child.kill.at == "point":
                self.points[child.all("point")[-1][1]] += 1

    def phase(self, folder: Path, run: Child) -> str:
        """Return what a session was doing when it was killed."""
        keys = KeyStore(self.folder / "keys")
        with Study.open(folder, write=False, keys=keys) as study:
            known = study.state.sessions.get(SESSION)
        if known is None:
            return "before opening"
        if known.status != "open":
            return "after"
        return "sealing" if run.all("sealing") else "running"


def tear(where: Path, what: str) -> int:
    """Append a piece of a frame and of a line, as a power cut leaves them.

    Returns the bytes that cannot be kept: these, and those of a write that the kill tore.
    """
    journals, log = list(where.glob("*.tkj")), where / inputs.NAME
    if (where / MANIFEST).exists() or not log.exists():
        return 0
    for path in {"": [], "log": [log], "both": [log, *journals]}[what]:
        piece = path.read_bytes()[:TORN_BYTES]
        with path.open("ab") as stream:
            stream.write(piece)
    contents = [*map(read_journal, journals), read_inputs(log)]
    return sum(content.total_bytes - content.good_bytes for content in contents)


def lives(pid: int) -> bool:
    """Whether a device's process is there still after the time that it has to stop."""
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        with suppress(OSError, IndexError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        time.sleep(0.02)
    return True


def warm_up(folder: Path) -> None:
    """Import and build once what every child needs, up to where Arrow would start threads."""

    class Stop(Exception):
        pass

    def stop(*_: Any, **__: Any) -> None:
        raise Stop

    before = runner.Recorder, runner.open_link, runner._Run._close
    runner.open_link = in_process  # type: ignore[assignment]
    runner._Run._close = stop  # type: ignore[method-assign, assignment]
    try:
        with suppress(Stop), opened(folder, SimulatedClock(START)) as study:
            run_session(study, USUBJID, number=1, day=1)
    finally:
        runner.Recorder, runner.open_link, runner._Run._close = before  # type: ignore[misc]


# --- plans -----------------------------------------------------------------------------------


def at_points(killer: Killer, seed: int, wanted: int | None = None) -> None:
    """Kill before and after each point of a session, and of `recover` after one."""
    n = len(killer.undisturbed("full").all("point"))
    kills = [Kill(at, "point", after) for at in range(1, n + 1) for after in (False, True)]
    middle, late = Kill(n // 2, "point", True), Kill(n - 2, "point", True)
    (plain,) = killer.run([Case(middle, again=(Kill(),))])
    m = len(plain.all("point"))
    again = [Kill(at, "point", after) for at in range(1, m + 1) for after in (False, True)]
    cases = [Case(kill) for kill in kills]
    cases += [Case(middle, again=(kill,), torn="both") for kill in again]
    cases += [Case(middle, again=(kill,), torn="log") for kill in again[:6]]
    cases += [Case(late, again=(kill,)) for kill in again[::4]]
    if wanted is not None:
        cases = random.Random(seed).sample(cases, wanted)
    for case in cases:
        killer.run([case])


def at_random(killer: Killer, seed: int, wanted: int) -> None:
    """Kill at random instants of sessions, and of `recover` after some of them."""
    draw = random.Random(seed)
    told = {rate: len(killer.undisturbed(rate).told) for rate in ("full", "stride")}

    def kill(n: int) -> Kill:
        first = 1 if draw.random() < 0.6 else max(1, n - 30)  # the end is short and says little
        return Kill(draw.randint(first, n), delay_s=draw.random() ** 3 * 0.02)

    last = killer.kills + wanted
    while killer.kills < last:
        rate = "stride" if draw.random() < 0.15 else "full"
        again = () if draw.random() < 0.8 or last - killer.kills < 3 else (kill(18), kill(18))
        killer.run([Case(kill(told[rate]), rate, again, draw.choice(TORN))])


def in_real_time(killer: Killer, seed: int, wanted: int) -> None:
    """Kill sessions in real time, whose device runs in a process of its own."""
    draw = random.Random(seed)
    n = len(killer.undisturbed("real").told)
    killer.plain.clear()  # no two sessions in real time have the same rows
    while killer.kills < wanted:
        some = min(REAL_AT_ONCE, wanted - killer.kills)
        kills = [Kill(draw.randint(1, n), delay_s=0.2 * draw.random()) for _ in range(some)]
        killer.run([Case(kill, "real", torn=draw.choice(TORN)) for kill in kills])


def main(folder: Path, plan: str, seed: int) -> None:
    """Run a plan and print what came of it."""
    begin = time.monotonic()
    killer = Killer(folder)
    if plan == "few":
        at_points(killer, seed, 6)
        at_random(killer, seed, 12 - killer.kills)
    elif plan == "points":
        at_points(killer, seed)
    else:
        name, _, wanted = plan.partition(":")
        {"random": at_random, "real": in_real_time}[name](killer, seed, int(wanted))
    found = {
        "kills": killer.kills,
        "phases": dict(killer.phases),
        "points": dict(killer.points),
        "seconds": round(time.monotonic() - begin, 1),
        "wrong": killer.wrong,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
