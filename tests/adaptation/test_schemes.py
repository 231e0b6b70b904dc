from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit._canonical import canonical_json
from trialkit.adaptation import (
    SCHEMES,
    SOURCES,
    find_scheme,
    forgetting_factor,
    model_hash,
    steady_support,
)
from trialkit.errors import UnknownName, UsageError

number = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from(["current", "tracking_error_rad", "lesser_load_share", "rest_s", "measure"])
BOUT = {"current": 0.6, "tracking_error_rad": 0.08, "lesser_load_share": 0.35, "rest_s": 60.0}


@pytest.mark.parametrize("name", sorted(SCHEMES))
@given(data=st.data())
def test_no_finite_input_raises_or_escapes(name: str, data: st.DataObject) -> None:
    scheme = SCHEMES[name]
    options = data.draw(st.dictionaries(st.sampled_from([*scheme.options, "x"]), number))
    state = data.draw(
        st.dictionaries(st.sampled_from(["proposed", "level", "slope", "p_ll", "p_ff"]), number)
    )
    for _ in range(4):
        inputs = data.draw(st.dictionaries(NAMES, number))
        before = dict(state), dict(inputs), dict(options)
        state, proposed = scheme.propose(state, inputs, options)
        assert (dict(inputs), dict(options)) == before[1:]
        assert math.isfinite(proposed)
        canonical_json(state)  # finite all through, and plain
        assert all(isinstance(v, float) for v in state.values())


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_state_goes_through_json_to_the_last_bit(name: str) -> None:
    """What a record keeps is enough to obtain every decision again."""
    scheme = SCHEMES[name]
    kept: dict[str, float] = {}
    stored = "{}"
    for i in range(50):
        bout = {**BOUT, "tracking_error_rad": 0.05 + 0.03 * math.sin(i), "current": 0.6 + 0.001 * i}
        kept, here = scheme.propose(kept, bout, {})
        there_state, there = scheme.propose(json.loads(stored), bout, {})
        stored = canonical_json(there_state)
        assert here == there
        assert canonical_json(kept) == stored


@pytest.mark.parametrize("name", sorted(SCHEMES))
@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_missing_measure_changes_nothing(name: str, value: float | None) -> None:
    scheme = SCHEMES[name]
    state, _ = scheme.propose({}, BOUT, {})
    lost = {k: v for k, v in BOUT.items() if k not in scheme.measures}
    if value is not None:
        lost |= dict.fromkeys(scheme.measures, value)
    after, proposed = scheme.propose(state, lost, {})
    assert proposed == BOUT["current"]
    assert {k: v for k, v in after.items() if k != "proposed"} == {
        k: v for k, v in state.items() if k != "proposed"
    }


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_without_current_it_goes_on_from_its_own_proposal(name: str) -> None:
    scheme = SCHEMES[name]
    state, first = scheme.propose({}, BOUT, {})
    alone = {k: v for k, v in BOUT.items() if k != "current"}
    assert scheme.propose(state, alone, {}) == scheme.propose(state, {**BOUT, "current": first}, {})


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_a_protocol_may_name_another_measure(name: str) -> None:
    scheme = SCHEMES[name]
    state, _ = scheme.propose({}, BOUT, {})
    usual = scheme.measures[0]
    plain = scheme.propose(state, {**BOUT, usual: 0.2}, {})
    named = scheme.propose(state, {**BOUT, "measure": 0.2}, {})
    assert named == plain
    assert scheme.propose(state, {**BOUT, "measure": math.nan}, {})[1] == BOUT["current"]


def test_forgetting_factor_is_the_law() -> None:
    scheme = SCHEMES["forgetting_factor"]
    options = {"forget": 0.9, "gain": 0.5}
    _, proposed = scheme.propose({}, BOUT, options)
    assert proposed == forgetting_factor(0.6, 0.08, **options)
    value, state = 0.0, {}
    for _ in range(500):
        state, value = scheme.propose(
            state, {"current": value, "tracking_error_rad": 0.08}, options
        )
    assert value == pytest.approx(steady_support(0.08, **options))
    _, eased = scheme.propose({}, BOUT, {**options, "dead_band": 0.1})
    assert eased == 0.9 * 0.6


def test_adaptive_support_is_the_law() -> None:
    scheme = SCHEMES["adaptive_support"]
    options = {"target_low": 0.40, "target_high": 0.50, "gain": 0.2}
    proposed = [
        scheme.propose({}, {"current": 0.3, "lesser_load_share": share}, options)[1]
        for share in (0.30, 0.45, 0.55)
    ]
    assert proposed == [pytest.approx(0.32), 0.3, pytest.approx(0.29)]


def walk(abilities: list[tuple[float, float]], options: dict[str, float]) -> list[float]:
    """Guidance after each bout of (tracking error, rest before), every proposal accepted."""
    scheme, state, now = SCHEMES["daily_state"], {}, 0.6
    course = []
    for error, rest in abilities:
        state, now = scheme.propose(
            state, {"current": now, "tracking_error_rad": error, "rest_s": rest}, options
        )
        course.append(now)
    return course


