"""Reads a ``.qmd`` file, and refuses by name and line what the renderer does not support."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trialkit.errors import Finding, ReportFindings

FORMATS = ("html", "typst", "docx")
CELL_OPTIONS = frozenset(
    {"label", "echo", "include", "output", "warning", "tags", "fig-cap", "fig-alt", "tbl-cap"}
)
_SHARED = {"toc": bool, "toc-depth": int, "number-sections": bool}
_FORMAT_KEYS: dict[str, dict[str, type]] = {
    "html": {**_SHARED, "css": str, "embed-resources": bool, "html-math-method": str, "theme": str},
    "typst": {**_SHARED, "papersize": str},
    "docx": dict(_SHARED),
}
_TOP_KEYS = {
    "title", "subtitle", "author", "date", "lang", "format", "execute", "jupyter", "css",
    *_SHARED,
}  # fmt: skip
_EXECUTE_KEYS = {"echo", "include", "output", "warning"}
_REMEDY = "Remove it, or render with Quarto (--engine quarto)."

# what a line of text may not hold: name, pattern
_REFUSED: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("shortcode {0}", re.compile(r"\{\{<\s*([\w/-]*)")),
    ("conditional content (.{0})", re.compile(r"\{[^}]*\.(content-(?:visible|hidden))")),
    ("condition {0}", re.compile(r"\{[^}]*\b((?:when|unless)-(?:format|profile|meta))\s*=")),
    ("panel layout ({0})", re.compile(r"\{[^}]*\b(layout(?:-\w+)*)\s*=")),
    ("tab set (.{0})", re.compile(r"\{[^}]*\.(panel-tabset)")),
    ("page column (.{0})", re.compile(r"\{[^}]*\.(column-[\w-]+|aside|columns?)\b")),
    ("slide element (.{0})", re.compile(r"\{[^}]*\.(incremental|fragment|notes|r-stack)\b")),
    ("raw content ({{{0}}})", re.compile(r"\{(=\w+)\}")),
    ("label {0}", re.compile(r"#((?:eq|lst|thm|lem|cor|prp|cnj|def|exm|exr)-[\w-]+)")),
    ("figure or table div (#{0})", re.compile(r"^\s*:::+\s*\{[^}]*#((?:fig|tbl)-[\w-]+)")),
    ("inline code in {0}", re.compile(r"`\{(r|julia|ojs)\}")),
    ("inline code in {0}", re.compile(r"`(r) [^`]+`")),
)
_CITATION = re.compile(r"(?<![\w@/\\])@\{?([A-Za-z_][\w:.#$%&+?<>~/-]*)")
_FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*(.*)$")
_INLINE_CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_INLINE_PYTHON = re.compile(r"`\{python\}\s+([^`]+)`")


@dataclass(frozen=True)
class Cell:
    """A code cell, or with `inline` an expression inside a paragraph."""

    code: str
    line: int
    options: dict[str, Any] = field(default_factory=dict)
    inline: bool = False

    @property
    def tags(self) -> list[str]:
        """The cell's tags."""
        tags = self.options.get("tags") or []
        return [tags] if isinstance(tags, str) else [str(t) for t in tags]


@dataclass(frozen=True)
class Document:
    """A parsed ``.qmd``: front matter, and Markdown text and cells in order."""

    path: Path
    meta: dict[str, Any]
    parts: list[str | Cell]

    @property
    def cells(self) -> list[Cell]:
        """The cells in order."""
        return [p for p in self.parts if isinstance(p, Cell)]

    def option(self, name: str, target: str, default: Any = None) -> Any:
        """Return a front-matter option: that of the format first, then the document's."""
        formats = self.meta.get("format")
        own = formats.get(target) if isinstance(formats, dict) else None
        if isinstance(own, dict) and name in own:
            return own[name]
        return self.meta.get(name, default)

    def default(self, name: str, otherwise: Any) -> Any:
        """Return an ``execute`` default."""
        return (self.meta.get("execute") or {}).get(name, otherwise)


