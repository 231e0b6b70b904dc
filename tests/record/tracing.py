"""Kill a process at the n-th call of a kind that it makes to the kernel: ptrace, by ctypes.

A child asks to be traced and sets a seccomp filter, under which it stops at the calls that
are wanted and runs freely between them. So SQLite's own ``fdatasync`` is found, of which
Python knows nothing. No compiler, no ``strace``; Linux on x86-64 or ARM64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence

_NUMBERS = {
    "x86_64": {"pwrite64": 18, "sendto": 44, "recvfrom": 45, "fsync": 74, "fdatasync": 75,
               "ftruncate": 77, "rename": 82, "unlink": 87, "pwritev": 296},
    "aarch64": {"pwrite64": 68, "sendto": 206, "recvfrom": 207, "fsync": 82, "fdatasync": 83,
                "ftruncate": 46, "renameat": 38, "unlinkat": 35, "pwritev": 70},
}  # fmt: skip
#: What makes written data durable; what writes at all; what speaks to a server.
SYNCS = ("fsync", "fdatasync")
WRITES = (*SYNCS, "pwrite64", "ftruncate", "rename", "renameat", "unlink", "unlinkat")
SENDS = ("sendto",)
MESSAGES = (*SENDS, "recvfrom")

_TRACEME, _CONT, _SYSCALL, _SETOPTIONS = 0, 7, 24, 0x4200
_INFO = 0x420E
_O_SYSGOOD, _O_CHILDREN, _O_SECCOMP, _O_EXITKILL = 1, 7 << 1, 1 << 7, 1 << 20
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.restype = ctypes.c_long
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def numbers(names: Sequence[str]) -> dict[int, str]:
    """Return the numbers of calls on this machine, of those that it has."""
    known = _NUMBERS.get(platform.machine(), {})
    return {known[name]: name for name in names if name in known}


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    ctypes.set_errno(0)
    result = int(_LIBC.ptrace(request, pid, address, data))
    if result < 0 and (error := ctypes.get_errno()):
        raise OSError(error, f"ptrace {request:#x}: {os.strerror(error)}")
    return result


def call_at(pid: int, names: Mapping[int, str]) -> str:
    """Return the name of the call at which a traced process has stopped."""
    info = ctypes.create_string_buffer(96)
    _ptrace(_INFO, pid, 96, ctypes.addressof(info))
    return names[struct.unpack_from("Q", info.raw, 24)[0]]


def _filter(wanted: Sequence[int]) -> None:
    """Let this process stop at these calls, for whoever traces it."""
    count = len(wanted)
    rules = [(0x20, 0, 0, 0)]  # load the number
    rules += [(0x15, count - at, 0, number) for at, number in enumerate(wanted)]
    rules += [(0x06, 0, 0, _ALLOW), (0x06, 0, 0, _TRACE)]
    program = b"".join(struct.pack("HBBI", *rule) for rule in rules)
    held = ctypes.create_string_buffer(program)

    class Program(ctypes.Structure):
        _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    given = Program(len(rules), ctypes.addressof(held))
    if _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or _LIBC.prctl(
        _SET_SECCOMP, _FILTER, ctypes.byref(given)
    ):
        raise OSError(ctypes.get_errno(), "seccomp")


class Traced:
    """A child of this process that does `work`, and stops at the calls named.

    Parameters
    ----------
    work : callable
        Called with a function that writes text to the parent; it never returns from the child.
    names : sequence of str
        Calls at which it stops.
    """

    def __init__(self, work: Callable[[Callable[[str], None]], None], names: Sequence[str]) -> None:
        ours, theirs = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(ours)
            self._be_the_child(work, theirs, numbers(names))
        os.close(theirs)
        self._pipe = ours
        self._names = numbers(names)
        self.text = ""
        self.status: int | None = None
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSTOPPED(status):
            _ptrace(_SETOPTIONS, self.pid, 0, _O_SYSGOOD | _O_SECCOMP | _O_EXITKILL)
        else:
            self._end(status)

    @staticmethod
    def _be_the_child(
        work: Callable[[Callable[[str], None]], None], pipe: int, wanted: dict[int, str]
    ) -> None:
        status = 1
        try:
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            _filter(list(wanted))
            work(lambda text: os.write(pipe, text.encode()) and None)
            status = 0
        except BaseException:
            import traceback

            os.write(pipe, f"error {traceback.format_exc()!r}\n".encode())
        finally:
            os._exit(status)

    def calls(self) -> Iterator[str]:
        """Yield the name of each call as it begins; it is made when the next one is asked for."""
        request, data = _CONT, 0
        while self.status is None:
            _ptrace(request, self.pid, 0, data)
            _, status = os.waitpid(self.pid, 0)
            request, data = _CONT, 0
            if not os.WIFSTOPPED(status):
                self._end(status)
            elif status >> 8 == signal.SIGTRAP | 7 << 8:
                yield call_at(self.pid, self._names)
            elif os.WSTOPSIG(status) != signal.SIGTRAP | 0x80:
                data = os.WSTOPSIG(status)  # a signal of its own

    def finish_call(self) -> None:
        """Let the call that has begun be made, and stop where it ends."""
        _ptrace(_SYSCALL, self.pid)
        _, status = os.waitpid(self.pid, 0)
        if not os.WIFSTOPPED(status):
            self._end(status)

    def kill(self) -> None:
        """Kill it where it stands."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self._end(status)

    def _end(self, status: int) -> None:
        self.status = status
        parts = []
        while part := os.read(self._pipe, 65536):
            parts.append(part)
        os.close(self._pipe)
        self.text = b"".join(parts).decode()

    @property
    def killed(self) -> bool:
        """True where it ended by SIGKILL."""
        return self.status is not None and os.WIFSIGNALED(self.status)


def run_to(traced: Traced, n: int, *, after: bool = False) -> str | None:
    """Kill at the n-th call, before it is made or after; return its name, None without one.

    With `n` 0 it runs to its end.
    """
    for number, name in enumerate(traced.calls(), start=1):
        if number == n:
            if after:
                traced.finish_call()
            traced.kill()
            return name
    return None


def works() -> bool:
    """Return True where this machine lets a process trace its child."""
    if not numbers(SYNCS):
        return False
    try:
        traced = Traced(lambda tell: (os.fsync(0), tell("no"))[1], ("fsync",))
        return run_to(traced, 1) == "fsync" and traced.killed and traced.text == ""
    except OSError:
        return False
