"""Merkle trees as RFC 6962 (2.1) and RFC 9162 (2.1) have them: roots, proofs and their checks.

A leaf is SHA-256 of 0x00 and the entry, a node SHA-256 of 0x01 and its two children; the left
subtree of n leaves holds the largest power of two below n. All hashes are 32 raw bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from trialkit.errors import UsageError

EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """A tree that grows, held as the roots of its whole subtrees (`peaks`), the largest first.

    There are at most log2(size) + 1 peaks; one leaf costs one node hash on average.
    """

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            raise UsageError(
                f"{len(self.peaks)} peaks of a tree of {size} leaves.",
                remedy=f"Give {size.bit_count()}.",
            )

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add the hashes of the next leaves."""
        level, size, left = list(leaves), self.size, []
        self.size += len(level)
        while level:
            if size & 1:
                level.insert(0, self.peaks.pop())
            if len(level) & 1:
                left.append(level.pop())
            level, size = _paired(level), size >> 1
        self.peaks += reversed(left)

    def root(self) -> bytes:
        """Return the root; that of the empty tree is the SHA-256 of nothing."""
        if not self.peaks:
            return EMPTY
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = node_hash(peak, node)
        return node


def peak_ranges(size: int) -> list[tuple[int, int]]:
    """Return first and last leaf (from 1, both included) under each peak of a tree."""
    ranges, start = [], 0
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            ranges.append((start + 1, start + (1 << bit)))
            start += 1 << bit
    return ranges


def _above(level: Sequence[bytes]) -> list[bytes]:
    """Return the level above; a last node without a sibling moves up as it is."""
    return _paired(level) + list(level[len(level) & ~1 :])


def _paired(level: Sequence[bytes]) -> list[bytes]:
    """Return the parents of each two nodes: `node_hash`, without a call a node."""
    sha256, pairs = hashlib.sha256, zip(level[::2], level[1::2], strict=False)
    return [sha256(b"\x01" + a + b).digest() for a, b in pairs]


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of leaves."""
    level = leaves
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else EMPTY


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the proof that leaf `index` (from 0) is in the tree (RFC 9162, 2.1.3.1).

    Raises
    ------
    UsageError
        If there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise UsageError(f"no leaf {index} in {len(leaves)}.", remedy="Count leaves from 0.")
    path, level = [], leaves
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        level, index = _above(level), index >> 1
    return path


def consistency_path(leaves: Sequence[bytes], first: int) -> list[bytes]:
    """Return the proof that the tree continues that of its `first` leaves (RFC 9162, 2.1.4.1).

    Raises
    ------
    UsageError
        If `first` is not from 1 to the number of leaves.
    """
    if not 0 < first <= len(leaves):
        raise UsageError(
            f"no tree of {first} leaves in one of {len(leaves)}.", remedy="Give an earlier size."
        )
    path, start, end, whole = [], 0, len(leaves), True
    while first != end:  # SUBPROOF(first - start, leaves[start:end], whole), without recursion
        k = start + (1 << (end - start - 1).bit_length() - 1)
        if first <= k:
            path.append(tree_root(leaves[k:end]))
            end = k
        else:
            path.append(tree_root(leaves[start:k]))
            start, whole = k, False
    if not whole:  # the verifier does not hold this root; that of the first tree it does
        path.append(tree_root(leaves[start:end]))
    return path[::-1]


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Return whether `path` proves that `leaf` is leaf `index` of the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def check_consistency(
    first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """Return whether `path` proves that the second tree continues the first (RFC 9162, 2.1.4.2).

    The empty tree is continued by every tree, and there is nothing to prove: the path is empty.
    """
    if first == second:
        return not path and first_root == second_root and (first > 0 or first_root == EMPTY)
    if first == 0:
        return second > 0 and not path and first_root == EMPTY
    if not 0 < first < second or not path:
        return False
    nodes = [first_root, *path] if first.bit_count() == 1 else list(path)
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    one = two = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            one, two = node_hash(node, one), node_hash(node, two)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            two = node_hash(two, node)
        at, last = at >> 1, last >> 1
    return last == 0 and one == first_root and two == second_root
