from __future__ import annotations

import stat
from pathlib import Path

import pytest
from small_study import START, enrolled, make_study, randomised, write_protocols
from two_sites import files_below, keys_of, make_centre, open_at, texts, work

from trialkit._clock import SimulatedClock
from trialkit.errors import Duplicate, NotPermitted, OutOfOrder, UsageError
from trialkit.participants import (
    acknowledge_deviation,
    consent,
    enrol,
    hold_visit,
    list_queries,
    raise_deviation,
    raise_query,
    run_queries,
)
from trialkit.participants.unblinding import approve_unblinding, request_unblinding
from trialkit.record.draws import site_seed
from trialkit.record.kinds import ClockStepped, DataFrozen, SnapshotBuilt
from trialkit.record.verification import verify_record
from trialkit.study import Study
from trialkit.study.accounts import login, require_login, set_password
from trialkit.study.sync.push import FolderSource, Here, push
from trialkit.study.sync.site import open_site

PASSWORD = "a long enough password"


def taken(folder: Path, centre: Study, *sites: str) -> None:
    for site in sites:
        with FolderSource(folder / f"site-{site}") as source:
            push(source, Here(centre))


def test_a_site_begins_from_the_centre_and_goes_on_alone(tmp_path: Path) -> None:
    with make_centre(tmp_path) as centre, open_at(tmp_path, "02") as site:
        first = next(iter(site.record.read()))
        opened = next(iter(centre.record.read(kinds=["site.opened"])))
        assert opened.payload["genesis"] == first.hash
        begun = next(iter(centre.record.read(after=opened.seq - 2)))
        assert first.payload["origin"] == {
            "site": "02", "number": 1, "seq": begun.seq, "hash": begun.hash,
        }  # fmt: skip
        assert first.payload["design"] == centre.state.design_hash
        assert site.state.protocol_hashes == centre.state.protocol_hashes
        assert site.state.users.keys() == centre.state.users.keys()
        assert {user.sites for user in site.state.users.values()} == {("02",)}
        assert work(site, 2) == ["SMALL-02-001", "SMALL-02-002"]
        assert verify_record(site.record).ok
        assert centre.state.participants == {}


def test_what_the_site_gets_is_private_and_tells_nothing_of_other_sites(tmp_path: Path) -> None:
    with make_centre(tmp_path) as centre, open_at(tmp_path, "02") as site:
        for name in ("allocation.db", "sync/site-02.pem"):
            assert stat.S_IMODE((site.folder / name).stat().st_mode) == 0o600
        with open_at(tmp_path, "03") as other:
            seeds = [s.allocation.seed() for s in (site, other)]
        assert seeds == [
            site_seed("SMALL", name, centre.allocation.seed()) for name in ("02", "03")
        ]
        open_to_read = "".join(texts(site.record) + texts(centre.record))
        everything = b"".join(files_below(site.folder).values())
        assert seeds[0] not in open_to_read
        assert seeds[1].encode() not in everything


def test_nobody_writes_what_another_chain_holds(tmp_path: Path) -> None:
    with make_centre(tmp_path) as centre, open_at(tmp_path, "02") as site:
        usubjid = enrolled(site, site="02")
        taken(tmp_path, centre, "02")
        for refused in (
            lambda: consent(centre, usubjid, version="2.0"),
            lambda: enrol(centre, site="02"),
            lambda: hold_visit(centre, usubjid, "BL", day=0),
            lambda: centre.append(DataFrozen(visit=None), subject=usubjid),
        ):
            with pytest.raises(OutOfOrder, match="site 02 keeps its own chain") as caught:
                refused()
            assert "Act there" in caught.value.remedy
        last = list(centre.record.read())[-1]
        assert (last.kind, last.payload["why"]) == ("command.refused", "elsewhere")
        with pytest.raises(NotPermitted, match="acts for site 02 and not for site 03"):
            enrol(site, site="03")
        with pytest.raises(OutOfOrder, match=r"snapshot\.built is of the whole study"):
            site.append(SnapshotBuilt(snapshot="0" * 64, folder="x", upto_seq=1, unblinded=False))
        site.append(ClockStepped(by_s=1.0))
        randomised(centre, site="01")


