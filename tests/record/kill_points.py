"""A program that kills a trial at every call by which it writes: ``kill_points.py FOLDER JSON``.

It imports everything once and forks a traced child for each run of the steps of
`conduct_steps`; the child is killed as its n-th call begins, or as it ends. Prints one JSON
object. The settings: ``plan`` (of `PLANS`), ``calls`` (names of `tracing`), ``minimised``,
``every`` (take one in so many), ``first`` (from which), ``steps`` (the first to be killed, and the
first that no longer is), ``server`` (the URL of a PostgreSQL server's databases, or none),
``database`` (the URL of one).
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import conduct_steps
import tracing

from trialkit.errors import Duplicate, TrialkitError, UnknownName
from trialkit.record import KeyStore
from trialkit.study import Study

Tell = Callable[[str], None]


class Place:
    """Where the studies are: folders, and databases of a server where there is one."""

    def __init__(self, folder: Path, server: str | None, *, minimised: bool) -> None:
        self.folder, self.server, self.made = folder, server, 0
        self.template, self._name = folder / "template", f"kill_{os.getpid()}"
        self.template.mkdir()
        conduct_steps.make(
            self.template, minimised=minimised, database=self._database("empty", "template1")
        )

    def _database(self, name: str, template: str) -> str | None:
        """Make a database and return its URL, or None without a server."""
        if self.server is None:
            return None
        self._execute(f"CREATE DATABASE {self._name}_{name} TEMPLATE {template}")
        return self.server.format(f"{self._name}_{name}")

    def _execute(self, statement: str) -> None:
        import psycopg

        assert self.server is not None
        with psycopg.connect(self.server.format("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def copy(self) -> Path:
        """Return a new copy of the study."""
        self.made += 1
        folder = conduct_steps.copied(self.template / "study", self.folder / f"case-{self.made}")
        empty = f"{self._name}_empty"
        if self._database(str(self.made), empty) is not None:
            toml = folder / "study.toml"
            toml.write_text(toml.read_text().replace(empty, f"{self._name}_{self.made}"))
        return folder

    def remove(self, folder: Path) -> None:
        """Remove a copy that nothing is wrong with."""
        shutil.rmtree(folder.parent)
        if self.server is not None:
            number = folder.parent.name.removeprefix("case-")
            self._execute(f"DROP DATABASE {self._name}_{number} WITH (FORCE)")


def work(folder: Path) -> Callable[[Tell], None]:
    """Return what a child does: open the study and take every step."""

    def taken(tell: Tell) -> None:
        with conduct_steps.opened(folder) as study:
            conduct_steps.run(study, tell)
        tell("done\n")

    return taken


def kill_conduct(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Kill the trial at the points that were asked for."""
    place = Place(folder, wanted.get("server"), minimised=bool(wanted.get("minimised")))
    plain = conduct_steps.undisturbed(place.copy())
    names = [name for call in wanted["calls"] for name in getattr(tracing, call)]
    gc.freeze()
    whole = tracing.Traced(work(place.copy()), names)
    points = Counter(whole.calls())
    wrong = [] if whole.text.endswith("done\n") else [f"undisturbed: {whole.text[-2000:]}"]
    kills: Counter[str] = Counter()
    cases = [(n, after) for n in range(1, points.total() + 1) for after in (False, True)]
    for n, after in cases[wanted.get("first", 0) :: wanted.get("every", 1)]:
        case = place.copy()
        child = tracing.Traced(work(case), names)
        call = tracing.run_to(child, n, after=after)
        where = f"{'after' if after else 'before'} {call} {n}"
        if "error" in child.text or not child.killed:
            wrong.append(f"{where}: not killed: {child.text[-2000:]}")
            continue
        kills[f"{'after' if after else 'before'} {call}"] += 1
        found = conduct_steps.wrong_after(
            case, plain, child.text, minimised=bool(wanted.get("minimised"))
        )
        wrong += [f"{where}: {what}" for what in found]
        if not found:
            place.remove(case)
        if len(wrong) > 20:
            break
    return {"points": points, "kills": kills, "wrong": wrong}


