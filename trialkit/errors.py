"""The exception tree of trialkit.

Every error outside plain argument checks is one of these. Each class carries a stable
``code``, the ``exit_status`` that the command line returns, and each instance says what
happened (``message``) and what to do about it (``remedy``)::

    TrialkitError                      1
    |-- UsageError                     2  TK-USE
    |   `-- UnknownName                2  TK-USE-NAME
    |-- FindingsError                  3  TK-FIND      holds ``findings``
    |   |-- ProtocolFindings           3  TK-PROTOCOL
    |   |-- PlanFindings               3  TK-PLAN
    |   |-- DataFindings               3  TK-DATA
    |   |-- MappingFindings            3  TK-MAPPING
    |   `-- ReportFindings             3  TK-REPORT
    |-- IntegrityError                 4  TK-INTEGRITY
    |   |-- ChainBroken                4  TK-CHAIN
    |   |-- TelemetryDamaged           4  TK-TELEMETRY
    |   |-- SnapshotAltered            4  TK-SNAPSHOT
    |   `-- PackageAltered             4  TK-PACKAGE
    |-- RefusedError                   5  TK-REFUSED
    |   |-- NotPermitted               5  TK-ROLE
    |   |-- NotAuthenticated           5  TK-LOGIN
    |   |-- DataLocked                 5  TK-DATA-LOCK
    |   |-- OutOfOrder                 5  TK-ORDER
    |   |-- Duplicate                  5  TK-DUPLICATE
    |   |-- OutOfWindow                5  TK-WINDOW
    |   |-- OutOfRange                 5  TK-RANGE
    |   |-- WrongArm                   5  TK-ARM
    |   |-- NotLocked                  5  TK-LOCK
    |   |-- LockMismatch               5  TK-LOCK-MOVED
    |   |-- StudyBusy                  5  TK-BUSY
    |   `-- StorageRefused             5  TK-STORAGE   disk full, read-only
    |-- SessionEnded                   6  TK-SESSION
    |   `-- DeviceError                6  TK-DEVICE    tree in device_interface.errors
    `-- MissingTool                    7  TK-TOOL

Exit statuses: 0 done, 1 defect, 2 usage, 3 findings, 4 integrity, 5 refused by a guard,
6 session stopped or faulted, 7 missing tool.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Finding:
    """One fault of a document or a table.

    Parameters
    ----------
    where : str
        Path inside the document, such as ``session.blocks[2].speed_m_s``, or a table and row.
    message : str
        What is wrong, in one sentence.
    remedy : str
        What to do about it, in one sentence.
    line : int or None
        1-based line of the file, where there is one.
    """

    where: str
    message: str
    remedy: str
    line: int | None = None

    def __str__(self) -> str:
        """Return the finding on one line."""
        at = f"line {self.line}: " if self.line else ""
        return f"{at}{self.where}: {self.message} {self.remedy}"

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return asdict(self)


class TrialkitError(Exception):
    """Root of the tree; itself raised only for defects.

    Parameters
    ----------
    message : str
        What happened.
    remedy : str
        What the user can do.
    **details
        Plain data that a program may want (ids, paths, numbers).
    """

    code: ClassVar[str] = "TK"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        """Return code, message and remedy."""
        tail = f" {self.remedy}" if self.remedy else ""
        return f"{self.code}: {self.message}{tail}"

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain data for ``--json``."""
        return {
            "code": self.code,
            "exit_status": self.exit_status,
            "message": self.message,
            "remedy": self.remedy,
            **({"details": self.details} if self.details else {}),
        }


class UsageError(TrialkitError):
    """The call itself was wrong."""

    code = "TK-USE"
    exit_status = 2


class UnknownName(UsageError):
    """A name (participant, visit, instrument, result, device) that does not exist."""

    code = "TK-USE-NAME"


