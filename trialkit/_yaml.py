"""YAML with line numbers: a safe loader that refuses duplicate keys, and pydantic faults by line.

Protocols, plans, instruments and import mappings are all read here, so that every fault
of a file is listed at once with its line and what to do about it.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from trialkit.errors import Finding

Model = TypeVar("Model", bound=BaseModel)
Lines = dict[tuple[str | int, ...], int]
Hint = Callable[[str, Any], tuple[str, str] | None]
# libyaml's safe loader where PyYAML was built with it: a tenth of the time, the same data
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        node = _compose(text)
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
        data = yaml.load(text, Loader=_LOADER)
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


def parse_model(
    model: type[Model], data: Any, lines: Lines, hint: Hint | None = None
) -> tuple[Model | None, list[Finding]]:
    """Validate `data` against a pydantic model and return the object or every fault by line.

    `hint` may give message and remedy for an unknown key, from the key and its value.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, [_finding(model, dict(fault), lines, hint) for fault in error.errors()]


def _compose(text: str) -> yaml.Node | None:
    """Return the tree of `text`; faults are told in the words of the Python loader."""
    try:
        return yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError:
        return yaml.compose(text, Loader=yaml.SafeLoader)


class Document:
    """A YAML file under check: its data, and every fault found so far.

    A check goes on where the file has faults: unknown keys are left out, and `part` and
    `parts` give the sections that are sound, so that one run lists as much as it can.

    Parameters
    ----------
    path : Path
    hint : callable, optional
        As in `parse_model`.
    """

    def __init__(self, path: Path, hint: Hint | None = None) -> None:
        self.path = path
        self.data, self.lines, self.findings = load_yaml(path)
        self._hint = hint
        self._of_form: list[Finding] = []

    def parse(self, model: type[Model]) -> Model | None:
        """Return the whole document, or None after adding its faults."""
        if self.data is None:
            return None
        parsed, faults = parse_model(model, self.data, self.lines, self._hint)
        self.findings += faults
        if parsed is None:
            self.data = _without_unknown(model, self.data)
            self._of_form = parse_model(model, self.data, self.lines)[1]
        return None if self.findings else parsed

    def part(self, model: type[Model], *at: str | int) -> Model | None:
        """Return the section at `at`, or None if it is absent or has faults."""
        data = self._value(at)
        return None if data is None else _sound(model, data)

    def parts(self, model: type[Model], *at: str | int) -> list[tuple[int, Model]]:
        """Return the sound items of the list at `at` with their indices."""
        data = self._value(at)
        items = enumerate(data) if isinstance(data, list) else ()
        return [(i, found) for i, item in items if (found := _sound(model, item)) is not None]

    def whole(self, *at: str | int) -> bool:
        """Return whether the section at `at` is absent or, unknown keys apart, well formed."""
        inside = path_text(at)
        return not any(finding.where.startswith(inside) for finding in self._of_form)

    def add(self, at: tuple[str | int, ...], message: str, remedy: str) -> None:
        """Add a fault at a path of the document."""
        self.findings.append(Finding(path_text(at), message, remedy, line_of(self.lines, at)))

    def _value(self, at: tuple[str | int, ...]) -> Any:
        value = self.data
        for part in at:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value


def _sound(model: type[Model], data: Any) -> Model | None:
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _without_unknown(model: type[BaseModel], data: Any) -> Any:
    """Return `data` without the keys that the model does not know."""
    data = copy.deepcopy(data)
    try:
        model.model_validate(data)
    except ValidationError as error:
        for fault in error.errors():
            if fault["type"] == "extra_forbidden":
                holder = data
                for part in fault["loc"][:-1]:
                    holder = holder[part]
                del holder[fault["loc"][-1]]
    return data


def _finding(
    model: type[BaseModel], fault: dict[str, Any], lines: Lines, hint: Hint | None
) -> Finding:
    at = tuple(p for p in fault["loc"] if isinstance(p, int | str))
    at = _known(at, lines)
    where, line = path_text(at), line_of(lines, at)
    kind, given = fault["type"], fault.get("input")
    if kind == "extra_forbidden":
        key = str(at[-1]) if at else ""
        better = hint(key, given) if hint else None
        return Finding(where, *(better or ("unknown key.", _did_you_mean(model, key))), line)
    if kind == "missing":
        return Finding(where, "a required key is missing.", "Add it.", line)
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    message = fault["msg"].removeprefix("Value error, ")
    message, _, remedy = message.partition(" | ")
    if kind == "literal_error":
        remedy = _nearest(str(given), re.findall(r"'([^']*)'", fault["ctx"]["expected"]))
        message = "this is not one of the possible values"
    if kind == "string_type" and shown:
        remedy = f'Put it in quotes: "{given}".'
    return Finding(where, f"{message.rstrip('.')}{shown}.", remedy or "Correct the value.", line)


def _nearest(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Use {' or '.join(known)}."


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
