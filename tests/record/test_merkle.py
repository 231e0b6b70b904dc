"""Merkle trees against RFC 6962, published roots, and another program."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.record.merkle import (
    EMPTY,
    CompactRange,
    check_consistency,
    check_inclusion,
    consistency_path,
    inclusion_path,
    leaf_hash,
    peak_ranges,
    tree_root,
)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "oracles" / "merkle"))
import rfc6962

SIZES = range(301)
# the reference tree of the certificate-transparency project; a root for each number of leaves
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def entries_of(n: int) -> list[bytes]:
    rng = random.Random(6962)
    return [rng.randbytes(rng.randrange(40)) for _ in range(n)]


def leaves_of(n: int) -> list[bytes]:
    return [leaf_hash(entry) for entry in entries_of(n)]


def grown(leaves: list[bytes]) -> CompactRange:
    tree = CompactRange()
    for leaf in leaves:
        tree.append(leaf)
    return tree


@pytest.mark.parametrize("n", range(9))
def test_published_roots(n: int) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES[:n]]
    assert tree_root(leaves).hex() == ROOTS[n]
    assert grown(leaves).root().hex() == ROOTS[n]
    assert rfc6962.mth(ENTRIES[:n]).hex() == ROOTS[n]


def test_roots_of_every_size_three_ways() -> None:
    entries = entries_of(SIZES[-1])
    leaves, tree, other = leaves_of(SIZES[-1]), CompactRange(), pymerkle.InmemoryTree("sha256")
    for n in SIZES:
        expected = rfc6962.mth(entries[:n])
        assert tree_root(leaves[:n]) == tree.root() == expected == other.get_root()
        assert (tree.size, len(tree.peaks)) == (n, n.bit_count())
        if n < SIZES[-1]:
            tree.append(leaves[n])
            other.append_entry(entries[n])


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 13, 64, 65, 100])
def test_proofs_are_those_of_the_rfc(n: int) -> None:
    entries, leaves = entries_of(n), leaves_of(n)
    root = tree_root(leaves)
    for m in range(n):
        path = inclusion_path(leaves, m)
        assert path == rfc6962.path(m, entries)
        assert check_inclusion(leaves[m], m, n, path, root)
    for m in range(1, n + 1):
        path = consistency_path(leaves, m)
        assert path == rfc6962.proof(m, entries)
        assert check_consistency(m, n, path, tree_root(leaves[:m]), root)


@pytest.mark.parametrize("n", [5, 33, 300])
def test_the_other_program_accepts_our_roots(n: int) -> None:
    """Its proofs are laid out in a way of its own; it is asked for their outcome."""
    entries, leaves = entries_of(n), leaves_of(n)
    tree = pymerkle.InmemoryTree.init_from_entries(entries, "sha256")
    root = tree_root(leaves)
    for m in range(1, n + 1, max(1, n // 40)):
        pymerkle.verify_inclusion(leaves[m - 1], root, tree.prove_inclusion(m, n))
        with pytest.raises(pymerkle.InvalidProof):
            pymerkle.verify_inclusion(leaves[m - 1], EMPTY, tree.prove_inclusion(m, n))
        pymerkle.verify_consistency(tree_root(leaves[:m]), root, tree.prove_consistency(m, n))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), n=st.integers(1, 70))
def test_a_changed_proof_is_refused(data: st.DataObject, n: int) -> None:
    leaves = leaves_of(n)
    root, m = tree_root(leaves), data.draw(st.integers(0, n - 1))
    path = inclusion_path(leaves, m)
    change = data.draw(st.sampled_from(["leaf", "index", "root", "short", "long", "flip"]))
    leaf, index = leaves[m], m
    if change == "leaf":
        leaf = leaf_hash(b"another" * 9)
    elif change == "index":
        index = data.draw(st.integers(-2, n + 2).filter(lambda i: i != m))
    elif change == "root":
        root = root[:-1] + bytes([root[-1] ^ 1])
    elif change == "long":
        path = [*path, root]
    elif path and change == "short":
        path = path[:-1]
    elif path:
        at = data.draw(st.integers(0, len(path) - 1))
        path = [*path[:at], path[at][:-1] + bytes([path[at][-1] ^ 1]), *path[at + 1 :]]
    else:
        return
    assert not check_inclusion(leaf, index, n, path, root)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), n=st.integers(2, 70))
def test_a_changed_history_is_refused(data: st.DataObject, n: int) -> None:
    leaves, m = leaves_of(n), data.draw(st.integers(1, n - 1))
    one, two, path = tree_root(leaves[:m]), tree_root(leaves), consistency_path(leaves, m)
    forged = list(leaves)
    forged[data.draw(st.integers(0, m - 1))] = leaf_hash(b"forged")
    assert check_consistency(m, n, path, one, two)
    assert not check_consistency(m, n, consistency_path(forged, m), one, tree_root(forged))
    assert not check_consistency(m, n, path, two, one)
    assert not check_consistency(m, n, [*path, one], one, two)
    assert not check_consistency(m, n, path[:-1], one, two)
    assert not check_consistency(m, n, [], one, two)
    assert not check_consistency(n, m, path, two, one)
    at = data.draw(st.integers(0, len(path) - 1))
    flipped = [*path[:at], path[at][:-1] + bytes([path[at][-1] ^ 1]), *path[at + 1 :]]
    assert not check_consistency(m, n, flipped, one, two)


def test_the_empty_tree_is_continued_by_all() -> None:
    root = tree_root(leaves_of(3))
    assert check_consistency(0, 3, [], EMPTY, root)
    assert not check_consistency(0, 3, [root], EMPTY, root)
    assert not check_consistency(0, 3, [], root, root)
    assert check_consistency(3, 3, [], root, root)
    assert not check_consistency(3, 3, [], EMPTY, root)
    assert check_consistency(0, 0, [], EMPTY, EMPTY)


@pytest.mark.parametrize("n", [1, 6, 11, 64, 255])
def test_growing_goes_on_from_peaks(n: int) -> None:
    leaves = leaves_of(300)
    tree = CompactRange(n, grown(leaves[:n]).peaks)
    for leaf in leaves[n:]:
        tree.append(leaf)
    assert tree.root() == tree_root(leaves)
    ranges = peak_ranges(n)
    assert ranges[0][0] == 1
    assert ranges[-1][1] == n
    assert grown(leaves[:n]).peaks == [tree_root(leaves[a - 1 : b]) for a, b in ranges]


def test_arguments_are_checked() -> None:
    with pytest.raises(UsageError, match="peaks"):
        CompactRange(3, [EMPTY])
    with pytest.raises(UsageError, match="no leaf"):
        inclusion_path([EMPTY], 1)
    with pytest.raises(UsageError, match="no tree"):
        consistency_path([EMPTY], 2)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_a_tree_that_grows_by_many_is_the_one_that_grows_by_one(parts: list[int]) -> None:
    leaves, tree, alone = leaves_of(sum(parts)), CompactRange(), CompactRange()
    for part in parts:
        tree.extend(leaves[tree.size : tree.size + part])
        while alone.size < tree.size:
            alone.append(leaves[alone.size])
        assert (tree.size, tree.peaks) == (alone.size, alone.peaks)
        assert tree.root() == tree_root(leaves[: tree.size])
