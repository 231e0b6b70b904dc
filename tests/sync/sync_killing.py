"""Kills a process at the n-th thing that it does to a disk, again for every n.

Run as a program with the folder of a centre and its sites, the site, and a step: for every
`step`-th n a copy of the centre takes up the site in a child process that is killed at the n-th
sync, rename, removal or commit (before and after it), and then in one that is not. Prints one
JSON object a line.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DONE = {"n": 0, "at": 0}


def _point() -> None:
    _DONE["n"] += 1
    if _DONE["n"] == _DONE["at"]:
        os.kill(os.getpid(), signal.SIGKILL)


def _around(owner: Any, name: str) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def killed(*args: Any, **kwargs: Any) -> Any:
        _point()
        result = real(*args, **kwargs)
        _point()
        return result

    setattr(owner, name, killed)


def arm(at: int) -> None:
    """Kill this process at the `at`-th point; 0 only counts."""
    from trialkit.record.store import Store

    _DONE["at"] = at
    for owner, names in (
        (os, ("fsync", "rename", "replace", "unlink")),
        (Path, ("rename", "replace", "unlink")),
        (Store, ("commit",)),
    ):
        for name in names:
            _around(owner, name)


def take(folder: Path, site: str) -> None:
    """Take up a site at the centre beside it."""
    from two_sites import open_centre

    from trialkit.study.sync.push import FolderSource, Here, push

    with open_centre(folder) as centre, FolderSource(folder / f"site-{site}") as source:
        push(source, Here(centre), tries=1)


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; return its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def at_every_point(
    folder: Path, step: int, work: Callable[[Path], None], check: Callable[[Path], None]
) -> None:
    """Kill `work` on a copy of `folder` at every `step`-th point, do it again, and check."""
    with tempfile.TemporaryDirectory() as temporary:
        counted = Path(temporary) / "n"

        def whole(copy: Path) -> None:
            arm(0)
            work(copy)
            counted.write_text(str(_DONE["n"]))

        first = Path(temporary) / "first"
        shutil.copytree(folder, first)
        assert in_child(lambda: whole(first)) == 0
        points = int(counted.read_text())
        for n in range(1, points + 1, step):
            copy = Path(temporary) / f"at-{n}"
            shutil.copytree(folder, copy)

            def killed(copy: Path = copy, n: int = n) -> None:
                arm(n)
                work(copy)

            status = in_child(killed)
            shutil.rmtree(copy / "locks", ignore_errors=True)
            again = in_child(lambda copy=copy: work(copy))
            same = in_child(lambda copy=copy: check(copy))
            print(
                json.dumps(
                    {
                        "n": n,
                        "points": points,
                        "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
                        "again": again,
                        "same": same,
                    }
                ),
                flush=True,
            )
            shutil.rmtree(copy)


def main() -> None:
    folder, site, step = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    from two_sites import require_same

    import trialkit.study.sync.push  # noqa: F401  (before the forks)

    at_every_point(
        folder, step, lambda copy: take(copy, site), lambda copy: require_same(copy, site)
    )


if __name__ == "__main__":
    main()
