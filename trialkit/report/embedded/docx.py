"""The reference document that gives a DOCX its page, fonts and tables."""

from __future__ import annotations

import io
import re
import subprocess
import zipfile
from pathlib import Path

from trialkit.errors import MissingTool

# twentieths of a point: A4 is 11906 x 16838; margins 20 mm = 1134
_SECTION = (
    '<w:sectPr><w:pgSz w:w="11906" w:h="16838"/><w:pgMar w:top="1134" w:right="1134" '
    'w:bottom="1134" w:left="1134" w:header="567" w:footer="567" w:gutter="0"/></w:sectPr>'
)
_EDGE = '<w:{0} w:val="single" w:sz="{1}" w:space="0" w:color="{2}"/>'
_TABLE = (
    '<w:style w:type="table" w:default="1" w:styleId="Table"><w:name w:val="Table"/>'
    '<w:basedOn w:val="TableNormal"/><w:semiHidden/><w:unhideWhenUsed/><w:qFormat/>'
    '<w:tblPr><w:tblW w:w="5000" w:type="pct"/><w:tblBorders>'
    + _EDGE.format("top", 8, "444444")
    + _EDGE.format("bottom", 8, "444444")
    + _EDGE.format("insideH", 4, "D0D0D0")
    + '</w:tblBorders><w:tblCellMar><w:top w:w="28" w:type="dxa"/><w:left w:w="57" '
    'w:type="dxa"/><w:bottom w:w="28" w:type="dxa"/><w:right w:w="57" w:type="dxa"/>'
    "</w:tblCellMar></w:tblPr><w:tblStylePr w:type="
    '"firstRow"><w:rPr><w:b/></w:rPr><w:tblPr/><w:trPr><w:cantSplit/><w:tblHeader/></w:trPr>'
    "<w:tcPr><w:tcBorders>" + _EDGE.format("bottom", 8, "444444") + "</w:tcBorders></w:tcPr>"
    "</w:tblStylePr></w:style>"
)


def reference_document(path: Path, *, folder: Path, epoch: int) -> None:
    """Write pandoc's own reference document with A4 pages and readable tables to `path`."""
    import os

    import pypandoc

    done = subprocess.run(
        [str(pypandoc.get_pandoc_path()), "--print-default-data-file", "reference.docx"],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
    )
    if done.returncode:
        raise MissingTool("pandoc lacks its reference.docx.", remedy="Install pypandoc-binary.")
    source = zipfile.ZipFile(io.BytesIO(done.stdout))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            data = source.read(info.filename)
            if info.filename == "word/document.xml":
                text = data.decode()
                text = re.sub(r"<w:sectPr\b(?:[^>]*/>|.*?</w:sectPr>)", "", text, flags=re.DOTALL)
                data = text.replace("</w:body>", f"{_SECTION}</w:body>").encode()
            elif info.filename == "word/styles.xml":
                data = _styles(data.decode()).encode()
            target.writestr(zipfile.ZipInfo(info.filename), data)


def _styles(text: str) -> str:
    """Return the styles with a table style of ours and small type inside tables."""
    text = re.sub(
        r'<w:style w:type="table"(?:(?!</w:style>).)*w:styleId="Table".*?</w:style>',
        _TABLE,
        text,
        count=1,
        flags=re.DOTALL,
    )
    return re.sub(
        r'(<w:style [^>]*w:styleId="Compact".*?)</w:style>',
        r'\1<w:rPr><w:sz w:val="17"/><w:szCs w:val="17"/></w:rPr></w:style>',
        text,
        count=1,
        flags=re.DOTALL,
    )
