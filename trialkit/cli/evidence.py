"""The verbs ``evidence build``, ``evidence verify`` and ``trace``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Build and verify evidence packages.")
    app.add_typer(group, name="evidence")
    _build(group)
    _verify(group)
    _trace(app)


def _build(group: typer.Typer) -> None:
    @group.command("build")
    def build(
        study: StudyOption,
        out: Annotated[Path, typer.Argument(help="Folder to write; the zip lies beside it.")],
        telemetry: Annotated[
            bool, typer.Option("--telemetry", help="Put the sealed telemetry inside.")
        ] = False,
        user: UserOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Write an evidence package, signed by who acts, and a zip of it."""
        from trialkit.evidence import build_evidence
        from trialkit.study import Study

        with Study.open(study, actor=user, whole=True) as opened:
            who = opened.actor
            folder = build_evidence(opened, out, telemetry=telemetry)
            fingerprint = opened.keys.fingerprint(who)
        archive = folder.with_name(f"{folder.name}.zip")
        data = {"folder": str(folder), "zip": str(archive), "fingerprint": fingerprint}
        text = f"{folder}\n{archive}\nsigned by {who}, key fingerprint {fingerprint}"
        emit(data, text, as_json=as_json)


def _verify(group: typer.Typer) -> None:
    @group.command("verify")
    def verify(
        package: Annotated[Path, typer.Argument(help="The unpacked folder or the zip.")],
        key: Annotated[
            str | None, typer.Option(help="Fingerprint or public key that must have signed.")
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Name every file and event that was altered, added, removed or reordered."""
        from trialkit.evidence.check import verify_report
        from trialkit.evidence.verify import text_of

        report = verify_report(package, key)
        findings = [{"where": f.where, "message": f.message} for f in report.faults]
        data = {"intact": not findings, "findings": findings, **report.facts}
        emit(data, text_of(report, key is not None), as_json=as_json)
        if findings:
            raise typer.Exit(4)


def _trace(app: typer.Typer) -> None:
    @app.command("trace")
    def trace(
        result_id: Annotated[str, typer.Argument(help="Id of a result, as reports print it.")],
        study: Annotated[
            Path | None, typer.Option("--study", "-s", envvar="TRIALKIT_STUDY", help="A study.")
        ] = None,
        package: Annotated[
            Path | None, typer.Option(help="An evidence package, instead of a study.")
        ] = None,
        user: UserOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Walk from a number to its plan, rows, events and signatures."""
        from trialkit.errors import UsageError
        from trialkit.evidence.origin import trace as walk
        from trialkit.study import Study

        if package is not None:
            found = walk(package, result_id)
        elif study is not None:
            with Study.open(study, actor=user, write=False) as opened:
                found = walk(opened, result_id)
        else:
            raise UsageError("no study was given.", remedy="Give --study or --package.")
        emit(found.to_dict(), str(found), as_json=as_json)
