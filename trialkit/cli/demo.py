"""The verb ``demo``: a whole virtual trial, from protocol to verified evidence package."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, note
from trialkit.errors import SessionEnded, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from trialkit.cli._line import Outcome, Progress
    from trialkit.simulate.power import PowerStatement
    from trialkit.simulate.truth import Truth
    from trialkit.simulate.worlds import World

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SMALLEST = 8


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""

    @app.command("demo")
    def demo(
        world: Annotated[
            str, typer.Option(help="What is true: benefit, null or harm.")
        ] = "benefit",
        seed: Annotated[int, typer.Option(help="Same seed, same trial.", min=0)] = 2026,
        participants: Annotated[int, typer.Option(help="People to randomise.")] = 200,
        out: Annotated[Path, typer.Option(help="New or empty folder.")] = Path("demo"),
        full_rate: Annotated[
            int, typer.Option(help="Device sessions at 100 Hz; the others stride by stride.", min=0)
        ] = 12,
        force: Annotated[
            bool, typer.Option("--force", help="Replace an earlier demonstration in the folder.")
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Run a virtual trial into a folder: study, report and signed evidence package."""
        for name in _THREADS:  # one thread is faster for problems of this size
            os.environ.setdefault(name, "1")
        from trialkit.cli._line import clear, run_line
        from trialkit.simulate.power import power_statement
        from trialkit.simulate.worlds import find_world

        truth = find_world(world)
        if participants < SMALLEST:
            raise UsageError(
                f"{participants} participants are too few to analyse.",
                remedy=f"Use {SMALLEST} or more.",
            )
        clear(out, force=force)
        statement = power_statement(participants)
        if as_json:
            note("\n".join(statement.remarks))
        else:
            _show_power(_console(), truth, statement, seed)
        try:
            with _bar() as progress:
                outcome = run_line(
                    out,
                    world=world,
                    seed=seed,
                    participants=participants,
                    full_rate=full_rate,
                    progress=progress,
                )
        except KeyboardInterrupt:
            raise SessionEnded(
                "the demonstration was interrupted; what was acknowledged is kept.",
                remedy=f"Close open sessions with `trialkit recover --study {out / 'study'}`, "
                f"or start again with --force.",
            ) from None
        _finish(outcome, truth, statement, seed, as_json=as_json)


def _finish(
    outcome: Outcome, world: World, statement: PowerStatement, seed: int, *, as_json: bool
) -> None:
    from trialkit.simulate.truth import truths

    known = truths(world)
    if as_json:
        data = _as_data(outcome, world, statement, known, seed)
        sys.stdout.write(json.dumps(data, indent=2, sort_keys=True, default=str) + "\n")
    else:
        _show_outcome(_console(), outcome, world, known)


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    return Console(highlight=False, width=100) if console.width > 100 else console


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("people", total=1.0)
        yield lambda share, text: shown.update(task, completed=share, description=text)


def _table(*columns: str) -> Table:
    """A plain table: text first, wrapped where it must be, then numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=i > 0)
    return table


def _show_power(console: Console, world: World, statement: PowerStatement, seed: int) -> None:
    console.print(
        f"[bold]A virtual trial of {statement.participants} people[/bold], seed {seed}, in the "
        f"world of {world.name}: {world.title}. Simulated; no evidence about any device."
    )
    console.print("\nPower at this size, if the effects that the trial is planned on are true:")
    table = _table("endpoint", "planned effect", "power", "80 % needs", "method")
    for row in statement.rows:
        table.add_row(
            row.label,
            row.effect,
            f"{100 * row.power:.0f} %",
            f"{row.per_arm_for_80} an arm",
            row.method,
        )
    console.print(table)
    for remark in statement.remarks:
        console.print(f"- {remark}")
    console.print()


def _number(value: float, digits: int = 3) -> str:
    if math.isnan(value):
        return "-"
    size = abs(value)
    return f"{value:.{1 if size >= 10 else 2 if size >= 1 else digits}f}"


def _p(value: float) -> str:
    return "-" if math.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
    """The registered comparison of each analysis, and whether its test rejected in the order."""
    results = outcome.results
    if results is None:
        return []
    found = []
    for row in results.forest().to_dict("records"):
        rejected = results[row["analysis"]].statistics().get("rejected", math.nan)
        found.append(
            {
                **{str(k): v for k, v in row.items()},
                "rejected": None if math.isnan(rejected) else bool(rejected),
            }
        )
    return found


def _show_outcome(
    console: Console, outcome: Outcome, world: World, known: dict[str, Truth]
) -> None:
    counts = outcome.counts
    sessions = counts["sessions"]
    console.print(
        f"[bold]{sum(counts['participants'].values())} people were assessed[/bold]: "
        + ", ".join(f"{name} {n}" for name, n in counts["participants"].items())
        + f". Sessions: {', '.join(f'{name} {n}' for name, n in sessions.items())}. "
        + f"Adverse events {counts['adverse_events']}, serious {counts['serious_events']}."
    )
    table = _table("registered analysis", "estimate (95 % CI)", "p", "rejected", "truth")
    for row in _rows(outcome):
        truth = known.get(row["analysis"])
        verdict = {True: "yes", False: "no", None: "-"}[row["rejected"]]
        interval = f"{_number(row['lower'])} to {_number(row['upper'])}"
        shown = f"{_number(row['estimate'])} ({interval})"
        if row["state"] == "failed":
            shown = "failed"
        elif math.isnan(row["estimate"]):
            shown = "-"
        table.add_row(
            row["label"],
            shown,
            _p(row["p"]),
            verdict,
            _number(truth.value) if truth else "",
        )
    console.print(table)
    out = outcome.folder
    results = outcome.results.hash[:12] if outcome.results else "-"
    console.print(
        "Robotic against conventional: difference, or ratio for falls. A test is rejected in the "
        f"plan's order. The truth is that of the world of {world.name}.\n"
        f"snapshot {outcome.snapshot[:12]}  results {results}  "
        f"record {counts['events']} events, chain whole\n"
        f"report   {out / 'report.html'}  .pdf  .docx\n"
        f"study    {out / 'study'}  (any verb takes it with --study)\n"
        f"evidence {out / 'evidence.zip'}  verified\n"
        f"key      {outcome.fingerprint}\n"
        f"{sum(outcome.seconds.values()):.0f} s: "
        + ", ".join(f"{name} {seconds:.0f}" for name, seconds in outcome.seconds.items())
    )


def _as_data(
    outcome: Outcome,
    world: World,
    statement: PowerStatement,
    known: dict[str, Truth],
    seed: int,
) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    out = outcome.folder
    return {
        "world": world.name,
        "seed": seed,
        "power": statement.to_dict(),
        "counts": outcome.counts,
        "comparisons": [{k: plain(v) for k, v in row.items()} for row in _rows(outcome)],
        "truth": {name: truth.value for name, truth in known.items()},
        "snapshot": outcome.snapshot,
        "results": outcome.results.hash if outcome.results else None,
        "verified": True,
        "fingerprint": outcome.fingerprint,
        "seconds": outcome.seconds,
        "files": {
            "study": str(out / "study"),
            "evidence": str(out / "evidence.zip"),
            **{name: str(out / f"report.{name}") for name in ("html", "pdf", "docx")},
        },
    }
