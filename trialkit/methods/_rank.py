"""Column rank of a model matrix, by a QR decomposition that works block by block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: A column whose part orthogonal to the columns before it is below this share is aliased.
ALIAS_TOLERANCE = 1e-8


def tall_qr(x: Floats) -> tuple[Floats, Floats]:
    """Return ``Q`` and ``R`` of a matrix of many rows, block by block.

    The blocks are small enough for the linear algebra library to work in one thread: the
    bytes of a result do not depend on the number of threads, and busy machines lose no time.
    """
    n, p = x.shape
    rows = max(2 * p, 4096 // max(p, 1))
    if n <= rows:
        done = np.linalg.qr(x)
        return done.Q, done.R
    blocks = -(-n // rows)
    padded = np.zeros((blocks * rows, p))
    padded[:n] = x
    low = np.linalg.qr(padded.reshape(blocks, rows, p))
    q, r = tall_qr(low.R.reshape(blocks * p, p))
    return (low.Q @ q.reshape(blocks, p, p)).reshape(-1, p)[:n], r


def independent(full: Floats, late: npt.NDArray[np.bool_] | None = None) -> tuple[Ints, Floats]:
    """Find the columns that are not combinations of earlier ones.

    Parameters
    ----------
    full : ndarray, shape (n, columns)
    late : ndarray of bool, shape (columns,), optional
        Columns that count as later than all others.

    Returns
    -------
    kept : ndarray of int, shape (p,)
    alias : ndarray, shape (p, number of columns)
        ``full = full[:, kept] @ alias``.
    """
    norms = np.sqrt(np.einsum("ij,ij->j", full, full))
    live = [int(i) for i in np.flatnonzero(norms > 0.0)]
    if late is not None:
        live.sort(key=lambda i: (bool(late[i]), i))
    scaled = full / np.where(norms > 0.0, norms, 1.0)
    while live:
        size = np.abs(np.diagonal(tall_qr(scaled[:, live])[1]))
        low = np.flatnonzero(size < ALIAS_TOLERANCE)
        if len(live) > len(full) and not len(low):
            low = np.array([len(full)])
        if not len(low):
            break
        live.pop(int(low[0]))
    kept = np.array(sorted(live), dtype=np.intp)
    alias = np.eye(full.shape[1])[kept]
    dropped = np.setdiff1d(np.arange(full.shape[1]), kept)
    if len(dropped) and len(kept):
        solved = np.linalg.lstsq(scaled[:, kept], scaled[:, dropped], rcond=None)[0]
        solved = solved * norms[dropped] / norms[kept][:, None]
        solved[np.abs(solved) < 1e-9] = 0.0
        alias[:, dropped] = solved
    return kept, alias