class FindingsError(TrialkitError):
    """A document or a table has faults; all of them are in ``findings``."""

    code = "TK-FIND"
    exit_status = 3

    def __init__(
        self, message: str, findings: Iterable[Finding], *, remedy: str = "", **details: Any
    ) -> None:
        super().__init__(message, remedy=remedy, **details)
        self.findings = list(findings)

    def __str__(self) -> str:
        """Return the error with one line a finding."""
        return "\n".join([super().__str__(), *(f"  {f}" for f in self.findings)])

    def to_dict(self) -> dict[str, Any]:
        """Return the error and its findings as plain data."""
        return {**super().to_dict(), "findings": [f.to_dict() for f in self.findings]}


class ProtocolFindings(FindingsError):
    """A protocol has faults."""

    code = "TK-PROTOCOL"


class PlanFindings(FindingsError):
    """A statistical analysis plan has faults."""

    code = "TK-PLAN"


class DataFindings(FindingsError):
    """Data do not meet their schema."""

    code = "TK-DATA"


class MappingFindings(FindingsError):
    """An import mapping or the table that it names has faults."""

    code = "TK-MAPPING"


class ReportFindings(FindingsError):
    """A report cannot be rendered as written."""

    code = "TK-REPORT"


class IntegrityError(TrialkitError):
    """Something stored is not what was stored."""

    code = "TK-INTEGRITY"
    exit_status = 4


class ChainBroken(IntegrityError):
    """The event chain was altered, cut or reordered."""

    code = "TK-CHAIN"


class TelemetryDamaged(IntegrityError):
    """A telemetry file does not match its manifest."""

    code = "TK-TELEMETRY"


class SnapshotAltered(IntegrityError):
    """A snapshot does not match its hash."""

    code = "TK-SNAPSHOT"


class PackageAltered(IntegrityError):
    """An evidence package does not match its manifest or signature."""

    code = "TK-PACKAGE"


class RefusedError(TrialkitError):
    """A guard refused; nothing was changed."""

    code = "TK-REFUSED"
    exit_status = 5


class NotPermitted(RefusedError):
    """The user's role does not hold the permission."""

    code = "TK-ROLE"


class NotAuthenticated(RefusedError):
    """No login, a wrong or aged password, or an account that is locked out."""

    code = "TK-LOGIN"


class DataLocked(RefusedError):
    """The data are frozen or locked."""

    code = "TK-DATA-LOCK"


class OutOfOrder(RefusedError):
    """A step came before one that it needs."""

    code = "TK-ORDER"


class Duplicate(RefusedError):
    """It exists already."""

    code = "TK-DUPLICATE"


class OutOfWindow(RefusedError):
    """A visit or session lies outside its window."""

    code = "TK-WINDOW"


class OutOfRange(RefusedError):
    """A value lies outside its declared range."""

    code = "TK-RANGE"


class WrongArm(RefusedError):
    """The participant's arm does not allow this."""

    code = "TK-ARM"


class NotLocked(RefusedError):
    """The plan is not locked."""

    code = "TK-LOCK"


class LockMismatch(RefusedError):
    """Plan, snapshot, method or schema moved after the lock."""

    code = "TK-LOCK-MOVED"


class StudyBusy(RefusedError):
    """Another process is writing, or runs what only one may run."""

    code = "TK-BUSY"


class StorageRefused(RefusedError):
    """The disk is full or read-only; nothing half-written was kept."""

    code = "TK-STORAGE"


class Unreachable(RefusedError):
    """Another machine cannot be reached, or broke off; repeating the step goes on from there."""

    code = "TK-NETWORK"


class SessionEnded(TrialkitError):
    """A session ended other than by completion."""

    code = "TK-SESSION"
    exit_status = 6


class DeviceError(SessionEnded):
    """The device refused or failed; the tree is in :mod:`device_interface.errors`."""

    code = "TK-DEVICE"


class MissingTool(TrialkitError):
    """A program or an optional dependency is not there."""

    code = "TK-TOOL"
    exit_status = 7
