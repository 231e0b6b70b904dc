"""The Unix-socket bus for python-can: ``can.Bus(interface="afunix", channel=PATH)``.

It crosses processes and does not give a sender its own frames back, as a CAN controller
does not (python-can's ``virtual`` stays in one process, and its ``udp_multicast`` echoes).
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from typing import Any

from device_interface.canopen.hub import ERROR_BUS_OFF, ERROR_FLAG, ERROR_RESTARTED, FRAME
from trialkit.errors import MissingTool

try:
    import can
except ImportError as error:  # every other module here is imported after this one
    raise MissingTool(
        "the driver canopen needs python-can.", remedy="Install trialkit[can]."
    ) from error

INTERFACE = "afunix"
_HUB_S = 10.0
_EXTENDED, _REMOTE = 0x80000000, 0x40000000


def _request(asked: dict[str, Any]) -> bytes:
    """Return a request, longer than any frame, by which the hub tells one from the other."""
    return json.dumps(asked).encode().ljust(FRAME.size + 1)


def _connected(path: str, greeting: dict[str, Any]) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(path)
        connection.settimeout(_HUB_S)
        connection.send(_request(greeting))
        connection.recv(65536)  # from here on the hub carries frames to us
    except OSError as error:
        connection.close()
        raise can.CanInitializationError(f"no bus at {path}: {error}") from error
    return connection


class UnixBus(can.BusABC):
    """A connection to a hub, see `device_interface.canopen.hub`.

    Parameters
    ----------
    channel : str
        Path of the hub's socket.
    can_filters : list of dict or None
        As python-can has them.
    name : str
        By which a bench can cut or stop this connection.
    send_timeout_s : float
        How long `send` may wait for room before it fails.
    **kwargs
        Other settings of a CAN interface, such as ``bitrate``, that mean nothing here.

    Raises
    ------
    can.CanInitializationError
        If there is no hub at the path.
    """

    def __init__(
        self,
        channel: str,
        can_filters: Any = None,
        *,
        name: str = "peer",
        send_timeout_s: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self._socket = _connected(str(channel), {"name": name})
        self._socket.setblocking(False)
        self._send_timeout_s = send_timeout_s
        self._off = False
        self.channel_info = f"{INTERFACE} {channel}"
        super().__init__(channel, can_filters=can_filters, **kwargs)

    @property  # type: ignore[misc]
    def state(self) -> can.BusState:
        """ERROR while the hub keeps this connection off the bus."""
        return can.BusState.ERROR if self._off else can.BusState.ACTIVE

    def fileno(self) -> int:
        """Return the descriptor that becomes readable with a frame."""
        return self._socket.fileno()

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        """Send a frame.

        Raises
        ------
        can.CanOperationError
            If this connection is off the bus, the hub is gone, or there was no room in time.
        """
        if self._off:
            raise can.CanOperationError("bus off")
        number = msg.arbitration_id | (_EXTENDED if msg.is_extended_id else 0)
        number |= _REMOTE if msg.is_remote_frame else 0
        packet = FRAME.pack(number, msg.dlc, bytes(msg.data))
        try:
            try:
                self._socket.send(packet)
            except BlockingIOError:
                patience = self._send_timeout_s if timeout is None else timeout
                if not select.select([], [self._socket], [], patience)[1]:
                    raise can.CanOperationError("no room in the transmit queue") from None
                self._socket.send(packet)
        except OSError as error:
            raise can.CanOperationError(f"the bus is gone: {error}") from error

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        try:
            packet = self._socket.recv(FRAME.size)
        except BlockingIOError:
            if not select.select([self._socket], [], [], timeout)[0]:
                return None, False
            try:
                packet = self._socket.recv(FRAME.size)
            except BlockingIOError:
                return None, False
            except OSError as error:
                raise can.CanOperationError(f"the bus is gone: {error}") from error
        except OSError as error:
            raise can.CanOperationError(f"the bus is gone: {error}") from error
        if len(packet) != FRAME.size:
            raise can.CanOperationError("the bus is gone")
        number, length, data = FRAME.unpack(packet)
        if number & ERROR_FLAG:
            self._off = bool(number & ERROR_BUS_OFF) and not number & ERROR_RESTARTED
        message = can.Message(
            timestamp=time.time(),
            arbitration_id=number & 0x1FFFFFFF,
            is_extended_id=bool(number & _EXTENDED),
            is_remote_frame=bool(number & _REMOTE),
            is_error_frame=bool(number & ERROR_FLAG),
            data=data[:length],
        )
        return message, False

    def shutdown(self) -> None:
        """Leave the bus; can be called again."""
        super().shutdown()
        self._socket.close()


class HubControl:
    """What a bench can do to a bus.

    Parameters
    ----------
    path : str
        Of the hub's socket.
    """

    def __init__(self, path: str) -> None:
        self._socket = _connected(path, {"name": "control", "control": True})

    def _ask(self, **asked: Any) -> dict[str, dict[str, int]]:
        self._socket.send(_request(asked))
        counts: dict[str, dict[str, int]] = json.loads(self._socket.recv(65536))
        return counts

    def cut(self, sender: str, receiver: str) -> None:
        """Let no frame of `sender` reach `receiver`; the other way stays as it is."""
        self._ask(cut=[sender, receiver])

    def join(self, sender: str, receiver: str) -> None:
        """Undo `cut`."""
        self._ask(join=[sender, receiver])

    def bus_off(self, name: str, seconds: float) -> None:
        """Keep the peer `name` off the bus for `seconds`."""
        self._ask(bus_off=name, seconds=seconds)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the packets sent to, and lost for, each peer by name."""
        return self._ask()

    def close(self) -> None:
        """Leave the hub."""
        with contextlib.suppress(OSError):
            self._socket.close()
