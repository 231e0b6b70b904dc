#!/usr/bin/env python3
"""Verify an evidence package with nothing but Python 3.8 or later.

    python verify.py [PACKAGE] [--key FINGERPRINT] [--json]

PACKAGE is an unpacked folder (default: the folder that holds this file) or the zip. Every file
and every event that was altered, added, removed or reordered is named. Exit status: 0 intact,
2 wrong usage, 4 not intact.

A package can bring a changed ``verify.py`` with it: an auditor runs a copy of their own, and
gives with ``--key`` the fingerprint that the signer told them on another way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = "trialkit.evidence/1"
MANIFEST, SIGNATURE, RECORD = "manifest.json", "manifest.sig.json", "record/events.jsonl"
APART = (MANIFEST, SIGNATURE)
ZEROS = "0" * 64


class Fault(NamedTuple):
    """One thing that is not as it was signed: where, and what happened to it."""

    where: str
    message: str


class Report:
    """What was checked (`facts`) and what was found (`faults`)."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.faults: list[Fault] = []

    def fault(self, where: str, message: str, found: bool = True) -> None:
        """Add a finding, once, where it was `found`."""
        if found and Fault(where, message) not in self.faults:
            self.faults.append(Fault(where, message))


class Event(NamedTuple):
    """One line of the record: `altered` when the text and its hash do not agree."""

    line: int
    seq: int
    body: dict[str, Any]
    hash: str
    altered: bool

    @property
    def name(self) -> str:
        """How the event is called in a finding."""
        return "event {} ({}, line {})".format(self.seq, self.body.get("kind", "?"), self.line)

    @property
    def payload(self) -> dict[str, Any]:
        """The payload, empty where it cannot be read."""
        found = self.body.get("payload")
        return found if isinstance(found, dict) else {}


