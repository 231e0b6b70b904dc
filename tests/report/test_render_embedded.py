from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import docx
import numpy as np
import pypdf
import pytest
from matplotlib.image import imsave
from report_sample import sample

from trialkit._content import find_content
from trialkit.errors import ReportFindings
from trialkit.plan import load_plan
from trialkit.report.quarto import command
from trialkit.report.render import render_embedded
from trialkit.results import Results

PLAN = find_content("analyses", "stroke-robotic-vs-conventional")
EPOCH = 1_767_225_600
INPUTS = {"results": "results", "plan": "plan.sap.yaml", "context": "context.json"}


def prepare(work: Path, *, failed: str | None = None) -> Results:
    work.mkdir(exist_ok=True)
    results = sample(load_plan(PLAN), failed=failed)
    results.save(work / "results")
    shutil.copyfile(PLAN, work / "plan.sap.yaml")
    context = {
        "study_id": "STUDY-1",
        "title": "A title",
        "plan": "a" * 64,
        "lock": {"lock": "b" * 64, "at": "2026-01-01T00:00:00Z", "seq": 7, "signatures": []},
        "snapshot": "c" * 64,
        "record": {"seq": 4711, "hash": "d" * 64, "at": "2026-05-01T00:00:00Z"},
        "software": "trialkit",
    }
    (work / "context.json").write_text(json.dumps(context), encoding="utf-8")
    return results


