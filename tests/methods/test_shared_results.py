"""What the results of methods share."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import ancova, cox, logrank, proportions, rmst
from trialkit.methods._columns import place_of
from trialkit.methods._tables import as_text, stacked

ARMS = ["A", "B"] * 6
TRIAL = pd.DataFrame(
    {
        "arm": ARMS,
        "age": [50.0, 61.0, 47.0, 55.0, 66.0, 58.0, 44.0, 52.0, 63.0, 49.0, 57.0, 60.0],
        "y": [3.1, 2.0, 2.7, 1.4, 3.9, 2.2, 2.5, 1.1, 3.3, 1.9, 3.0, 2.4],
        "cured": [1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0],
        "time": [1.0, 2.0, 3.0, 1.5, 5.0, 2.5, 4.0, 3.5, 6.0, 0.5, 2.2, 4.4],
        "event": [1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1],
    }
)
NOBODY = TRIAL.assign(event=0)


def test_converged_is_the_absence_of_a_reason() -> None:
    done = logrank(TRIAL, time="time", event="event", group="arm")
    failed = logrank(NOBODY, time="time", event="event", group="arm")
    assert (done.converged, done.failed, done.n_subjects) == (True, None, 12)
    assert not failed.converged
    assert failed.summary().splitlines()[-1] == f"failed: {failed.failed}"
    assert failed.table.empty


@pytest.mark.parametrize(
    "result",
    [
        ancova("y ~ age + arm", TRIAL),
        proportions(TRIAL, response="cured", group="arm", reference="A"),
        rmst(TRIAL, time="time", event="event", group="arm"),
    ],
    ids=["ancova", "proportions", "rmst"],
)
def test_a_result_survives_pickling_and_stays_frozen(result: object) -> None:
    again = pickle.loads(pickle.dumps(result))
    assert repr(again) == repr(result)
    assert again.summary() == result.summary()  # type: ignore[attr-defined]
    assert copy.copy(result) == result
    with pytest.raises(AttributeError, match="cannot assign"):
        result.failed = "no"  # type: ignore[attr-defined]


def test_fields_of_a_linear_fit_keep_their_order() -> None:
    fit = ancova("y ~ age + arm", TRIAL)
    assert list(vars(fit))[:6] == ["formula", "failed", "n", "n_subjects", "n_missing", "variant"]
    assert repr(fit).startswith("AncovaFit(formula='y ~ age + arm', failed=None, n=12,")


def test_a_ratio_of_a_factor_needs_its_reference() -> None:
    fit = cox("~ age + arm", TRIAL, time="time", event="event")
    with pytest.raises(UsageError, match="A hazard ratio for 'arm' needs a reference level") as no:
        fit.hazard_ratio("arm")
    assert "['age', 'arm[T.B]']" in str(no.value)
    log = fit.coefficients["estimate"].to_numpy()[:1]
    assert fit.hazard_ratio("age")["estimate"].tolist() == np.exp(log).tolist()


def test_a_level_that_is_not_there_is_refused() -> None:
    assert place_of("b", ("a", "b"), "arm") == 1
    with pytest.raises(UsageError, match="'c' is not a level of arm") as no:
        place_of("c", ("a", "b"), "arm")
    assert "Levels are: 'a', 'b'." in str(no.value)


def test_tables_as_text() -> None:
    table = pd.DataFrame({"x": [1.23456789]})
    assert as_text(table).split() == ["x", "1.2346"]
    assert as_text(table, 3).split() == ["x", "1.23"]
    assert stacked(["head", "note"], [table, table.iloc[:0]]) == f"head\nnote\n\n{as_text(table)}"
