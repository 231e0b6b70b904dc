"""Virtual people: the figures that they were made from come back, and nothing else leaks in."""

from __future__ import annotations

import dataclasses
import statistics

import pytest

from trialkit.protocol.forms import check_items, load_forms, score
from trialkit.simulate.frames import people
from trialkit.simulate.patients import Course, VisitOutcome, course, falls_rate, person
from trialkit.simulate.training import adverse_events, training_days
from trialkit.simulate.worlds import COHORT, POST, WORLDS, World, cholesky, find_world

N = 1500
TOOLS = load_forms()


@pytest.fixture(scope="module")
def crowd() -> list[tuple[object, Course, Course]]:
    """Person, conventional course, robot course in the world of benefit."""
    found = []
    for number in range(N):
        someone = person(7, number)
        found.append((someone, course(someone, None), course(someone, WORLDS["benefit"])))
    return found


def value(outcome: VisitOutcome, instrument: str, paramcd: str) -> float | None:
    for entry in outcome.assessments:
        if entry.instrument == instrument and entry.status == "done":
            return score(TOOLS[instrument], entry.items, "done")[paramcd]
    return None


def at(path: Course, visit: str) -> VisitOutcome | None:
    return next((v for v in path.visits if v.visit == visit and v.missed is None), None)


def paired(crowd: list, visit: str, which: int) -> list[tuple[float, float]]:  # type: ignore[type-arg]
    found = []
    for row in crowd:
        outcome = at(row[which], visit)
        later = value(outcome, "10MWT", "WS10C") if outcome else None
        if later is not None:
            found.append((value(row[0].baseline, "10MWT", "WS10C"), later))
    return found  # type: ignore[return-value]


def test_a_person_does_not_depend_on_the_others() -> None:
    assert people(3, 5) == people(3, 20)[: len(people(3, 5))]
    assert person(3, 4) == person(3, 4) != person(4, 4)
    assert person(3, 4, trial=1) != person(3, 4)


def test_speed_has_the_published_moments(crowd: list) -> None:  # type: ignore[type-arg]
    before, after = zip(*paired(crowd, "W12", 1), strict=True)
    assert statistics.mean(before) == pytest.approx(0.43, abs=0.01)
    assert statistics.stdev(before) == pytest.approx(0.12, abs=0.006)
    gain = statistics.mean(after) - statistics.mean(before)
    assert gain == pytest.approx(0.10, abs=0.012)  # conventional arm, Xie 2025
    assert 0.53 < statistics.correlation(before, after) < 0.77  # between its two arms


def test_benefit_is_added_to_everybody(crowd: list) -> None:  # type: ignore[type-arg]
    gains = []
    for _, usual, robot in crowd:
        outcomes = at(usual, "W12"), at(robot, "W12")
        if all(outcomes):
            a, b = (value(o, "10MWT", "WS10C") for o in outcomes)
            if a and b:
                gains.append(b - a)
    assert statistics.mean(gains) == pytest.approx(0.07, abs=0.0005)


def test_falls_have_the_published_rate_and_overdispersion(crowd: list) -> None:  # type: ignore[type-arg]
    whole = [c for _, c, _ in crowd if sum(d.last - d.first + 1 for d in c.diaries) == 183]
    counts = [sum(len(d.falls) for d in c.diaries) for c in whole]
    mean, years = statistics.mean(counts), 183 / 365.25
    assert statistics.mean(falls_rate(row[0], None) for row in crowd) == pytest.approx(
        1.75, rel=0.02
    )
    assert mean / years == pytest.approx(1.75, abs=0.30)  # four standard errors
    alpha = (statistics.variance(counts) - mean) / mean**2
    assert alpha == pytest.approx(1.1, abs=0.4)


def test_confidence_has_the_published_spread(crowd: list) -> None:  # type: ignore[type-arg]
    scores = [value(row[0].baseline, "ABC", "ABCMEAN") for row in crowd]
    assert statistics.mean(scores) == pytest.approx(62, abs=2.5)  # ends of the scale pull it in
    assert statistics.stdev(scores) == pytest.approx(24, abs=3.0)


