"""What results share: whether there are numbers, and whom they rest on."""

from __future__ import annotations


class Result:
    """Numbers, or the reason why there are none.

    The fields are those of the dataclass that a result is.
    """

    failed: str | None

    @property
    def converged(self) -> bool:
        """Whether there are numbers."""
        return self.failed is None


class ByParticipant(Result):
    """A result whose ``n`` counts participants."""

    method: str
    variant: str
    n: int
    n_missing: int

    @property
    def n_subjects(self) -> int:
        """Participants used."""
        return self.n

    @property
    def _head(self) -> str:
        """Method and counts, and the reason of a failure: the first lines of a summary."""
        lines = [f"{self.method}: {self.variant}", f"n {self.n}, missing {self.n_missing}"]
        return "\n".join([*lines, *([f"failed: {self.failed}"] if self.failed else [])])
