"""Markdown to pandoc's tree: numbers, references, callouts, alternative texts, and refusals."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trialkit.errors import Finding, MissingTool, ReportFindings

READER = "markdown"
SHORT = 20  # rows of a table that the PDF keeps on one page
NAMES = {"fig": "Figure", "tbl": "Table", "sec": "Section"}
Node = dict[str, Any]


def pandoc(arguments: list[str], text: str, *, folder: Path, epoch: int) -> str:
    """Run the bundled pandoc; a warning is a fault.

    Raises
    ------
    MissingTool
        If the installation lacks pandoc.
    ReportFindings
        If pandoc fails or warns.
    """
    import pypandoc

    try:
        program = pypandoc.get_pandoc_path()
    except OSError as error:
        raise MissingTool(
            "pandoc is not there.", remedy="Install pypandoc-binary, which brings it."
        ) from error
    done = subprocess.run(
        [str(program), "--fail-if-warnings", *arguments],
        input=text.encode(),
        capture_output=True,
        cwd=folder,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise ReportFindings(
            f"pandoc left with status {done.returncode}.",
            [Finding("pandoc", said or "said nothing.", "Mend the document.")],
        )
    return done.stdout.decode()


def read_markdown(text: str, *, folder: Path, epoch: int) -> Node:
    """Return pandoc's tree of Markdown text."""
    arguments = ["--from", READER, "--to", "json"]
    tree: Node = json.loads(pandoc(arguments, text, folder=folder, epoch=epoch))
    return tree


def walk(node: Any, action: Callable[[Node], Any]) -> Any:
    """Return a tree in which `action` has replaced nodes, children first.

    `action` gets a node ``{"t", "c"}`` and returns None (keep), a node, or a list of nodes.
    """
    if isinstance(node, list):
        out: list[Any] = []
        for item in node:
            new = walk(item, action)
            if isinstance(item, dict) and "t" in item and isinstance(new, list):
                out.extend(new)
            else:
                out.append(new)
        return out
    if not isinstance(node, dict):
        return node
    new = {key: walk(value, action) for key, value in node.items()}
    if "t" not in new:
        return new
    replaced = action(new)
    return new if replaced is None else replaced


def plain(node: Any) -> str:
    """Return the text of inlines or blocks."""
    words: list[str] = []

    def collect(item: Node) -> None:
        if item["t"] in {"Str", "Code", "Math"}:
            words.append(item["c"] if item["t"] == "Str" else item["c"][-1])
        elif item["t"] in {"Space", "SoftBreak", "LineBreak"}:
            words.append(" ")

    walk(copy.deepcopy(node), collect)
    return "".join(words)


def inlines(text: str) -> list[Node]:
    """Return text as pandoc inlines."""
    out: list[Node] = []
    for i, word in enumerate(text.split(" ")):
        out += ([{"t": "Space"}] if i else []) + ([{"t": "Str", "c": word}] if word else [])
    return out


def resolve(tree: Node, *, number_sections: bool) -> Node:
    """Number figures, tables and sections, and turn references into links.

    Raises
    ------
    ReportFindings
        For an unresolved reference, a doubled label, or raw content.
    """
    labels: dict[str, str] = {}
    findings: list[Finding] = []
    counts = {"fig": 0, "tbl": 0}
    levels = [0] * 6

    def number(node: Node) -> None:
        kind = node["t"]
        content: Any = node.get("c")
        if kind in {"Figure", "Table"} and content[1][1]:
            short = "fig" if kind == "Figure" else "tbl"
            counts[short] += 1
            text = f"{NAMES[short]} {counts[short]}"
            _note(content[0][0], text, labels, findings)
            head = content[1][1][0]
            head["c"] = [*inlines(f"{text}: "), *head["c"]]
        elif kind == "Header" and "unnumbered" not in content[1][1]:
            level = content[0] - 1
            levels[level] += 1
            levels[level + 1 :] = [0] * (5 - level)
            text = ".".join(str(n) for n in levels[: level + 1])
            _note(content[1][0], f"{NAMES['sec']} {text}", labels, findings)
            if number_sections:
                mark = {"t": "Span", "c": [["", ["number"], []], [{"t": "Str", "c": text}]]}
                content[2] = [mark, {"t": "Space"}, *content[2]]
        elif kind in {"RawInline", "RawBlock"} and not str(content[1]).startswith("<!--"):
            findings.append(
                Finding(
                    f"raw content {content[1][:40]!r}",
                    "is not supported by the embedded renderer.",
                    "Write Markdown; raw content is lost in other formats.",
                )
            )

    def refer(node: Node) -> Any:
        if node["t"] != "Cite":
            return None
        out: list[Node] = []
        for one in node["c"][0]:
            target = one["citationId"]
            if target not in labels:
                findings.append(
                    Finding(
                        f"reference @{target}",
                        "points to nothing.",
                        "Give a figure, table or section that label.",
                    )
                )
            text = inlines(labels.get(target, target))
            out += [*([{"t": "Str", "c": ", "}] if out else []),
                    {"t": "Link", "c": [["", [], []], text, [f"#{target}", ""]]}]  # fmt: skip
        return out

    tree = walk(tree, number)
    tree = walk(tree, refer)
    if findings:
        raise ReportFindings("the document cannot be rendered as written.", findings)
    return tree


