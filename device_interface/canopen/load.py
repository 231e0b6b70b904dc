"""Bus load from the PDO mapping: refused above 70 %.

The longest frame with an 11-bit identifier and n data bytes is

    8 n + 44 + 3 + floor((34 + 8 n - 1) / 4) bits,

with 34 of the control bits open to stuffing, the worst bit pattern, and the 3 bits between
frames: Davis, Burns, Bril and Lukkien, Real-Time Systems 35 (2007) 239-272, equation 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from device_interface.canopen.objects import PROFILES, Kind
from trialkit.errors import UsageError

LIMIT = 0.70


def frame_bits(n: int) -> int:
    """Return the bits that a frame of `n` data bytes takes at worst, with the gap after it.

    Raises
    ------
    ValueError
        If `n` is not from 0 to 8.
    """
    if not 0 <= n <= 8:
        raise ValueError("a CAN frame has 0 to 8 data bytes")
    return 8 * n + 44 + 3 + (34 + 8 * n - 1) // 4


@dataclass(frozen=True)
class BusLoad:
    """What the cyclic traffic takes of a bus.

    Attributes
    ----------
    frames_per_s, bits_per_s : float
    bitrate : int
        Bits a second.
    """

    frames_per_s: float
    bits_per_s: float
    bitrate: int

    @property
    def fraction(self) -> float:
        """Share of the bus, 1 is all of it."""
        return self.bits_per_s / self.bitrate

    def __str__(self) -> str:
        return (
            f"{self.frames_per_s:.0f} frames/s and {self.bits_per_s / 1000:.0f} kbit/s of "
            f"{self.bitrate / 1000:.0f} kbit/s: {self.fraction:.0%}"
        )


def bus_load(
    kinds: Iterable[Kind],
    *,
    sync_hz: float,
    bitrate: int,
    node_heartbeat_s: float,
    host_heartbeat_s: float,
) -> BusLoad:
    """Return the load of SYNC, all PDOs and all heartbeats.

    Parameters
    ----------
    kinds : iterable of str
        Kind of each node.
    sync_hz : float
        SYNCs a second; each node answers with all its TPDOs and gets its RPDO.
    bitrate : int
    node_heartbeat_s, host_heartbeat_s : float
        Between heartbeats of a node, and of the host.
    """
    nodes = list(kinds)
    cycle = [frame_bits(0)]
    for kind in nodes:
        profile = PROFILES[kind]
        cycle += [frame_bits(pdo.size) for pdo in (profile.rpdo, *profile.tpdos)]
    beats = len(nodes) / node_heartbeat_s + 1.0 / host_heartbeat_s
    return BusLoad(
        frames_per_s=len(cycle) * sync_hz + beats,
        bits_per_s=sum(cycle) * sync_hz + beats * frame_bits(1),
        bitrate=bitrate,
    )


def refuse_overload(load: BusLoad) -> None:
    """Raise where `load` is above the limit.

    Raises
    ------
    UsageError
        With the computed numbers.
    """
    if load.fraction > LIMIT:
        raise UsageError(
            f"the bus would carry {load}, above the limit of {LIMIT:.0%}.",
            remedy="Use a lower sync_hz, a higher bitrate, or a second bus.",
        )
