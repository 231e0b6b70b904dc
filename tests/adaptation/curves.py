"""Virtual patients whose outcome approaches a level of their own."""

from __future__ import annotations

import numpy as np
import pandas as pd

WEEKS = np.array([0.0, 2.0, 4.0, 8.0, 12.0])
MEAN = np.array([0.45, 0.20])
COVARIANCE = np.array([[0.04, 0.005], [0.005, 0.01]])
TAU, ERROR = 4.0, 0.05


def cohort(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Walking speed in m/s of `n` people at `WEEKS`."""
    people = rng.multivariate_normal(MEAN, COVARIANCE, size=n)
    shape = 1.0 - np.exp(-WEEKS / TAU)
    speed = people[:, :1] + people[:, 1:] * shape + rng.normal(0, ERROR, (n, len(WEEKS)))
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(n), len(WEEKS)),
            "week": np.tile(WEEKS, n),
            "speed": speed.ravel(),
        }
    )
