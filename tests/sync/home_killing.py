"""Kills a process at every write while a site is made, and a device handed over and taken back.

Run as a program with the folder of a centre, and a step, as `sync_killing`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from home_device import HOME, WHO, handed, is_out, open_home, take
from sync_killing import at_every_point
from two_sites import open_at, open_centre, texts

from trialkit.errors import UnknownName
from trialkit.participants import enrol, miss_session
from trialkit.record.state import StudyState
from trialkit.record.verification import verify_record
from trialkit.study.files import MARK
from trialkit.study.sync.device import end_device, take_back_device
from trialkit.study.sync.site import open_site


def work(folder: Path) -> None:
    """Do what is not done yet, as people would who are told to do it again."""
    site, device = folder / "site-02", folder / f"site-{HOME}"
    with open_centre(folder) as centre:
        chains = centre.state.chains
        if (site / MARK).exists():
            require_closed(folder, "02")
        if "02" not in chains or (site / MARK).exists():
            open_site(centre, "02", site)
        if (device / MARK).exists():
            require_closed(folder, HOME)
        if HOME not in chains or (device / MARK).exists():
            handed(folder, centre)
        with open_home(folder) as home:
            if 1 not in home.participant(WHO).sessions:
                miss_session(home, WHO, number=1, day=1, code="ILL")
            if not home.state.ended:
                end_device(home)
        take(folder, centre)
        if is_out(centre):
            take_back_device(centre.as_user("theo"), WHO)


def require_closed(folder: Path, chain: str) -> None:
    """Check that a folder of which the centre may not know cannot be worked in."""
    try:
        open_at(folder, chain).close()
    except UnknownName:
        return
    raise AssertionError(chain)


def check(folder: Path) -> None:
    """Check that each was done once."""
    with open_centre(folder) as centre:
        for kind in ("site.opened", "device.handed", "device.returned"):
            assert centre.state.counts[kind] == 1, kind
        chain = centre.state.chains[HOME]
        assert (chain.returned, chain.refused) == (True, set())
        assert centre.participant(WHO).sessions[1].status == "missed"
        for name in ("02", HOME):
            assert not (folder / f"site-{name}" / MARK).exists()
        with open_home(folder) as home:
            assert len(texts(home.record)) == chain.last
        with open_at(folder, "02") as site:
            enrol(site, site="02")
        take(folder, centre, "02")
        assert centre.state.chains["02"].number == 1
        assert vars(StudyState(centre.record.read())) == vars(centre.state)
        assert verify_record(centre.record).ok


def main() -> None:
    at_every_point(Path(sys.argv[1]), int(sys.argv[2]), work, check)


if __name__ == "__main__":
    main()