def canonical(value: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(data: bytes | str) -> str:
    """Return the SHA-256 of bytes or of UTF-8 text as 64 hex digits."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def fingerprint(public_key: str) -> str:
    """Return the first 32 hex digits of the SHA-256 of a raw key, grouped by four."""
    text = digest(bytes.fromhex(public_key))[:32]
    return ":".join(text[i : i + 4] for i in range(0, 32, 4))


P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _x_of(y: int, sign: int) -> int | None:
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P:
        return None
    return P - x if x & 1 != sign else x


def _decode(data: bytes) -> tuple[int, int, int, int] | None:
    number = int.from_bytes(data, "little")
    y = number & ((1 << 255) - 1)
    x = _x_of(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % P)


def _add(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Add two points in extended homogeneous coordinates (RFC 8032, 5.1.4)."""
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(scalar: int, point: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    total = (0, 1, 1, 0)
    while scalar:
        total = _add(total, point) if scalar & 1 else total
        point, scalar = _add(point, point), scalar >> 1
    return total


def _same(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return not ((a[0] * b[2] - b[0] * a[2]) % P or (a[1] * b[2] - b[1] * a[2]) % P)


_BASE_Y = 4 * pow(5, P - 2, P) % P
_BASE_X = _x_of(_BASE_Y, 0) or 0
BASE = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % P)


def ed25519_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` (64 bytes) is by `public_key` (32 bytes) over `message`.

    RFC 8032, 5.1.7, without the cofactor: [S]B = R + [k]A, S below the group order.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key, r = _decode(public_key), _decode(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if key is None or r is None or s >= Q:
        return False
    k = hashlib.sha512(signature[:32] + public_key + message).digest()
    return _same(_times(s, BASE), _add(r, _times(int.from_bytes(k, "little") % Q, key)))


def signature_fault(signed: dict[str, Any], over: str) -> str | None:
    """Return what is wrong with a signature record over the digest `over`, or None."""
    try:
        key = bytes.fromhex(signed["public_key"])
        said = {k: signed[k] for k in ("meaning", "name", "signer")}
        text = canonical({"digest": over, **said})
        good = ed25519_verify(key, text.encode(), bytes.fromhex(signed["signature"]))
        named = signed["fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        return f"the signature cannot be read ({error})"
    if not good:
        return "the signature is not by its key over this content"
    fits = named == fingerprint(signed["public_key"])
    return None if fits else "the fingerprint is not that of the key"


class Package:
    """A folder or a zip, read file by file; `faults` holds what could not be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[Fault] = []
        self._zip: zipfile.ZipFile | None = None
        self.packed: dict[str, str] = {}  # SHA-256 of the compressed bytes
        self.names = sorted(self._walk()) if path.is_dir() else self._open()
        self._known = set(self.names)

    def _open(self) -> list[str]:
        path = self.path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
            self.faults.append(Fault(path.name, f"altered: the zip cannot be opened ({error})"))
            return []
        names = [info.filename for info in self._zip.infolist()]
        for name in sorted(n for n, times in Counter(names).items() if times > 1):
            self.faults.append(Fault(name, "added: the zip holds it more than once"))
        self.faults += container_faults(path, self._zip, self.packed)
        return sorted(set(names))

    def _walk(self) -> Iterator[str]:
        for whole in self.path.rglob("*"):
            short = whole.relative_to(self.path).as_posix()
            if whole.is_symlink():
                self.faults.append(Fault(short, "added: a link, and a package holds none"))
            elif not whole.is_dir() and "__pycache__" not in whole.parts:
                yield short

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where it is absent or cannot be read."""
        if name not in self._known:
            return None
        try:
            return self._zip.read(name) if self._zip else (self.path / name).read_bytes()
        except Exception as error:  # a damaged zip member raises many kinds
            self.faults.append(Fault(name, f"altered: it cannot be read ({error})"))
            return None

    def json(self, name: str) -> Any:
        """Return a JSON file's content, or None where it is absent or cannot be read."""
        try:
            return json.loads((self.read(name) or b"null").decode("utf-8"))
        except ValueError:
            return None


def container_faults(path: Path, archive: zipfile.ZipFile, packed: dict[str, str]) -> list[Fault]:
    """Compare the zip's headers byte by byte with the builder's; hash the `packed` files."""
    faults, central, at = [], b"", 0
    with path.open("rb") as stream:
        for info in archive.infolist():
            name = info.filename.encode("utf-8")
            flags = 0 if info.filename.isascii() else 0x800
            sizes = (info.CRC, info.compress_size, info.file_size, len(name), 0)
            method = 0 if info.filename in APART else 8
            common = struct.pack("<HHHHHLLLHH", 20, flags, method, 0, 0x21, *sizes)
            stream.seek(at)
            if info.header_offset != at or stream.read(30 + len(name)) != b"PK\3\4" + common + name:
                faults.append(Fault(info.filename, "altered: its header in the zip"))
            packed[info.filename] = digest(stream.read(info.compress_size))
            rest = struct.pack("<HHHLL", 0, 0, 0, 0o100644 << 16, at)
            central += b"PK\1\2" + struct.pack("<BB", 20, 3) + common + rest + name
            at += 30 + len(name) + info.compress_size
        n = len(archive.infolist())
        end = b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, n, n, len(central), at, 0)
        stream.seek(at)
        if stream.read(len(central) + len(end) + 1) != central + end:
            faults.append(Fault(path.name, "altered: the directory of the zip"))
    return faults


def check_manifest(package: Package, pinned: str | None, report: Report) -> dict[str, Any]:
    """Check the signature over the manifest and return the manifest, empty where unreadable."""
    data, signed = package.read(MANIFEST), package.json(SIGNATURE)
    for name in APART:
        report.fault(name, "removed", name not in package.names)
    text = package.read(SIGNATURE)
    if text is not None and not isinstance(signed, dict):
        report.fault(SIGNATURE, "altered: it cannot be read")
    elif text is not None and text != (canonical(signed) + "\n").encode():
        report.fault(SIGNATURE, "altered: not in canonical form")
    if data is None:
        return {}
    if isinstance(signed, dict):
        report.facts["signer"] = {k: signed.get(k) for k in ("signer", "name", "meaning")}
        fault, other = signature_fault(signed, digest(data)), signed.get("digest") != digest(data)
        report.fault(MANIFEST, "altered: its SHA-256 is not the signed one", other)
        if fault:
            report.fault(SIGNATURE, "altered: " + fault)
        else:
            report.facts["fingerprint"] = signed["fingerprint"]
        if pinned is not None and not _is_key(pinned, signed):
            report.fault(SIGNATURE, "signed by another key than the pinned " + pinned)
    try:
        manifest = json.loads(data.decode("utf-8"))
        if manifest["format"] != FORMAT or not isinstance(manifest["files"], dict):
            raise ValueError("format")
    except (ValueError, KeyError, TypeError):
        report.fault(MANIFEST, "altered: not a manifest of " + FORMAT)
        return {}
    return dict(manifest)


def _is_key(pinned: str, signed: dict[str, Any]) -> bool:
    wanted = pinned.replace(":", "").strip().lower()
    key = str(signed.get("public_key", "")).lower()
    try:
        return wanted in (key, fingerprint(key).replace(":", ""))
    except ValueError:
        return False


def check_files(package: Package, manifest: dict[str, Any], report: Report) -> None:
    """Name every file that was altered, added or removed against the manifest."""
    files = manifest.get("files", {})
    for name in sorted(set(package.names) - set(files) - set(APART)):
        report.fault(name, "added: it is not in the manifest")
    for name, entry in sorted(files.items()):
        report.fault(name, "removed", name not in package.names)
        data = package.read(name)
        if data is not None and digest(data) != entry.get("sha256"):
            report.fault(name, "altered: its SHA-256 is not that of the manifest")
        elif package.packed.get(name, entry.get("deflated")) != entry.get("deflated"):
            report.fault(name, "altered: its compressed bytes in the zip")
    report.facts["files"] = len(files)


def read_events(data: bytes) -> tuple[list[Event], list[Fault]]:
    """Return the events of ``events.jsonl`` in the order of the file, and unreadable lines."""
    events: list[Event] = []
    faults: list[Fault] = []
    expected, lines = 1, data.split(b"\n")
    for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
        try:
            row = json.loads(line.decode("utf-8"))
            text, stored = row["body"], row["hash"]
            body = json.loads(text)
            whole = canonical(row) == line.decode("utf-8") and set(row) == {"body", "hash"}
            altered = digest(text) != stored or not whole
            seq = expected if altered else int(body["seq"])
            if not isinstance(body, dict):
                raise ValueError("body")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            where = f"event {expected} (line {number})"
            faults.append(Fault(where, f"altered: it cannot be read ({error})"))
            events.append(Event(number, expected, {}, "", True))
        else:
            events.append(Event(number, seq, body, str(stored), altered))
            if altered:
                faults.append(Fault(events[-1].name, "altered: its text is not that of its hash"))
        expected = events[-1].seq + 1
    return events, faults


def of_kind(events: list[Event], kind: str) -> Iterator[Event]:
    """Yield the events of `kind`, those in sites' chains (``chain.received``) included."""
    for event in events:
        inner = () if event.altered else event.payload.get("bodies") or ()
        found = (event, *(event._replace(body=json.loads(text)) for text in inner))
        yield from (one for one in found if one.body.get("kind") == kind)


def check_record(package: Package, manifest: dict[str, Any], report: Report) -> list[Event]:
    """Recompute the chain of events and name what was altered, added, removed or reordered."""
    data = package.read(RECORD)
    if data is None:
        return []
    events, faults = read_events(data)
    signed = manifest.get("record", {})
    count = int(signed.get("events", len(events)))
    seen: dict[int, Event] = {}
    for event in events:
        if event.seq in seen or not 1 <= event.seq <= count:
            faults.append(Fault(event.name, "added: no such event was signed"))
        seen.setdefault(event.seq, event)
    missing = [n for n in range(1, count + 1) if n not in seen]
    faults += [Fault(span, "removed") for span in _spans(missing)]
    highest, whole = 0, len(seen) == len(events) == count
    for event in events:
        if event.line != event.seq if whole else event.seq < highest and not event.altered:
            faults.append(Fault(event.name, "reordered: it stands in another place"))
        highest = max(highest, event.seq)
    for number, event in sorted(seen.items()):
        before = seen.get(number - 1)
        wanted = ZEROS if before is None else before.hash
        known = number == 1 or (before is not None and not before.altered)
        if known and not event.altered and event.body.get("prev") != wanted:
            message = f"altered: event {number} continues another one"
            faults.append(Fault((before or event).name, message))
    head = seen[max(seen)].hash if seen else ZEROS
    report.facts.update(events=len(events), head=head)
    report.faults.extend(faults)
    other = head != signed.get("head", head)
    report.fault(RECORD, "altered: the last hash is not the signed head", other)
    return [seen[n] for n in sorted(seen)]


def _spans(numbers: list[int]) -> list[str]:
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda p: p[1] - p[0])]
    return [f"event {r[0]}" if len(r) == 1 else f"events {r[0]} to {r[-1]}" for r in runs]


def last(events: list[Event], kind: str) -> Event | None:
    """Return the last event of a kind, or None."""
    return next((e for e in reversed(events) if e.body.get("kind") == kind), None)


def check_heads(_: Package, events: list[Event], report: Report) -> None:
    """Compute the Merkle root (RFC 6962) at each signed head anew, and check who signed it."""
    if [e.seq for e in events if not e.altered] != list(range(1, len(events) + 1)):
        return  # the events at fault are named already
    tree: list[tuple[int, bytes]] = []  # leaves and root of each whole subtree, the largest first
    keys: dict[Any, Any] = {}
    for event in events:
        held, leaves = event.payload, 1
        node = hashlib.sha256(b"\0" + canonical(event.body).encode()).digest()
        if event.body.get("kind") == "user.added":
            keys.setdefault(held.get("user"), held.get("key_fingerprint"))
        elif event.body.get("kind") == "head.signed" and tree:
            root = tree[-1][1]
            for _leaves, peak in reversed(tree[:-1]):
                root = hashlib.sha256(b"\1" + peak + root).digest()
            said = {k: held.get(k) for k in ("study", "size", "root", "chain", "at")}
            real = {"size": event.seq - 1, "root": root.hex(), "chain": event.body["prev"]}
            fault = None if {**said, **real} == said else "it is not that of the events before it"
            if signed := held.get("signature"):
                over = digest(canonical({"schema": "trialkit.head/1", **said}))
                fault = fault or signature_fault(signed, over)
                if keys.get(signed.get("signer")) != signed.get("fingerprint"):
                    fault = fault or "it is signed by another key than that of the signer"
            report.fault(event.name, f"altered: the Merkle head: {fault}", fault is not None)
            report.facts["merkle"] = f"{said['size']} events, root {said['root']}"
        while tree and tree[-1][0] == leaves:
            node, leaves = hashlib.sha256(b"\1" + tree.pop()[1] + node).digest(), 2 * leaves
        tree.append((leaves, node))


def check_study(package: Package, events: list[Event], report: Report) -> None:
    """Compare protocol files with the hashes of the study's first event."""
    created = last(events, "study.created")
    if created is None:
        return report.fault(RECORD, "altered: no study.created event")
    report.facts["study"] = created.payload.get("study_id")
    wanted = created.payload.get("protocols") or {}
    held = {n: digest(package.read(n) or b"") for n in package.names if n.startswith("protocols/")}
    for arm, value in sorted(wanted.items()):
        message = f"altered: no file has the hash that {created.name} gives for arm {arm}"
        report.fault("protocols/", message, value not in held.values())
    message, design = f"altered: {created.name} gives another hash", package.read("design.yaml")
    for name, value in sorted(held.items()):
        report.fault(name, message, value not in wanted.values())
    other = design is not None and digest(design) != created.payload.get("design")
    report.fault("design.yaml", message, other)


def check_plan(package: Package, events: list[Event], report: Report) -> None:
    """Recompute the plan lock, check its signatures, and compare the plan file with it."""
    locked = last(events, "plan.locked")
    if locked is None:
        return
    held = locked.payload
    parts = {k: held.get(k) for k in ("plan", "methods", "schemas")}
    whole = digest(canonical(parts)) == held.get("lock")
    report.fault(locked.name, "altered: the lock is not the hash of its parts", not whole)
    signatures = held.get("signatures") or []
    for one in signatures:
        fault = signature_fault(one, str(held.get("lock")))
        report.fault(locked.name, f"altered: {one.get('name')}: {fault}", fault is not None)
    few = len({s.get("signer") for s in signatures}) < 2
    report.fault(locked.name, "altered: fewer than two persons signed the plan", few)
    plans = [n for n in package.names if n.startswith("plan/") and n != "plan/lock.json"]
    report.fault("plan/", "removed: the locked plan", not plans)
    for name in plans:
        other = digest(package.read(name) or b"") != held.get("plan")
        report.fault(name, f"altered: {locked.name} locked another", other)
    copy = package.json("plan/lock.json")
    moved = copy is not None and copy.get("payload") != held
    report.fault("plan/lock.json", "altered: it is not " + locked.name, moved)
    report.facts["lock"] = held.get("lock")


def check_allocation(_: Package, events: list[Event], report: Report) -> None:
    """Compare each revealed arm with the commitment made at randomisation."""
    revealed = last(events, "allocation.revealed")
    if revealed is None:
        return
    arms = revealed.payload.get("arms") or {}
    first = min((e.seq for e in of_kind(events, "plan.locked")), default=sys.maxsize)
    report.fault(revealed.name, "the arms were revealed before a plan lock", first > revealed.seq)
    places = {e.body.get("subject"): e for e in of_kind(events, "participant.randomised")}
    for subject, event in sorted(places.items()):
        arm, salt = (arms.get(subject) or ("", ""))[:2]
        other = digest(f"{salt}|{subject}|{arm}") != event.payload.get("commitment")
        message = f"the arm of {subject} in {revealed.name} is not the committed one"
        report.fault(event.name, message, other)
    for subject in sorted(set(arms) - set(places)):
        report.fault(revealed.name, f"{subject} was never randomised")
    report.facts["allocations"] = len(places)


def folder_hash(package: Package, folder: str, report: Report) -> str | None:
    """Check the files of a folder against its own manifest; return the hash of that manifest."""
    inner = package.json(folder + MANIFEST)
    if not isinstance(inner, dict) or not isinstance(inner.get("files"), dict):
        return None
    for name, entry in sorted(inner["files"].items()):
        data = package.read(folder + name)
        wanted = entry.get("sha256") if isinstance(entry, dict) else entry
        other = data is None or digest(data) != wanted
        report.fault(folder + name, f"altered: not the file of {folder}manifest.json", other)
    return digest(canonical(inner["files"]))


def check_outputs(package: Package, events: list[Event], report: Report) -> None:
    """Compare snapshot, results and reports with the hashes in the record."""
    run = last(events, "analysis.run")
    if run is None:
        return
    snapshot = folder_hash(package, "snapshot/", report)
    folder_hash(package, "results/", report)
    results = digest(package.read("results/results.json") or b"")
    locked = last(events, "plan.locked")
    another = f"altered: {run.name} names another"
    report.fault("snapshot/", another, snapshot != run.payload.get("snapshot"))
    report.fault("results/", another, results != run.payload.get("results"))
    if locked is not None and run.payload.get("plan_lock") != locked.payload.get("lock"):
        report.fault(run.name, "altered: it ran another plan than the locked one")
    wanted = {
        "reports/" + name: (value, event)
        for event in of_kind(events, "report.rendered")
        for name, value in (event.payload.get("files") or {}).items()
    }
    for name in (n for n in package.names if n.startswith("reports/")):
        value, rendered = wanted.get(name, (None, run))
        report.fault(name, "added: no event rendered it", value is None)
        other = value is not None and digest(package.read(name) or b"") != value
        report.fault(name, f"altered: {rendered.name} wrote another", other)
    report.facts.update(results=results, snapshot=snapshot)


def check_telemetry(package: Package, events: list[Event], report: Report) -> None:
    """Compare telemetry files, where the package holds them, with their seals."""
    inside = {n for n in package.names if n.startswith("telemetry/")}
    if not inside:
        return
    sealed: dict[str, str] = {}
    for event in of_kind(events, "session.telemetry_sealed"):
        folder = str(event.payload.get("folder")).rstrip("/") + "/"
        sealed[folder + MANIFEST] = str(event.payload.get("manifest_sha256"))
        for one in event.payload.get("files") or []:
            sealed[folder + str(one.get("name"))] = str(one.get("sha256"))
    for name in sorted(inside | set(sealed)):
        report.fault(name, "added: no event sealed it", name not in sealed)
        report.fault(name, "removed: an event sealed it", name not in inside)
        if name in inside and name in sealed and digest(package.read(name) or b"") != sealed[name]:
            report.fault(name, "altered: its seal in the record differs")
    report.facts["telemetry"] = len(inside)


def verify(path: str | Path, key: str | None = None) -> Report:
    """Verify a package: a folder or a zip. `key` pins the signer's fingerprint or public key."""
    report, package = Report(), Package(Path(path))
    manifest = check_manifest(package, key, report)
    check_files(package, manifest, report)
    events = check_record(package, manifest, report)
    steps = (check_heads, check_study, check_plan, check_allocation, check_outputs, check_telemetry)
    for step in steps:
        try:
            step(package, events, report)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            report.fault(RECORD, f"altered: {step.__name__} cannot read it ({error})")
    for fault in package.faults:
        report.fault(*fault)
    return report


def text_of(report: Report, pinned: bool) -> str:
    """Return the report for people."""
    facts = report.facts
    signer = facts.get("signer") or {}
    known = " (pinned)" if pinned else " (not pinned: compare it with what the signer says)"
    rows = {
        "study": facts.get("study", "unknown"),
        "signed by": "{name} ({signer}): {meaning}".format(**signer) if signer else "nobody",
        "key fingerprint": str(facts.get("fingerprint", "unknown")) + known,
        "files": facts.get("files", 0),
        "events": f"{facts.get('events', 0)}, head {facts.get('head', 'unknown')}",
        "Merkle head": facts.get("merkle") or "none",
        "plan lock": facts.get("lock") or "none",
        "snapshot": facts.get("snapshot") or "none",
        "results": facts.get("results") or "none",
        "allocations": f"{facts.get('allocations', 0)} revealed, compared with commitments",
    }
    lines = [f"{name:<16}{value}" for name, value in rows.items()]
    good = "INTACT: nothing was altered, added, removed or reordered"
    lines.append(f"NOT INTACT: {len(report.faults)} finding(s)" if report.faults else good)
    return "\n".join([*lines, *(f"  {f.where}: {f.message}" for f in report.faults)])


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Verify an evidence package, offline.")
    here = str(Path(__file__).resolve().parent)
    parser.add_argument("package", nargs="?", default=here, help="folder or zip; default: here")
    parser.add_argument("--key", help="fingerprint or public key that must have signed")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args(arguments)
    if not Path(given.package).exists():
        sys.stderr.write(f"{given.package}: no such folder or zip\n")
        return 2
    report = verify(given.package, given.key)
    text = text_of(report, given.key is not None)
    if given.json:
        findings = [f._asdict() for f in report.faults]
        text = json.dumps({"intact": not findings, "findings": findings, **report.facts}, indent=2)
    sys.stdout.write(text + "\n")
    return 4 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
