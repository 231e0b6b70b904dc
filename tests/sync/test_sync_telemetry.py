from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from two_sites import (
    busy_site,
    files_below,
    make_centre,
    open_at,
    require_same,
    sealed_session,
    work,
)

from trialkit.errors import ChainBroken, IntegrityError, TelemetryDamaged, UnknownName, UsageError
from trialkit.record.sealing import MANIFEST
from trialkit.record.sign import KeyStore
from trialkit.study import Study
from trialkit.study.sync.centre import MOST_BYTES, Head, head_of
from trialkit.study.sync.drop import EVENTS, PAPER, take_drop, write_drop
from trialkit.study.sync.push import FolderSource, Here, push
from trialkit.study.sync.telemetry import finish_session, held_sizes, put_part

SITE, SESSION = "02", "SMALL-02-001-S01"


class EventsOnly(Here):
    """A centre that takes events, and no telemetry yet."""

    def head(self, site: str) -> Head:
        return replace(super().head(site), missing=())

    def receive(self, site: str, first: int, bodies: list[str]) -> Head:
        return replace(super().receive(site, first, bodies), missing=())


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Study]:
    """A centre that has the events of a session at site 02, and not its files."""
    with make_centre(tmp_path) as made:
        busy_site(tmp_path, SITE, 1, size=500_000)
        with FolderSource(tmp_path / "site-02") as source:
            push(source, EventsOnly(made))
        assert head_of(made, SITE).missing == (SESSION,)
        yield made


def whole(tmp_path: Path) -> dict[str, bytes]:
    return files_below(tmp_path / "site-02" / "telemetry" / SESSION)


def put_all(centre: Study, files: dict[str, bytes]) -> None:
    for name in (MANIFEST, *(n for n in files if n != MANIFEST)):
        put_part(centre, SITE, SESSION, name, 0, files[name], end=True)


def test_parts_are_added_where_they_belong_and_only_there(tmp_path: Path, centre: Study) -> None:
    files = whole(tmp_path)
    manifest, large = files[MANIFEST], files["large.bin"]

    def put(name: str, at: int, data: bytes, end: bool = False) -> int:
        return put_part(centre, SITE, SESSION, name, at, data, end=end)

    with pytest.raises(UnknownName, match="cannot be taken") as caught:
        put("large.bin", 0, large[:10])
    assert MANIFEST in caught.value.remedy
    assert put(MANIFEST, 0, manifest[:7]) == 7
    assert put(MANIFEST, 0, manifest) == 7  # told to go on from there
    assert put(MANIFEST, 9, manifest[9:]) == 7
    assert put(MANIFEST, 7, manifest[7:], end=True) == len(manifest)
    assert put(MANIFEST, 0, b"other", end=True) == len(manifest)
    assert put("large.bin", 0, large[:100_000]) == 100_000
    assert held_sizes(centre, SITE, SESSION) == {MANIFEST: len(manifest), "large.bin": 100_000}
    assert not finish_session(centre, SITE, SESSION)
    put_all(centre, {n: d for n, d in files.items() if n != "large.bin"})
    assert put("large.bin", 100_000, large[100_000:], end=True) == len(large)
    assert finish_session(centre, SITE, SESSION)
    assert not finish_session(centre, SITE, SESSION)
    assert files_below(centre.folder / "telemetry" / SESSION) == files
    assert put("large.bin", 0, b"another push", end=True) == len(large)  # it has it already
    assert held_sizes(centre, SITE, SESSION) == {name: len(data) for name, data in files.items()}
    require_same(tmp_path, SITE)


def test_a_file_without_the_hash_of_the_chain_never_gets_in(tmp_path: Path, centre: Study) -> None:
    files = whole(tmp_path)
    for name in (MANIFEST, "small.jsonl"):
        wrong = files[name][:-1] + b"!"
        with pytest.raises(IntegrityError, match="does not have the hash"):
            put_part(centre, SITE, SESSION, name, 0, wrong, end=True)
        assert held_sizes(centre, SITE, SESSION).get(name, 0) == 0
        put_part(centre, SITE, SESSION, name, 0, files[name], end=True)
    assert not (centre.folder / "telemetry" / SESSION).exists()
    put_all(centre, files)
    kept = centre.folder / "incoming" / SITE / SESSION / "small.jsonl"
    kept.write_bytes(b"changed later")
    with pytest.raises(IntegrityError, match="was altered"):
        finish_session(centre, SITE, SESSION)
    kept.write_bytes(files["small.jsonl"])
    assert finish_session(centre, SITE, SESSION)


