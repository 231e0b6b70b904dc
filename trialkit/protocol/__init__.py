"""Protocols and forms: YAML read, checked and scored."""

from __future__ import annotations

from trialkit.protocol.check import check_protocol, check_trial
from trialkit.protocol.conditions import Condition, parse_condition
from trialkit.protocol.forms import (
    Form,
    check_items,
    find_form,
    forms_for,
    load_forms,
    score,
)
from trialkit.protocol.load import load_protocol, protocol_hash
from trialkit.protocol.model import Protocol
from trialkit.protocol.notices import notices
from trialkit.protocol.signs import sign_fault

__all__ = [
    "Condition",
    "Form",
    "Protocol",
    "check_items",
    "check_protocol",
    "check_trial",
    "find_form",
    "forms_for",
    "load_forms",
    "load_protocol",
    "notices",
    "parse_condition",
    "protocol_hash",
    "score",
    "sign_fault",
]
