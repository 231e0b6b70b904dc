"""A simulated CiA-402 drive: it enforces its own limits and watches the host by itself."""

from __future__ import annotations

from collections.abc import Callable

from device_interface.canopen import cia402 as c
from device_interface.canopen import objects as o
from device_interface.canopen.cia402 import DriveState
from device_interface.canopen.objects import Bench
from device_interface.canopen.slave import Send, Slave
from device_interface.canopen.wire import Entry, Nmt, NmtState

RPDO_LIMIT_S = 0.3
_S = DriveState
_KEPT = frozenset({o.CONSUMER_HEARTBEAT, o.PRODUCER_HEARTBEAT, o.MODE, o.BENCH_DURATION})
Account = Callable[[str, str, dict[str, object]], None]
"""Takes the node's name, what happened, and details."""


class SafetyChain:
    """The emergency stop's normally closed contact and its relay, wired to every drive.

    An open contact, a plug that is out and a stop that is pressed are the same here. The
    relay drops at once and stays so until it is reset with the contact closed.
    """

    def __init__(self, *, closed: bool) -> None:
        self.closed = closed
        self.released = closed

    def open(self) -> None:
        """Press the stop, or pull the plug."""
        self.closed = self.released = False

    def close(self) -> None:
        """Let the stop go; the relay stays as it is."""
        self.closed = True

    def reset(self) -> None:
        """Reset the relay; no effect while the contact is open."""
        self.released = self.closed


