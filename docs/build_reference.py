"""Write ``docs/reference/*.md`` from the code: verbs, exit statuses, YAML keys, columns, methods.

Run ``make docs`` after a change; a test fails while the pages and the code differ.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

HERE = Path(__file__).resolve().parent / "reference"


def first_paragraph(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def cell(text: Any) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


def commands() -> str:
    from trialkit.cli.whole import app

    lines = [
        "# Verbs",
        "",
        "`trialkit VERB --help` prints the same. Every verb takes `--json`.",
        "",
    ]
    group = typer.main.get_command(app)
    for path, command in walk(group, ()):
        lines += [f"## `trialkit {' '.join(path)}`", "", cell(command.help or ""), ""]
        rows = [
            f"| `{', '.join(p.opts) if p.opts[0].startswith('-') else p.name.upper()}` "
            f"| {cell(getattr(p, 'help', '') or '')} |"
            for p in command.params
            if p.name != "help"
        ]
        if rows:
            lines += ["| option or argument | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if hasattr(child, "commands"):
            yield from walk(child, (*path, name))
        else:
            yield (*path, name), child


def errors() -> str:
    from trialkit import errors as tree

    statuses = {
        0: "done",
        1: "a defect of trialkit",
        2: "the call was wrong",
        3: "findings: faults of a document or of data",
        4: "integrity: something stored is not what was stored",
        5: "refused by a guard; nothing was changed",
        6: "a session was stopped or faulted",
        7: "a tool is missing",
    }
    lines = ["# Exit statuses and error codes", "", "| status | meaning |", "|---|---|"]
    lines += [f"| {status} | {meaning} |" for status, meaning in statuses.items()]
    lines += ["", "| code | class | status | meaning |", "|---|---|---|---|"]
    import device_interface.errors as device_tree

    classes = {
        c
        for module in (tree, device_tree)
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, tree.TrialkitError)
    }
    for c in sorted(classes, key=lambda c: (c.exit_status, c.code, c.__name__)):
        lines.append(
            f"| `{c.code}` | `{c.__name__}` | {c.exit_status} | {cell(first_paragraph(c))} |"
        )
    return "\n".join([*lines, ""])


def yaml_keys() -> str:
    from trialkit.exchange.foreign import ExchangeMapping
    from trialkit.exchange.mapping import Mapping
    from trialkit.plan.model import Plan
    from trialkit.protocol.forms import Form
    from trialkit.protocol.model import Protocol

    lines = ["# Keys of the YAML files", "", "Unknown keys are faults. Units are in the names.", ""]
    for title, root in (
        ("Protocol", Protocol),
        ("Form", Form),
        ("Statistical analysis plan", Plan),
        ("Import mapping", Mapping),
        ("Exchange mapping", ExchangeMapping),
    ):
        lines += [f"## {title}", ""]
        for model in models(root):
            lines += [f"### {model.__name__}", "", cell(first_paragraph(model)), ""]
            lines += ["| key | type | default |", "|---|---|---|"]
            for name, field in model.model_fields.items():
                default = (
                    "required"
                    if field.is_required()
                    else f"`{field.get_default(call_default_factory=True)!r}`"
                )
                kind = cell(type_text(field.annotation))
                lines.append(f"| `{field.alias or name}` | {kind} | {cell(default)} |")
            lines.append("")
    return "\n".join([*lines, *options()])


def options() -> list[str]:
    """Return the options that an analysis of a plan may have, method by method."""
    from trialkit.plan.words import OPTIONS, Kind

    lines = ["## Options of an analysis", "", "| method | option | values |", "|---|---|---|"]
    for method, known in sorted(OPTIONS.items()):
        for name, values in known.items():
            words = values.words if isinstance(values, Kind) else ", ".join(map(str, values))
            lines.append(f"| `{method}` | `{name}` | {cell(words)} |")
    return [*lines, ""]


def type_text(annotation: Any) -> str:
    if isinstance(annotation, type) and not getattr(annotation, "__args__", ()):
        return annotation.__name__
    text = str(annotation).replace("typing.", "")
    for name in (
        "trialkit.protocol.model.",
        "trialkit.plan.model.",
        "trialkit.exchange.mapping.",
        "trialkit.protocol.forms.model.",
    ):
        text = text.replace(name, "")
    return text if len(text) < 90 else text[:87] + "..."


def models(root: type[BaseModel]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    queue = [root]
    while queue:
        model = queue.pop(0)
        if model in found:
            continue
        found.append(model)
        for field in model.model_fields.values():
            queue += nested(field.annotation)
    return found


def nested(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in nested(a)]


def events() -> str:
    from trialkit.record.kinds import KINDS

    lines = [
        "# Kinds of events",
        "",
        "Beside its payload every event holds `seq`, `at`, `mono_ns`, `actor`,",
        "`role`, `subject`, `reason` and `prev`.",
        "",
    ]
    for kind, model in sorted(KINDS.items()):
        keys = ", ".join(f"`{name}`" for name in model.model_fields)
        lines += [f"## `{kind}`", "", cell(first_paragraph(model)), "", f"Payload: {keys}.", ""]
    return "\n".join(lines)


def columns() -> str:
    import data_schemas
    from data_schemas import adam, results, sdtm, telemetry

    lines = [
        "# Columns",
        "",
        "Every table that trialkit writes, with the pandera schema that it meets.",
        "",
    ]
    for module in (sdtm, adam, results, telemetry):
        name = module.__name__.rpartition(".")[2]
        version = data_schemas.VERSIONS[name]
        lines += [f"## {name} (version {version})", "", cell(first_paragraph(module)), ""]
        for table, schema in module.TABLES.items():
            lines += [
                f"### {table}",
                "",
                "| column | type | empty | meaning |",
                "|---|---|---|---|",
            ]
            for column, spec in schema.columns.items():
                empty = "yes" if spec.nullable else "no"
                lines.append(
                    f"| `{column}` | {spec.dtype} | {empty} | {cell(spec.description or '')} |"
                )
            lines.append("")
    return "\n".join(lines)


def methods() -> str:
    from trialkit import methods as room

    lines = [
        "# Methods",
        "",
        "Frames in, frames out: `from trialkit.methods import ...`.",
        "",
        "| method | version | what it does |",
        "|---|---|---|",
    ]
    for name, version in sorted(room.VERSIONS.items()):
        lines.append(f"| `{name}` | {version} | {cell(first_paragraph(getattr(room, name)))} |")
    for name in sorted(room.VERSIONS):
        method = getattr(room, name)
        signature = inspect.signature(method)
        lines += [
            "",
            f"## {name}",
            "",
            "```text",
            f"{name}{signature}",
            "```",
            "",
            "```text",
            inspect.getdoc(method) or "",
            "```",
        ]
    return "\n".join([*lines, ""])


def checks() -> str:
    from device_interface.conformance.report import check_page

    return check_page()


def permissions() -> str:
    from trialkit.record.roles import ROLES, permissions_of
    from trialkit.study.commands import every_command

    lines = [
        "# Who may do what",
        "",
        "Each command of the library (the verbs call them), the permission it needs, and the roles",
        "that hold it. A person who was added for some sites may act for these only. A refusal is",
        "an event (`command.refused`). A test tries every command as every role, at the own and",
        "at another site, on both databases.",
        "",
        "| command | permission | " + " | ".join(ROLES) + " |",
        "|---|---|" + "---|" * len(ROLES),
    ]
    for name, wanted in every_command().items():
        held = ["x" if wanted.permission in permissions_of(role) else "" for role in ROLES]
        lines.append(f"| `{name}` | `{wanted.permission}` | " + " | ".join(held) + " |")
    return "\n".join(lines) + "\n"


PAGES = {
    "permissions.md": permissions,
    "verbs.md": commands,
    "errors.md": errors,
    "yaml.md": yaml_keys,
    "events.md": events,
    "columns.md": columns,
    "methods.md": methods,
    "checks.md": checks,
}


def main() -> None:
    """Write every page."""
    HERE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
        sys.stderr.write(f"{name}\n")


if __name__ == "__main__":
    main()
