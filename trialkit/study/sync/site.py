"""The study folder of a site that works offline, with a chain and lists of its own."""

from __future__ import annotations

import re
from pathlib import Path

import trialkit
from trialkit._canonical import sha256_file, write_durably
from trialkit.errors import Duplicate, OutOfOrder, UsageError
from trialkit.record.accounts import AccountStore
from trialkit.record.allocation import AllocationStore
from trialkit.record.chain import Event
from trialkit.record.draws import site_seed
from trialkit.record.events import Record
from trialkit.record.kinds import (
    ChainOrigin,
    PasswordSet,
    SiteOpened,
    StudyCreated,
    UserAdded,
)
from trialkit.record.sign import KeyStore, fingerprint
from trialkit.record.storage import storage_guard
from trialkit.study.commands import command
from trialkit.study.files import DESIGN, StudyFiles, copy_into, copy_plan
from trialkit.study.founding import new_folder
from trialkit.study.study import Study
from trialkit.study.timesource import time_source

KEYS = "sync"
_SITE = re.compile(r"[A-Za-z0-9]{1,12}")


def key_name(site: str) -> str:
    """Return the name of the key that signs what a site sends."""
    return f"site-{site}"


@command("sync")
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
    _check(study, site)
    state, out = study.state, Path(out)
    number = len(state.chains) + 1
    with new_folder(out), storage_guard(out):
        (out / KEYS).mkdir(mode=0o700)
        keys = KeyStore(out / KEYS)
        keys.create(key_name(site))
        source = StudyFiles.read(study.folder)
        contents = StudyFiles(
            source.study_id,
            source.title,
            source.source,
            copy_into(
                out / "protocols",
                {arm: study.folder / "protocols" / name for arm, name in source.protocols.items()},
            ),
            copy_plan(out, study.plan_file),
        )
        write_durably(out / DESIGN, (study.folder / DESIGN).read_bytes())
        seed = site_seed(state.study_id, site, study.allocation.seed())
        AllocationStore.create(out, seed=seed)
        with Record.create(contents.store(out), study.clock) as record:
            genesis = _found(study, record, out, contents, site, number)
        contents.write(out)
        public = keys.public_key(key_name(site))
        return study.append(
            SiteOpened(
                site=site,
                number=number,
                genesis=genesis,
                public_key=public,
                fingerprint=fingerprint(public),
            )
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


def _found(
    study: Study, record: Record, out: Path, contents: StudyFiles, site: str, number: int
) -> str:
    """Write the first events of the site's chain; return the hash of the first."""
    state = study.state
    created = StudyCreated(
        study_id=contents.study_id,
        title=contents.title,
        protocols={
            arm: sha256_file(out / "protocols" / name) for arm, name in contents.protocols.items()
        },
        design=sha256_file(out / DESIGN),
        plan=sha256_file(out / contents.plan) if contents.plan else None,
        software=trialkit.__version__,
        origin=ChainOrigin(site=site, number=number, seq=state.seq, hash=state.hash),
        clock=time_source(study.clock),
    )
    with record.batch():
        first = record.append(created, actor=study.actor, role=study.role)
        passwords, held = AccountStore(study.folder), {}
        for user in state.users.values():
            if user.retired or (user.sites and site not in user.sites):
                continue
            added = UserAdded(
                user=user.user,
                name=user.name,
                user_role=user.role,
                key_fingerprint=user.fingerprint,
                sites=[site],
            )
            record.append(added, actor=study.actor, role=study.role)
            if hashed := passwords.in_force(user.user, user.password_seq):
                held[user.user] = hashed
        if state.accounts is not None:
            record.append(state.accounts, actor=study.actor, role=study.role)
        for name, hashed in held.items():
            payload = PasswordSet(user=name, temporary=state.users[name].temporary)
            event = record.append(payload, actor=study.actor, role=study.role)
            AccountStore(out).add_hash(name, hashed, event.seq)
    return first.hash
