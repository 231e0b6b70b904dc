"""Protocols and instruments: YAML read, checked and scored."""

from __future__ import annotations

from trialkit.protocol.check import check_protocol, check_trial
from trialkit.protocol.conditions import Condition, parse_condition
from trialkit.protocol.instruments import (
    Instrument,
    check_items,
    find_instrument,
    instruments_for,
    load_instruments,
    score,
)
from trialkit.protocol.load import load_protocol, protocol_hash
from trialkit.protocol.model import Protocol
from trialkit.protocol.notices import notices
from trialkit.protocol.signs import sign_fault

__all__ = [
    "Condition",
    "Instrument",
    "Protocol",
    "check_items",
    "check_protocol",
    "check_trial",
    "find_instrument",
    "instruments_for",
    "load_instruments",
    "load_protocol",
    "notices",
    "parse_condition",
    "protocol_hash",
    "score",
    "sign_fault",
]
