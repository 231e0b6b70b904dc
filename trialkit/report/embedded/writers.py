"""Writes a resolved document as HTML (one file), PDF (typst) and DOCX."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialkit._content import content_folder
from trialkit.errors import Finding, ReportFindings
from trialkit.report.embedded.document import Node, for_target, pandoc
from trialkit.report.embedded.docx import reference_document
from trialkit.report.embedded.qmd import Document

_NETWORK = re.compile(r"""(?:src|href|action|data|poster)\s*=\s*["']?\s*(?:https?:)?//[^"'\s>]*""")
_CSS_NETWORK = re.compile(r"url\(\s*[\"']?\s*(?:https?:)?//|@import")


@dataclass(frozen=True)
class Job:
    """What a writer needs: the parsed document, its tree, the working folder, the time."""

    document: Document
    tree: Node
    folder: Path
    epoch: int

    def option(self, name: str, target: str, default: Any = None) -> Any:
        """Return a front-matter option of a format."""
        return self.document.option(name, target, default)

    def meta(self, name: str, default: str = "") -> str:
        """Return a front-matter text."""
        value = self.document.meta.get(name, default)
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    def pandoc(self, target: str, *arguments: str) -> str:
        """Write the tree in a pandoc format."""
        text = json.dumps(for_target(self.tree, target), ensure_ascii=False)
        every = ["--from", "json", "--to", target, *arguments]
        return pandoc(every, text, folder=self.folder, epoch=self.epoch)


def style_file(name: str) -> Path:
    """Return a file of the shipped report style."""
    return content_folder("reports") / "_style" / name


def write_html(job: Job, path: Path) -> None:
    """Write one HTML file with styles and images inside and no reference to any network.

    Raises
    ------
    ReportFindings
        If something in it would be fetched.
    """
    own = job.option("css", "html")
    sheets = [own] if isinstance(own, str) else list(own or [])
    sheets = [str((job.document.path.parent / s).resolve()) for s in sheets]
    depth = str(job.option("toc-depth", "html", 2))
    arguments = ["--standalone", "--embed-resources", "--mathml", "--wrap=none"]
    arguments += [f"--template={style_file('report.html')}", f"--toc-depth={depth}"]
    arguments += ["--toc"] if job.option("toc", "html", False) else []
    arguments += [f"--css={s}" for s in sheets or [str(style_file("report.css"))]]
    for name in ("title", "subtitle", "author", "date"):
        arguments += ["--metadata", f"{name}={job.meta(name)}"] if job.meta(name) else []
    arguments += ["--metadata", f"lang={job.meta('lang', 'en')}"]
    text = job.pandoc("html", *arguments)
    # images are inside as data: addresses, which cannot hold quotes
    seen = [m.group(0)[:120] for p in (_NETWORK, _CSS_NETWORK) for m in p.finditer(text)]
    if seen:
        raise ReportFindings(
            "the HTML would reach for the network.",
            [Finding("html", f"{s} is a network reference.", "Remove it.") for s in seen],
        )
    path.write_text(text, encoding="utf-8")


def write_pdf(job: Job, path: Path) -> None:
    """Write a tagged A4 PDF through typst, with the fonts that typst brings."""
    import typst

    body = job.pandoc("typst", "--wrap=none")
    style = style_file("report.typ").read_text(encoding="utf-8")
    settings = {name: job.meta(name) for name in ("title", "subtitle", "author", "date")}
    values = ", ".join(f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in settings.items())
    depth = job.option("toc-depth", "typst", 2) if job.option("toc", "typst", False) else 0
    lang = json.dumps(job.meta("lang", "en")[:2])
    show = f"#show: report.with({values}, lang: {lang}, toc-depth: {depth})"
    source = job.folder / "report.typ"
    source.write_text(f"{style}\n{show}\n\n{body}", encoding="utf-8")
    try:
        typst.compile(
            source,
            output=path,
            root=job.folder,
            ignore_system_fonts=True,
            format="pdf",
            timestamp=job.epoch,
        )
    except RuntimeError as error:
        raise ReportFindings(
            "typst refused the document.", [Finding("typst", str(error), "Report this defect.")]
        ) from error


def write_docx(job: Job, path: Path) -> None:
    """Write a DOCX on A4 pages."""
    reference = job.folder / "reference.docx"
    reference_document(reference, folder=job.folder, epoch=job.epoch)
    arguments = ["--standalone", f"--reference-doc={reference}", f"--output={path}"]
    arguments += ["--toc"] if job.option("toc", "docx", False) else []
    for name in ("title", "subtitle", "author", "date"):
        arguments += ["--metadata", f"{name}={job.meta(name)}"] if job.meta(name) else []
    arguments += ["--metadata", f"lang={job.meta('lang', 'en')}"]
    job.pandoc("docx", *arguments)


WRITERS: dict[str, Callable[[Job, Path], None]] = {
    "html": write_html,
    "pdf": write_pdf,
    "docx": write_docx,
}
