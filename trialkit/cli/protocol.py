"""The verb ``check``: every fault of protocols, plans, mappings and forms at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trialkit.cli._common import JsonOption, emit

if TYPE_CHECKING:
    from trialkit.errors import Finding
    from trialkit.study.design import Design

Checked = list[tuple[Path, str, "list[Finding]"]]


def register(app: typer.Typer) -> None:
    """Add the verb to `app`."""
    app.command("check")(check)


def check(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files, or names of shipped ones.")
    ],
    as_json: JsonOption = False,
) -> None:
    """List every fault of protocols, plans, import mappings and forms; exit 3 if any.

    The kind of a file is told by its key `schema`. Protocols of one trial are also held
    against each other, and plans against the protocols or the mapping given with them.
    """
    from trialkit.errors import FindingsError

    checked = check_files([find_file(name) for name in files])
    lines: list[str] = []
    rows: list[dict[str, object]] = []
    for path, kind, findings in checked:
        lines.append(f"{path} ({kind}): {len(findings) or 'no'} fault{'s'[len(findings) == 1 :]}")
        lines += [f"  {finding}" for finding in findings]
        told = _notices(path, kind, findings)
        lines += [f"  notice: {notice}" for notice in told]
        row = {"file": str(path), "kind": kind, "findings": [f.to_dict() for f in findings]}
        rows.append({**row, "notices": [notice.to_dict() for notice in told]})
    count = sum(len(findings) for _, _, findings in checked)
    emit({"files": rows, "count": count}, "\n".join(lines), as_json=as_json)
    if count:
        raise typer.Exit(FindingsError.exit_status)


def find_file(name: str) -> Path:
    """Return the path of a file, or of the shipped protocol, plan or mapping of that name.

    Raises
    ------
    UnknownName
        If there is neither.
    """
    from trialkit._content import find_content
    from trialkit.errors import UnknownName

    try:
        return find_content("protocols", name)
    except UnknownName as no_protocol:
        try:
            return find_content("analyses", name)
        except UnknownName:
            raise no_protocol from None


def check_files(paths: list[Path]) -> Checked:
    """Return kind and findings of each file, those between the files with the last protocol."""
    kinds = [(path, _kind(path)) for path in paths]
    design = _design(kinds)
    checked: Checked = [(path, kind, _findings(path, kind, design)) for path, kind in kinds]
    for trial in _trials(kinds).values():
        if len(trial) > 1:
            from trialkit.protocol import check_trial

            between = check_trial(trial)
            at = max(i for i, (path, _, _) in enumerate(checked) if path == trial[-1])
            checked[at][2].extend(between)
    return checked


def _kind(path: Path) -> str:
    """Return what the key ``schema`` says a file is."""
    from trialkit._yaml import load_yaml

    data, _, _ = load_yaml(path)
    schema = data.get("schema") if isinstance(data, dict) else None
    name = str(schema).removeprefix("trialkit.").partition("/")[0]
    name = "form" if name == "instrument" else name
    return name if name in {"protocol", "plan", "mapping", "form"} else "unknown"


def _findings(path: Path, kind: str, design: Design | None) -> list[Finding]:
    from trialkit._yaml import Document
    from trialkit.errors import MappingFindings

    if kind == "protocol":
        from trialkit.protocol import check_protocol

        return check_protocol(path)
    if kind == "plan":
        from trialkit.plan import check_plan

        return check_plan(path, design)
    if kind == "form":
        from trialkit.protocol.forms import read_form

        return read_form(path)[1]
    if kind == "mapping":
        from trialkit.exchange import load_mapping

        try:
            load_mapping(path)
        except MappingFindings as error:
            return error.findings
        return []
    document = Document(path)
    if not document.findings:
        document.add(
            ("schema",),
            "the file does not say what it is.",
            "Begin with schema: trialkit.protocol/1 (or plan, mapping, form).",
        )
    return document.findings


def _notices(path: Path, kind: str, findings: list[Finding]) -> list[Finding]:
    """Return what should be known of a protocol that has no fault."""
    if kind != "protocol" or findings:
        return []
    from trialkit.protocol import load_protocol, notices

    return notices(load_protocol(path))


def _trials(kinds: list[tuple[Path, str]]) -> dict[str, list[Path]]:
    """Return the sound protocols among the files by the id of their trial."""
    from trialkit.protocol.check import read_protocol

    trials: dict[str, list[Path]] = {}
    for path, kind in kinds:
        protocol = read_protocol(path)[0] if kind == "protocol" else None
        if protocol is not None:
            trials.setdefault(protocol.trial.id, []).append(path)
    return trials


def _design(kinds: list[tuple[Path, str]]) -> Design | None:
    """Return the design that the files give for the plans among them, if they give one."""
    from trialkit.errors import MappingFindings

    trials = list(_trials(kinds).values())
    mappings = [path for path, kind in kinds if kind == "mapping"]
    if not any(kind == "plan" for _, kind in kinds) or len(trials) + len(mappings) != 1:
        return None
    if trials:
        from trialkit.protocol import load_protocol
        from trialkit.study.design import Design

        return Design.from_protocols({path: load_protocol(path) for path in trials[0]})
    from trialkit.exchange import load_mapping

    try:
        return load_mapping(mappings[0])[0].design(1)
    except MappingFindings:
        return None
