"""Locks a plan before anyone sees an arm: one hash over plan, methods and schemas, two signatures.

The lock is an event of the record. An analysis asks `require_lock`, which compares the plan
file and the installed versions with what was signed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import data_schemas
from trialkit._canonical import sha256_bytes, sha256_json, write_durably
from trialkit.errors import (
    Duplicate,
    IntegrityError,
    LockMismatch,
    NotLocked,
    NotPermitted,
    OutOfOrder,
    UnknownName,
)
from trialkit.methods import VERSIONS
from trialkit.plan.load import load_plan, plan_hash
from trialkit.plan.model import Plan
from trialkit.record.chain import Event
from trialkit.record.kinds import PlanLocked, Signature
from trialkit.record.roles import permissions_of, roles_with
from trialkit.record.sign import verify
from trialkit.record.storage import storage_guard
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.heads import sign_head

#: The methods behind a plan's word that is no method itself.
PARTS: dict[str, tuple[str, ...]] = {"imputation": ("impute", "ancova", "rubin")}
MEANING = "I approve this statistical analysis plan for the final analysis"


@command("lock_plan", atomic=False)
def lock_plan(
    study: Study,
    *,
    signer: str,
    second_signer: str,
    plan: str | Path | None = None,
    reason: str | None = None,
) -> Event:
    """Lock the study's plan with the signatures of two people, and return the event.

    Parameters
    ----------
    study : Study
        The person who acts may lock plans.
    signer, second_signer : str
        Two different users who may sign plans; each signs with the own key.
    plan : path, optional
        Another plan than that of the study's creation; it is copied into ``plans/``.
    reason : str, optional
        Needed for a second lock, which replaces the first (an amendment).

    Raises
    ------
    PlanFindings
        If the plan has faults, held against this study.
    NotPermitted
        If a person may not lock or sign, or one person is to sign twice.
    Duplicate
        If this very plan is locked already, with the same versions.
    OutOfOrder
        If arms were revealed, or an amendment has no reason.
    """
    study.check_whole()
    names = _signers(study, signer, second_signer)
    if study.state.revealed:
        raise OutOfOrder(
            "the arms are revealed, so no plan can be locked any more.",
            remedy="What was not registered before can be run as exploratory.",
        )
    source = Path(plan) if plan is not None else current_plan(study)
    if source is None or not source.is_file():
        raise UnknownName(
            f"{source}: no such plan." if source else "the study has no plan.",
            remedy="Give the plan's file.",
        )
    loaded = load_plan(source, study.design)
    pinned = _pin(loaded, plan_hash(source))
    _may_replace(study, pinned, reason)
    file = _keep(study, source)
    digest = sha256_json(pinned)
    signatures = [_sign(study, user, name, digest) for user, name in names]
    event = study.append(
        PlanLocked(
            plan_id=loaded.id,
            plan=pinned["plan"],
            file=file,
            methods=pinned["methods"],
            schemas=pinned["schemas"],
            lock=digest,
            signatures=signatures,
        ),
        reason=reason,
    )
    sign_head(study)
    return event


def current_lock(study: Study) -> PlanLocked | None:
    """Return the lock that is in force, or None."""
    return study.state.lock


def current_plan(study: Study) -> Path | None:
    """Return the file of the locked plan; before a lock, of the plan of the study's creation."""
    lock = study.state.lock
    return study.folder / lock.file if lock is not None else study.plan_file


def require_lock(study: Study, plan_path: str | Path | None = None) -> PlanLocked:
    """Return the lock, if plan, methods and schemas are those that were signed.

    Parameters
    ----------
    plan_path : path, optional
        The plan that is to be run; default: the study's copy of the locked plan.

    Raises
    ------
    NotLocked
        If no plan is locked.
    LockMismatch
        If the plan file, a method's version or a schema's version moved; all are named.
    IntegrityError
        If the lock's own hash or a signature is not right.
    """
    lock = study.state.lock
    if lock is None:
        raise NotLocked(
            "no plan is locked.",
            remedy="Lock it before the arms are revealed: `trialkit plan lock`.",
        )
    _check_signatures(lock)
    path = Path(plan_path) if plan_path is not None else study.folder / lock.file
    moved = []
    if not path.is_file():
        moved.append(f"the plan {path} is not there")
    elif plan_hash(path) != lock.plan:
        moved.append(f"{path.name} is {plan_hash(path)[:12]} and {lock.plan[:12]} was locked")
    for what, locked, now in (
        ("method", lock.methods, VERSIONS),
        ("schema", lock.schemas, data_schemas.VERSIONS),
    ):
        moved += [
            f"{what} {name} is version {now.get(name, 'none')} and {version} was locked"
            for name, version in locked.items()
            if now.get(name) != version
        ]
    if moved:
        raise LockMismatch(
            f"{'; '.join(moved)}.",
            remedy="Restore what was locked (its versions are in the plan.locked event), or lock "
            "an amendment with a reason before the arms are revealed.",
            moved=moved,
        )
    return lock


