"""Form files: those that ship, and those beside a protocol."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from trialkit._content import content_folder
from trialkit._yaml import line_of, load_yaml, parse_model, path_text
from trialkit.errors import Finding, ProtocolFindings
from trialkit.protocol.forms.check import form_faults
from trialkit.protocol.forms.model import Form

#: Folders beside a protocol; ``instruments`` is the name that studies used before forms.
FOLDERS = ("instruments", "forms")


def read_form(path: Path) -> tuple[Form | None, list[Finding]]:
    """Return the form of a YAML file, or None and every fault of the file."""
    data, lines, findings = load_yaml(path)
    if data is None:
        return None, findings
    form, faults = parse_model(Form, data, lines)
    if form is not None:
        faults = [
            Finding(path_text(at), message, remedy, line_of(lines, at))
            for at, message, remedy in form_faults(form)
        ]
    findings = findings + faults
    return (None if findings else form), findings


def load_forms(folder: Path | None = None) -> dict[str, Form]:
    """Return the forms of a folder by code; without a folder, those that ship.

    Raises
    ------
    ProtocolFindings
        If a file has faults, or two have one code.
    """
    if folder is None:
        return dict(_shipped())
    found: dict[str, Form] = {}
    for path in sorted(folder.glob("*.yaml")):
        form, findings = read_form(path)
        if form is not None and form.code in found:
            findings = [Finding("code", f"{form.code} is the code of two files.", "Rename one.")]
        if form is None or findings:
            raise ProtocolFindings(
                f"{path.name} is not a sound form.", findings, remedy="Mend the file."
            )
        found[form.code] = form
    return found


@cache
def _shipped() -> dict[str, Form]:
    return load_forms(content_folder("protocols") / "forms")


def forms_for(path: Path) -> dict[str, Form]:
    """Return the forms that a protocol may name: shipped, and in ``forms/`` beside it.

    Raises
    ------
    ProtocolFindings
        If a file beside the protocol has faults.
    """
    known = load_forms()
    for name in FOLDERS:
        beside = path.parent / name
        known |= load_forms(beside) if beside.is_dir() else {}
    return known