def test_five_to_fifteen_percent_leave(crowd: list) -> None:  # type: ignore[type-arg]
    share = statistics.mean(c.withdrawn is not None for _, c, _ in crowd)
    assert 0.05 < share < 0.15


def test_leaving_depends_on_speed_and_never_on_falls(crowd: list) -> None:  # type: ignore[type-arg]
    left = [row[0].speed for row in crowd if row[1].withdrawn]
    stayed = [row[0].speed for row in crowd if not row[1].withdrawn]
    assert statistics.mean(left) < statistics.mean(stayed) - 0.01
    falling = dataclasses.replace(WORLDS["null"], falls_rate_ratio=8.0)
    for someone, usual, _ in crowd[:300]:
        other = course(someone, falling)
        assert (other.visits, other.withdrawn) == (usual.visits, usual.withdrawn)


def test_a_null_world_is_the_same_in_both_arms(crowd: list) -> None:  # type: ignore[type-arg]
    for someone, usual, _ in crowd[:300]:
        assert course(someone, WORLDS["null"]) == usual


@pytest.mark.parametrize("world", [None, *WORLDS.values()], ids=lambda w: w.name if w else "usual")
def test_every_entry_would_be_taken_by_a_site(world: World | None) -> None:
    for number in range(150):
        someone = person(11, number)
        for outcome in (someone.baseline, *course(someone, world).visits):
            for entry in outcome.assessments:
                if entry.status == "done":
                    assert check_items(TOOLS[entry.instrument], entry.items) == []
                else:
                    assert entry.items == {}


def test_who_cannot_walk_is_observed(crowd: list) -> None:  # type: ignore[type-arg]
    seen = 0
    for _, path, _ in crowd:
        for outcome in path.visits:
            states = {e.instrument: e.status for e in outcome.assessments}
            if states.get("10MWT") == "unable":
                seen += 1
                assert states["TUG"] in ("unable", "not_done")
                assert states["ABC"] in ("done", "not_done")
    assert 0.002 < seen / (4 * N) < 0.010


def test_nothing_happens_after_leaving(crowd: list) -> None:  # type: ignore[type-arg]
    for someone, _, path in crowd:
        days = training_days(someone, path, 36)
        assert [d.number for d in days] == list(range(1, len(days) + 1))
        if path.withdrawn is None:
            continue
        end = path.withdrawn[0]
        assert all(v.day < end for v in path.visits if v.missed is None)
        assert all(part.last < end for part in path.diaries)
        assert all(d.day < end for d in days)
        assert all(e.day < end for e in adverse_events(someone, path, WORLDS["harm"], days))


def test_device_events_belong_to_the_device(crowd: list) -> None:  # type: ignore[type-arg]
    skin = 0
    for someone, usual, robot in crowd:
        days = training_days(someone, usual, 36)
        assert not any(e.related_device for e in adverse_events(someone, usual, None, days))
        days = training_days(someone, robot, 36)
        events = adverse_events(someone, robot, WORLDS["benefit"], days)
        skin += any(e.category == "skin" for e in events)
    assert skin / N == pytest.approx(0.05, abs=0.02)


def test_worlds() -> None:
    assert set(WORLDS) == {"benefit", "null", "harm"}
    assert find_world("harm").speed[POST.index("W12")] == -0.10  # Hidler 2009
    with pytest.raises(Exception, match="no world is called 'heaven'"):
        find_world("heaven")
    pairs = zip(COHORT.site_weights, COHORT.speed_site, strict=True)
    assert sum(w * s for w, s in pairs) == pytest.approx(0)


def test_cholesky_gives_the_correlation_back() -> None:
    factor = cholesky(COHORT.visit_correlation, 4)
    for i in range(4):
        for j in range(4):
            product = sum(factor[i][k] * factor[j][k] for k in range(4))
            wanted = 1.0 if i == j else COHORT.visit_correlation[abs(i - j) - 1]
            assert product == pytest.approx(wanted, abs=1e-12)
