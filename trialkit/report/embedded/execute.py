"""Runs the cells of a document in a kernel of this very interpreter, and gives Markdown."""

from __future__ import annotations

import ast
import base64
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trialkit.errors import Finding, ReportFindings
from trialkit.report.embedded.qmd import Cell, Document

TIMEOUT_S = 600
FIGURES = "figures"


def check_parameters(document: Document, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the cell tagged ``parameters`` does not assign."""
    known: set[str] = set()
    for cell in document.cells:
        if "parameters" in cell.tags:
            for node in ast.walk(ast.parse(cell.code)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    known.add(node.id)
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise ReportFindings(
            f"{document.path.name} has no such parameter.",
            [
                Finding(f"parameter {name}", "is not assigned in the cell tagged parameters.",
                        f"Use one of: {', '.join(sorted(known)) or 'none'}.")
                for name in unknown
            ],
        )  # fmt: skip


def execute(document: Document, parameters: Mapping[str, Any], folder: Path) -> str:
    """Run all cells with `folder` as working folder and return the document as Markdown.

    Raises
    ------
    ReportFindings
        If a cell fails, with its line in the ``.qmd``; or if a parameter is unknown.
    """
    from nbformat import v4

    new_cell: Any = v4.new_code_cell  # type: ignore[attr-defined, unused-ignore]
    new_notebook: Any = v4.new_notebook  # type: ignore[attr-defined, unused-ignore]
    check_parameters(document, parameters)
    notebook = new_notebook()
    where: list[Cell | None] = []
    for cell in document.cells:
        notebook.cells.append(new_cell(cell.code))
        where.append(cell)
        if "parameters" in cell.tags:
            code = "\n".join(f"{name} = {value!r}" for name, value in sorted(parameters.items()))
            notebook.cells.append(new_cell(code))
            where.append(None)
    for index, cell_node in enumerate(notebook.cells):  # ids are random otherwise
        cell_node["id"] = f"cell-{index}"
    _run(document, notebook, where, folder)
    outputs = {
        id(cell): node["outputs"]
        for cell, node in zip(where, notebook.cells, strict=True)
        if cell is not None
    }
    return "".join(_markdown(document, outputs, folder))


def _run(document: Document, notebook: Any, where: list[Cell | None], folder: Path) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    with _quiet(folder), tempfile.TemporaryDirectory(prefix="tk-") as sockets:
        client = NotebookClient(
            notebook,
            km=_kernel_manager(Path(sockets)),
            timeout=TIMEOUT_S,
            allow_errors=True,
            resources={"metadata": {"path": str(folder)}},
        )
        client.owns_km = True  # so that the kernel is ended with the run
        try:
            client.execute()
        except (CellTimeoutError, DeadKernelError) as error:
            raise ReportFindings(
                f"{document.path.name}: the kernel stopped.",
                [Finding("kernel", f"{str(error).splitlines()[0]}", "Render again.")],
            ) from error
    findings = []
    for cell, node in zip(where, notebook.cells, strict=True):
        for output in node["outputs"]:
            if output["output_type"] == "error":
                what = "inline expression" if cell and cell.inline else "cell"
                findings.append(
                    Finding(
                        what,
                        f"{output['ename']}: {output['evalue']}",
                        "Mend the cell or what it shows.",
                        cell.line if cell else None,
                    )
                )
    if findings:
        raise ReportFindings(f"{document.path.name}: a cell failed.", findings)


def _kernel_manager(folder: Path) -> Any:
    """Return a manager whose kernel is this interpreter, whatever kernels are installed.

    It is reached through sockets in `folder`, which nobody else on the machine can open.
    """
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> Any:  # noqa: ARG002
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python", language="python")

    manager = AsyncKernelManager(kernel_name="python3")
    manager.kernel_spec_manager = ThisInterpreter()
    manager.transport = "ipc"
    manager.ip = str(folder / "k")
    manager.connection_file = str(folder / "kernel.json")
    return manager


@contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """Set what the kernel inherits: no profile, no display, no hash seed, no debugger's remarks."""
    wanted = {
        "IPYTHONDIR": str(folder / ".ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        "MPLBACKEND": "Agg",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# --- outputs to Markdown ------------------------------------------------------------------


def _markdown(document: Document, outputs: dict[int, Any], folder: Path) -> Iterator[str]:
    for number, part in enumerate(document.parts):
        if isinstance(part, str):
            yield part
        elif part.inline:
            yield _inline(part, outputs[id(part)])
        else:
            yield "\n" + _block(document, part, outputs[id(part)], number, folder) + "\n"


def _inline(cell: Cell, outputs: list[Any]) -> str:
    for output in outputs:
        data = output.get("data", {})
        if "text/markdown" in data:
            return str(data["text/markdown"]).strip()
        if "text/plain" in data:
            return str(data["text/plain"]).strip("'\"")
    raise ReportFindings(
        "an inline expression printed nothing.",
        [Finding("inline expression", f"{cell.code!r} has no value.", "Return one.", cell.line)],
    )


def _block(document: Document, cell: Cell, outputs: list[Any], number: int, folder: Path) -> str:
    def option(name: str, otherwise: Any) -> Any:
        return cell.options.get(name, document.default(name, otherwise))

    if not option("include", True):
        return ""
    pieces = []
    if option("echo", True) and "parameters" not in cell.tags:
        pieces.append(f"```python\n{cell.code}\n```")
    if option("output", True) is False:
        return "\n\n".join(pieces)
    for count, output in enumerate(outputs):
        if output["output_type"] == "stream":
            if output["name"] == "stderr" and not option("warning", True):
                continue
            text = output["text"].rstrip()
            pieces.append(text if option("output", True) == "asis" else f"```\n{text}\n```")
        else:
            pieces.append(_shown(cell, output.get("data", {}), f"{number}-{count}", folder))
    return "\n\n".join(p for p in pieces if p)


def _shown(cell: Cell, data: Mapping[str, Any], name: str, folder: Path) -> str:
    label = str(cell.options.get("label", ""))
    if "text/markdown" in data:
        return _captioned(cell, label, str(data["text/markdown"]))
    if "image/png" in data:
        place = folder / FIGURES / f"cell-{name}.png"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(base64.b64decode(data["image/png"]))
        mark = f"#{label} " if label.startswith("fig-") else ""
        alt = str(cell.options.get("fig-alt", cell.options.get("fig-cap", ""))).replace('"', "'")
        caption = cell.options.get("fig-cap", "")
        return f'![{caption}]({FIGURES}/{place.name}){{{mark}fig-alt="{alt}"}}'
    if "text/html" in data:
        return _captioned(cell, label, _html_as_markdown(str(data["text/html"])))
    if "text/plain" in data:
        return f"```\n{data['text/plain']}\n```"
    return ""


def _html_as_markdown(text: str) -> str:
    """Return HTML such as a DataFrame's table as Markdown that every format can show."""
    import pypandoc

    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    return str(pypandoc.convert_text(text, "markdown-raw_html-native_divs-native_spans", "html"))


def _captioned(cell: Cell, label: str, text: str) -> str:
    caption = cell.options.get("tbl-cap")
    if not caption:
        return text
    mark = f" {{#{label}}}" if label.startswith("tbl-") else ""
    return f"{text.rstrip()}\n\n: {caption}{mark}\n"
