"""The machine: commands of conduct against a study, with crashes between, and the plain model.

Each rule tries one command as one person. The model says what must come of it: the error, or
the kinds of the events; then the study is asked. After a few commands, and after each crash,
the state of the open study, of the record read anew, of its export alone and of the model are
compared, and the chain is checked.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from conduct_study import PEOPLE, SITES, START, WITH_PASSWORD, WORD, SettableClock, copy_study
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from plain_model import MAY, ROLES, Model, Outcome, Plain, new_user

from trialkit import participants
from trialkit._canonical import sha256_text
from trialkit.errors import TrialkitError
from trialkit.record import KeyStore, Record, StudyState, read_export
from trialkit.study import Study, accounts, datalock, signing

EVERY = 12
WRONG = "not the right one"
NUMBER = st.integers(0, 999)
WORDS = st.sampled_from(["checked", "a new sheet", "read again", " ", "the robotic arm"])
FROM_PEOPLE = ("unlock_user", "set_role", "retire_user", "require_login")
FROM_LOCKS = ("freeze", "release", "lock_data", "request_unlock", "approve_unlock")


def scattered(made: Callable[..., None]) -> Callable[..., None]:
    """Spread the numbers that a rule draws: Hypothesis likes small ones, and the same again."""

    @functools.wraps(made)
    def taken(self: Machine, *given: Any, **drawn: Any) -> None:
        self.tried += not given  # with arguments by place it is called from another rule
        for name in {"n", "m"} & drawn.keys():
            drawn[name] = int(sha256_text(f"{name} {drawn[name]} {self.tried}")[:8], 16) % 1000
        made(self, *given, **drawn)

    return taken


class Machine(RuleBasedStateMachine):
    """Set `template`, `place` and `minimised` in a subclass."""

    template: ClassVar[Path]
    minimised: ClassVar[bool] = False
    steps: ClassVar[Counter[str]] = Counter()
    kinds: ClassVar[Counter[str]] = Counter()
    crashes: ClassVar[Counter[str]] = Counter()

    @classmethod
    def database(cls, folder: Path) -> None:
        """Give the copy in `folder` a database of its own, where it needs one."""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory(prefix="conduct-", dir=self.template.parent.parent)
        home = Path(self._home.name)
        self.folder = copy_study(self.template, home)
        self.database(self.folder)
        self.keys, self.clock = KeyStore(home / "keys"), SettableClock(START)
        users = {"olga": new_user("owner", [], password=True)}
        for user, role in PEOPLE.items():
            users[user] = new_user(role, SITES.get(user, []), password=user in WITH_PASSWORD)
        self.model = Model(users, 0, minimised=self.minimised)
        self.since = self.tried = 0
        self.batch: list[str] | None = None
        self.mute = False  # only the model is told: another process does it to the study
        self._open()
        self.model.seq = self.study.state.seq

    # --- the study ---------------------------------------------------------------------------

    def _open(self) -> None:
        required = self.model.required
        self.study = Study.open(
            self.folder,
            actor="olga",
            password=WORD if required else None,
            clock=self.clock,
            keys=self.keys,
        )
        self.views = {"olga": self.study}
        self.model.drift = None
        if required:
            self.model.do(self.clock.now(), "olga", "login", user="olga", right=True)

    def _view(self, actor: str) -> Study | None:
        """Return the study as a person sees it; None where the login is refused."""
        if actor not in self.views:
            if not self.model.required:
                self.views[actor] = self.study.as_user(actor)
            else:
                expected = self.model.do(self.clock.now(), actor, "login", user=actor, right=True)
                before, error = self.study.state.seq, None
                try:
                    self.views[actor] = self.study.as_user(actor, password=WORD)
                except TrialkitError as caught:
                    error = caught
                self._compare(f"login {actor}", expected, error, before)
        return self.views.get(actor)

    def do(self, actor: str, command: str, **given: Any) -> bool:
        """Try a command as a person, in the model and in the study; True where it was taken."""
        type(self).steps[command] += 1
        view = self.study if self.mute else self._view(actor)
        if view is None:
            return False
        expected = self.model.do(self.clock.now(), actor, command, **given)
        if self.batch is not None:  # a refusal is recorded when the batch ends
            later = [kind for kind in expected.kinds if kind == "command.refused"]
            self.batch += later
            self.model.seq -= len(later)
            kept = [kind for kind in expected.kinds if kind != "command.refused"]
            expected = Outcome(expected.why, kept)
        if self.mute:
            return not expected.why
        before, error = self.study.record.head[0], None
        try:
            call(view, actor, command, given)
        except TrialkitError as caught:
            error = caught
        self._compare(f"{actor}: {command} {given}", expected, error, before)
        if command == "require_login" and error is None:
            self.views = {"olga": self.study}
        return error is None

    def _compare(self, what: str, expected: Outcome, error: Any, before: int) -> None:
        said = type(error).__name__ if error is not None else None
        assert (said in expected.why) if expected.why else said is None, (
            f"{what}: {error or 'taken'}; expected {sorted(expected.why) or 'that it is taken'}"
        )
        kinds = [event.kind for event in self.study.record.read(after=before)]
        assert kinds == expected.kinds, f"{what}: left {kinds}, expected {expected.kinds}"
        type(self).kinds.update(kinds)
        if self.batch is None:
            self.since += 1
            if self.since >= EVERY:
                self.look()

    def look(self) -> None:
        """Compare every way to the state with the model, and check the chain."""
        self.since = 0
        self.study.refresh()
        model = plain_of_model(self.model)
        assert plain_of_state(self.study.state, minimised=self.minimised) == model
        report = self.study.record.verify()
        assert report.ok, report
        assert report.n == self.study.record.last_given == self.model.seq
        with Record.open(self.study.record.where, write=False, clock=self.clock) as record:
            events = list(record.read())
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert vars(StudyState(events)) == vars(self.study.state)
        path = self.folder.parent / "export.jsonl"
        self.study.record.export(path)
        assert vars(StudyState(read_export(path))) == vars(self.study.state)

    def teardown(self) -> None:
        """Look for the last time, and draw the whole allocation again."""
        try:
            self.look()
            if any(who["place"] for who in self.model.people.values()):
                assert participants.verify_allocation(self.study).differences == []
        finally:
            self.study.close()
            self._home.cleanup()

    # --- who and what ------------------------------------------------------------------------

    def someone(self, n: int, command: str) -> str:
        """Return a person: of two in three draws one who may."""
        users = list(self.model.users)
        if n % 3:
            may = [
                u
                for u in users
                if self.model.users[u]["role"] in MAY[command]
                and not self.model.users[u]["retired"]
            ]
            users = may or users
        return users[n // 3 % len(users)]

    def person(self, n: int) -> str:
        """Return a participant, the later ones more often; now and then one there is not."""
        names = list(self.model.people)
        if not names or n % 29 == 28:
            return "CRASH-01-999"
        return names[-1 - min(n % len(names), n // 7 % len(names))]

    def _any(self, names: Any, n: int, otherwise: str) -> str:
        some = list(names)
        return some[-1 - n % len(some)] if some and n % 11 != 10 else otherwise

    # --- rules -------------------------------------------------------------------------------

    @initialize(n=NUMBER)
    def begin(self, n: int) -> None:
        """Take a few people some way, so that there is something to do things with."""
        for m in range(2 + n % 2):
            self.do("cora", "enrol", site=("01", "02")[m % 2])
            for _ in range(7):
                self.onward(m, 0)
        number = int(sha256_text(f"{n}")[:8], 16)
        if number % 2:
            self._tour("CRASH-01-001", number // 2 % 1000)

    def _tour(self, usubjid: str, n: int) -> None:
        """Do what takes several people one after the other, and seldom comes by itself."""
        paper: Plain = {"usubjid": usubjid, "visit": "BL", "instrument": "PAPR"}
        self._assess("asta", usubjid, "BL", "PAPR", "done", {"Q1": n % 11, "Q2": 3})
        again = {"Q1": n % 11, "Q2": n % 4 + 2}
        self.do("bert", "assess_again", **paper, status="done", items=again, code=None)
        self.do("mona", "run_queries")
        take = ("first", "second")[n % 2]
        self.do("bert", "adjudicate", **paper, take=take, reason="read again")
        self.do("cora", "sign", what=f"form:{usubjid}/BL/PAPR", meaning="read", right=True)
        self.do("asta", "correct", **paper, items={"Q2": n % 3}, reason="misread")
        self.do("asta", "answer_query", query="Q0001", text="checked")
        self.do("mona", "close_query", query="Q0001", reason="checked")
        self.do("dora", "reopen_query", query="Q0001", reason="which sheet?")
        days: Plain = {"from_day": 0, "entries": [{"day": 3, "grade": n % 4 + 1}]}
        self.do("cora", "return_diary", usubjid=usubjid, to_day=9, **days)
        returned = next(iter(self.model.people[usubjid]["returns"]), 0)
        self.do(
            "asta", "correct_diary", usubjid=usubjid, returned=returned, to_day=n % 20,
            reason="misread", **days,
        )  # fmt: skip
        self.do("cora", "request_unblinding", usubjid=usubjid, reason="seizure")
        self.do(("ivan", "cora", "olga")[n % 3], "approve_unblinding", request="U001")
        self.do("dora", "lock_data", reason="complete")
        self.do("ivan", "request_unlock", reason="one more")
        self.do(("dora", "ivan")[n % 2], "approve_unlock", request="D001")

    @rule(site=st.sampled_from(["01", "02"]), n=NUMBER)
    @scattered
    def enrol(self, site: str, n: int) -> None:
        given: Plain = {"site": site}
        if n % 7 == 6 and self.person(n) in self.model.people:
            usubjid = self.person(n)
            given = {"site": self.model.people[usubjid]["site"], "usubjid": usubjid}
        self.do(self.someone(n, "enrol"), "enrol", **given)

    @rule(n=NUMBER, m=NUMBER)
    @scattered
    def onward(self, n: int, m: int) -> None:
        """Take somebody the next step on the way to an arm."""
        usubjid = self.person(n)
        who = self.model.people.get(usubjid, {})
        actor = "olga" if m < 700 else self.someone(m, "randomise")
        if not who.get("consent"):
            self.do(actor, "consent", usubjid=usubjid, version="1")
        elif not who["eligible"]:
            answers = {"ADULT": True, "PACEMAKER": False}
            self.do(actor, "confirm_eligibility", usubjid=usubjid, answers=answers)
        elif "BL" not in who["visits"]:
            self.do(actor, "hold_visit", usubjid=usubjid, visit="BL", day=-(m % 15), reason=None)
        elif ("BL", "STEP") not in who["forms"]:
            items = {"SPEED": m % 21, "AID": "N"}
            self._assess("asta", usubjid, "BL", "STEP", "done", items)
        elif not who["place"]:
            self.do(actor, "randomise", usubjid=usubjid)
        else:
            day = 21 + m % 15
            self.do(actor, "hold_visit", usubjid=usubjid, visit="W4", day=day, reason=None)

    def _assess(
        self, actor: str, usubjid: str, visit: str, form: str, status: str, items: Plain,
        code: str | None = None, reason: str | None = None,
    ) -> None:  # fmt: skip
        self.do(
            actor, "assess", usubjid=usubjid, visit=visit, instrument=form, status=status,
            items=items, code=code, reason=reason,
        )  # fmt: skip

    @rule(n=NUMBER, m=NUMBER, version=st.sampled_from(["1", "2", "3"]))
    @scattered
    def consent(self, n: int, m: int, version: str) -> None:
        self.do(self.someone(m, "consent"), "consent", usubjid=self.person(n), version=version)

    @rule(
        n=NUMBER,
        m=NUMBER,
        command=st.sampled_from(["exclude", "withdraw", "discontinue_training", "randomise"]),
    )
    @scattered
    def leave(self, n: int, m: int, command: str) -> None:
        given: Plain = {"usubjid": self.person(n)}
        given |= {} if command == "randomise" else {"code": "MOVED"}
        given |= {"day": m % 30} if command in ("withdraw", "discontinue_training") else {}
        if command == "randomise" or m % 3 == 0:  # else nobody would be left
            self.do(self.someone(m, command), command, **given)

    @rule(n=NUMBER, m=NUMBER, adult=st.booleans(), device=st.sampled_from([True, False, None]))
    @scattered
    def eligible(self, n: int, m: int, adult: bool, device: bool | None) -> None:
        answers = {"ADULT": adult} | ({} if device is None else {"PACEMAKER": device})
        actor = self.someone(m, "confirm_eligibility")
        self.do(actor, "confirm_eligibility", usubjid=self.person(n), answers=answers)

    @rule(n=NUMBER, m=NUMBER, day=st.integers(-20, 40), reason=st.sampled_from([None, "late"]))
    @scattered
    def visit(self, n: int, m: int, day: int, reason: str | None) -> None:
        visit, usubjid = ("BL", "W4")[m % 2], self.person(n)
        if m % 5 == 4:
            actor = self.someone(m, "miss_visit")
            self.do(actor, "miss_visit", usubjid=usubjid, visit=visit, code="ILLNESS")
        else:
            actor = self.someone(m, "hold_visit")
            self.do(actor, "hold_visit", usubjid=usubjid, visit=visit, day=day, reason=reason)

    @rule(
        n=NUMBER,
        m=NUMBER,
        a=st.integers(0, 22),
        b=st.integers(0, 12),
        reason=st.sampled_from([None, None, "came by post"]),
    )
    @scattered
    def form(self, n: int, m: int, a: int, b: int, reason: str | None) -> None:
        """Fill in a form, early or late, well or badly."""
        usubjid, visit, form = self.person(n), ("BL", "W4")[m % 2], ("STEP", "PAPR")[m // 2 % 2]
        status = ("done", "done", "done", "unable", "not_done")[m // 4 % 5]
        code = ("ILLNESS", None)[m // 20 % 2] if status == "not_done" else None
        items = entries(form, a, b, m) if status == "done" or m % 9 == 0 else {}
        actor = self.someone(m, "assess")
        self._assess(actor, usubjid, visit, form, status, items, code, reason)

    @rule(n=NUMBER, m=NUMBER, b=st.integers(0, 12), reason=WORDS)
    @scattered
    def second_entry(self, n: int, m: int, b: int, reason: str) -> None:
        """Enter a paper form again, or decide between two entries; often where one waits."""
        waiting = [
            (usubjid, visit, form["entry"])
            for usubjid, who in self.model.people.items()
            for (visit, code), form in who["forms"].items()
            if form["entry"] in ("first", "differs")
        ]
        usubjid, visit, entry = self.person(n), ("BL", "W4")[m % 2], ("first", "differs")[n % 2]
        if waiting and m % 6:
            usubjid, visit, entry = waiting[n % len(waiting)]
        actor, at = self.someone(m, "assess"), {"visit": visit, "instrument": "PAPR"}
        if entry == "first":
            form = self.model.people.get(usubjid, {}).get("forms", {}).get((visit, "PAPR"))
            items = dict(form["items"]) if form and m % 2 else entries("PAPR", n % 12, b, m)
            status = "done" if items else "unable"
            self.do(
                actor, "assess_again", usubjid=usubjid, status=status, items=items, code=None, **at
            )
        else:
            take = ("first", "second")[n % 2]
            self.do(actor, "adjudicate", usubjid=usubjid, take=take, reason=reason, **at)

    @rule(n=NUMBER, m=NUMBER, a=st.integers(0, 22), b=st.integers(0, 12), reason=WORDS)
    @scattered
    def correct(self, n: int, m: int, a: int, b: int, reason: str) -> None:
        usubjid, visit, form = self.person(n), ("BL", "W4")[m % 2], ("STEP", "PAPR")[m // 2 % 2]
        items: Plain = {name: v for name, v in entries(form, a, b, m).items() if v or n % 2}
        items |= {"Q2": None} if form == "PAPR" and n % 5 == 0 else {}
        self.do(
            self.someone(m, "correct"), "correct", usubjid=usubjid, visit=visit, instrument=form,
            items=items, reason=reason,
        )  # fmt: skip

    @rule(
        n=NUMBER,
        m=NUMBER,
        first=st.integers(0, 36),
        length=st.integers(-1, 14),
        entries=st.lists(
            st.fixed_dictionaries({"day": st.integers(0, 37), "grade": st.integers(1, 5)}),
            max_size=2,
        ),
    )
    @scattered
    def diary(self, n: int, m: int, first: int, length: int, entries: list[Plain]) -> None:
        """Return a diary, or correct one."""
        usubjid, last = self.person(n), first + length
        entries = [e for e in entries if first <= e["day"] <= last or m % 5 == 0]
        returns = self.model.people.get(usubjid, {}).get("returns", {})
        span = {"from_day": first, "to_day": last, "entries": entries}
        if returns and m % 2:
            number = int(self._any(returns, n, "1"))
            if m % 4 == 1:
                span = {"from_day": returns.get(number, (first,))[0], "to_day": last} | span
            reason = "misread" if m % 7 else " "
            actor = self.someone(m, "correct_diary")
            self.do(actor, "correct_diary", usubjid=usubjid, returned=number, reason=reason, **span)
        else:
            self.do(self.someone(m, "return_diary"), "return_diary", usubjid=usubjid, **span)

    @rule(
        n=NUMBER,
        m=NUMBER,
        day=st.integers(0, 36),
        severity=st.sampled_from(["mild", "severe"]),
        criterion=st.sampled_from([None, None, "hospitalisation"]),
        device=st.sampled_from(["not_related", "not_related", "probable"]),
    )
    @scattered
    def adverse_event(
        self, n: int, m: int, day: int, severity: str, criterion: str | None, device: str
    ) -> None:
        harm = m % 6 != 0
        self.do(
            self.someone(m, "report_ae"), "report_ae", usubjid=self.person(n), term="an event",
            category=("fall", "skin")[n % 2], day=day, severity=severity, criterion=criterion,
            related_device=device, device_deficiency=m % 4 == 0, harm=harm, expected=n % 3 > 0,
            end_day=None if n % 4 else day + m % 5 - 1, outcome="unknown",
        )  # fmt: skip

    @rule(n=NUMBER, m=NUMBER, day=st.integers(0, 40), reason=WORDS)
    @scattered
    def follow_up(self, n: int, m: int, day: int, reason: str) -> None:
        known = [(p, ae) for p, who in self.model.people.items() for ae in who["aes"]]
        usubjid, ae = known[-1 - n % len(known)] if known else (self.person(n), "AE00")
        if m % 4 == 0:
            actor = self.someone(m, "notify_ae")
            self.do(actor, "notify_ae", usubjid=usubjid, ae=ae, to="sponsor")
            return
        changes = (
            {"end_day": day},
            {"severity": "moderate"},
            {"criterion": "intervention"},
            {"related_device": "possible"},
            {"outcome": "recovered", "end_day": day},
        )[n % 5]
        actor = self.someone(m, "update_ae")
        self.do(actor, "update_ae", usubjid=usubjid, ae=ae, changes=changes, reason=reason)

    @rule(n=NUMBER, m=NUMBER, text=WORDS)
    @scattered
    def ask(self, n: int, m: int, text: str) -> None:
        usubjid = self.person(n)
        ae = self._any(self.model.people.get(usubjid, {}).get("aes", {}), n, "AE00")
        visit, form = (("BL", "STEP"), ("W4", None), (None, None), (None, "PAPR"))[m % 4]
        self.do(
            self.someone(m, "raise_query"), "raise_query", usubjid=usubjid, text=text,
            visit=visit, instrument=form, item="SPEED" if m % 8 == 0 else None,
            ae=ae if m % 5 == 0 else None,
        )  # fmt: skip

    @rule(
        n=NUMBER,
        m=NUMBER,
        text=WORDS,
        command=st.sampled_from(["answer_query", "close_query", "reopen_query", "run_queries"]),
    )
    @scattered
    def query(self, n: int, m: int, text: str, command: str) -> None:
        actor = self.someone(m, command)
        if command == "run_queries":
            self.do(actor, command)
            return
        given = {"text": text} if command == "answer_query" else {"reason": text}
        self.do(actor, command, query=self._any(self.model.queries, n, "Q9999"), **given)

    @rule(
        n=NUMBER,
        m=NUMBER,
        text=WORDS,
        what=st.sampled_from(["raise", "acknowledge", "resolve"]),
        grade=st.sampled_from(["minor", "major"]),
    )
    @scattered
    def deviation(self, n: int, m: int, text: str, what: str, grade: str) -> None:
        name = f"{what}_deviation"
        given: Plain = {"deviation": self._any(self.model.deviations, n, "D9999"), "reason": text}
        if what == "raise":
            category = ("consent", "other", "no such")[m % 3]
            given = {"usubjid": self.person(n), "category": category, "detail": text}
        given |= {} if what == "resolve" else {"classification": grade}
        self.do(self.someone(m, name), name, **given)

    @rule(n=NUMBER, m=NUMBER, approve=st.booleans(), reason=WORDS)
    @scattered
    def unblind(self, n: int, m: int, approve: bool, reason: str) -> None:
        if approve:
            request = self._any(self.model.unblindings, n, "U999")
            self.do(self.someone(m, "approve_unblinding"), "approve_unblinding", request=request)
        else:
            actor = self.someone(m, "request_unblinding")
            self.do(actor, "request_unblinding", usubjid=self.person(n), reason=reason)

    @rule(n=NUMBER, m=NUMBER, reason=WORDS, command=st.sampled_from(FROM_LOCKS))
    @scattered
    def lock(self, n: int, m: int, reason: str, command: str) -> None:
        """Freeze, release, lock and unlock; what is locked is soon unlocked again."""
        if self.model.lock is not None and n % 3:
            command = "approve_unlock" if self.model.lock["request"] else "request_unlock"
        elif self.model.frozen and n % 3:
            command = "release"
        actor = self.someone(m, command)
        if command in ("freeze", "release"):
            scope = (
                self.person(n) if n % 2 else None,
                ("BL", "W4", None, None)[m % 4],
            )
            if command == "release" and self.model.frozen and m % 4:
                scope = sorted(self.model.frozen, key=str)[n % len(self.model.frozen)]
            given: Plain = {"usubjid": scope[0], "visit": scope[1]}
            self.do(actor, command, **given, **({"reason": reason} if command == "release" else {}))
        elif command == "approve_unlock":
            asked = self.model.lock["request"] if self.model.lock else None
            self.do(actor, command, request=asked or "D999")
        else:
            self.do(actor, command, reason=reason)

    @rule(n=NUMBER, m=NUMBER, role=st.sampled_from(ROLES), command=st.sampled_from(FROM_PEOPLE))
    @scattered
    def people(self, n: int, m: int, role: str, command: str) -> None:
        others = [user for user in self.model.users if user != "olga"]
        user = "nobody" if n % 17 == 16 else others[n % len(others)]
        actor = self.someone(m, command)
        if command == "require_login":
            if m % 5 == 0:
                self.do(actor, command, right=actor == "olga" or bool(n % 2))
        elif command == "set_role":
            self.do(actor, command, user=user, role=role)
        elif command == "unlock_user" or m % 4 == 0:
            self.do(actor, command, user=user)

    @rule(n=NUMBER, m=NUMBER, role=st.sampled_from(ROLES))
    @scattered
    def add_user(self, n: int, m: int, role: str) -> None:
        names = [*self.model.users, "nina", "otto", "paul", "rita", "sven", "tina", "uwe"]
        given = {"role": role, "sites": [[], ["01"]][n % 2]}
        self.do(self.someone(m, "add_user"), "add_user", user=names[-1 - n % 9], **given)

    @rule(n=NUMBER, right=st.booleans())
    @scattered
    def login(self, n: int, right: bool) -> None:
        some = [u for u in self.model.users if u != "olga"]
        user = some[n % len(some)] if n % 2 else ("asta", "ivan")[n // 2 % 2]
        expected = self.model.do(self.clock.now(), user, "login", user=user, right=right)
        type(self).steps["login"] += 1
        before, error = self.study.record.head[0], None
        try:
            accounts.login(self.study, user, WORD if right else WRONG, keep=False)
        except TrialkitError as caught:
            error = caught
        self._compare(f"login {user}", expected, error, before)

    @rule(n=NUMBER, m=NUMBER, right=st.sampled_from([True, True, True, False]), meaning=WORDS)
    @scattered
    def sign(self, n: int, m: int, right: bool, meaning: str) -> None:
        usubjid = self.person(n)
        what = f"casebook:{usubjid}"
        if n % 2:
            what = f"form:{usubjid}/{('BL', 'W4')[m % 2]}/{('STEP', 'PAPR')[m // 2 % 2]}"
        actor = self.someone(m, "sign")
        self.do(actor, "sign", what=what, meaning=meaning, right=right or actor == "olga")

    @rule(hours=st.sampled_from([1, 5, 24, 72]))
    @scattered
    def time_passes(self, hours: int) -> None:
        self.clock.advance(hours * 3600)

    @rule(by_s=st.sampled_from([-90_000.0, -3600.0, -5.0, -1.0, 1.5, 60.0, 90_000.0]))
    @scattered
    def set_the_clock(self, by_s: float) -> None:
        self.clock.set_wall(by_s)
        if self.model.drift is not None:
            self.model.drift += by_s

    # --- crashes -----------------------------------------------------------------------------

    @rule(n=NUMBER, m=NUMBER, end=st.sampled_from(["commit", "exception", "exception"]))
    @scattered
    def in_a_batch(self, n: int, m: int, end: str) -> None:
        """Try a few commands in one batch, which ends well or by an exception."""
        kept = copy.deepcopy(self.model)
        self.batch, before = [], self.study.record.head[0]
        views = dict(self.views)
        try:
            with self.study.batch():
                self._some(n, m)
                if end == "exception":
                    raise ZeroDivisionError
        except ZeroDivisionError:
            self.model = kept
            type(self).crashes["exception in a batch"] += 1
            if self.model.required:
                self.views = views  # their logins are taken back as well
        late, self.batch = self.batch, None
        self.model.seq += len(late)
        kinds = [event.kind for event in self.study.record.read(after=before)]
        assert kinds[len(kinds) - len(late) :] == late
        self.look()

    def _some(self, n: int, m: int) -> None:
        """Try a few commands."""
        self.do("cora", "enrol", site="01")
        for step in range(1 + n % 4):
            self.onward(n // (step + 1), m)
        self.ask(n, m, "checked")
        self.lock(n, m, "checked", "freeze") if n % 4 == 0 else self.visit(n, m, -3, "late")

    @rule(n=NUMBER)
    @scattered
    def crash(self, n: int) -> None:
        """Lose the open study as a process that ends does, and open it again."""
        if n % 4:
            return
        full = n % 3 > 0
        if full:
            self.study.record._store.connection.invalidate()
        else:
            self.study.close()
        type(self).crashes["connection dropped" if full else "closed"] += 1
        self._open()
        self.look()

    @rule(n=NUMBER, m=NUMBER, committed=st.booleans())
    @scattered
    def child_is_killed(self, n: int, m: int, committed: bool) -> None:
        """Let another process write and be killed, in the middle of its batch or just after."""
        if n % 3 or self.model.required or self.model.users["cora"]["retired"]:
            return
        kept, drift = copy.deepcopy(self.model), self.model.drift
        ours, theirs = os.pipe()
        pid = os.fork()
        if not pid:
            self._be_the_child(ours, theirs, n, m, committed)
        os.close(theirs)
        with os.fdopen(ours) as stream:
            told = stream.read()
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), told
        counts = json.loads(told.splitlines()[-1])
        type(self).crashes["killed after its commit" if committed else "killed in a batch"] += 1
        self.model = kept
        if committed:
            self._follow(n, m, counts)
        self.model.drift = drift
        self.look()

    def _be_the_child(self, ours: int, theirs: int, n: int, m: int, committed: bool) -> None:
        """Open the study, write, tell the last number, and be killed."""
        self.of_parent = self.study  # collected here, it would end the parent's connection
        try:
            os.close(ours)
            self._open()
            self.batch = []
            with self.study.batch():
                self._some(n, m)
                if not committed:
                    os.write(theirs, json.dumps([self.study.record.head[0]]).encode())
                    os.kill(os.getpid(), signal.SIGKILL)
            os.write(theirs, json.dumps([self.study.record.head[0]]).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        except BaseException as error:
            os.write(theirs, repr(error).encode())
        finally:
            os._exit(1)

    def _follow(self, n: int, m: int, counts: list[int]) -> None:
        """Let the model take what another process did."""
        self.model.drift, self.batch, self.mute = None, [], True
        self._some(n, m)
        self.model.seq += len(self.batch)
        self.batch, self.mute = None, False
        self.study.refresh()
        assert self.model.seq == counts[0] == self.study.state.seq


def entries(form: str, a: int, b: int, m: int) -> Plain:
    """Return entries of a form, some of which it does not take."""
    if form == "PAPR":
        return {"Q1": a // 2} | ({} if m % 3 == 0 else {"Q2": b})
    items: Plain = {"SPEED": a, "AID": "Y" if b % 2 else "N"}
    return items | ({"KIND": "cane"} if b % 3 == 0 else {})


def call(view: Study, actor: str, command: str, given: Plain) -> None:
    """Call a command of the library."""
    if command == "sign":
        word = WORD if given["right"] else WRONG
        signing.sign(view, given["what"], given["meaning"], password=word, signer=actor)
    elif command == "require_login":
        accounts.require_login(view, password=WORD if given["right"] else WRONG)
    elif command == "add_user":
        view.add_user(given["user"], role=given["role"], sites=given["sites"])
    elif command == "return_diary":
        participants.return_diary(view, diary="FALL", **given)
    elif command == "run_queries":
        participants.run_queries(view)
    else:
        room: Any = next(r for r in (participants, datalock, accounts) if hasattr(r, command))
        function: Callable[..., object] = getattr(room, command)
        first = next((k for k in FIRST if k in given), None)
        rest = {name: value for name, value in given.items() if name != first}
        second = [rest.pop(name) for name in SECOND.get(command, ())]
        function(view, *([given[first]] if first else []), *second, **rest)


FIRST = ("usubjid", "query", "deviation", "request", "user")
SECOND = {
    "confirm_eligibility": ("answers",),
    "hold_visit": ("visit",),
    "miss_visit": ("visit",),
    "update_ae": ("ae",),
    "notify_ae": ("ae",),
    "set_role": ("role",),
}


def plain_of_model(model: Model) -> Plain:
    """Return what is compared of a model."""
    found = {name: vars(model)[name] for name in ("queries", "deviations", "unblindings")}
    found |= {"frozen": model.frozen, "lock": model.lock, "required": model.required}
    people = copy.deepcopy(model.people)
    if model.minimised:
        for who in people.values():
            who["place"] = who["place"] is not None
    else:
        found["places"] = model.places
    users = {
        name: {k: v for k, v in user.items() if k != "password"}
        for name, user in model.users.items()
    }
    return found | {"people": people, "users": users, "signed": model.signed}


def plain_of_state(state: StudyState, *, minimised: bool) -> Plain:
    """Return the state of a study in the shape of the model."""
    found: Plain = {"frozen": state.frozen, "required": state.accounts is not None}
    if not minimised:
        found["places"] = dict(state.places_taken)
    lock = state.data_lock
    found["lock"] = lock and {
        "by": lock.by, "request": lock.request, "asked_by": lock.asked_by, "late": lock.late
    }  # fmt: skip
    found["users"] = {
        u.user: {
            "role": u.role, "sites": list(u.sites), "retired": u.retired, "failures": u.failures,
            "locked_at": u.locked_at and datetime.fromisoformat(u.locked_at),
        }
        for u in state.users.values()
    }  # fmt: skip
    found["queries"] = {
        q.query: {
            "usubjid": q.usubjid, "rule": q.rule, "value": q.value, "hidden": q.restricted,
            "place": {k: v for k, v in q.place.model_dump().items() if v}, "status": q.status,
            "by": q.raised_by, "answers": [a["by"] for a in q.answers], "reopened": q.reopened,
            "settled": len(q.corrections),
        }
        for q in state.queries.values()
    }  # fmt: skip
    found["deviations"] = {
        d.deviation: {"usubjid": d.usubjid, "category": d.category, "class": d.classification,
                      "status": d.status}
        for d in state.deviations.values()
    }  # fmt: skip
    found["unblindings"] = {
        u.request: {"usubjid": u.usubjid, "by": u.requested_by, "role": u.requested_role,
                    "approved": u.approved_by}
        for u in state.unblindings.values()
    }  # fmt: skip
    signed = sorted((s for some in state.signed.values() for s in some), key=lambda s: s.seq)
    found["signed"] = [
        {"what": s.what, "by": s.signer, "broken": s.broken_by is not None} for s in signed
    ]
    found["people"] = {name: _person(who, minimised) for name, who in state.participants.items()}
    return found


def _person(who: Any, minimised: bool) -> Plain:
    facts = ("term", "category", "day", "severity", "criterion", "device_deficiency", "harm",
             "expected", "end_day", "outcome")  # fmt: skip
    return {
        "site": who.site,
        "consent": who.consent,
        "eligible": who.eligible is not None,
        "excluded": who.excluded,
        "stratum": who.stratum,
        "place": who.place is not None if minimised else who.place,
        "day0": who.randomised_at and datetime.fromisoformat(who.randomised_at).date(),
        "visits": {v.visit: (v.day, v.code) for v in who.visits.values()},
        "forms": {at: _form(form) for at, form in who.assessments.items()},
        "returns": {
            r.returned: (r.from_day, r.to_day, r.entries, r.corrections)
            for r in who.returns.values()
        },
        "aes": {
            name: {f: getattr(a.facts, f) for f in facts}
            | {"related_device": a.facts.device_relation, "by": a.reported_by}
            | {"updates": len(a.updates), "sent": a.notified and list(a.notified)}
            for name, a in who.reports.items()
        },
        "discontinued": who.discontinued and (who.discontinued_day, who.discontinued),
        "withdrawn": who.withdrawn and (who.withdrawn_day, who.withdrawn),
    }


def _form(form: Any) -> Plain:
    second = form.second and {
        "status": form.second["status"], "items": form.second["items"],
        "code": form.second["code"], "differ": form.second["differences"],
    }  # fmt: skip
    names = ("status", "items", "code", "late", "entry", "flags", "corrections")
    return {name: getattr(form, name) for name in names} | {
        "delay": form.delay_days, "by": form.entered_by, "second": second,
    }  # fmt: skip