def test_daily_state_eases_when_stronger() -> None:
    errors = [0.10] * 10 + [0.10 - 0.001 * i for i in range(40)]
    course = walk([(e, 180.0) for e in errors], {"ease": 3.0, "add": 3.0})
    assert course[-1] < 0.55
    assert course[9] == pytest.approx(0.6, abs=0.01)


def test_daily_state_adds_when_tired_and_takes_it_back() -> None:
    rested = [(0.10, 600.0)] * 15
    tiring = [(0.10 + 0.01 * i, 0.0) for i in range(1, 5)]
    course = walk([*rested, *tiring, (0.10, 86400.0), (0.10, 600.0)], {"ease": 3.0, "add": 3.0})
    assert course[18] > course[14] + 0.03
    assert course[-1] < course[18] - 0.02


def test_daily_state_keeps_what_a_person_set() -> None:
    scheme = SCHEMES["daily_state"]
    state: dict[str, float] = {}
    for _ in range(20):
        state, _ = scheme.propose(state, {**BOUT, "current": 0.6}, {})
    _, proposed = scheme.propose(state, {**BOUT, "current": 0.9}, {})
    assert proposed == pytest.approx(0.9, abs=1e-3)


@given(st.floats(0.01, 0.3), st.floats(0.1, 20), st.floats(0.1, 20))
def test_a_first_bout_moves_nothing(error: float, ease: float, add: float) -> None:
    _, proposed = SCHEMES["daily_state"].propose(
        {}, {"current": 0.5, "tracking_error_rad": error}, {"ease": ease, "add": add}
    )
    assert proposed == 0.5


def test_daily_state_is_stable_in_the_loop() -> None:
    """Less guidance makes more error; the loop must not swing."""
    scheme, state, now, ability = SCHEMES["daily_state"], {}, 0.8, 0.12
    course = []
    for _ in range(300):
        error = ability * (1.0 - 0.7 * now)
        state, wanted = scheme.propose(
            state, {"current": now, "tracking_error_rad": error, "rest_s": 180.0}, {}
        )
        now = min(max(wanted, 0.2), 1.0)
        ability = max(0.05, ability - 0.0003)
        course.append(now)
    swings = [abs(b - a) for a, b in pairwise(course[100:])]
    assert max(swings) < 0.01
    assert course[-1] < 0.75


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_hash_tells_the_options_apart(name: str) -> None:
    scheme = SCHEMES[name]
    base = scheme.resolve({})
    assert model_hash(name, {}) == model_hash(name, base)
    seen = {model_hash(name, {})}
    for option, value in base.items():
        seen.add(model_hash(name, {option: value + 1e-9}))
    assert len(seen) == 1 + len(base)
    assert all(len(h) == 64 for h in seen)


def test_a_gain_moved_by_1e_9_moves_the_decision() -> None:
    for name, option in (("forgetting_factor", "gain"), ("adaptive_support", "gain")):
        scheme = SCHEMES[name]
        value = scheme.options[option].default
        one = scheme.propose({}, BOUT, {option: value})
        assert one != scheme.propose({}, BOUT, {option: value + 1e-9})
    scheme = SCHEMES["daily_state"]
    state, _ = scheme.propose({}, BOUT, {})
    later = {**BOUT, "tracking_error_rad": 0.05}
    assert scheme.propose(state, later, {"ease": 3.0}) != scheme.propose(
        state, later, {"ease": 3.0 + 1e-9}
    )


def test_names_and_options_are_checked() -> None:
    with pytest.raises(UnknownName, match="forgetting_factor"):
        find_scheme("forgeting")
    with pytest.raises(UsageError, match="no option"):
        model_hash("forgetting_factor", {"gian": 1.0})
    for value in (math.nan, math.inf, -1.0):
        with pytest.raises(UsageError):
            model_hash("forgetting_factor", {"gain": value})


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_each_scheme_is_whole(name: str) -> None:
    scheme = SCHEMES[name]
    assert scheme.name == name
    assert scheme.source in SOURCES
    assert scheme.measures
    assert set(scheme.settings) <= {"speed_m_s", "support_fraction", "guidance"}
    for option in scheme.options.values():
        assert option.minimum <= option.default <= option.maximum
        assert option.meaning


def test_sources_from_memory_say_so() -> None:
    assert SOURCES
    assert not any(source.verified for source in SOURCES.values())
    assert all(source.citation and source.ours for source in SOURCES.values())


def test_the_schemes_load_without_pandas_and_scipy() -> None:
    program = (
        "import sys\nfrom trialkit.adaptation import SCHEMES, next_settings\n"
        "assert SCHEMES['daily_state'].propose({}, {}, {})\n"
        "heavy = {'pandas', 'scipy', 'statsmodels'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