def methods_of(plan: Plan) -> list[str]:
    """Return the methods that a plan uses, its multiplicity procedure included."""
    names = {name for a in plan.analyses for name in PARTS.get(a.method, (a.method,))}
    procedure = plan.multiplicity.procedure
    return sorted(names | ({procedure} if procedure != "none" else set()))


class _Pinned(TypedDict):
    """What the lock is the hash of."""

    plan: str
    methods: dict[str, str]
    schemas: dict[str, str]


def _pin(plan: Plan, digest: str) -> _Pinned:
    methods = {name: VERSIONS[name] for name in methods_of(plan)}
    return {"plan": digest, "methods": methods, "schemas": dict(data_schemas.VERSIONS)}


def _signers(study: Study, signer: str, second_signer: str) -> list[tuple[str, str]]:
    """Return user and printed name of two people who may sign."""
    if signer == second_signer:
        raise NotPermitted(
            f"{signer} cannot sign twice.", remedy="A second person who may sign plans signs too."
        )
    found = []
    for user in (signer, second_signer):
        state = study.state.users.get(user)
        if state is None:
            raise NotPermitted(
                f"{user} is not a user of the study.",
                remedy="The owner adds people with `trialkit users add`.",
            )
        if "sign_plan" not in permissions_of(state.role):
            raise NotPermitted(
                f"{user} ({state.role}) may not sign plans.",
                remedy=f"Roles that may: {', '.join(roles_with('sign_plan'))}.",
            )
        found.append((user, state.name))
    return found


def _may_replace(study: Study, pinned: _Pinned, reason: str | None) -> None:
    lock = study.state.lock
    if lock is None:
        return
    if lock.lock == sha256_json(pinned):
        raise Duplicate(f"this plan is locked already ({lock.lock[:12]}).", remedy="Nothing to do.")
    if not (reason or "").strip():
        raise OutOfOrder(
            f"plan {lock.plan_id} is locked already.",
            remedy="To lock an amendment instead, give a reason.",
        )


def _keep(study: Study, source: Path) -> str:
    """Keep the plan in ``plans/`` under its hash, and return the path within the study."""
    data = source.read_bytes()
    stem = source.name.split(".")[0]
    target = study.folder / "plans" / f"{stem}.{sha256_bytes(data)[:12]}.locked.sap.yaml"
    with storage_guard(target):
        target.parent.mkdir(exist_ok=True)
        write_durably(target, data)
    return target.relative_to(study.folder).as_posix()


def _sign(study: Study, user: str, name: str, digest: str) -> Signature:
    """Sign with the key that the record has of the user, who has logged in where that is asked."""
    if user != study.actor:
        study.as_user(user)
    signature = study.keys.sign(user, name, MEANING, digest)
    known = study.state.users[user].fingerprint
    if known is not None and signature.fingerprint != known:
        raise NotPermitted(
            f"the key of {user} here is {signature.fingerprint[:9]}..., and the study knows "
            f"{known[:9]}...",
            remedy="Set TRIALKIT_KEYS to the folder of that person's own key.",
        )
    return signature


def _check_signatures(lock: PlanLocked) -> None:
    pinned: _Pinned = {"plan": lock.plan, "methods": lock.methods, "schemas": lock.schemas}
    bad = [s.signer for s in lock.signatures if not verify(s, lock.lock)]
    if sha256_json(pinned) != lock.lock or bad or len({s.signer for s in lock.signatures}) < 2:
        raise IntegrityError(
            f"the lock {lock.lock[:12]} is not the one that was signed.",
            remedy="Check the record: `trialkit record verify`.",
        )
