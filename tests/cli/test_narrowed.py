"""The command line of one verb is that verb of the whole command line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command

from trialkit.cli import VERBS as VERBS_OF
from trialkit.cli import narrowed
from trialkit.cli.whole import app

WHOLE = get_command(app)
VERBS = sorted(getattr(WHOLE, "commands", {}))


def told(command: object) -> object:
    """Names, options and texts of a command and of all below it."""
    below = {name: told(one) for name, one in getattr(command, "commands", {}).items()}
    params = [(p.name, p.opts, p.required) for p in command.params]  # type: ignore[attr-defined]
    return (command.name, command.help, params, below)  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_the_same(verb: str) -> None:
    small = getattr(get_command(narrowed(verb)), "commands", {})
    assert verb in small
    assert told(small[verb]) == told(WHOLE.commands[verb])  # type: ignore[attr-defined]


def test_what_is_no_verb_gets_the_whole() -> None:
    assert VERBS
    assert list(get_command(narrowed("status")).commands) == ["status"]  # type: ignore[attr-defined]
    for word in ("", "--help", "statsu", "--version"):
        assert sorted(get_command(narrowed(word)).commands) == VERBS  # type: ignore[attr-defined]


def test_every_verb_has_its_module() -> None:
    named = [verb for verbs in VERBS_OF.values() for verb in verbs]
    assert sorted(named) == VERBS
    assert len(set(named)) == len(named)


def test_status_imports_no_numbers() -> None:
    """The first status of a large study is to come within a second."""
    code = (
        "import sys, trialkit.study; print(sorted({'numpy', 'pandas', 'scipy'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
