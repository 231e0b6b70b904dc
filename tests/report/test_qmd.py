from __future__ import annotations

from pathlib import Path

import pytest

from trialkit._content import find_content
from trialkit.errors import ReportFindings
from trialkit.report.embedded.execute import check_parameters
from trialkit.report.embedded.qmd import read_qmd

REFUSED = {
    "{{< include _other.qmd >}}": "shortcode include",
    "{{< video https://x.org/y >}}": "shortcode video",
    "```{r}\n1\n```": "cell in r",
    "```{ojs}\n1\n```": "cell in ojs",
    "```{mermaid}\nflowchart LR\n```": "mermaid diagram",
    "```{=html}\n<b>x</b>\n```": "raw content ({=html})",
    "```{python, echo=FALSE}\n1\n```": "cell options in the fence",
    "::: {layout-ncol=2}\n:::": "panel layout (layout-ncol)",
    "::: {.panel-tabset}\n:::": "tab set (.panel-tabset)",
    '::: {.content-visible when-format="html"}\n:::': "conditional content (.content-visible)",
    "::: {#fig-two}\n:::": "figure or table div (#fig-two)",
    "::: {.column-margin}\n:::": "page column (.column-margin)",
    "As Smith [@smith2020] said.": "citation @smith2020",
    "See @eq-one.": "reference @eq-one",
    "$$x$$ {#eq-one}": "label eq-one",
    "`<b>`{=html}": "raw content ({=html})",
    "Mean `r mean(x)`.": "inline code in r",
    "```{python}\n#| layout-ncol: 2\n1\n```": "cell option layout-ncol",
    "```{python}\n#| fig-subcap: [a]\n1\n```": "cell option fig-subcap",
}


def write(folder: Path, text: str) -> Path:
    path = folder / "x.qmd"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", REFUSED)
def test_unsupported_constructs_are_refused_by_name_and_line(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"---\ntitle: T\n---\n\nSome text.\n\n{text}\n")
    with pytest.raises(ReportFindings) as caught:
        read_qmd(path)
    named = [f for f in caught.value.findings if f.where.startswith(REFUSED[text])]
    assert named, [f.where for f in caught.value.findings]
    assert named[0].line in {7, 8}
    assert named[0].remedy


@pytest.mark.parametrize(
    ("front", "named", "line"),
    [
        ("bibliography: x.bib", "front-matter key bibliography", 2),
        ("title: T\nparams:\n  a: 1", "front-matter key params", 3),
        ("format:\n  pdf: default", "format pdf", 3),
        (
            "format:\n  html:\n    theme: x\n    code-fold: true",
            "front-matter key format.html.code",
            5,
        ),
        ("execute:\n  cache: true", "front-matter key execute.cache", 3),
    ],
)
def test_front_matter_that_is_not_supported(
    front: str, named: str, line: int, tmp_path: Path
) -> None:
    with pytest.raises(ReportFindings) as caught:
        read_qmd(write(tmp_path, f"---\n{front}\n---\n\nText.\n"))
    hit = [f for f in caught.value.findings if f.where.startswith(named)]
    assert hit
    assert hit[0].line == line


def test_a_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_quarto.yml").write_text("project: {}\n", encoding="utf-8")
    with pytest.raises(ReportFindings, match=r"_quarto\.yml"):
        read_qmd(write(tmp_path, "Text.\n"))


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    text = "{{< include a >}}\n\n```{r}\n1\n```\n\n[@x]\n"
    with pytest.raises(ReportFindings) as caught:
        read_qmd(write(tmp_path, text))
    assert [f.line for f in caught.value.findings] == [1, 3, 7]


def test_what_only_looks_unsupported_passes(tmp_path: Path) -> None:
    text = (
        "Write to a@b.org, see `@fig-x` and `{{< include >}}` and @tbl-y.\n\n"
        "```\n{{< include a >}}\n[@cite]\n```\n"
    )
    document = read_qmd(write(tmp_path, text))
    assert "".join(p for p in document.parts if isinstance(p, str)).strip() == text.strip()


def test_cells_options_and_inline_code(tmp_path: Path) -> None:
    text = (
        "---\nexecute:\n  echo: false\n---\n\nA `{python} 1 + 1` b.\n\n"
        "```{python}\n#| label: tbl-a\n#| tags: [parameters]\nx = 1\n```\n"
    )
    document = read_qmd(write(tmp_path, text))
    inline, cell = document.cells
    assert (inline.inline, inline.code, inline.line) == (True, "1 + 1", 6)
    assert (cell.code, cell.line, cell.tags) == ("x = 1", 8, ["parameters"])
    assert document.default("echo", True) is False


def test_a_label_twice_is_refused(tmp_path: Path) -> None:
    cell = "```{python}\n#| label: tbl-a\n1\n```\n"
    with pytest.raises(ReportFindings, match="tbl-a"):
        read_qmd(write(tmp_path, f"{cell}\n{cell}"))


def test_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    text = "```{python}\n#| tags: [parameters]\nresults = 'a'\n```\n"
    document = read_qmd(write(tmp_path, text))
    check_parameters(document, {"results": "b"})
    with pytest.raises(ReportFindings, match="resluts"):
        check_parameters(document, {"resluts": "b"})


def test_the_shipped_report_holds_no_computation() -> None:
    """Its cells only call what trialkit.report offers."""
    document = read_qmd(find_content("reports", "primary"))
    for cell in document.cells:
        for line in cell.code.splitlines():
            known = ("print(show.", "show.", "from trialkit.report import", "show = open_report(")
            assert line.startswith(known) or "parameters" in cell.tags, line
