"""Passwords on the command line: asked for without an echo, or read from standard input."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from trialkit.errors import UsageError

StdinOption = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read it from standard input, one a line."),
]


def ask(prompt: str, *, stdin: bool, repeat: bool = False, automated: bool = False) -> str:
    """Return a password from standard input, ``TRIALKIT_PASSWORD`` or the terminal.

    Parameters
    ----------
    stdin : bool
        True reads the next line of standard input.
    repeat : bool
        True asks at the terminal twice.
    automated : bool
        True takes ``TRIALKIT_PASSWORD``, where it is set.

    Raises
    ------
    UsageError
        If there is none, or the two do not agree.
    """
    if stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    elif automated and "TRIALKIT_PASSWORD" in os.environ:
        text = os.environ["TRIALKIT_PASSWORD"]
    else:
        text = _at_terminal(prompt)
        if repeat and text and _at_terminal(f"{prompt}, again") != text:
            raise UsageError("the two are not the same.", remedy="Try again.")
    if not text:
        raise UsageError("no password was given.", remedy="Type it, or use --password-stdin.")
    return text


def _at_terminal(prompt: str) -> str:
    import getpass

    if not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask for a password.", remedy="Use --password-stdin."
        )
    return getpass.getpass(f"{prompt}: ")
