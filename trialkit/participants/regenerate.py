"""The verifier of the allocation: every list and every arm drawn again from the seed.

`check_allocation` needs the events of a record and the seed, and nothing else of the study.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trialkit.errors import IntegrityError, OutOfOrder
from trialkit.participants.minimisation import STRATUM, Rule, sequence
from trialkit.protocol.model import Randomisation
from trialkit.record.blocks import Place, commitment, draw_part, list_commitment
from trialkit.record.chain import Event
from trialkit.record.draws import seed_commitment, site_seed
from trialkit.record.received import STEP, expanded

if TYPE_CHECKING:
    from trialkit.study import Study


@dataclass
class AllocationCheck:
    """What was drawn again, and every difference from the record, in words."""

    method: str = ""
    seed_committed: bool = False
    parts: int = 0
    places: int = 0
    participants: int = 0
    revealed: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True where nothing differs."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Return the check as plain data."""
        return {"ok": self.ok, **vars(self)}


@dataclass
class _Account:
    """What the events of one chain say of the allocation, in their order."""

    site: str = ""
    study_id: str = ""
    arms: list[str] = field(default_factory=list)
    scheme: Event | None = None
    plan: Randomisation | None = None
    lists: dict[str, list[Event]] = field(default_factory=dict)
    randomised: list[Event] = field(default_factory=list)
    shown: dict[str, tuple[str, str]] = field(default_factory=dict)
    seed: str | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> _Account:
        account = cls()
        for event in events:
            payload = event.payload
            match event.kind:
                case "study.created":
                    account.study_id = payload["study_id"]
                    account.site = (payload.get("origin") or {}).get("site", "")
                case "allocation.scheme_committed":
                    account.scheme = event
                    account.plan = Randomisation.model_validate(payload["scheme"])
                case "allocation.list_committed":
                    account.lists.setdefault(payload["stratum"], []).append(event)
                case "participant.randomised":
                    account.randomised.append(event)
                case "allocation.revealed":
                    account.shown |= {w: (a, s) for w, (a, s) in payload["arms"].items()}
                    account.seed = payload.get("seed") or account.seed
                    account.arms = payload.get("codes") or account.arms
        return account


