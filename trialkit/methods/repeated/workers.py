"""Processes that answer parts of a batch.

A worker is a Python of its own that reads parts from its standard input and writes answers to
its standard output. It does not run the caller's main program again, as
:mod:`multiprocessing` would, so that a script or a notebook needs no guard; its linear algebra
has one thread, because the processes share the machine.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from trialkit.errors import TrialkitError
from trialkit.methods._design import know, parse
from trialkit.methods.repeated.answers import Answer, answer_all
from trialkit.methods.repeated.source import Request, Trials

COMMAND = "from trialkit.methods.repeated.workers import serve; serve()"
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def share(parts: Iterator[list[Trials]], request: Request, workers: int) -> list[Answer]:
    """Give parts to processes as they become free; return the answers in order.

    Raises
    ------
    UsageError
        As raised by a worker or by the reading of a part.
    TrialkitError
        If a process ends before its work.
    """
    numbered, lock = enumerate(parts), threading.Lock()
    found: dict[int, list[Answer]] = {}
    errors: list[BaseException] = []

    def work() -> None:
        try:
            drive(numbered, lock, request, found, errors)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [answer for place in sorted(found) for answer in found[place]]


def drive(
    parts: Iterator[tuple[int, list[Trials]]],
    lock: threading.Lock,
    request: Request,
    found: dict[int, list[Answer]],
    errors: list[BaseException],
) -> None:
    """Start one process and feed it until there are no more parts."""
    path = os.pathsep.join(each for each in sys.path if each)
    environment = {**os.environ, "PYTHONPATH": path, **dict.fromkeys(ONE_THREAD, "1")}
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send(process.stdin, (request, parse(request.formula)))
            while not errors:
                with lock:
                    following = next(parts, None)
                if following is None:
                    break
                send(process.stdin, following[1])
                reply = pickle.load(process.stdout)
                if isinstance(reply, BaseException):
                    raise reply
                found[following[0]] = reply
        except (EOFError, BrokenPipeError) as error:
            raise TrialkitError(
                "A process of the batch ended before its work.",
                remedy="Use fewer workers or a smaller batch_size; it may lack memory.",
            ) from error


def send(stream: Any, value: Any) -> None:
    """Write one object."""
    pickle.dump(value, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


def serve() -> None:
    """Answer parts until the input ends; what a worker runs."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing else may be written to the answers
    request, parsed = pickle.load(source)  # of the process that started this one
    know(request.formula, parsed)
    while True:
        try:
            parts = pickle.load(source)
        except EOFError:
            return
        try:
            reply: Any = answer_all(parts, request)
        except Exception as error:
            reply = error
        send(target, reply)
