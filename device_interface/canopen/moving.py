"""What the simulated drives move: a joint with a leg in it, a belt, a harness."""

from __future__ import annotations

from dataclasses import dataclass

from device_interface.canopen import objects as o
from device_interface.canopen.cia402 import DriveState
from device_interface.canopen.motor import Account, Drive, SafetyChain
from device_interface.canopen.objects import Bench
from device_interface.canopen.slave import Send
from device_interface.canopen.wire import Entry

_S = DriveState
RATED_NM = 100.0
ROBOT_SHARE = 0.25
"""Of the inertia about a joint, which is leg and orthosis: a start value."""
SPASM_NM = 90.0
PUSH_NM = 150.0
PUSH_NM_S = 250.0
MAX_SPEED = 1.2
QUICK_STOP = 1.2
BELT_ACCELERATION = 0.5
BELT_BRAKE = 1.5
MAX_LOAD_N = 1500.0
LOAD_RATE = 120.0
LOWERING_RATE = 40.0


@dataclass(frozen=True)
class JointLimits:
    """A joint: positions in rad, speed in rad/s, torque in N.m; start values.

    `stiffness` (N.m/rad) is that of the full share, `inertia` (kg.m2) that about the joint.
    """

    low: float
    high: float
    speed: float
    torque: float
    stiffness: float
    inertia: float


JOINT_LIMITS = {
    "hip": JointLimits(-0.6, 1.4, 8.0, 80.0, 180.0, 0.40),
    "knee": JointLimits(-0.1, 1.6, 14.0, 60.0, 150.0, 0.15),
    "ankle": JointLimits(-0.6, 0.5, 10.0, 40.0, 100.0, 0.05),
}


class JointDrive(Drive):
    """An impedance toward the target position, scaled by the share, and a leg that has its own.

    torque = share (K (target - q) + B (target' - q')), cut to the torque limit, to nothing
    above the speed limit, and at a position limit to what points inward.

    Parameters
    ----------
    name, node_id, serial, chain, send, account
        See `Drive`.
    sign : int
        -1 where the drive counts extension as positive.
    ability : float
        Share of the reference that the leg follows by itself.
    """

    def __init__(
        self,
        name: str,
        node_id: int,
        serial: int,
        chain: SafetyChain,
        send: Send,
        account: Account,
        *,
        sign: int = 1,
        ability: float = 0.75,
    ) -> None:
        limits = JOINT_LIMITS[name.split("_")[0]]
        low, high = sorted((sign * limits.low, sign * limits.high))
        reach = (round(low / o.POSITION_UNIT), round(high / o.POSITION_UNIT))
        objects = {
            o.POSITION: 0, o.VELOCITY: 0, o.TORQUE: 0, o.INTERACTION: 0, o.SHARE: 0,
            o.TARGET_POSITION: 0, o.POSITION_MIN: reach[0], o.POSITION_MAX: reach[1],
            o.RATED_TORQUE: round(RATED_NM * 1000),
            o.MAX_TORQUE: round(limits.torque / RATED_NM * 1000),
            o.MAX_VELOCITY: round(limits.speed / o.VELOCITY_UNIT),
        }  # fmt: skip
        bounds = {o.TARGET_POSITION: reach, o.SHARE: (0, 10_000)}
        mode = o.MODE_IMPEDANCE
        super().__init__(name, node_id, serial, chain, objects, bounds, mode, send, account)
        self.limits = limits
        self._low, self._high = low, high
        self._ability = ability
        self.q = self.v = self.torque = self.interaction = 0.0
        self._target = self._target_v = 0.0
        self._share = 0.0
        self._spasm = self._push = 0.0

    @property
    def at_rest(self) -> bool:
        """True where the drive makes no torque."""
        return self.torque == 0.0

    def take(self, entry: Entry, value: int) -> None:
        """Take target or share."""
        if entry is o.TARGET_POSITION:
            wanted = value * o.POSITION_UNIT
            cut = min(max(wanted, self._low), self._high)
            self.at_limit = cut != wanted
            self._target_v = (cut - self._target) / self.period_s
            self._target = cut
        elif entry is o.SHARE:
            self._share = min(max(value * o.SHARE_UNIT, 0.0), 1.0)

    def wanted_torque(self) -> float:
        """Return the torque that the control law and the limits allow now, in N.m."""
        k = self.limits.stiffness
        tau = k * (self._target - self.q) + 0.04 * k * (self._target_v - self.v)
        tau = min(max(self._share * tau, -self.limits.torque), self.limits.torque)
        if abs(self.v) > self.limits.speed and tau * self.v > 0:
            tau = 0.0
        if (self.q >= self._high and tau > 0) or (self.q <= self._low and tau < 0):
            tau = 0.0
        return tau

    def move(self, dt_s: float) -> None:
        """Let drive and leg move."""
        self.torque = self.wanted_torque() if self.enabled else 0.0
        slips = self._is(Bench.SLIP)
        self.torque = 0.0 if slips else self.torque
        own = 0.0 if slips else self._ability
        leg = 40.0 * (own * self._target - self.q) + 3.0 * (own * self._target_v - self.v)
        leg += self._spasm if self._is(Bench.SPASM) else 0.0
        self._push = self._push + PUSH_NM_S * dt_s if self._is(Bench.PUSH) else 0.0
        leg += min(self._push, PUSH_NM)
        acceleration = (self.torque + leg) / self.limits.inertia
        self.v += acceleration * dt_s
        self.q += self.v * dt_s
        if not self._low <= self.q <= self._high:  # the mechanical stop
            self.q = min(max(self.q, self._low - 0.02), self._high + 0.02)
            self.v = 0.0
        self.interaction = self.torque - ROBOT_SHARE * self.limits.inertia * acceleration
        if abs(self.v) > 2.0 * self.limits.speed:
            self.trip(o.OVER_SPEED, "speed above its limit")

    def measure(self) -> None:
        """Write what is measured."""
        self.values[o.POSITION] = round(self.q / o.POSITION_UNIT)
        self.values[o.VELOCITY] = round(self.v / o.VELOCITY_UNIT)
        self.values[o.TORQUE] = round(self.torque / RATED_NM / o.TORQUE_UNIT)
        felt = min(max(self.interaction / o.INTERACTION_UNIT, -32000), 32000)
        self.values[o.INTERACTION] = round(felt)

    def disturb(self, kind: int) -> None:
        """Let the leg push toward the farther end for as long as the spasm lasts."""
        if kind == Bench.SPASM:
            middle = 0.5 * (self._low + self._high)
            self._spasm = SPASM_NM if self.q < middle else -SPASM_NM


