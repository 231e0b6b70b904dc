"""``python -m trialkit``: the command line."""

from __future__ import annotations

from trialkit.cli import main

main()
