"""The study folder of a site that works offline, with a chain and lists of its own."""

from __future__ import annotations

import re
from pathlib import Path

from trialkit.errors import Duplicate, OutOfOrder, UsageError
from trialkit.record.chain import Event
from trialkit.record.draws import site_seed
from trialkit.record.kinds import SiteOpened
from trialkit.study.commands import command
from trialkit.study.files import DESIGN
from trialkit.study.study import Study
from trialkit.study.sync.folder import Contents, make_folder

_SITE = re.compile(r"[A-Za-z0-9]{1,12}")


@command("sync", atomic=False)
def open_site(study: Study, site: str, out: str | Path) -> Event:
    """Write the study folder of a site; from here on the site keeps its own chain.

    The folder holds the design, protocols and plan of the study, the people who may act for the
    site, lists of the site's own, and the key that signs what it sends: it is as private as the
    study itself. It goes to the site, and to nobody else.

    Parameters
    ----------
    site : str
        Letters and digits, at most 12.
    out : path
        A new folder.

    Raises
    ------
    OutOfOrder
        If somebody of the site is enrolled here, an arm depends on the other sites, the
        allocation is revealed, or this is an import or itself the chain of a site.
    Duplicate
        If the site has a chain, or the folder is not empty.
    """

    def contents() -> Contents:
        _check(study, site)
        return Contents(
            chain=site,
            number=1 + sum(chain.usubjid is None for chain in study.state.chains.values()),
            site=site,
            arms=tuple(study.protocols),
            design=(study.folder / DESIGN).read_bytes(),
            people=lambda _: True,
            seed=site_seed(study.state.study_id, site, study.allocation.seed()),
            plan=True,
        )

    return make_folder(
        study,
        Path(out),
        contents,
        lambda given, made: (
            SiteOpened(
                site=site,
                number=given.number,
                genesis=made.genesis,
                public_key=made.public_key,
                fingerprint=made.fingerprint,
            ),
            None,
        ),
    )


def _check(study: Study, site: str) -> None:
    state, plan = study.state, study.design.randomisation
    if not _SITE.fullmatch(site):
        raise UsageError(f"{site!r} cannot name a site.", remedy="Use 1 to 12 letters and digits.")
    if site in state.chains:
        raise Duplicate(f"site {site} has a chain.", remedy="A site keeps one chain.")
    if state.site is not None or state.source == "import":
        what = "an imported study" if state.source == "import" else "itself the study of a site"
        raise OutOfOrder(f"this is {what}.", remedy="Open sites at the centre of a trial.")
    if any(who.site == site for who in state.participants.values()):
        raise OutOfOrder(
            f"participants of site {site} are enrolled here.",
            remedy="Open a site before its first participant, or go on with it online.",
        )
    if plan is not None and (plan.method == "minimisation" or not plan.by_site):
        raise OutOfOrder(
            "an arm depends on participants of other sites, which an offline site cannot know.",
            remedy="Let the site work online, or plan permuted blocks with `by_site: true`.",
        )
    if state.revealed:
        raise OutOfOrder("the allocation is revealed.", remedy="Nobody is randomised after that.")
