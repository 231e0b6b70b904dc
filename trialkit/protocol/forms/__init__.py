"""Forms: instruments and case report forms as data, with their scores and skip logic."""

from __future__ import annotations

from trialkit.protocol.forms.entries import (
    Entries,
    asked_items,
    check_items,
    find_form,
    implausible,
    read_entries,
)
from trialkit.protocol.forms.files import forms_for, load_forms, read_form
from trialkit.protocol.forms.model import Anchor, Entry, Form, Item, Score, Status
from trialkit.protocol.forms.scoring import as_number, item_number, score

__all__ = [
    "Anchor",
    "Entries",
    "Entry",
    "Form",
    "Item",
    "Score",
    "Status",
    "as_number",
    "asked_items",
    "check_items",
    "find_form",
    "forms_for",
    "implausible",
    "item_number",
    "load_forms",
    "read_entries",
    "read_form",
    "score",
]
