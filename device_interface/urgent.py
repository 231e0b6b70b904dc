"""The words of the urgent channel from host to device, which needs no lock and no reply.

``k`` and eight bytes, little-endian, are a keepalive and its number; one of ``0`` ``1``
``2`` is a stop of that category.
"""

from __future__ import annotations

from device_interface.contract import StopCategory

STOPS: dict[int, StopCategory] = {ord("0"): 0, ord("1"): 1, ord("2"): 2}


def keepalive_word(number: int) -> bytes:
    """Return the bytes of a keepalive."""
    return b"k" + number.to_bytes(8, "little")


class UrgentWords:
    """Cuts what comes over URGENT into keepalive numbers (int) and stops (one byte)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[int | bytes]:
        """Return the words that are whole; any other byte is a stop of category 1."""
        words: list[int | bytes] = []
        data, at = self._rest + data, 0
        while at < len(data):
            if data[at] != ord("k"):
                words.append(data[at : at + 1] if data[at] in STOPS else b"1")
                at += 1
            elif len(data) - at < 9:
                break
            else:
                words.append(int.from_bytes(data[at + 1 : at + 9], "little"))
                at += 9
        self._rest = data[at:]
        return words
