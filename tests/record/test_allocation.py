"""Allocation lists: blocks that balance, the same for a seed, committed before use, private."""

from __future__ import annotations

import sqlite3
import stat
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit._canonical import sha256_json, sha256_text
from trialkit.errors import IntegrityError, StorageRefused
from trialkit.record import AllocationStore, commitment
from trialkit.record.allocation import draw_part

TWO = {"arms": ["R", "C"], "ratio": [1, 1], "block_sizes": [4, 6]}


@given(
    seed=st.text(max_size=8),
    ratio=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    factors=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    length=st.integers(1, 60),
)
def test_blocks_hold_the_ratio(
    seed: str, ratio: list[int], factors: list[int], length: int
) -> None:
    """Whatever the ratio: the whole list balances, and never drifts by more than one block."""
    arms = [f"A{i}" for i in range(len(ratio))]
    sizes = [f * sum(ratio) for f in factors]
    places = draw_part(seed, "s", 1, arms=arms, ratio=ratio, block_sizes=sizes, length=length)
    assert length <= len(places) < length + max(sizes)
    counts = Counter(p.arm for p in places)
    assert [counts[a] * sum(ratio) for a in arms] == [len(places) * r for r in ratio]
    running: Counter[str] = Counter()
    for n, place in enumerate(places, 1):
        running[place.arm] += 1
        assert place.place == n
        for arm, share in zip(arms, ratio, strict=True):
            assert abs(running[arm] - n * share / sum(ratio)) <= max(sizes)


def test_each_block_balances_at_one_size() -> None:
    places = draw_part("x", "s", 1, arms=["R", "C"], ratio=[2, 1], block_sizes=[6], length=600)
    for start in range(0, len(places), 6):
        assert Counter(p.arm for p in places[start : start + 6]) == {"R": 4, "C": 2}


def test_block_orders_are_uniform() -> None:
    """The six orders of RRCC come alike often: chi-square 5 df below its 0.999 quantile."""
    orders: Counter[str] = Counter()
    for seed in range(3000):
        places = draw_part(
            str(seed), "s", 1, arms=["R", "C"], ratio=[1, 1], block_sizes=[4], length=4
        )
        orders["".join(p.arm for p in places)] += 1
    assert len(orders) == 6
    assert sum((n - 500) ** 2 / 500 for n in orders.values()) < 20.515


def test_seed_stratum_and_part_give_the_list() -> None:
    def drawn(seed: str, stratum: str, part: int) -> list[str]:
        return [p.arm for p in draw_part(seed, stratum, part, **TWO)]

    assert drawn("1", "a", 1) == drawn("1", "a", 1)
    assert len({tuple(drawn(*key)) for key in [("1", "a", 1), ("2", "a", 1), ("1", "b", 1)]}) == 3
    assert drawn("1", "a", 1) != drawn("1", "a", 2)


def test_block_size_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="ratio"):
        draw_part("1", "a", 1, arms=["R", "C"], ratio=[1, 1], block_sizes=[5])


def test_file_is_private(tmp_path: Path) -> None:
    AllocationStore.create(tmp_path)
    assert stat.S_IMODE((tmp_path / "allocation.db").stat().st_mode) == 0o600
    with pytest.raises(StorageRefused):
        AllocationStore.create(tmp_path)


def test_entropy_differs_and_a_seed_does_not(tmp_path: Path) -> None:
    lists = []
    for name, seed in (("a", None), ("b", None), ("c", 7), ("d", 7)):
        (tmp_path / name).mkdir()
        store = AllocationStore.create(tmp_path / name, seed=seed)
        store.ensure("s", 1, **TWO)
        lists.append([(store.place("s", n).arm, store.place("s", n).salt) for n in range(1, 49)])
    assert lists[0] != lists[1]
    assert lists[2] == lists[3]


def test_list_grows_by_whole_parts(tmp_path: Path) -> None:
    store = AllocationStore.create(tmp_path, seed=1)
    first = store.ensure("s", 1, **TWO)
    assert [p.part for p in first] == [1]
    length = first[0].length
    before = [store.place("s", n) for n in range(1, length + 1)]
    assert store.ensure("s", length, **TWO) == first
    second = store.ensure("s", length + 1, **TWO)
    assert second[0] == first[0]
    assert [p.part for p in second] == [1, 2]
    again = AllocationStore(tmp_path)
    assert [again.place("s", n) for n in range(1, length + 1)] == before
    assert again.parts("s") == second
    assert first[0].commitment == sha256_json(["s", [[p.place, p.arm, p.salt] for p in before]])