def _note(label: str, text: str, labels: dict[str, str], findings: list[Finding]) -> None:
    if label and label in labels:
        findings.append(Finding(f"label {label}", "is given twice.", "Rename one."))
    if label:
        labels[label] = text


def images(tree: Node) -> list[tuple[str, str]]:
    """Return path and alternative text of every image."""
    found: list[tuple[str, str]] = []

    def collect(node: Node) -> None:
        if node["t"] == "Image":
            found.append((node["c"][2][0], image_alt(node)))

    walk(copy.deepcopy(tree), collect)
    return found


def image_alt(node: Node) -> str:
    """Return the alternative text of an image: ``fig-alt``, else its caption."""
    given = dict(node["c"][0][2])
    return str(given.get("fig-alt") or given.get("alt") or plain(node["c"][1]))


def check_images(tree: Node, folder: Path) -> None:
    """Refuse an image that is not there, is not local, is empty, or has no alternative text."""
    findings = []
    for place, alt in images(tree):
        fault = _image_fault(folder, place)
        if fault is None and not alt.strip():
            fault = "has no alternative text."
        if fault:
            findings.append(Finding(f"figure {place}", fault, "Mend the cell that draws it."))
    if findings:
        raise ReportFindings("a figure cannot be shown.", findings)


def _image_fault(folder: Path, place: str) -> str | None:
    import numpy as np
    from matplotlib.image import imread

    if "://" in place or place.startswith(("data:", "/")):
        return "is not a file beside the document."
    path = folder / place
    if not path.is_file():
        return "is not there."
    try:
        pixels = np.asarray(imread(path))
    except (OSError, ValueError, SyntaxError) as error:
        return f"cannot be read: {error}."
    if pixels.ndim < 2 or float(np.ptp(pixels[..., :3])) == 0.0:
        return "is empty: all its points have one colour."
    return None


def for_target(tree: Node, target: str) -> Node:
    """Return the tree as one format needs it: alternative texts, callouts, spans with ids."""
    tree = copy.deepcopy(tree)

    def adapt(node: Node) -> Any:
        kind = node["t"]
        if kind == "Image":
            return _image(node, target)
        if kind == "Div":
            name = next((c for c in node["c"][0][1] if c.startswith("callout-")), None)
            return _callout(node, name, target) if name else None
        if kind == "Span" and target != "html":
            return list(node["c"][1])
        if kind == "Code" and target != "html":
            node["c"][1] = _breakable(node["c"][1])
        if kind == "Table":
            return _table(node, target)
        return None

    return dict(walk(tree, adapt))


def _breakable(code: str) -> str:
    """Return a long id with places where a line may break (zero-width spaces)."""
    return re.sub(r"([._-])", "\\1\u200b", code) if len(code) > 64 or "." in code else code


def _table(node: Node, target: str) -> Any:
    """Let a row of one bold cell span the table; keep a short table on one page of the PDF."""
    rows = [row for body in node["c"][4] for row in body[3]]
    for _, cells in rows:
        if len(cells) > 1 and _bold(cells[0]) and not any(cell[4] for cell in cells[1:]):
            cells[0][3] = len(cells)
            del cells[1:]
    if target == "html":
        return None
    for _, cells in node["c"][3][1]:
        for cell in cells:
            for block in cell[4]:
                block["c"] = [{"t": "Strong", "c": block["c"]}]
    if target == "docx" or len(rows) > SHORT:
        return None
    before = {"t": "RawBlock", "c": ["typst", "#[#show figure: set block(breakable: false)"]}
    return [before, node, {"t": "RawBlock", "c": ["typst", "]"]}]


def _bold(cell: list[Any]) -> bool:
    blocks = cell[4]
    inside = blocks[0].get("c") if len(blocks) == 1 else None
    return isinstance(inside, list) and len(inside) == 1 and inside[0]["t"] == "Strong"


def _image(node: Node, target: str) -> Node:
    attributes, _, place = node["c"]
    alt = image_alt(node)
    kept = [[k, v] for k, v in attributes[2] if k not in {"fig-alt", "alt"}]
    if target == "typst":
        width = dict(kept).get("width", "100%")
        said, source = json.dumps(alt, ensure_ascii=False), json.dumps(place[0])
        text = f"#image({source}, width: {width}, alt: {said})"
        return {"t": "RawInline", "c": ["typst", text]}
    if target == "html":
        kept.append(["alt", alt])
    return {"t": "Image", "c": [[attributes[0], attributes[1], kept], inlines(alt), place]}


def _callout(node: Node, name: str, target: str) -> Node:
    attributes, blocks = node["c"]
    title = name.removeprefix("callout-").capitalize()
    if blocks and blocks[0]["t"] == "Header":
        title, blocks = plain(blocks[0]["c"][2]), blocks[1:]
    elif given := dict(attributes[2]).get("title"):
        title = str(given)
    head = {"t": "Para", "c": [{"t": "Strong", "c": inlines(title)}]}
    if target == "html":
        return {"t": "Div", "c": [["", ["callout", name], []], [head, *blocks]]}
    return {"t": "BlockQuote", "c": [head, *blocks]}
