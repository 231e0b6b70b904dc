"""Linear algebra in one thread.

The matrices of a fit are small: several threads gain little on an idle machine, and on a busy
one they wait for each other for ten times as long as the sums take. threadpoolctl, which comes
with scikit-learn, sets the number of threads of a library that is loaded already; without it
nothing is changed (and OPENBLAS_NUM_THREADS=1 does the same for a whole process).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@lru_cache(maxsize=1)
def controller() -> Any:
    """Return what controls the linear algebra libraries of this process, or None."""
    try:
        found = import_module("threadpoolctl").ThreadpoolController().select(user_api="blas")
    except (ImportError, OSError, AttributeError):
        return None
    return found


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which the linear algebra has one thread."""
    found = controller()
    return nullcontext() if found is None else found.limit(limits=1)


def in_one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function do its linear algebra in one thread."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with one_thread():
            return function(*args, **kwargs)

    return inside
