"""Descriptive tables against pandas, with the zeroes that are said."""

from __future__ import annotations

import pandas as pd
import pytest

from trialkit.analysis.events import ticks
from trialkit.results import Results

Frames = dict[str, pd.DataFrame]


def randomised(frames: Frames, arm: str) -> pd.DataFrame:
    return frames["ADSL"][frames["ADSL"]["TRT01P"] == arm]


def test_baseline(results: Results, frames: Frames) -> None:
    for arm in ("Robotic", "Conventional"):
        own, name = randomised(frames, arm), arm.lower()
        assert results.value(f"baseline.age.{name}.mean") == pytest.approx(own["AGE"].mean())
        assert results.value(f"baseline.age.{name}.sd") == pytest.approx(own["AGE"].std())
        assert results.value(f"baseline.age.{name}.q3") == own["AGE"].quantile(0.75)
        assert results.value(f"baseline.sex_f.{name}.count") == (own["SEX"] == "F").sum()
        rows = frames["ADFT"]
        base = rows[(rows["ABLFL"] == "Y") & rows["USUBJID"].isin(own["USUBJID"])]["AVAL"]
        assert results.value(f"baseline.ws10c.{name}.mean") == pytest.approx(base.mean())
    row = results.get("baseline.ws10c.robotic.mean")
    assert (row["text"], row["unit"]) == ("Comfortable walking speed", "m/s")
    share = results.value("baseline.sex_f.percent") + results.value("baseline.sex_m.percent")
    assert share == pytest.approx(100)


def test_exposure(results: Results, frames: Frames) -> None:
    own = randomised(frames, "Robotic")
    held = frames["ADEX"][frames["ADEX"]["EXSTAT"] != "missed"]
    held = held[held["USUBJID"].isin(own["USUBJID"])]
    people = (own["SAFFL"] == "Y").sum()
    assert results.value("exposure.n.robotic.n_subjects") == people
    mean = results.value("exposure.sessions.robotic.mean")
    assert mean == pytest.approx(len(held) / people)
    assert results.value("exposure.minutes.robotic.mean") == pytest.approx(
        held.groupby("USUBJID")["EXMIN"].sum().mean()
    )
    parts = ("completed", "missed")
    total = sum(results.value(f"exposure.session_{p}.robotic.percent") for p in parts)
    assert total == pytest.approx(100)


def test_adverse_events_say_zero(results: Results, frames: Frames) -> None:
    own = set(randomised(frames, "Robotic").query("SAFFL == 'Y'")["USUBJID"])
    mine = frames["ADAE"][frames["ADAE"]["USUBJID"].isin(own)]
    assert results.value("ae.any.robotic.count") == mine["USUBJID"].nunique()
    assert results.value("ae.any.robotic.n") == len(mine)
    assert results.value("ae.category_skin.robotic.count") == mine["USUBJID"].nunique()
    assert results.value("ae.serious.robotic.count") == 0
    assert results.value("ae.device_deficiency.conventional.percent") == 0


def test_disposition(results: Results, frames: Frames) -> None:
    own = randomised(frames, "Conventional")
    left = (own["EOSSTT"] == "DISCONTINUED").sum()
    assert results.value("ends.discontinued.conventional.count") == left
    assert results.value("ends.discontinued_moved_away.conventional.count") == left
    done = results.value("ends.completed.conventional.percent")
    assert done == pytest.approx(100 * (len(own) - left) / len(own))


@pytest.mark.parametrize("last", [0.4, 3, 29, 84, 182, 389, 1000])
def test_ticks_are_few_and_inside(last: float) -> None:
    found = ticks(last)
    assert found[0] == 0
    assert found[-1] <= last
    assert 5 <= len(found) <= 9