class World:
    """What the nodes share: the weight on the belt."""

    def __init__(self, weight_n: float) -> None:
        self.weight_n = weight_n
        self.load_n = 0.0
        self.hips: dict[str, JointDrive] = {}

    def ground_reaction_n(self) -> tuple[float, float]:
        """Return the reaction left and right: the leg whose hip extends bears the weight."""
        left, right = (self.hips[side].v for side in ("hip_l", "hip_r"))
        share = min(max(0.5 + 0.8 * (right - left), 0.0), 1.0)
        borne = max(self.weight_n - self.load_n, 0.0)
        return borne * share, borne * (1.0 - share)


class BeltDrive(Drive):
    """The belt, which also reads the emergency stop; see `Drive` for the parameters."""

    def __init__(
        self,
        name: str,
        node_id: int,
        serial: int,
        chain: SafetyChain,
        send: Send,
        account: Account,
        world: World,
    ) -> None:
        fastest = round(MAX_SPEED / o.VELOCITY_UNIT)
        objects = {
            o.VELOCITY: 0, o.TARGET_VELOCITY: 0, o.DIGITAL_INPUTS: 0, o.GROUND_L: 0, o.GROUND_R: 0,
            o.MAX_VELOCITY: fastest, o.QUICK_STOP_DECELERATION: round(QUICK_STOP / 1e-5),
            o.MAX_ACCELERATION: round(BELT_ACCELERATION / 1e-5),
        }  # fmt: skip
        bounds = {o.TARGET_VELOCITY: (0, fastest)}
        mode = o.MODE_VELOCITY
        super().__init__(name, node_id, serial, chain, objects, bounds, mode, send, account)
        self._world = world
        self.v = 0.0
        self._target = 0.0

    @property
    def at_rest(self) -> bool:
        """True where the belt stands."""
        return self.v < 0.01

    def take(self, entry: Entry, value: int) -> None:
        """Take the target."""
        if entry is o.TARGET_VELOCITY:
            wanted = value * o.VELOCITY_UNIT
            self._target = min(max(wanted, 0.0), MAX_SPEED)
            self.at_limit = self._target != wanted

    def move(self, dt_s: float) -> None:
        """Follow the target, or stop."""
        if self.enabled:
            down = QUICK_STOP * dt_s
            self.v += min(max(self._target - self.v, -down), BELT_ACCELERATION * dt_s)
        else:
            quick = self.state in (_S.QUICK_STOP_ACTIVE, _S.FAULT_REACTION_ACTIVE)
            self.v = max(0.0, self.v - (QUICK_STOP if quick else BELT_BRAKE) * dt_s)
            self._target = 0.0

    def measure(self) -> None:
        """Write speed, ground reaction and the emergency stop's inputs."""
        self.values[o.VELOCITY] = round(self.v / o.VELOCITY_UNIT)
        left, right = self._world.ground_reaction_n()
        self.values[o.GROUND_L], self.values[o.GROUND_R] = round(left), round(right)
        inputs = o.CONTACT_CLOSED if self.chain.closed else 0
        self.values[o.DIGITAL_INPUTS] = inputs | (o.CHAIN_RELEASED if self.chain.released else 0)

    def chain_reset(self) -> None:
        """Reset the safety relay."""
        self.chain.reset()


class SupportDrive(Drive):
    """The harness: a brake holds its load without power; ready to switch on, it is let down.

    See `Drive` for the parameters.
    """

    def __init__(
        self,
        name: str,
        node_id: int,
        serial: int,
        chain: SafetyChain,
        send: Send,
        account: Account,
        world: World,
    ) -> None:
        most = round(min(MAX_LOAD_N, world.weight_n) / o.LOAD_UNIT)
        objects = {o.LOAD: 0, o.TARGET_LOAD: 0}
        bounds = {o.TARGET_LOAD: (0, most)}
        super().__init__(name, node_id, serial, chain, objects, bounds, o.MODE_LOAD, send, account)
        self._world = world
        self._most = most * o.LOAD_UNIT
        self._target = 0.0

    def take(self, entry: Entry, value: int) -> None:
        """Take the target."""
        if entry is o.TARGET_LOAD:
            wanted = value * o.LOAD_UNIT
            self._target = min(max(wanted, 0.0), self._most)
            self.at_limit = self._target != wanted

    def move(self, dt_s: float) -> None:
        """Follow the target, let down, or hold."""
        load = self._world.load_n
        if self.enabled:
            reach = LOAD_RATE * dt_s
            load += min(max(self._target - load, -reach), reach)
        elif self.state is _S.READY_TO_SWITCH_ON:
            load = max(0.0, load - LOWERING_RATE * dt_s)
        self._world.load_n = load

    def measure(self) -> None:
        """Write the load."""
        self.values[o.LOAD] = round(self._world.load_n / o.LOAD_UNIT)