class Page(HTMLParser):
    """Collects ids of results, images and what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.images: list[dict[str, str | None]] = []
        self.fetched: list[str] = []
        self.lang: str | None = None
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if tag == "html":
            self.lang = given.get("lang")
        if tag == "img":
            self.images.append(given)
        if identifier := given.get("data-result-id"):
            self.ids.add(identifier)
            assert given["title"] == identifier
        for name in ("src", "href"):
            value = given.get(name)
            if value and not value.startswith(("data:", "#")):
                self.fetched.append(value)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Results]:
    work = tmp_path_factory.mktemp("rendered")
    results = prepare(work, failed="abc")
    source = find_content("reports", "primary")
    return render_embedded(source, INPUTS, work, ("html", "pdf", "docx"), EPOCH), results


@pytest.fixture(scope="module")
def page(rendered: tuple[dict[str, Path], Results]) -> Page:
    page = Page()
    page.feed(rendered[0]["html"].read_text(encoding="utf-8"))
    return page


def test_html_is_one_file_without_a_network(page: Page) -> None:
    assert page.fetched == []
    assert "script" not in page.tags
    assert page.lang == "en"


def test_every_image_is_inside_and_has_words(page: Page) -> None:
    assert len(page.images) >= 4  # flow, profile, forest, survival
    for image in page.images:
        assert str(image["src"]).startswith("data:image/png;base64,")
        assert len(str(image["alt"])) > 40


def test_html_numbers_are_results(page: Page, rendered: tuple[dict[str, Path], Results]) -> None:
    ids = set(rendered[1].ids)
    assert page.ids <= ids
    assert "speed.difference.robotic.vs-conventional.W12.estimate" in page.ids
    assert len(page.ids) > 0.8 * len(ids)


def test_html_says_what_it_rests_on(rendered: tuple[dict[str, Path], Results]) -> None:
    text = rendered[0]["html"].read_text(encoding="utf-8")
    for wanted in ("d" * 64, "b" * 64, "c" * 64, rendered[1].hash, "STUDY-1", "event 4711"):
        assert wanted in text


def test_a_failed_analysis_is_shown_with_its_reason(
    rendered: tuple[dict[str, Path], Results],
) -> None:
    text = re.sub(r"<[^>]+>", "", rendered[0]["html"].read_text(encoding="utf-8"))
    assert "Balance confidence (ABC) at week 12 failed and has no result." in text
    assert "The unstructured covariance could not be fitted." in text


def test_pdf_is_a4_tagged_and_holds_the_ids(rendered: tuple[dict[str, Path], Results]) -> None:
    reader = pypdf.PdfReader(rendered[0]["pdf"])
    box = reader.pages[0].mediabox
    assert (round(float(box.width)), round(float(box.height))) == (595, 842)
    assert "/StructTreeRoot" in reader.trailer["/Root"]
    assert reader.metadata is not None
    assert reader.metadata.title == "Primary analysis report"
    text = "".join(p.extract_text() for p in reader.pages)
    assert "speed.difference.robotic.vs-conventional.W12" in re.sub(r"[\s\u200b]", "", text)


def test_no_text_of_the_pdf_runs_off_the_page(rendered: tuple[dict[str, Path], Results]) -> None:
    for number, page in enumerate(pypdf.PdfReader(rendered[0]["pdf"]).pages):
        lefts: list[float] = []

        def visit(text: str, cm: list[float], tm: list[float], *_: object) -> None:
            if text.strip():
                lefts.append(tm[4] + cm[4])  # noqa: B023

        page.extract_text(visitor_text=visit)
        assert lefts
        assert min(lefts) >= 40, number
        assert max(lefts) <= 595 - 40, number


def test_docx_has_a4_pages_tables_and_pictures(rendered: tuple[dict[str, Path], Results]) -> None:
    document = docx.Document(str(rendered[0]["docx"]))
    section = document.sections[0]
    assert section.page_width is not None
    assert section.page_height is not None
    assert (round(section.page_width.mm), round(section.page_height.mm)) == (210, 297)
    margin = section.left_margin or 0
    assert len(document.tables) >= 12
    assert len(document.inline_shapes) >= 4
    for table in document.tables:
        assert sum(c.width or 0 for c in table.columns) <= section.page_width - 2 * margin


def test_the_same_results_give_the_same_bytes(
    rendered: tuple[dict[str, Path], Results], tmp_path: Path
) -> None:
    prepare(tmp_path, failed="abc")
    source = find_content("reports", "primary")
    again = render_embedded(source, INPUTS, tmp_path, ("html", "pdf", "docx"), EPOCH)
    for name, path in rendered[0].items():
        assert again[name].read_bytes() == path.read_bytes(), name


CELL = "```{python}\n#| echo: false\nraise ValueError('no such thing')\n```\n"


def test_a_failed_cell_stops_the_render_and_its_line_is_named(tmp_path: Path) -> None:
    source = tmp_path / "x.qmd"
    source.write_text(f"Text.\n\n{CELL}", encoding="utf-8")
    with pytest.raises(ReportFindings) as caught:
        render_embedded(source, {}, tmp_path, ("html",), EPOCH)
    (finding,) = caught.value.findings
    assert (finding.message, finding.line) == ("ValueError: no such thing", 3)
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("See @fig-nothing.", "reference @fig-nothing"),
        ("Some <b>raw</b> text.", "raw content"),
        ("![x](https://example.org/x.png)", "is not a file beside the document"),
        ("![](missing.png)", "is not there"),
        ("![x](blank.png)", "is empty"),
        ("![](drawn.png)", "has no alternative text"),
    ],
)
def test_what_cannot_be_shown_stops_the_render(text: str, said: str, tmp_path: Path) -> None:
    from trialkit.report.embedded.document import check_images, read_markdown, resolve

    imsave(tmp_path / "blank.png", np.ones((8, 8, 3)))
    imsave(tmp_path / "drawn.png", np.eye(8))
    tree = read_markdown(text, folder=tmp_path, epoch=EPOCH)
    with pytest.raises(ReportFindings, match=re.escape(said)):
        check_images(resolve(tree, number_sections=False), tmp_path)


def test_quarto_gets_the_same_file_and_parameters() -> None:
    call = command("quarto", Path("primary.qmd"), "typst", {"results": "r", "plan": "p"})
    assert call == ["quarto", "render", "primary.qmd", "--to", "typst", "-P", "plan:p", "-P",
                    "results:r"]  # fmt: skip


@pytest.mark.quarto
@pytest.mark.skipif(shutil.which("quarto") is None, reason="quarto is not on PATH")
def test_quarto_renders_the_same_numbers(page: Page, tmp_path: Path) -> None:
    from trialkit.report.quarto import render_quarto

    prepare(tmp_path, failed="abc")
    source = find_content("reports", "primary")
    made = render_quarto(source, INPUTS, tmp_path, ("html",), EPOCH)
    other = Page()
    other.feed(made["html"].read_text(encoding="utf-8"))
    assert other.ids == page.ids