@pytest.mark.parametrize(
    ("session", "name"),
    [
        ("../../keys", MANIFEST),
        ("SMALL-02-001-S02", MANIFEST),
        (SESSION, "../../../x"),
        (SESSION, "/etc/passwd"),
        (SESSION, "other.bin"),
        (SESSION, ".large.bin.part"),
        (SESSION, ""),
    ],
)
def test_no_name_becomes_a_path_unless_the_chain_has_it(
    tmp_path: Path, centre: Study, session: str, name: str
) -> None:
    put_part(centre, SITE, SESSION, MANIFEST, 0, whole(tmp_path)[MANIFEST], end=True)
    before = files_below(tmp_path)
    with pytest.raises(UnknownName):
        put_part(centre, SITE, session, name, 0, b"x", end=True)
    with pytest.raises(UnknownName):
        put_part(centre, "../02", session, name, 0, b"x", end=True)
    assert files_below(tmp_path) == before


def test_a_part_is_limited(centre: Study) -> None:
    with pytest.raises(UsageError, match="too large"):
        put_part(centre, SITE, SESSION, MANIFEST, 0, b"x" * (MOST_BYTES + 1), end=False)


def test_a_crash_after_the_move_is_made_good(tmp_path: Path, centre: Study) -> None:
    put_all(centre, whole(tmp_path))
    (centre.folder / "telemetry").mkdir(exist_ok=True)
    (centre.folder / "incoming" / SITE / SESSION).rename(centre.folder / "telemetry" / SESSION)
    with FolderSource(tmp_path / "site-02") as source:
        assert push(source, Here(centre)).sessions == 1
    require_same(tmp_path, SITE)


def test_a_site_whose_telemetry_is_gone_or_altered_is_told(tmp_path: Path, centre: Study) -> None:
    large = tmp_path / "site-02" / "telemetry" / SESSION / "large.bin"
    good = large.read_bytes()
    large.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with FolderSource(tmp_path / "site-02") as source:
        with pytest.raises(IntegrityError, match=r"large\.bin does not have the hash"):
            push(source, Here(centre))
        large.write_bytes(good)
        (large.parent / MANIFEST).rename(tmp_path / "kept")
        with pytest.raises(TelemetryDamaged, match="missing"):
            push(source, Here(centre))
        (tmp_path / "kept").rename(large.parent / MANIFEST)
        push(source, Here(centre))
    require_same(tmp_path, SITE)


# --- a folder as the way ------------------------------------------------------------------------


def drop(tmp_path: Path, target: Path) -> int:
    with FolderSource(tmp_path / "site-02") as source:
        return write_drop(source, target)


def test_a_stick_brings_what_a_push_would(tmp_path: Path, centre: Study) -> None:
    stick = tmp_path / "stick"
    drop(tmp_path, stick)
    first = take_drop(centre, stick)
    assert (first.events, first.sessions) == (0, 1)
    require_same(tmp_path, SITE)
    with open_at(tmp_path, SITE) as site:
        sealed_session(site, *work(site), size=2_000)
    last = drop(tmp_path, stick)
    again = take_drop(centre, stick)
    assert (again.last, again.sessions) == (last, 1)
    head = centre.record.head
    assert take_drop(centre, stick).events == 0
    assert centre.record.head == head
    require_same(tmp_path, SITE)


def test_a_stick_that_was_tampered_with_is_refused(tmp_path: Path, centre: Study) -> None:
    stick, head = tmp_path / "stick", centre.record.head
    with open_at(tmp_path, SITE) as site:
        work(site)
    drop(tmp_path, stick)
    good = files_below(stick)

    def restored() -> None:
        for name, data in good.items():
            (stick / name).write_bytes(data)

    lines = good[EVENTS].splitlines(keepends=True)
    (stick / EVENTS).write_bytes(b"".join(lines[:-1]))
    with pytest.raises(ChainBroken, match=r"is not the chain that drop\.json signs"):
        take_drop(centre, stick)
    (stick / EVENTS).write_bytes(good[EVENTS].replace(b'"role', b'"rule', 1))
    with pytest.raises(ChainBroken):
        take_drop(centre, stick)
    restored()
    (stick / PAPER).write_bytes(good[PAPER].replace(b'"last":', b'"last":1', 1))
    with pytest.raises(IntegrityError, match="not signed by the key of site 02"):
        take_drop(centre, stick)
    (stick / PAPER).write_text("{}")
    with pytest.raises(IntegrityError, match="cannot be read"):
        take_drop(centre, stick)
    with pytest.raises(UnknownName, match="nothing to take up"):
        take_drop(centre, tmp_path / "empty")
    assert centre.record.head == head
    restored()
    take_drop(centre, stick)
    require_same(tmp_path, SITE)


def test_another_key_cannot_sign_for_a_site(tmp_path: Path, centre: Study) -> None:
    shutil.rmtree(tmp_path / "site-02" / "sync")
    KeyStore(tmp_path / "site-02" / "sync").create("site-02")
    drop(tmp_path, tmp_path / "stick")
    with pytest.raises(IntegrityError, match="not signed by the key of site 02"):
        take_drop(centre, tmp_path / "stick")