def read_qmd(path: Path) -> Document:
    """Read a ``.qmd``.

    Raises
    ------
    ReportFindings
        With every unsupported construct, by name and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReportFindings(
            f"{path} cannot be read.", [Finding(path.name, f"{error}.", "Give a UTF-8 file.")]
        ) from error
    findings: list[Finding] = []
    for name in ("_quarto.yml", "_quarto.yaml", "_metadata.yml", "_metadata.yaml"):
        if (path.parent / name).exists():
            findings.append(_refusal(f"Quarto project file {name}", None))
    meta, start = _front_matter(lines, findings)
    parts = list(_parts(lines, start, findings))
    _check_labels(parts, findings)
    if findings:
        raise ReportFindings(
            f"{path.name} holds what the embedded renderer does not support.",
            sorted(findings, key=lambda f: f.line or 0),
            remedy="The supported subset is in trialkit.report.embedded.SUBSET.",
        )
    return Document(path, meta, parts)


def _refusal(what: str, line: int | None, remedy: str = _REMEDY) -> Finding:
    return Finding(what, "is not supported by the embedded renderer.", remedy, line)


def _check_labels(parts: list[str | Cell], findings: list[Finding]) -> None:
    seen: set[str] = set()
    for cell in parts:
        label = cell.options.get("label") if isinstance(cell, Cell) else None
        if label in seen and isinstance(cell, Cell):
            findings.append(
                Finding(f"label {label}", "is given twice.", "Rename one cell.", cell.line)
            )
        if label:
            seen.add(str(label))


# --- front matter -----------------------------------------------------------------------


def _front_matter(lines: list[str], findings: list[Finding]) -> tuple[dict[str, Any], int]:
    if not lines or lines[0].strip() != "---":
        return {}, 0
    end = next((i for i in range(1, len(lines)) if lines[i].strip() in {"---", "..."}), None)
    if end is None:
        findings.append(Finding("front matter", "is not closed.", "End it with ---.", 1))
        return {}, len(lines)
    text = "\n".join(lines[1:end])
    try:
        node, meta = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark is not None else 1
        findings.append(Finding("front matter", "is not YAML.", "Mend it.", line))
        return {}, end + 1
    if meta is None:
        return {}, end + 1
    if not isinstance(meta, dict) or not isinstance(node, yaml.MappingNode):
        findings.append(Finding("front matter", "is not a mapping.", "Give keys.", 1))
        return {}, end + 1
    _check_keys("", node, _TOP_KEYS, findings)
    for key, value in node.value:
        if key.value == "execute" and isinstance(value, yaml.MappingNode):
            _check_keys("execute.", value, _EXECUTE_KEYS, findings)
        if key.value == "format":
            _check_formats(value, findings)
    return meta, end + 1


def _check_formats(node: yaml.Node, findings: list[Finding]) -> None:
    if isinstance(node, yaml.ScalarNode):
        pairs: list[tuple[yaml.Node, yaml.Node]] = [(node, node)]
    else:
        pairs = list(node.value)
    for key, value in pairs:
        name = str(key.value)
        if name not in FORMATS:
            hint = "Use typst for PDF." if name == "pdf" else _REMEDY
            findings.append(_refusal(f"format {name}", key.start_mark.line + 2, hint))
        elif isinstance(value, yaml.MappingNode):
            _check_keys(f"format.{name}.", value, set(_FORMAT_KEYS[name]), findings)


def _check_keys(prefix: str, node: yaml.Node, known: set[str], findings: list[Finding]) -> None:
    for key, _ in node.value:
        if key.value not in known:
            findings.append(
                _refusal(f"front-matter key {prefix}{key.value}", key.start_mark.line + 2)
            )


# --- body -------------------------------------------------------------------------------


def _parts(lines: list[str], start: int, findings: list[Finding]) -> Iterator[str | Cell]:
    text: list[str] = []
    i = start
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        if fence is None:
            _check_text(lines[i], i + 1, findings)
            text.append(lines[i])
            i += 1
            continue
        end = _fence_end(lines, i, fence.group(2))
        body = lines[i + 1 : end]
        info = fence.group(3).strip()
        if info.startswith("{"):
            if cell := _cell(info, body, i + 1, findings):
                yield from _inline("\n".join(text), i + 1 - len(text))
                text = []
                yield cell
        else:
            text += lines[i : end + 1]
        i = end + 1
    yield from _inline("\n".join(text), len(lines) + 1 - len(text))


def _fence_end(lines: list[str], start: int, mark: str) -> int:
    for i in range(start + 1, len(lines)):
        stripped = lines[i].strip()
        if stripped and set(stripped) == {mark[0]} and len(stripped) >= len(mark):
            return i
    return len(lines)


def _cell(info: str, body: list[str], line: int, findings: list[Finding]) -> Cell | None:
    language = info.strip("{}").split()[0].split(",")[0] if info.strip("{} ") else ""
    if info != "{python}":
        if language.startswith("="):
            what = f"raw content ({info})"
        elif language.startswith("."):
            what = f"code block attributes {info}"
        elif language == "python":
            what = f"cell options in the fence {info}"
        elif language in {"mermaid", "dot"}:
            what = f"{language} diagram"
        else:
            what = f"cell in {language or 'no language'}"
        findings.append(_refusal(what, line))
        return None
    head = [row for row in body if row.startswith("#|")]
    options: Any = {}
    try:
        options = yaml.safe_load("\n".join(row[2:].removeprefix(" ") for row in head)) or {}
    except yaml.YAMLError:
        findings.append(Finding("cell options", "are not YAML.", "Mend them.", line + 1))
    if not isinstance(options, dict):
        findings.append(Finding("cell options", "are not keys.", "Write key: value.", line + 1))
        options = {}
    for key in options:
        if key not in CELL_OPTIONS:
            at = next((n for n, r in enumerate(head) if re.match(rf"#\|\s*{key}\b", r)), 0)
            findings.append(_refusal(f"cell option {key}", line + 1 + at))
    return Cell("\n".join(row for row in body if not row.startswith("#|")), line, options)


def _check_text(line: str, number: int, findings: list[Finding]) -> None:
    python = _INLINE_PYTHON.sub("", line)
    for name, pattern in _REFUSED:
        bare = python if name.startswith("inline") else _INLINE_CODE.sub("", python)
        for hit in pattern.finditer(bare):
            findings.append(_refusal(name.format(hit.group(1) or ""), number))
    for hit in _CITATION.finditer(_INLINE_CODE.sub("", python)):
        if not hit.group(1).startswith(("fig-", "tbl-", "sec-")):
            kind = "reference" if re.match(r"[a-z]{2,3}-", hit.group(1)) else "citation"
            findings.append(_refusal(f"{kind} @{hit.group(1).rstrip('.,;:')}", number))


def _inline(text: str, first: int) -> Iterator[str | Cell]:
    """Split a run of text at its inline expressions."""
    at = 0
    for hit in _INLINE_PYTHON.finditer(text):
        yield text[at : hit.start()]
        line = first + text.count("\n", 0, hit.start())
        yield Cell(hit.group(1).strip(), line, inline=True)
        at = hit.end()
    if text[at:]:
        yield text[at:] + "\n"
