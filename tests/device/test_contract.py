from __future__ import annotations

import pytest

from device_interface import Device, device_names, load_driver
from device_interface.contract import FAILED, TRANSITIONS, DeviceState
from device_interface.errors import BY_CODE
from trialkit.errors import DeviceError, UnknownName, UsageError

S = DeviceState


def test_every_state_has_a_row_and_every_edge_leads_to_a_state() -> None:
    assert set(TRANSITIONS) == set(S)
    assert all(targets <= set(S) for targets in TRANSITIONS.values())


def test_no_way_leads_from_a_fault_to_motion_without_disarmed() -> None:
    reached, front = set(FAILED), set(FAILED)
    while front:
        front = {t for s in front for t in TRANSITIONS[s] if t is not S.DISARMED} - reached
        reached |= front
    assert not reached & {S.ARMED, S.RUNNING, S.HOLD, S.RAMP_DOWN}


def test_motion_begins_only_by_arming() -> None:
    assert [s for s in S if S.RUNNING in TRANSITIONS[s]] == [S.ARMED, S.HOLD]
    assert [s for s in S if S.ARMED in TRANSITIONS[s]] == [S.DISARMED]


def test_every_powered_state_can_fail() -> None:
    for state in (S.DISARMED, S.ARMED, S.RUNNING, S.HOLD, S.RAMP_DOWN):
        assert {S.FAULT, S.ESTOP_PHYSICAL, S.LINK_LOST} <= TRANSITIONS[state]


def test_drivers_are_found_by_entry_point() -> None:
    assert "simulated" in device_names()
    assert isinstance(load_driver("simulated", {"seed": 3}), Device)
    with pytest.raises(UnknownName, match="lokomat"):
        load_driver("lokomat", {})
    with pytest.raises(UsageError, match="colour"):
        load_driver("simulated", {"colour": "red"})
    with pytest.raises(UsageError, match="ability"):
        load_driver("simulated", {"ability": 12})


def test_error_codes_are_unique_and_cross_the_process_boundary() -> None:
    assert all(issubclass(kind, DeviceError) for kind in BY_CODE.values())
    assert {kind.code for kind in BY_CODE.values()} == set(BY_CODE)


@pytest.mark.parametrize("rate", ["full", "stride"])
def test_the_descriptor_is_complete(rate: str) -> None:
    capability = load_driver("simulated", {"rate": rate}).describe()
    assert capability.schema == "trialkit.device/1"
    assert capability.watchdog_s == 0.25
    assert capability.parameter("speed_m_s") is not None
    assert capability.parameter("elevation") is None
    for parameter in capability.parameters:
        assert parameter.minimum < parameter.maximum
        assert parameter.rate_per_s > 0
        assert parameter.minimum <= parameter.rest <= parameter.maximum
    (stream,) = capability.streams
    names = [channel.name for channel in stream.channels]
    assert len(set(names)) == len(names)
    if rate == "full":
        assert stream.rate_hz == 100
        assert len(names) >= 24
    for channel in stream.channels:
        assert channel.unit
        assert channel.positive
        assert channel.minimum < channel.maximum
        assert channel.follows is None or channel.follows in names
    for end in ("device_state", "fault_code", "watchdog_age_s"):
        assert end in names


def test_support_is_limited_in_kilograms() -> None:
    for weight, expected in ((70, 1.0), (100, 0.85), (135, 0.629)):
        capability = load_driver("simulated", {"weight_kg": weight}).describe()
        parameter = capability.parameter("support_fraction")
        assert parameter is not None
        assert parameter.maximum == pytest.approx(expected, abs=1e-3)