class Drive:
    """State machine, watchdogs and faults on request; what moves is in the subclasses.

    Parameters
    ----------
    name : str
    node_id, serial : int
    chain : SafetyChain
    objects : mapping of Entry to int
        More objects, with their values at start.
    limits : mapping of Entry to (low, high)
    mode : int
        The one mode of operation.
    send, account : callable
    """

    def __init__(
        self,
        name: str,
        node_id: int,
        serial: int,
        chain: SafetyChain,
        objects: dict[Entry, int],
        limits: dict[Entry, tuple[int, int]],
        mode: int,
        send: Send,
        account: Account,
    ) -> None:
        own = {
            o.DEVICE_TYPE: 402 | 1 << 16, o.ERROR_REGISTER: 0, o.CONSUMER_HEARTBEAT: 0,
            o.PRODUCER_HEARTBEAT: 0, o.VENDOR: 0, o.PRODUCT: 1, o.REVISION: 1, o.SERIAL: serial,
            o.CONTROLWORD: 0, o.STATUSWORD: 0x40, o.ERROR_CODE: 0, o.MODE: 0, o.MODE_DISPLAY: 0,
            o.LIFE: 0, o.SUPPORTED_MODES: 1 << 8 if mode == o.MODE_VELOCITY else 1 << 16,
            o.BENCH_DURATION: 500, o.BENCH_FAULT: 0,
        }  # fmt: skip
        writable = {
            o.CONSUMER_HEARTBEAT, o.PRODUCER_HEARTBEAT, o.CONTROLWORD, o.MODE, o.BENCH_DURATION,
            o.BENCH_FAULT, *limits,
        }  # fmt: skip
        self.name = name
        self.chain = chain
        self._mode = mode
        self._account = account
        self.slave = Slave(node_id, {**own, **objects}, writable, limits, send)
        self.slave.on_write = self._written
        self.slave.on_reset = self._reset_by_nmt
        self.values = self.slave.values
        self.state = _S.NOT_READY
        self.homed = True
        self.calibrated = True
        self.at_limit = False
        self.mode_stuck = False
        self._last_word = 0
        self._count = 0
        self._rpdo_s: float | None = None
        self._now_s = 0.0
        self.period_s = 0.01
        self._bench: dict[int, float] = {}
        self._restart_s: float | None = None

    # --- what subclasses are -----------------------------------------------------------------

    @property
    def at_rest(self) -> bool:
        """True where nothing moves that a quick stop or a fault reaction would stop."""
        return True

    def take(self, entry: Entry, value: int) -> None:
        """Take a target at a SYNC; out of range it is cut to the limit."""

    def move(self, dt_s: float) -> None:
        """Let `dt_s` pass for what moves."""

    def measure(self) -> None:
        """Write what is measured into the objects."""

    def disturb(self, kind: int) -> None:
        """Let the mechanical side of a fault happen."""

    # --- the state machine --------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """True where the drive follows its targets."""
        return self.state is _S.OPERATION_ENABLED

    def _go(self, state: DriveState, why: str) -> None:
        if state is not self.state:
            self.state = state
            self._account(self.name, state.name, {"why": why, "moving": not self.at_rest})

    def _may_enable(self) -> bool:
        watched = self.slave.heard_s is not None
        ready = self.homed and self.calibrated and self.values[o.MODE_DISPLAY] == self._mode
        if ready and watched and self.chain.released:
            return True
        if not self.values[o.ERROR_CODE]:
            self.values[o.ERROR_CODE] = o.NOT_READY
            self.slave.emergency(o.NOT_READY)
        return False

    def control(self, word: int) -> None:
        """Take a controlword: a step, or the rising edge of a fault reset."""
        edge = word & c.FAULT_RESET and not self._last_word & c.FAULT_RESET
        self._last_word = word
        if self._is(Bench.LIAR):
            return
        if edge:
            self._reset()
            return
        after = c.TRANSITIONS.get((self.state, c.command_of(word)))
        if after is None or (after is _S.OPERATION_ENABLED and not self._may_enable()):
            return
        self._go(after, f"controlword {word:#06x}")

    def _reset(self) -> None:
        self.chain_reset()
        if self.state is _S.FAULT and not self._cause():
            self.values[o.ERROR_CODE] = o.NO_ERROR
            self.slave.emergency(o.NO_ERROR)
            self._go(_S.SWITCH_ON_DISABLED, "fault reset")
        elif self.state is not _S.FAULT:
            self.values[o.ERROR_CODE] = o.NO_ERROR

    def chain_reset(self) -> None:
        """Reset the safety relay, in the one node that it belongs to."""

    def _cause(self) -> bool:
        lasting = (Bench.OVER_TEMPERATURE, Bench.OVERLOAD, Bench.ENCODER)
        return any(self._is(kind) for kind in lasting) or not self.chain.closed

    def trip(self, code: int, why: str) -> None:
        """Take the torque away, say why, and stay so until a reset."""
        if self.state in (_S.FAULT, _S.FAULT_REACTION_ACTIVE):
            return
        self.values[o.ERROR_CODE] = code
        self.slave.emergency(code)
        self._go(_S.FAULT_REACTION_ACTIVE, why)

    # --- time -----------------------------------------------------------------------------------

    def boot(self, now_s: float) -> None:
        """Power up."""
        self._now_s = now_s
        self._last_word = 0
        self._rpdo_s = None
        self._go(_S.SWITCH_ON_DISABLED, "boot")
        self.slave.boot(now_s)

    def receive(self, number: int, data: bytes, now_s: float) -> None:
        """Take a frame that is not a SYNC."""
        if not self._is(Bench.STUCK):
            self.slave.receive(number, data, now_s)

    def sync(self, now_s: float) -> None:
        """Use what came, and answer."""
        if self.slave.nmt is not NmtState.OPERATIONAL:
            return
        if not self._is(Bench.STUCK):
            received = {} if self.slave.silent else self.slave.synchronised()
            if received:
                last_s = self._rpdo_s if self._rpdo_s is not None else now_s - 0.01
                since_s = min(max(now_s - last_s, 0.002), 0.02)
                self.period_s += 0.05 * (since_s - self.period_s)  # without the jitter
                self._rpdo_s = now_s
            for entry, value in received.items():
                if entry is not o.CONTROLWORD:
                    self.take(entry, value)
            if o.CONTROLWORD in received:
                self.control(received[o.CONTROLWORD])
            self._count = self._count + 1 & o.LIFE_COUNT
            self.report()
        self.slave.send_tpdos()

    def report(self) -> None:
        """Write status and measurements into the objects."""
        if not self._is(Bench.LIAR):
            word = c.STATUS[self.state][1]
            word |= c.VOLTAGE_ENABLED if self.chain.released else 0
            self.values[o.STATUSWORD] = word | (c.INTERNAL_LIMIT if self.at_limit else 0)
        flags = (o.HOMED if self.homed else 0) | (o.CALIBRATED if self.calibrated else 0)
        self.values[o.LIFE] = self._count | flags | (o.AT_LIMIT if self.at_limit else 0)
        if not self.mode_stuck:
            self.values[o.MODE_DISPLAY] = self.values[o.MODE]
        self.measure()

    def tick(self, now_s: float) -> None:
        """Let time pass, in steps of at most 2.5 ms, and watch."""
        left = min(now_s - self._now_s, 0.5)
        self._now_s = now_s
        if not self._is(Bench.STUCK):
            self._watch(now_s)
        while left > 0:
            step = min(left, 0.0025)
            self.move(step)
            left -= step
        if self.state is _S.FAULT_REACTION_ACTIVE and self.at_rest:
            self._go(_S.FAULT, "at rest")
        if self.state is _S.QUICK_STOP_ACTIVE and self.at_rest:
            self._go(_S.SWITCH_ON_DISABLED, "at rest")
        self.slave.silent = self._is(Bench.SILENT)
        if not self._is(Bench.STUCK):
            self.slave.tick(now_s)

    def _watch(self, now_s: float) -> None:
        powered = self.state in c.POWERED
        late = self.slave.host_is_late(now_s)
        if late is not None:
            self._account(self.name, "heartbeat_lost", {"age_s": late, "powered": powered})
            if powered:
                self.trip(o.HEARTBEAT_LOST, "heartbeat lost")
            else:
                self.slave.emergency(o.HEARTBEAT_LOST)
        if powered and not self.chain.released:
            self.trip(o.TORQUE_OFF, "emergency stop")
        if powered and self.slave.nmt is not NmtState.OPERATIONAL:
            self.trip(o.HEARTBEAT_LOST, "not operational")
        if self.enabled and self._rpdo_s is not None and now_s - self._rpdo_s > RPDO_LIMIT_S:
            self.trip(o.RPDO_TIMEOUT, "no controlword")
        if self._restart_s is not None and now_s >= self._restart_s:
            self._restart_s = None
            self._go(_S.OPERATION_ENABLED, "restarts by itself")

    # --- the bench --------------------------------------------------------------------------------

    def _is(self, kind: int) -> bool:
        until = self._bench.get(kind)
        if until is not None and self._now_s >= until:
            del self._bench[kind]
            until = None
        return until is not None

    def _written(self, entry: Entry, value: int) -> None:
        if entry is o.CONTROLWORD:
            self.control(value)
        elif entry is o.BENCH_FAULT:
            self._make(value)
        elif entry not in _KEPT:
            self.take(entry, value)

    def _reset_by_nmt(self, command: int) -> None:
        if command == Nmt.RESET_NODE:
            self._bench.clear()
            self._restart_s = None
        self._last_word = 0
        self._rpdo_s = None
        self._go(_S.SWITCH_ON_DISABLED, "reset")

    def _make(self, kind: int) -> None:
        self._bench[kind] = self._now_s + self.values[o.BENCH_DURATION] / 1000
        trips = {
            Bench.OVER_TEMPERATURE: (o.OVER_TEMPERATURE, "motor at 140 degrees"),
            Bench.OVERLOAD: (o.EXCESS_TORQUE, "torque above its limit"),
            Bench.ENCODER: (o.SENSOR, "encoders disagree"),
            Bench.UNKNOWN_CODE: (o.UNHEARD_OF, "unknown"),
            Bench.RESTART: (o.EXCESS_TORQUE, "a trip that ends by itself"),
        }
        if kind in trips:
            self.trip(*trips[kind])
        if kind == Bench.RESTART:
            self._restart_s = self._now_s + 0.1
        elif kind == Bench.SECRET_RESTART:
            self.slave.emergency(o.NO_ERROR)
        elif kind == Bench.ESTOP_OPEN:
            self.chain.open()
        elif kind == Bench.ESTOP_CLOSE:
            self.chain.close()
        elif kind == Bench.REBOOT:
            self.boot(self._now_s)
        elif kind == Bench.LOSE_HOME:
            self.homed = False
        else:
            self.disturb(kind)
