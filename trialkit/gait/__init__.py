"""Gait measures from signals: arrays and frames in, frames out; no study, no files."""

from __future__ import annotations

from trialkit.gait.clearance import Segments, minimum_toe_clearance_m, toe_heights
from trialkit.gait.contacts import OFF_N, STRIKE_N, Contacts, foot_contacts
from trialkit.gait.emg import emg_envelope
from trialkit.gait.imu import Rhythm, pendulum_speed_m_s, walking_rhythm
from trialkit.gait.phase import MeanCurve, cycles, gait_phase, mean_curve
from trialkit.gait.report import GaitReport, Signals, gait_report
from trialkit.gait.strides import DEFINITIONS, Strides, strides, strides_from_telemetry

__all__ = [
    "DEFINITIONS",
    "OFF_N",
    "STRIKE_N",
    "Contacts",
    "GaitReport",
    "MeanCurve",
    "Rhythm",
    "Segments",
    "Signals",
    "Strides",
    "cycles",
    "emg_envelope",
    "foot_contacts",
    "gait_phase",
    "gait_report",
    "mean_curve",
    "minimum_toe_clearance_m",
    "pendulum_speed_m_s",
    "strides",
    "strides_from_telemetry",
    "toe_heights",
    "walking_rhythm",
]
