"""The driver ``canopen``: a controller around what is on the bus."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from device_interface.canopen import objects as o
from device_interface.canopen.bench import Bench, bench_site
from device_interface.canopen.bus import HubControl
from device_interface.canopen.channels import MAX_PATIENT_KG, capability
from device_interface.canopen.cia402 import FAULTED, POWERED, Goal
from device_interface.canopen.drives import GRAVITY
from device_interface.canopen.faults import ON_REQUEST
from device_interface.canopen.joining import find, not_ready, open_bus, set_up
from device_interface.canopen.load import LIMIT
from device_interface.canopen.master import Master, as_text
from device_interface.canopen.plant import BusPlant, Trouble
from device_interface.canopen.remote import RemoteDrive
from device_interface.canopen.site import Site, read_site
from device_interface.canopen.wire import Nmt
from device_interface.contract import FAILED, Block, DeviceState, Setpoints
from device_interface.controller import Controller, Planned
from device_interface.errors import LinkLost, StateRefused
from trialkit.errors import UsageError

SITE_DATE = "as the site says"
_S = DeviceState
_ARM_S = 2.0
_ACKNOWLEDGE_S = 1.5
_REST_S = 0.8
_SETTLE_S = 0.05
_LOOK_S = 0.02
_DEAD_CYCLE_S = 1.0
_UNSERVED_NS = 180_000_000
_BUS_OFF_S = 0.5
_MUTED_S = 0.5
_POWERED_STATES = frozenset({_S.ARMED, _S.RUNNING, _S.HOLD, _S.RAMP_DOWN})


class CanopenGaitTrainer(Controller):
    """A treadmill orthosis of CiA-402 drives on a CAN bus.

    Parameters
    ----------
    site : path, mapping or None
        See `device_interface.canopen.site`. None starts a bus and simulated drives in
        processes of their own, which end with this one.
    weight_kg : float
        Of the patient.
    simulation : mapping
        Settings of the built-in drives, see `device_interface.canopen.drives`; ``site``
        there replaces parts of the built-in site at its top level.
    faults : iterable of mapping
        ``{"at_s": device time, "kind": one of FAULTS}``; simulated drives only.
    calibrated_on : str or None
        Date of the last calibration; without this option that of the site.
    first_seq : int
        Sequence number of the first row.

    Raises
    ------
    UsageError
        If the site has faults, or the bus would be loaded above 70 %.
    """

    def __init__(
        self,
        *,
        site: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        weight_kg: float = 75.0,
        simulation: Mapping[str, Any] | None = None,
        faults: Iterable[Mapping[str, Any]] = (),
        calibrated_on: str | None = SITE_DATE,
        first_seq: int = 0,
    ) -> None:
        if not 10.0 <= weight_kg <= 300.0:
            raise ValueError("weight_kg must be from 10 to 300")
        self._settings = dict(simulation or {})
        if site is not None and self._settings:
            raise ValueError("simulation belongs to the built-in drives; leave out site or it")
        own = {**bench_site(), **self._settings.pop("site", {})}
        self._site: Site = read_site(own if site is None else _as_source(site))
        self._built_in = site is None
        self._weight_kg = weight_kg
        self._bench: Bench | None = None
        self._master: Master | None = None
        self._wrong: list[str] = []
        self._revisions: set[str] = set()
        self._details: dict[str, str] = {}
        self._muted_until_s = 0.0
        if calibrated_on != SITE_DATE:
            self._site = dataclasses.replace(self._site, calibrated_on=calibrated_on)
        described = capability(self._site, weight_kg=weight_kg, firmware="not read yet")
        self._drives = {
            name: RemoteDrive(name, o.KINDS[name], node.id, node.sign, self._site.stale_periods)
            for name, node in self._site.nodes.items()
        }
        self._bus = BusPlant(
            self._drives,
            len(described.streams[0].channels),
            {p.name: p.rate_per_s for p in described.parameters},
            weight_kg * GRAVITY,
            1.0 / self._site.sync_hz,
        )
        super().__init__(described, self._bus, faults=faults, first_seq=first_seq)
        if self._planned and not self._site.simulated:
            raise ValueError("faults to come need a site of simulated drives")

    # --- connection ------------------------------------------------------------------------------

    @property
    def bench(self) -> Bench | None:
        """The processes of the built-in drives, while connected."""
        return self._bench

    @property
    def channel(self) -> str:
        """The bus's channel."""
        return self._bench.channel if self._bench is not None else self._site.channel

    def connect(self, *, lockstep: bool) -> None:
        """Open the bus, find and configure every node, and begin the cyclic exchange.

        Raises
        ------
        UsageError
            In lock-step: a bus has its own time.
        LinkLost
            If there is no bus, or a node does not answer.
        """
        if lockstep:
            raise UsageError(
                "a CAN bus has its own time and cannot run in lock-step.",
                remedy="Run the session in real time.",
            )
        self._need("connect", _S.DISCONNECTED)
        if self._built_in:
            settings = {"weight_kg": self._weight_kg, **self._settings}
            self._bench = Bench(self._site, settings)
        try:
            self._open(self.channel)
        except BaseException:
            self._shut()
            raise
        super().connect(lockstep=False)

    def _open(self, channel: str) -> None:
        site = self._site
        self._master = master = Master(
            open_bus(site, channel),
            self._drives,
            host_id=site.host_id,
            period_s=1.0 / site.sync_hz,
            on_cycle=self._cycle,
            on_trouble=self._bus.trouble,
        )
        master.start()
        bench = self._bench
        find(master, self._drives.values(), lambda: bench.check() if bench is not None else None)
        self._wrong.clear()
        for drive in self._drives.values():
            self._set_up(drive)
        master.manage(Nmt.START)
        self._begin(master)

    def _set_up(self, drive: RemoteDrive) -> None:
        revision, wrong = set_up(self._on_bus(), self._site, drive)
        self._revisions.add(revision)
        self._wrong += [text for text in wrong if text not in self._wrong]

    def _begin(self, master: Master) -> None:
        """Begin the cyclic exchange, and wait until every node takes part."""
        for drive in self._drives.values():
            drive.begin()
        master.cycling = True
        if not self._until(lambda: all(d.believed for d in self._drives.values()), _ARM_S * 2):
            silent = [d.name for d in self._drives.values() if not d.believed]
            raise LinkLost(
                f"no PDOs from {', '.join(silent)}.", remedy="Look at the drives' PDO mapping."
            )
        self._bus.begin()
        self._capability = dataclasses.replace(
            self._capability, firmware=f"revision {', '.join(sorted(self._revisions))}"
        )

    def _on_bus(self) -> Master:
        if self._master is None:
            raise StateRefused("the device is not connected.", remedy="Connect it first.")
        return self._master

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for `condition` while the heartbeat goes on; return whether it came true."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            if self._master is not None:
                self._master.heartbeat()
            time.sleep(0.005)
        return True

    def close(self) -> None:
        """Stop, wait for rest, leave the bus, end the processes of the bench."""
        super().close()
        if self._master is not None and self._master.alive:
            self._until(lambda: not self._bus.moving, _REST_S)
            self._master.manage(Nmt.PRE_OPERATIONAL)
        self._shut()

    def _shut(self) -> None:
        if self._master is not None:
            self._master.close()
            self._master = None
        if self._bench is not None:
            self._bench.close()
            self._bench = None

    # --- commands --------------------------------------------------------------------------------

    def obstacles(self) -> Sequence[str]:
        """Return what of the bus, the nodes and the patient keeps the device from arming."""
        problems = list(self._wrong)
        if self._weight_kg > MAX_PATIENT_KG:
            problems.append(f"the patient is heavier than {MAX_PATIENT_KG:g} kg")
        if self._master is None:
            return [*problems, "the device is not connected"]
        master = self._master
        measured = master.bits_per_s / self._site.bitrate
        if measured > LIMIT:
            problems.append(f"the bus carries {measured:.0%}, above {LIMIT:.0%}")
        if master.bus_fault is not None:
            problems.append(master.bus_fault)
        if self._bus.estop() is not None:
            problems.append("the emergency stop is pressed, unplugged or not acknowledged")
        return [*problems, *not_ready(self._drives)]

    def arm(self) -> int:
        """Arm: lead every drive to operation enabled, with no torque and the belt at rest."""
        self._need("arm", _S.DISARMED)
        self._take_troubles()
        self._need("arm", _S.DISARMED)
        if problems := self.preflight():
            raise StateRefused(
                f"the device cannot be armed: {'; '.join(problems)}.", remedy="Clear these first."
            )
        self._bus.start_from_here()
        self._bus.want(Goal.ENABLED)
        done = self._until(self._armed_or_not, _ARM_S)
        late = [d.name for d in self._drives.values() if not d.enabled]
        if not done or late or self._bus.troubles:
            self._bus.remove_torque()
            self._bus.want(Goal.OFF)
            raise StateRefused(
                f"these drives were not enabled: {', '.join(late) or 'none'}.",
                remedy="Look at preflight and at the faults.",
            )
        return super().arm()

    def _armed_or_not(self) -> bool:
        every = all(drive.enabled for drive in self._drives.values())
        return every or bool(self._bus.troubles)

    def apply(self, setpoints: Setpoints) -> int:
        """Take targets for the next cycle; a fault that the bus has shown by now refuses them."""
        self._take_troubles()
        super().apply(setpoints)
        self._due()
        return self._bus.now_ns() + round(1e9 / self._site.sync_hz)

    def _go(self, state: DeviceState) -> None:
        before = self._state
        super()._go(state)
        if state is _S.DISARMED and before in _POWERED_STATES:
            self._bus.release()

    def keepalive(self, number: int) -> None:
        """Say that the host lives: a new number, and only that, sends our heartbeat."""
        fresh = number > self._alive_number
        super().keepalive(number)
        if fresh and self._master is not None and time.monotonic() > self._muted_until_s:
            self._master.heartbeat()

    def acknowledge(self) -> None:
        """Reset the faults whose cause is gone; leads to DISARMED, and enables nothing.

        Raises
        ------
        StateRefused
            If the belt moves, or a cause is still there.
        """
        self._take_troubles()
        if self._state not in FAILED or self._state is _S.ESTOP_PHYSICAL:
            super().acknowledge()
            return
        master = self._on_bus()
        if self._drives["belt"].believed and self._bus.moving:
            raise StateRefused("the belt still moves.", remedy="Wait until it stands.")
        try:
            self._repair(master)
        except LinkLost as error:
            raise StateRefused(
                f"the cause is still there: {as_text(error)}.", remedy="Clear it first."
            ) from error
        self._bus.want(Goal.RESET)
        self._until(lambda: not self._causes(), _ACKNOWLEDGE_S)
        causes = self._causes()
        self._bus.want(Goal.OFF)
        if causes:
            raise StateRefused(
                f"the cause is still there: {'; '.join(causes)}.", remedy="Clear it first."
            )
        time.sleep(_SETTLE_S)  # the drives' last emergency messages are of the reset
        self._bus.forget_troubles()
        super().acknowledge()
        self._details.clear()

    def _repair(self, master: Master) -> None:
        """Set up anew the nodes that have started anew."""
        drives = self._drives.values()
        self._until(lambda: all(d.believed or d.booted for d in drives), _ACKNOWLEDGE_S)
        for drive in drives:
            if drive.booted:
                self._set_up(drive)
                master.manage(Nmt.START, drive.node_id)

    def _causes(self) -> list[str]:
        causes = [
            f"{d.name} is {d.state.name if d.believed else 'not heard'}"
            for d in self._drives.values()
            if d.state in FAULTED | POWERED or not d.believed
        ]
        if self._bus.estop() is not None:
            causes.append("the emergency stop is pressed or unplugged")
        fault = self._on_bus().bus_fault
        return [*causes, fault] if fault is not None else causes

    def _text(self, kind: str) -> str:
        where = self._details.get(kind)
        return f"{super()._text(kind)} ({where})" if where else super()._text(kind)

    # --- time ------------------------------------------------------------------------------------

    def advance(self, duration_ns: int) -> tuple[int, Sequence[Block]]:
        """Return what came in `duration_ns`; time is the bus's own, and this waits for it."""
        if self._master is None:
            return super().advance(duration_ns)
        failed = self._state in FAILED
        self._take_troubles()
        while (ahead_ns := self._now_ns + duration_ns - self._bus.now_ns()) > 0:
            if self._state in FAILED and not failed:
                duration_ns -= ahead_ns
                break
            time.sleep(min(ahead_ns / 1e9, _LOOK_S))
            self._take_troubles()
        return super().advance(max(duration_ns, 0))

    def _cycle(self) -> None:
        """Do what is due in a cycle; in the bus's thread."""
        master = self._on_bus()
        self._bus.row_tail = (master.lateness_s, master.bits_per_s / self._site.bitrate)
        self._bus.cycle()

    def _take_troubles(self) -> None:
        """Latch what the bus's thread has seen, and whether it is still there."""
        master = self._master
        if master is None or self._state is _S.DISCONNECTED:
            return
        if not master.alive:
            self._bus.trouble("cycle_dead", "driver", repr(master.death))
            master.send_rpdos()  # nobody else sends any more
            master.send_sync()
            master.start()  # to see the drives come to rest; the fault stays
        elif time.monotonic() - master.cycled_s > _DEAD_CYCLE_S:
            self._bus.trouble("cycle_dead", "driver", "the exchange stands still")
        self._watch_estop()
        while self._bus.troubles:
            self._latch(self._bus.troubles.popleft())

    def _watch_estop(self) -> None:
        seen = self._bus.estop()
        if seen is not None and self._state not in (_S.ESTOP_PHYSICAL, _S.ESTOP_LATCHED):
            self._fail("estop", _S.ESTOP_PHYSICAL)
        elif seen == "pressed" and self._state is _S.ESTOP_LATCHED:
            self._go(_S.ESTOP_PHYSICAL)
        heard = self._drives["belt"].believed
        if seen != "pressed" and heard and self._state is _S.ESTOP_PHYSICAL:
            self._go(_S.ESTOP_LATCHED)

    def _latch(self, trouble: Trouble) -> None:
        kind = trouble.kind
        self._details.setdefault(kind, f"{trouble.node}: {trouble.text}")
        if self._holds(kind):
            if self._state is _S.RUNNING:
                self._codes.append(kind)
                self._enter_hold()
            return
        drive = self._drives.get(trouble.node)
        if kind == "node_lies" and drive is not None:  # it does not obey its controlword
            self._on_bus().manage(Nmt.RESET_NODE, drive.node_id)
        if self._state in FAILED:
            if kind not in self._codes:  # telemetry goes on to carry the first one
                self._codes.insert(0, kind)
            return
        unserved = self._bus.now_ns() - self._alive_ns > _UNSERVED_NS
        lost = kind == "watchdog" and unserved and self._state in _POWERED_STATES
        self._fail(kind, _S.LINK_LOST if lost else _S.FAULT)

    # --- bench -----------------------------------------------------------------------------------

    def inject(self, kind: str) -> None:
        """Make a fault happen in simulated drives, see `faults.ON_REQUEST`.

        Raises
        ------
        UsageError
            If there is no such fault, or the drives are not simulated.
        """
        if kind == "estop_unplugged":  # the same open contact as the stop that is pressed
            self._make(Planned(self._now_ns / 1e9, kind))
        else:
            super().inject(kind)

    def _make(self, planned: Planned) -> None:
        kind = planned.kind
        fault = self._capability.fault(kind)
        if fault is not None and fault.reaction == "telemetry":
            super()._make(planned)
            return
        if not self._site.simulated:
            raise UsageError(
                "faults cannot be made to happen in these drives.",
                remedy="Make the fault by hand, or use simulated drives.",
            )
        master = self._on_bus()
        if kind == "watchdog":
            self._muted_until_s = time.monotonic() + _MUTED_S
        elif kind == "cycle_dead":
            master.kill = True
        elif kind == "bus_off":
            hub = HubControl(self.channel)
            hub.bus_off("driver", _BUS_OFF_S)
            hub.close()
        else:
            node, number, milliseconds = ON_REQUEST[kind]
            master.write(self._drives[node], o.BENCH_DURATION, milliseconds)
            master.write(self._drives[node], o.BENCH_FAULT, number)
        if kind in ("estop", "estop_unplugged"):
            self._until(lambda: self._bus.estop() == "pressed", _ARM_S)
            self._take_troubles()


def _as_source(site: str | os.PathLike[str] | Mapping[str, Any]) -> str | Mapping[str, Any]:
    return site if isinstance(site, Mapping) else os.fspath(site)
