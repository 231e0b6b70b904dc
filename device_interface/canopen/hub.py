"""Carries CAN frames between processes: ``python -m device_interface.canopen.hub PATH``.

A peer connects to the Unix socket PATH (sequenced packets) and sends frames of 16 bytes,
laid out as SocketCAN's ``struct can_frame``; every other peer gets them, the sender does
not. A peer that does not read has a bounded queue, loses the oldest frames, and delays
nobody. A longer packet is a request in JSON, see `Hub.request`: a bench uses these to cut
the bus one-way or to put a peer off the bus, as a controller with too many errors is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import selectors
import socket
import struct
import time
from collections import deque
from pathlib import Path
from typing import Any

FRAME = struct.Struct("=IB3x8s")
ERROR_FLAG = 0x20000000
ERROR_BUS_OFF = 0x40
ERROR_RESTARTED = 0x100
QUEUE_FRAMES = 1024
_AFTER_PARENT_S = 10.0
_READ_AT_ONCE = 64


class Peer:
    """One connection: its name, and the frames that wait for it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.name = ""
        self.greeted = False
        self.control = False
        self.off_until: float | None = None
        self.waiting: deque[bytes] = deque(maxlen=QUEUE_FRAMES)
        self.sent = 0
        self.lost = 0

    def give(self, packet: bytes) -> bool:
        """Send `packet`, or keep it; return False where the peer is gone."""
        if len(self.waiting) == QUEUE_FRAMES:
            self.lost += 1
        self.waiting.append(packet)
        return self.flush()

    def flush(self) -> bool:
        """Send what waits; return False where the peer is gone."""
        while self.waiting:
            try:
                self.connection.send(self.waiting[0])
            except BlockingIOError:
                return True
            except OSError:
                return False
            self.waiting.popleft()
            self.sent += 1
        return True


class Hub:
    """The bus.

    Parameters
    ----------
    path : str
        Of the socket; removed at the end.
    parent : int or None
        Descriptor of a pipe whose other end the parent holds; when the parent is gone the
        hub ends as soon as no peer is left, and at the latest after ten seconds.
    """

    def __init__(self, path: str, parent: int | None) -> None:
        self._path = path
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path + ".new")
        self._listener.listen(16)
        Path(path + ".new").rename(path)  # where the path is, somebody listens
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._parent = parent
        if parent is not None:
            self._selector.register(parent, selectors.EVENT_READ)
        self._peers: list[Peer] = []
        self._cuts: set[tuple[str, str]] = set()
        self._deadline: float | None = None

    def serve(self) -> None:
        """Serve until the parent and all peers are gone."""
        while self._deadline is None or (self._peers and time.monotonic() < self._deadline):
            for key, events in self._selector.select(self._patience()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data is None:
                    self._selector.unregister(key.fileobj)
                    self._deadline = time.monotonic() + _AFTER_PARENT_S
                else:
                    self._serve_peer(key.data, events)
            self._return_to_bus()
        self._listener.close()
        socket_path = Path(self._path)
        socket_path.unlink(missing_ok=True)
        if self._parent is not None:  # the folder was made for this socket
            with contextlib.suppress(OSError):
                socket_path.parent.rmdir()

    def _patience(self) -> float | None:
        if self._deadline is not None or any(p.off_until is not None for p in self._peers):
            return 0.02
        return None

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        peer = Peer(connection)
        self._peers.append(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _serve_peer(self, peer: Peer, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._settle(peer, alive=peer.flush())
        if not events & selectors.EVENT_READ:
            return
        for _ in range(_READ_AT_ONCE):
            try:
                packet = peer.connection.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._settle(peer, alive=False)
                return
            if len(packet) == FRAME.size:
                self._carry(peer, packet)
            else:
                with contextlib.suppress(ValueError):
                    self.request(peer, json.loads(packet))

    def _carry(self, sender: Peer, packet: bytes) -> None:
        if sender.off_until is not None:
            return
        for peer in list(self._peers):
            hears = peer.greeted and not peer.control and peer.off_until is None
            if peer is not sender and hears and (sender.name, peer.name) not in self._cuts:
                self._settle(peer, alive=peer.give(packet))

    def _settle(self, peer: Peer, *, alive: bool) -> None:
        """Watch for room where frames wait; forget a peer that is gone."""
        if not alive:
            if peer in self._peers:
                self._peers.remove(peer)
                self._selector.unregister(peer.connection)
                peer.connection.close()
            return
        write = selectors.EVENT_WRITE if peer.waiting else 0
        self._selector.modify(peer.connection, selectors.EVENT_READ | write, peer)

    def request(self, peer: Peer, asked: dict[str, Any]) -> None:
        """Do what a peer asks, and answer with the counts of every peer.

        The first request of a peer is its greeting: before it no frame is carried to it.

        Parameters
        ----------
        peer : Peer
        asked : dict
            ``name`` and ``control`` of the peer itself; ``cut`` or ``join``: [sender,
            receiver] by name; ``bus_off``: name, with ``seconds`` until it may return.
        """
        peer.greeted = True
        peer.name = asked.get("name", peer.name)
        peer.control = asked.get("control", peer.control)
        if "cut" in asked:
            self._cuts.add(tuple(asked["cut"]))
        if "join" in asked:
            self._cuts.discard(tuple(asked["join"]))
        for other in list(self._peers):
            if "bus_off" in asked and other.name == asked["bus_off"] and not other.control:
                other.off_until = time.monotonic() + float(asked["seconds"])
                self._settle(other, alive=other.give(_error(ERROR_BUS_OFF)))
        counts = {p.name: {"sent": p.sent, "lost": p.lost} for p in self._peers}
        self._settle(peer, alive=peer.give(json.dumps(counts).encode()))

    def _return_to_bus(self) -> None:
        now = time.monotonic()
        for peer in list(self._peers):
            if peer.off_until is not None and now >= peer.off_until:
                peer.off_until = None
                self._settle(peer, alive=peer.give(_error(ERROR_RESTARTED)))


def _error(bits: int) -> bytes:
    return FRAME.pack(ERROR_FLAG | bits, 8, bytes(8))


def main() -> None:
    """Serve a bus."""
    parser = argparse.ArgumentParser(description="A CAN bus over Unix sockets.")
    parser.add_argument("path", help="of the socket")
    parser.add_argument("--parent", type=int, help="descriptor that ends with the parent")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        Hub(arguments.path, arguments.parent).serve()


if __name__ == "__main__":
    main()
