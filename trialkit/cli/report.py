"""The verb ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""

    @app.command("report")
    def report(
        study: StudyOption,
        template: Annotated[
            str, typer.Argument(help="A shipped template or a .qmd file.")
        ] = "primary",
        to: Annotated[str, typer.Option(help="Formats: html, pdf, docx.")] = "html,pdf,docx",
        out: Annotated[Path | None, typer.Option(help="Folder for a copy of the files.")] = None,
        results: Annotated[
            str | None, typer.Option(help="Beginning of a results hash; default: the last.")
        ] = None,
        engine: Annotated[str, typer.Option(help="auto, quarto or embedded.")] = "auto",
        user: UserOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Render a report from results and note it in the record."""
        from trialkit.report import render_report
        from trialkit.study import Study

        formats = [name.strip() for name in to.split(",") if name.strip()]
        with Study.open(study, actor=user, whole=True) as opened:
            made = render_report(
                opened,
                template,
                results=results,
                formats=formats,
                out=out,
                engine=engine,  # type: ignore[arg-type]
            )
        data = {name: str(path) for name, path in made.items()}
        emit({"files": data}, "\n".join(data.values()), as_json=as_json)