def test_arm_is_checked_against_the_commitment(tmp_path: Path) -> None:
    store = AllocationStore.create(tmp_path, seed=1)
    store.ensure("s", 1, **TWO)
    place = store.place("s", 1)
    committed = commitment(place.salt, "U-1", place.arm)
    assert committed == sha256_text(f"{place.salt}|U-1|{place.arm}")
    assert store.arm_of("U-1", "s", 1, committed) == place
    with pytest.raises(IntegrityError, match="U-2"):
        store.arm_of("U-2", "s", 1, committed)
    other = "C" if place.arm == "R" else "R"
    with closing(sqlite3.connect(tmp_path / "allocation.db")) as raw, raw:
        raw.execute("DROP TRIGGER places_update")
        raw.execute("UPDATE places SET arm = ? WHERE place = 1", (other,))
    with pytest.raises(IntegrityError, match="U-1"):
        AllocationStore(tmp_path).arm_of("U-1", "s", 1, committed)
    with pytest.raises(IntegrityError, match="place 900"):
        store.place("s", 900)


def test_lost_file_is_named(tmp_path: Path) -> None:
    AllocationStore.create(tmp_path)
    (tmp_path / "allocation.db").unlink()
    with pytest.raises(IntegrityError, match=r"allocation\.db: not there"):
        AllocationStore(tmp_path).place("s", 1)


def test_reader_sees_what_a_writer_draws_later(tmp_path: Path) -> None:
    writer = AllocationStore.create(tmp_path, seed=1)
    reader = AllocationStore(tmp_path)
    with pytest.raises(IntegrityError):
        reader.place("s", 1)
    writer.ensure("s", 1, **TWO)
    assert reader.place("s", 1) == writer.place("s", 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE places SET arm = 'C'",
        "DELETE FROM places WHERE place = 1",
        "UPDATE secret SET seed = '2'",
        "DELETE FROM secret",
        "INSERT INTO places VALUES ('s', 1, 1, 'C', '')",
    ],
)
def test_no_row_is_changed_or_removed(tmp_path: Path, statement: str) -> None:
    store = AllocationStore.create(tmp_path, seed=1)
    store.ensure("s", 1, **TWO)
    before = [store.place("s", n) for n in range(1, 49)]
    with (
        closing(sqlite3.connect(tmp_path / "allocation.db")) as raw,
        pytest.raises(sqlite3.IntegrityError),
    ):
        raw.execute(statement)
    again = AllocationStore(tmp_path)
    assert again.seed() == "1"
    assert [again.place("s", n) for n in range(1, 49)] == before


def test_a_written_list_is_never_redrawn(tmp_path: Path) -> None:
    """Other block sizes, another ratio: what is written stays, and only a further part differs."""
    store = AllocationStore.create(tmp_path, seed=1)
    first = store.ensure("s", 1, **TWO)
    before = [store.place("s", n) for n in range(1, first[0].length + 1)]
    other = {"arms": ["R", "C"], "ratio": [2, 1], "block_sizes": [3]}
    again = AllocationStore(tmp_path)
    assert again.ensure("s", 1, **other) == first
    grown = again.ensure("s", first[0].length + 1, **other)
    assert grown[0] == first[0]
    assert [again.place("s", n) for n in range(1, first[0].length + 1)] == before


def test_a_drawn_place_goes_after_the_last(tmp_path: Path) -> None:
    store = AllocationStore.create(tmp_path)
    assert [store.append("m", arm, arm * 2).place for arm in "RCR"] == [1, 2, 3]
    other = AllocationStore(tmp_path)
    assert other.append("m", "C", "x").place == 4
    assert store.append("m", "R", "y").place == 5
    assert [AllocationStore(tmp_path).place("m", n).arm for n in range(1, 6)] == list("RCRCR")


def test_known_arms_are_appended(tmp_path: Path) -> None:
    store = AllocationStore.create(tmp_path)
    placed = store.add_known("all", ["R", "C"]) + store.add_known("all", ["C"])
    assert [(p.place, p.arm) for p in placed] == [(1, "R"), (2, "C"), (3, "C")]
    assert len({p.salt for p in placed}) == 3
    assert AllocationStore(tmp_path).place("all", 3) == placed[2]
