"""The embedded renderer: a stated subset of Quarto, without Quarto, TeX or a network.

``SUBSET`` says what is supported; everything else is refused by name and line.
"""

from __future__ import annotations

SUBSET: dict[str, str] = {
    "front matter": "title, subtitle, author, date, lang, format (html, typst, docx), execute, "
    "jupyter, toc, toc-depth, number-sections, css",
    "cells": "python only; options label, echo, include, output, warning, tags, fig-cap, fig-alt, "
    "tbl-cap; the cell tagged parameters takes values from the command line",
    "inline code": "`{python} expression`",
    "references": "@fig-, @tbl-, @sec-; an unresolved one stops the render",
    "blocks": "headings, paragraphs, lists, tables, block quotes, footnotes, figures, code, "
    "callouts, mathematics (MathML in HTML)",
}
