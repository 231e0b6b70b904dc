"""The whole command line, for its reference and for tests."""

from __future__ import annotations

from trialkit.cli import command_line

app = command_line()
