"""Linear algebra in one thread.

The matrices of a fit are small: several threads gain little on an idle machine, and on a busy
one they wait for each other for ten times as long as the sums take. threadpoolctl sets the number
of threads of a library that is loaded already.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@lru_cache(maxsize=1)
def controller() -> Any:
    """Return what controls the linear algebra libraries of this process."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which the linear algebra has one thread."""
    found: AbstractContextManager[Any] = controller().limit(limits=1)
    return found


def in_one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function do its linear algebra in one thread."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with one_thread():
            return function(*args, **kwargs)

    return inside