def kill_in_turn(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Kill each step of one study at each of its calls, until nothing of it is left to kill.

    What was not committed leaves no trace, so each step is tried again and killed one call
    later, until its last commit is through; then comes the next step. The steps before the first
    that is wanted are taken undisturbed, and so are those after the last.
    """
    place = Place(folder, wanted.get("server"), minimised=bool(wanted.get("minimised")))
    plain = conduct_steps.undisturbed(place.copy())
    names = [name for call in wanted["calls"] for name in getattr(tracing, call)]
    case, wrong = place.copy(), list[str]()
    first, end = wanted.get("steps", (0, len(plain.ends)))
    take(case, 0, first)
    gc.freeze()
    begin, seq = 0, seq_of(case)
    kills: Counter[str] = Counter()
    for at in range(first, end):
        if begin == 0 or place.server is not None:  # whose answers grow with the record
            begin = len(list(tracing.Traced(step_of(case, None), names).calls()))
        kept, n, whole = plain.kept_by(at), 1 if at == first == 0 else begin, False
        while not whole and len(wrong) < 5:
            before = seq
            child = tracing.Traced(step_of(case, at), names)
            call = tracing.run_to(child, n, after=True)
            where = f"step {at}, after {call} {n - begin}"
            if child.killed:
                kills[f"after {call}"] += 1
            found, seq = conduct_steps.wrong_now(case, child.text)
            wrong += [f"{where}: {what}" for what in found]
            if seq - before not in kept:
                wrong.append(f"{where}: {seq - before} events, not one of {sorted(kept)}")
            if "error" in child.text or (not child.killed and seq == before):
                wrong.append(f"{where}: {child.text[-2000:]}")
            whole, n = seq - before == max(kept), n + 1
            if not child.killed:
                break
    take(case, end, None)
    wrong += conduct_steps.wrong_at_end(case, plain, minimised=bool(wanted.get("minimised")))
    return {"kills": kills, "wrong": wrong}


def take(folder: Path, first: int, end: int | None) -> None:
    """Take steps undisturbed."""
    with conduct_steps.opened(folder) as study:
        conduct_steps.run(study, lambda _: None, first, end)


def seq_of(folder: Path) -> int:
    """Return the number of the last event of a study."""
    with conduct_steps.opened(folder) as study:
        return study.state.seq


def step_of(folder: Path, at: int | None) -> Callable[[Tell], None]:
    """Return what a child does: open the study and take one step, or none."""

    def taken(tell: Tell) -> None:
        with conduct_steps.opened(folder, at or 0) as study:
            if at is not None:
                conduct_steps.run(study, tell, at, at + 1)

    return taken


def kill_creation(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Kill a study while it is made: it is there whole, or made again by the same call.

    In a database it is made again in the same folder and in another in turn.
    """
    names = [name for call in wanted["calls"] for name in getattr(tracing, call)]
    url = wanted.get("database")
    wrong: list[str] = []
    kills: Counter[str] = Counter()

    def making(at: Path) -> Callable[[Tell], None]:
        at.mkdir()
        return lambda tell: (conduct_steps.create(at, database=url).close(), tell("done\n"))[1]

    points = Counter(tracing.Traced(making(folder / "whole"), names).calls())
    for n in range(1, points.total() + 1):
        empty(url)
        at, other = folder / f"case-{n}", folder / f"other-{n}"
        child = tracing.Traced(making(at), names)
        kills[f"before {tracing.run_to(child, n)}"] += 1
        found = made(at, url)
        if found == "interrupted" and url is not None and n % 2:
            at = other
        if found == "interrupted":
            found = made_again(at, url)
        if found != "whole" or ("error" in child.text):
            wrong.append(f"{n}: {found} {child.text[-1000:]}")
    return {"points": points, "kills": kills, "wrong": wrong}


def made(at: Path, url: str | None) -> str:
    """Return ``whole``, ``interrupted``, or what is wrong with a study that was being made."""
    try:
        with Study.open(at / "study", keys=KeyStore(at / "keys")) as study:
            if (
                not study.status().chain_ok
                or study.state.seq != 2
                or study.allocation.seed() != "1"
            ):
                return "half a study"
    except UnknownName as error:
        return "interrupted" if "trialkit init" in error.remedy else f"no remedy: {error}"
    try:
        conduct_steps.create(at, database=url).close()
    except Duplicate:
        return "whole"
    return "made twice"


def made_again(at: Path, url: str | None) -> str:
    """Make a study again whose creation was interrupted; return as `made` does."""
    try:
        conduct_steps.create(at, database=url).close()
    except TrialkitError as error:
        return f"not made again: {error}"
    return made(at, url)


def empty(url: str | None) -> None:
    """Take the record out of a database."""
    if url is not None:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(b"DROP SCHEMA IF EXISTS trialkit CASCADE")


PLANS = {"points": kill_conduct, "in turn": kill_in_turn, "creation": kill_creation}


def main(folder: Path, wanted: dict[str, Any]) -> None:
    """Run and print what came of it."""
    begin, cpu = time.monotonic(), time.process_time()
    found = PLANS[wanted["plan"]](folder, wanted)
    found["seconds"] = round(time.monotonic() - begin, 1)
    found["cpu"] = round(time.process_time() - cpu, 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
