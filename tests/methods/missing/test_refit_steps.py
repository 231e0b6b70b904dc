"""The linear algebra of many refits: a matrix that is not definite does not touch the others."""

from __future__ import annotations

import numpy as np
import pytest

from trialkit.methods.missing.newton import descend
from trialkit.methods.missing.refit import inverted


def definite(size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return four positive definite matrices."""
    x = np.random.default_rng(5).standard_normal((4, 3 * size, size))
    return x.swapaxes(-1, -2) @ x


def test_inverses_and_determinants() -> None:
    matrices = definite(5)
    inverse, size, good = inverted(matrices)
    assert good.all()
    np.testing.assert_allclose(inverse @ matrices, np.tile(np.eye(5), (4, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(size, np.linalg.slogdet(matrices)[1], rtol=1e-13)


def test_one_indefinite_matrix_is_told_and_the_others_are_inverted() -> None:
    matrices = definite(5)
    alone = inverted(matrices)
    matrices[2] -= 1.5 * np.linalg.eigvalsh(matrices[2])[0] * np.eye(5)
    inverse, size, good = inverted(matrices)
    assert good.tolist() == [True, True, False, True]
    np.testing.assert_allclose(inverse[good], alone[0][good], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(size[good], alone[1][good], rtol=1e-12)


@pytest.mark.parametrize("fault", ["indefinite", "singular"])
def test_a_hessian_that_is_not_definite_is_told_and_the_others_step(fault: str) -> None:
    hessian, sigma = definite(6), np.tile(np.diag([1.0, 4.0, 9.0]), (4, 1, 1, 1))
    gradient = np.random.default_rng(6).standard_normal((4, 6))
    alone, fine = descend(hessian, gradient, sigma)
    assert fine.all()
    np.testing.assert_allclose((hessian @ alone[..., None])[..., 0], -gradient, rtol=1e-10)
    hessian[1] = -hessian[1] if fault == "indefinite" else np.ones((6, 6))
    step, good = descend(hessian, gradient, sigma)
    assert good.tolist() == [True, False, True, True]
    np.testing.assert_allclose(step[good], alone[good], rtol=1e-10)