def test_a_person_added_at_a_site_without_a_site_still_acts_for_it_alone(tmp_path: Path) -> None:
    with make_centre(tmp_path) as centre, open_at(tmp_path, "02") as site:
        site.add_user("newa", role="coordinator")
        with pytest.raises(OutOfOrder, match="the chain of site 02, not of site 03"):
            enrol(site.as_user("newa"), site="03")
        taken(tmp_path, centre, "02")
        assert "newa" not in centre.state.users


def test_names_that_two_chains_give_never_meet(tmp_path: Path) -> None:
    with make_centre(tmp_path) as centre:
        sites = [open_at(tmp_path, "02"), open_at(tmp_path, "03"), centre]
        for study in sites:
            (usubjid,) = work(study)
            raise_query(study, usubjid, text="Is it so?", visit="BL")
            raise_deviation(study, usubjid, category="visit", detail="The lift was broken.")
            request_unblinding(study, usubjid, reason="An emergency.")
            approve_unblinding(study.as_user("ivan"), next(iter(study.state.unblindings)))
        names = {}
        for study in sites:
            state = study.state
            names[state.site] = [*state.queries, *state.deviations, *state.unblindings]
        assert names == {
            "02": ["02-Q0001", "02-D0001", "02-U001"],
            "03": ["03-Q0001", "03-D0001", "03-U001"],
            None: ["Q0001", "D0001", "U001"],
        }
        acknowledge_deviation(sites[0], "02-D0001", classification="minor", reason="No harm.")
        taken(tmp_path, centre, "02", "03")
        assert sorted(centre.state.queries) == ["02-Q0001", "03-Q0001", "Q0001"]
        assert centre.state.deviations["02-D0001"].classification == "minor"
        assert centre.state.deviations["03-D0001"].classification is None
        assert {row.query for row in list_queries(centre)} == set(centre.state.queries)
        raise_query(centre, "SMALL-01-001", text="And this?", visit="BL")
        assert "Q0002" in centre.state.queries
        assert all(row.usubjid == "SMALL-01-001" for row in run_queries(centre))
        for study in sites[:2]:
            study.close()


def test_a_login_goes_with_its_people(tmp_path: Path) -> None:
    with make_study(tmp_path) as centre:
        set_password(centre, PASSWORD)
        require_login(centre, password=PASSWORD)
        token = login(centre, "olga", PASSWORD, keep=False)
        open_site(centre.as_user("olga", token=token), "02", tmp_path / "site-02")
    with Study.open(
        tmp_path / "site-02", actor="olga", password=PASSWORD, keys=keys_of(tmp_path)
    ) as site:
        assert site.role == "owner"
        enrol(site, site="02")
    with Study.open(tmp_path / "site-02", keys=keys_of(tmp_path)) as nobody:
        assert nobody.role == "none"


def test_a_site_is_opened_only_where_it_can_work_alone(tmp_path: Path) -> None:
    with make_centre(tmp_path) as centre, open_at(tmp_path, "02") as site:
        before = centre.state.seq
        with pytest.raises(Duplicate, match="site 02 has a chain"):
            open_site(centre, "02", tmp_path / "again")
        with pytest.raises(UsageError, match="cannot name a site"):
            open_site(centre, "../x", tmp_path / "again")
        with pytest.raises(Duplicate, match="not empty"):
            open_site(centre, "04", tmp_path / "site-02")
        with pytest.raises(OutOfOrder, match="itself the study of a site"):
            open_site(site, "02", tmp_path / "again")
        assert centre.state.seq == before
        enrol(centre, site="05")
        with pytest.raises(OutOfOrder, match="participants of site 05 are enrolled here"):
            open_site(centre, "05", tmp_path / "again")
        with pytest.raises(NotPermitted):
            open_site(centre.as_user("cora"), "06", tmp_path / "again")
        assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("by_site: true", "by_site: false"),
        ("block_sizes: [2, 4]", "method: minimisation"),
    ],
)
def test_an_arm_that_depends_on_other_sites_keeps_a_site_online(
    tmp_path: Path, old: str, new: str
) -> None:
    files = write_protocols(tmp_path)
    for path in files:
        path.write_text(path.read_text().replace(old, new))
    with Study.create(
        tmp_path / "study",
        protocols=files,
        actor="olga",
        clock=SimulatedClock(START),
        keys=keys_of(tmp_path),
    ) as centre:
        with pytest.raises(OutOfOrder, match="depends on participants of other sites") as caught:
            open_site(centre, "02", tmp_path / "site-02")
        assert "online" in caught.value.remedy
        assert not (tmp_path / "site-02").exists()
