"""YAML with line numbers: a safe loader that refuses duplicate keys, and pydantic faults by line.

Protocols, plans, instruments and import mappings are all read here, so that every fault
of a file is listed at once with its line and what to do about it.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from trialkit.errors import Finding

Model = TypeVar("Model", bound=BaseModel)
Lines = dict[tuple[str | int, ...], int]


def load_yaml(path: Path) -> tuple[Any, Lines, list[Finding]]:
    """Return the plain data of a YAML file, the line of each key or item, and its faults.

    Returns
    -------
    data : object
        None where the file cannot be parsed.
    lines : dict
        Path (keys and indices) to 1-based line.
    findings : list of Finding
        Syntax errors and duplicate keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return None, {}, [Finding(str(path), f"cannot be read: {error}.", "Give a UTF-8 file.")]
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        problem = getattr(error, "problem", None) or "not YAML"
        return None, {}, [Finding(path.name, f"{problem}.", "Mend the YAML syntax.", line)]
    if node is None:
        return None, {}, [Finding(path.name, "the file is empty.", "Write the document.", 1)]
    lines: Lines = {(): 1}
    findings: list[Finding] = []
    _walk(node, (), lines, findings)
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        return None, lines, [*findings, Finding(path.name, f"{error}.", "Mend the value.")]
    return data, lines, findings


def _walk(
    node: yaml.Node, at: tuple[str | int, ...], lines: Lines, findings: list[Finding]
) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            line = key.start_mark.line + 1
            if name in seen:
                findings.append(
                    Finding(path_text((*at, name)), "the key is given twice.", "Keep one.", line)
                )
            seen.add(name)
            lines[(*at, name)] = line
            _walk(value, (*at, name), lines, findings)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*at, index)] = item.start_mark.line + 1
            _walk(item, (*at, index), lines, findings)


def path_text(at: tuple[str | int, ...]) -> str:
    """Return a path such as ``session.blocks[2].speed_m_s``."""
    text = ""
    for part in at:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(document)"


def line_of(lines: Lines, at: tuple[str | int, ...]) -> int | None:
    """Return the line of `at`, or of its nearest parent."""
    while at not in lines and at:
        at = at[:-1]
    return lines.get(at)


def parse_model(model: type[Model], data: Any, lines: Lines) -> tuple[Model | None, list[Finding]]:
    """Validate `data` against a pydantic model and return the object or every fault by line."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, [_finding(model, dict(fault), lines) for fault in error.errors()]


def _finding(model: type[BaseModel], fault: dict[str, Any], lines: Lines) -> Finding:
    at = tuple(p for p in fault["loc"] if isinstance(p, int | str))
    at = _known(at, lines)
    where, line = path_text(at), line_of(lines, at)
    kind = fault["type"]
    if kind == "extra_forbidden":
        return Finding(where, "unknown key.", _did_you_mean(model, str(at[-1]) if at else ""), line)
    if kind == "missing":
        return Finding(where, "a required key is missing.", "Add it.", line)
    given = fault.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    message = fault["msg"].removeprefix("Value error, ")
    message, _, remedy = message.partition(" | ")
    return Finding(where, f"{message.rstrip('.')}{shown}.", remedy or "Correct the value.", line)


def _known(at: tuple[str | int, ...], lines: Lines) -> tuple[str | int, ...]:
    """Drop the parts that pydantic adds for union members and that the file does not have."""
    kept: tuple[str | int, ...] = ()
    for index, part in enumerate(at):
        if (*kept, part) in lines or index == len(at) - 1:
            kept = (*kept, part)
    return kept


def _did_you_mean(model: type[BaseModel], key: str) -> str:
    names: set[str] = set()
    queue: list[type[BaseModel]] = [model]
    seen: set[type[BaseModel]] = set()
    while queue:
        current = queue.pop()
        if current in seen:
            continue
        seen.add(current)
        for name, field in current.model_fields.items():
            names.add(field.alias or name)
            queue += _models_in(field.annotation)
    close = difflib.get_close_matches(key, sorted(names), n=1)
    return f"Did you mean {close[0]}?" if close else "Remove it."


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models_in(arg)]