def _accounts(events: Iterable[Event]) -> list[_Account]:
    """Return the account of the chain itself, and those of sites that drew offline."""
    chains: dict[int, list[Event]] = {0: []}
    for event in expanded(events):
        chains.setdefault(event.seq // STEP, []).append(event)
    own = _Account.of(chains.pop(0))
    return [own, *(_Account.of(inner) for inner in chains.values())]


def check_allocation(
    events: Iterable[Event],
    seed: str | None = None,
    *,
    arms: Sequence[str] = (),
    plan: Randomisation | None = None,
) -> AllocationCheck:
    """Draw the whole allocation again and compare it with a record.

    Parameters
    ----------
    events : iterable of Event
        A whole record, read from the study or from an export.
    seed : str or None
        The secret; None takes the one that the record reveals.
    arms : sequence of str
        Arm codes in the order of the ratio, for a record that does not reveal them.
    plan : Randomisation or None
        For a record from before schemes were committed: what the study's design says.

    Raises
    ------
    OutOfOrder
        If there is no seed, or nothing was randomised.
    IntegrityError
        If the record does not say how the study allocates.
    """
    accounts = _accounts(events)
    own, busy = accounts[0], [one for one in accounts if one.randomised or one.lists]
    seed = seed or own.seed
    if seed is None:
        raise OutOfOrder(
            "the record reveals no seed.", remedy="Unblind first, or verify inside the study."
        )
    if not busy:
        raise OutOfOrder("nobody is randomised.", remedy="There is nothing to verify yet.")
    plan, arms = busy[0].plan or plan, own.arms or list(arms)
    if plan is None or not arms:
        raise IntegrityError(
            "the record does not say how the study allocates.",
            remedy="Verify the whole record, and give the randomisation section of its design.",
        )
    check = AllocationCheck(plan.method, participants=sum(len(one.randomised) for one in busy))
    for account in busy:
        account.arms, account.shown = arms, own.shown
        its = site_seed(own.study_id, account.site, seed) if account.site else seed
        _check_seed(account, its, check)
        minimised = plan.method == "minimisation"
        drawn = (_minimised if minimised else _listed)(account, plan, its, check)
        _check_people(account, drawn, check)
    known = {event.subject for one in busy for event in one.randomised}
    for usubjid in sorted(set(own.shown) - known):
        check.differences.append(f"{usubjid} was revealed and never randomised")
    return check


def _check_seed(account: _Account, seed: str, check: AllocationCheck) -> None:
    first = min((e.seq for e in account.randomised), default=None)
    if account.scheme is None:
        if check.method == "minimisation":
            check.differences.append("no scheme and no seed were committed")
        return
    check.seed_committed = True
    event = account.scheme
    if event.payload["commitment"] != seed_commitment(account.study_id, account.arms, seed):
        check.differences.append(f"event {event.seq}: another seed, or other arms, were committed")
    if first is not None and first < event.seq:
        check.differences.append(f"event {event.seq}: committed after the first allocation")


def _listed(
    account: _Account, plan: Randomisation, seed: str, check: AllocationCheck
) -> dict[int, Place]:
    """Draw every committed part of every list; return the place of each randomised event."""
    lists: dict[str, dict[int, tuple[Place, int]]] = {}
    for stratum, parts in account.lists.items():
        held = lists.setdefault(stratum, {})
        for part, event in enumerate(parts, 1):
            places = draw_part(
                seed,
                stratum,
                part,
                arms=account.arms,
                ratio=plan.ratio,
                block_sizes=plan.block_sizes,
                first=len(held) + 1,
                length=event.payload["length"],
            )
            if list_commitment(stratum, places) != event.payload["commitment"]:
                check.differences.append(
                    f"event {event.seq}: part {part} of list {stratum} is not the one of the seed"
                )
            held |= {place.place: (place, event.seq) for place in places}
            check.parts += 1
            check.places += len(places)
    found: dict[int, Place] = {}
    taken: dict[str, int] = {}
    for event in account.randomised:
        stratum, number = event.payload["stratum"], event.payload["place"]
        place, committed = lists.get(stratum, {}).get(number, (None, 0))
        if number != taken.get(stratum, 0) + 1:
            check.differences.append(
                f"event {event.seq}: {event.subject} took place {number} of {stratum} "
                f"after place {taken.get(stratum, 0)}"
            )
        taken[stratum] = number
        if place is None:
            check.differences.append(
                f"event {event.seq}: place {number} of list {stratum} was never committed"
            )
            continue
        if committed > event.seq:
            check.differences.append(
                f"event {event.seq}: list {stratum} was committed after place {number} was taken"
            )
        found[event.seq] = place
    return found


def _minimised(
    account: _Account, plan: Randomisation, seed: str, check: AllocationCheck
) -> dict[int, Place]:
    """Minimise everybody again, in the order of the record."""
    factors = plan.factors
    for event in account.randomised:
        missing = [name for name in factors if name not in event.payload["strata"]]
        if missing or event.payload["stratum"] != STRATUM:
            check.differences.append(f"event {event.seq}: {event.subject} was not minimised")
            return {}
    people = [event.payload["strata"] for event in account.randomised]
    places = sequence(seed, Rule.of(account.arms, plan), people)
    check.places = len(places)
    return {event.seq: place for event, place in zip(account.randomised, places, strict=True)}


def _check_people(account: _Account, drawn: Mapping[int, Place], check: AllocationCheck) -> None:
    for event in account.randomised:
        usubjid, place = str(event.subject), drawn.get(event.seq)
        if place is None:
            continue
        if commitment(place.salt, usubjid, place.arm) != event.payload["commitment"]:
            check.differences.append(
                f"event {event.seq}: the arm of {usubjid} is not the one of the seed"
            )
        shown = account.shown.get(usubjid)
        check.revealed += shown is not None
        if shown is not None and shown != (place.arm, place.salt):
            check.differences.append(
                f"{usubjid} was revealed as {shown[0]}, and the seed gives {place.arm}"
            )


def verify_allocation(study: Study) -> AllocationCheck:
    """Draw the allocation of a study again; compare it with the record and the stored places.

    After unblinding anybody in the study may; before it, those who may see allocations or
    unblind. It tells no arm of a participant whose arm agrees.

    Raises
    ------
    NotPermitted
        Before unblinding, if the person may neither see allocations nor unblind.
    OutOfOrder
        If nobody was randomised here, such as in an imported study.
    """
    revealed = study.state.revealed
    if not (revealed and study.role != "none") and not study.may("see_allocation"):
        study.require("unblind")
    if study.state.source == "import":
        raise OutOfOrder(
            "an imported study drew no arm itself.", remedy="Verify it where it was randomised."
        )
    events = list(study.record.read())
    seed = _Account.of(events).seed or study.allocation.seed()
    arms = [arm.code for arm in study.design.arms]
    check = check_allocation(events, seed, arms=arms, plan=study.design.randomisation)
    if study.allocation.there():
        check.differences += _stored(study, expanded(events))
    return check


def _stored(study: Study, events: Iterable[Event]) -> list[str]:
    """Return what is wrong with the stored places that participants took."""
    found = []
    for event in events:
        if event.kind != "participant.randomised":
            continue
        payload = event.payload
        try:
            study.allocation.arm_of(
                str(event.subject), payload["stratum"], payload["place"], payload["commitment"]
            )
        except IntegrityError as error:
            found.append(error.message)
    return found
