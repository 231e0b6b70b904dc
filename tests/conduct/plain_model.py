"""What the documents say of conduct, as plain dicts: what is refused, and what is then the case.

Written from docs/conduct.md, docs/forms.md, docs/accounts.md and docs/randomisation.md. `do`
says of one command whether it must be refused and why, and else takes it into account. It
names the kinds of the events that it must leave, in order. Nothing here is taken from the
state of a study.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

Plain = dict[str, Any]

_GROUPS = {
    "owner coordinator investigator": "enrol consent exclude randomise confirm_eligibility "
    "withdraw discontinue_training request_unblinding approve_unblinding",
    "owner coordinator investigator assessor": "hold_visit miss_visit",
    "assessor": "assess assess_again adjudicate correct",
    "owner coordinator assessor": "return_diary correct_diary",
    "owner coordinator therapist assessor investigator": "report_ae update_ae notify_ae "
    "answer_query",
    "owner coordinator investigator monitor data_manager": "raise_query close_query reopen_query "
    "run_queries",
    "owner coordinator therapist investigator monitor data_manager": "raise_deviation",
    "owner investigator": "acknowledge_deviation resolve_deviation",
    "owner data_manager": "freeze release",
    "owner investigator data_manager": "lock_data request_unlock approve_unlock",
    "owner administrator": "add_user set_role retire_user unlock_user",
    "owner coordinator therapist assessor investigator statistician monitor data_manager": "sign",
    "owner": "require_login",
}
MAY = {command: roles.split() for roles, some in _GROUPS.items() for command in some.split()}
SEES = ("owner", "coordinator", "therapist", "investigator")
ROLES = sorted({role for roles in MAY.values() for role in roles} | {"statistician", "monitor"})
OPEN_AE = {"term", "category", "day", "severity", "criterion", "expected", "end_day", "outcome"}
WINDOWS = {"BL": (-14, 0), "W4": (21, 35)}
DIARY_END, RETURN_EVERY, LATE_DAYS = 35, 30, 3
CATEGORIES = ("consent", "other")
#: Events of a login, before which nobody asks what the clock did.
OF_LOGIN = {"command.refused", "user.logged_in", "user.login_failed", "user.locked"}


class Outcome(NamedTuple):
    """What must come of a command: the errors of which one is raised, and the events left."""

    why: frozenset[str]
    kinds: list[str]


def refused(*why: str, kinds: tuple[str, ...] = ()) -> Outcome:
    """Return a refusal."""
    return Outcome(frozenset(why), list(kinds))


def denied() -> Outcome:
    """Return the refusal of a person who may not, which is itself an event."""
    return refused("NotPermitted", kinds=("command.refused",))


def fault_of(form: str, items: Plain) -> bool:
    """Return True where entries are not what the form takes."""
    if form == "PAPR":
        return not (
            _between(items.get("Q1"), 0, 10)
            and (items.get("Q2") is None or _between(items["Q2"], 0, 10))
        )
    kind, aid = items.get("KIND"), items.get("AID")
    asked = aid == "Y"
    return not (
        _between(items.get("SPEED"), 0, 20)
        and aid in ("Y", "N")
        and (kind is None or (asked and kind in ("cane", "frame")))
    )


def _between(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and low <= value <= high


def flags_of(form: str, items: Plain) -> list[str]:
    """Return the items that are taken and questioned."""
    return ["SPEED"] if form == "STEP" and not 2 <= items.get("SPEED", 2) <= 15 else []


def classes_of(ae: Plain) -> list[str]:
    """Return the classes of ISO 14155, as the table of docs/conduct.md has them."""
    found = []
    serious, device = ae["criterion"] is not None, ae["related_device"] != "not_related"
    if ae["harm"]:
        found.append("AE")
        found += ["SAE"] * serious + ["ADE"] * device + ["SADE"] * (serious and device)
        found += ["USADE"] * (serious and device and not ae["expected"])
    if ae["device_deficiency"]:
        found.append("DD")
        found += ["DD_SADE"] * (ae["harm"] and serious and device)
    return found


def names_arm(text: str) -> bool:
    """Return True where a text names an arm."""
    return any(name in text.lower() for name in ("robotic", "conventional"))


class Model:
    """A study as the documents describe it."""

    def __init__(self, users: Plain, seq: int, *, minimised: bool) -> None:
        self.users, self.seq, self.minimised = users, seq, minimised
        self.people: dict[str, Plain] = {}
        self.queries: dict[str, Plain] = {}
        self.deviations: dict[str, Plain] = {}
        self.unblindings: dict[str, Plain] = {}
        self.frozen: set[tuple[str | None, str | None]] = set()
        self.lock: Plain | None = None
        self.asked = 0
        self.signed: list[Plain] = []
        self.required = False
        self.places: dict[str, int] = {}
        self.drift: float | None = None  # of the wall clock since somebody looked; None: nobody

    def do(self, now: datetime, actor: str, command: str, /, **given: Any) -> Outcome:
        """Say what must come of a command, and take it into account."""
        user = self.users.get(actor)
        role = "none" if user is None or user["retired"] else user["role"]
        self.now, self.actor, self.role = now, actor, role
        gate = self._gate(command, given)
        outcome = gate or getattr(self, command)(**given)
        kinds = list(outcome.kinds)
        silent = OF_LOGIN if command == "unlock_user" else OF_LOGIN | {"user.unlocked"}
        spoken = [at for at, kind in enumerate(kinds) if kind not in silent]
        if spoken:
            if self.drift is not None and abs(self.drift) > 2:
                kinds.insert(spoken[0], "clock.stepped")
            self.drift = 0.0
        self.seq += len(kinds)
        return Outcome(outcome.why, kinds)

    def next_seq(self, behind: int = 0) -> int:
        """Return the number of the event that a command writes, `behind` others of its own."""
        stepped = self.drift is not None and abs(self.drift) > 2
        return self.seq + 1 + behind + stepped

    # --- who may ---------------------------------------------------------------------------

    def _gate(self, command: str, given: Plain) -> Outcome | None:
        if command == "login":
            return None
        if self.role not in MAY[command]:
            return denied()
        known = self.people.get(given.get("usubjid") or "")
        site = known["site"] if known else given.get("site")
        if command == "sign":
            return None
        return denied() if self._elsewhere(site) else None

    def _elsewhere(self, site: str | None) -> bool:
        sites = self.users[self.actor]["sites"]
        return bool(site and sites and site not in sites)

    def _sees(self) -> bool:
        return self.role in SEES

    def _held(self, usubjid: str | None, visit: str | None = None) -> bool:
        scopes = ((None, None), (usubjid, None), (None, visit), (usubjid, visit))
        return self.lock is not None or any(scope in self.frozen for scope in scopes)

    def _enter(self, why: set[str], usubjid: str | None, visit: str | None) -> Outcome | None:
        """Return the refusal of an entry, or None where it is taken."""
        if why:
            return refused(*why)
        if self._held(usubjid, visit):
            return refused("DataLocked", kinds=("command.refused",))
        return None

    def _breaks(self, usubjid: str, form: str | None = None) -> None:
        for signature in self.signed:
            if signature["what"] in (f"casebook:{usubjid}", form):
                signature["broken"] = True

    # --- the way in and out ------------------------------------------------------------------

    def enrol(self, site: str, usubjid: str | None = None) -> Outcome:
        stem = f"CRASH-{site}-"
        n = sum(name.startswith(stem) for name in self.people) + 1
        why = {"Duplicate"} if usubjid in self.people else set()
        usubjid = usubjid or f"{stem}{n:03d}"
        if (no := self._enter(why, usubjid, None)) is not None:
            return no
        self.people[usubjid] = {
            "site": site, "consent": None, "eligible": False, "excluded": None, "stratum": None,
            "place": None, "day0": None, "visits": {}, "forms": {}, "returns": {}, "aes": {},
            "discontinued": None, "withdrawn": None,
        }  # fmt: skip
        return Outcome(frozenset(), ["participant.enrolled"])

    def _not_active(self, who: Plain) -> set[str]:
        out = who["excluded"] is not None or who["withdrawn"] is not None or who["consent"] is None
        return {"OutOfOrder"} if out else set()

    def _not_started(self, who: Plain) -> set[str]:
        return self._not_active(who) | ({"OutOfOrder"} if who["place"] is None else set())

    def _entry(
        self, why: set[str], usubjid: str, kinds: list[str], change: Callable[[], None],
        visit: str | None = None, form: str | None = None,
    ) -> Outcome:  # fmt: skip
        if (no := self._enter(why, usubjid, visit)) is not None:
            return no
        change()
        self._breaks(usubjid, f"form:{usubjid}/{visit}/{form}" if form else None)
        return Outcome(frozenset(), kinds)

    def _safety(
        self, why: set[str], usubjid: str, kind: str, change: Callable[[], None]
    ) -> Outcome:
        """Take a report whatever is held back; a lock counts what came after it."""
        if why:
            return refused(*why)
        change()
        self._breaks(usubjid)
        if self.lock is not None and kind != "ae.notified":
            self.lock["late"] += 1
        return Outcome(frozenset(), [kind])

    def consent(self, usubjid: str, version: str) -> Outcome:
        who = self.people.get(usubjid)
        if who is None:
            return refused("UnknownName")
        why = {"OutOfOrder"} if who["excluded"] or who["withdrawn"] else set()
        why |= {"Duplicate"} if who["consent"] == version else set()
        why |= {"UsageError"} if not version.strip() else set()
        return self._entry(
            why, usubjid, ["participant.consented"], lambda: who.update(consent=version)
        )

    def exclude(self, usubjid: str, code: str) -> Outcome:
        who = self.people.get(usubjid)
        if who is None:
            return refused("UnknownName")
        why = {"Duplicate"} if who["excluded"] else set()
        why |= {"OutOfOrder"} if who["place"] else set()
        return self._entry(
            why, usubjid, ["participant.excluded"], lambda: who.update(excluded=code)
        )

    def confirm_eligibility(self, usubjid: str, answers: dict[str, bool]) -> Outcome:
        who = self.people.get(usubjid)
        if who is None:
            return refused("UnknownName")
        why = self._not_active(who)
        why |= {"Duplicate"} if who["eligible"] or who["place"] else set()
        if set(answers) != {"ADULT", "PACEMAKER"}:
            why.add("UsageError")
        elif answers != {"ADULT": True, "PACEMAKER": False}:
            why.add("OutOfRange")
        return self._entry(
            why, usubjid, ["participant.eligible"], lambda: who.update(eligible=True)
        )

    def randomise(self, usubjid: str) -> Outcome:
        who = self.people.get(usubjid)
        if who is None:
            return refused("UnknownName")
        why = self._not_active(who) | ({"Duplicate"} if who["place"] else set())
        form = who["forms"].get(("BL", "STEP"))
        speed = None
        if form is not None and form["status"] != "not_done":
            speed = form["items"]["SPEED"] if form["status"] == "done" else 0
        why |= {"OutOfOrder"} if speed is None or not who["eligible"] else set()
        band = "fast" if (speed or 0) >= 8 else "slow"
        stratum = "minimisation" if self.minimised else f"site={who['site']}|band={band}"
        first = not self.places
        kinds = ["allocation.scheme_committed"] * first
        kinds += ["allocation.list_committed"] * (not self.minimised and stratum not in self.places)

        def change() -> None:
            self.places[stratum] = self.places.get(stratum, 0) + 1
            who.update(stratum=stratum, place=self.places[stratum], day0=self.now.date())

        return self._entry(why, usubjid, [*kinds, "participant.randomised"], change)

    def discontinue_training(self, usubjid: str, day: int, code: str) -> Outcome:
        who = self.people.get(usubjid)
        if who is None:
            return refused("UnknownName")
        why = self._not_started(who) | ({"Duplicate"} if who["discontinued"] else set())
        why |= self._late(who, day)
        kinds = ["participant.training_discontinued"]
        return self._entry(why, usubjid, kinds, lambda: who.update(discontinued=(day, code)))

    def withdraw(self, usubjid: str, day: int, code: str) -> Outcome:
        who = self.people.get(usubjid)
        if who is None:
            return refused("UnknownName")
        kinds = ["participant.withdrawn"]
        why = self._not_active(who) | self._late(who, day)
        return self._entry(why, usubjid, kinds, lambda: who.update(withdrawn=(day, code)))

    # --- visits and forms --------------------------------------------------------------------

    def _delay(self, who: Plain, day: int | None) -> int | None:
        """Return the days since study day `day`; None where it is unknown or lies ahead."""
        if day is None or who["day0"] is None:
            return None
        delay: int = (self.now.date() - who["day0"]).days - day
        return delay if delay >= 0 else None

    def _late(self, who: Plain, day: int) -> set[str]:
        """Return what becomes of an entry about study day `day` without a reason."""
        return {"OutOfWindow"} if (self._delay(who, day) or 0) > LATE_DAYS else set()

    def hold_visit(self, usubjid: str, visit: str, day: int, reason: str | None) -> Outcome:
        who = self.people.get(usubjid)
        if who is None or visit not in WINDOWS:
            return refused("UnknownName")
        why = self._not_active(who) if visit == "BL" else self._not_started(who)
        why |= {"Duplicate"} if visit in who["visits"] else set()
        first, last = WINDOWS[visit]
        inside = first <= day <= last
        why |= {"OutOfWindow"} if not inside and not reason else set()
        why |= self._late(who, day) if not reason else set()

        def change() -> None:
            who["visits"][visit] = (day, None)
            if not inside:
                self._deviate(usubjid, "visit_window", None)

        kinds = ["deviation.raised"] * (not inside) + ["visit.held"]
        return self._entry(why, usubjid, kinds, change, visit)

    def miss_visit(self, usubjid: str, visit: str, code: str) -> Outcome:
        who = self.people.get(usubjid)
        if who is None or visit not in WINDOWS:
            return refused("UnknownName")
        why = self._not_active(who) if visit == "BL" else self._not_started(who)
        why |= {"Duplicate"} if visit in who["visits"] else set()

        def change() -> None:
            who["visits"][visit] = (None, code)

        return self._entry(why, usubjid, ["visit.missed"], change, visit)

    def assess(
        self, usubjid: str, visit: str, instrument: str, status: str, items: Plain,
        code: str | None, reason: str | None,
    ) -> Outcome:  # fmt: skip
        who = self.people.get(usubjid)
        if who is None or visit not in WINDOWS:
            return refused("UnknownName")
        why = self._not_active(who)
        day = who["visits"].get(visit, (None, None))[0]
        why |= {"OutOfOrder"} if day is None else set()
        why |= {"Duplicate"} if (visit, instrument) in who["forms"] else set()
        why |= self._badly_filled(instrument, status, items)
        why |= {"UsageError"} if status == "not_done" and not code else set()
        delay = self._delay(who, day)
        late = delay is not None and delay > LATE_DAYS
        why |= {"OutOfWindow"} if late and not reason else set()
        why |= {"UsageError"} if not late and reason is not None else set()

        def change() -> None:
            who["forms"][visit, instrument] = {
                "status": status, "items": items, "code": code, "late": late, "delay": delay,
                "entry": "first" if instrument == "PAPR" else "single", "by": self.actor,
                "flags": flags_of(instrument, items), "second": None, "corrections": 0,
            }  # fmt: skip

        return self._entry(why, usubjid, ["assessment.recorded"], change, visit, instrument)

    def _badly_filled(self, form: str, status: str, items: Plain) -> set[str]:
        if status != "done":
            return {"UsageError"} if items else set()
        if not items:
            return {"UsageError"}
        return {"OutOfRange"} if fault_of(form, items) else set()

    def assess_again(
        self, usubjid: str, visit: str, instrument: str, status: str, items: Plain,
        code: str | None,
    ) -> Outcome:  # fmt: skip
        form, no = self._form(usubjid, visit, instrument)
        if form is None:
            return no
        why = {"OutOfOrder"} if form["entry"] != "first" else set()
        why |= {"NotPermitted"} if form["by"] == self.actor else set()
        why |= self._badly_filled(instrument, status, items)
        why |= {"UsageError"} if status == "not_done" and not code else set()
        names = ("Q1", "Q2") if instrument == "PAPR" else ("SPEED", "AID", "KIND")
        if status != form["status"]:
            differ = ["status"]
        else:
            differ = ["code"] if code != form["code"] else []
            differ += [n for n in names if items.get(n) != form["items"].get(n)]

        def change() -> None:
            form["second"] = {"status": status, "items": items, "code": code, "differ": differ}
            form["entry"] = "differs" if differ else "agreed"

        kinds = ["assessment.entered_again"]
        return self._entry(why, usubjid, kinds, change, visit, instrument)

    def adjudicate(
        self, usubjid: str, visit: str, instrument: str, take: str, reason: str
    ) -> Outcome:
        form, no = self._form(usubjid, visit, instrument)
        if form is None:
            return refused(*no.why, *([] if reason.strip() else ["UsageError"]))
        why = set() if reason.strip() else {"UsageError"}
        why |= {"OutOfOrder"} if form["entry"] != "differs" else set()

        def change() -> None:
            taken = form["second"] if take == "second" else form
            new = taken["items"] if taken["status"] == "done" else {}
            self._corrects(usubjid, visit, instrument, form["items"], new)
            form.update(status=taken["status"], items=new, code=taken["code"])
            form.update(flags=flags_of(instrument, new), entry="adjudicated", second=None)

        kinds = ["assessment.adjudicated"]
        return self._entry(why, usubjid, kinds, change, visit, instrument)

    def correct(
        self, usubjid: str, visit: str, instrument: str, items: Plain, reason: str
    ) -> Outcome:
        form, no = self._form(usubjid, visit, instrument)
        if form is None:
            return refused(*no.why, *([] if reason.strip() else ["UsageError"]))
        why = set() if reason.strip() else {"UsageError"}
        merged = {n: v for n, v in {**form["items"], **items}.items() if v is not None}
        why |= self._badly_filled(instrument, "done", merged)
        if merged == form["items"] and form["status"] == "done":
            why.add("UsageError")

        def change() -> None:
            self._corrects(usubjid, visit, instrument, form["items"], merged)
            form.update(status="done", items=merged, flags=flags_of(instrument, merged))
            form.update(entry="first" if instrument == "PAPR" else "single", by=self.actor)
            form.update(second=None, corrections=form["corrections"] + 1)

        kinds = ["assessment.corrected"]
        return self._entry(why, usubjid, kinds, change, visit, instrument)

    def _form(self, usubjid: str, visit: str, form: str) -> tuple[Any, Outcome]:
        who = self.people.get(usubjid)
        if who is None:
            return None, refused("UnknownName")
        return who["forms"].get((visit, form)), refused("OutOfOrder")

    # --- diaries -----------------------------------------------------------------------------

    def return_diary(
        self, usubjid: str, from_day: int, to_day: int, entries: list[Plain]
    ) -> Outcome:
        who = self.people.get(usubjid)
        if who is None:
            return refused("UnknownName")
        why = self._not_started(who) | self._days(who, from_day, to_day, entries, None)
        why |= self._late(who, to_day)

        def change() -> None:
            who["returns"][self.next_seq()] = (from_day, to_day, entries, 0)

        return self._entry(why, usubjid, ["diary.returned"], change)

    def correct_diary(
        self, usubjid: str, returned: int, from_day: int, to_day: int, entries: list[Plain],
        reason: str,
    ) -> Outcome:  # fmt: skip
        who = self.people.get(usubjid)
        blank = set() if reason.strip() else {"UsageError"}
        if who is None:
            return refused("UnknownName", *blank)
        old = who["returns"].get(returned)
        if old is None:
            return refused("OutOfOrder", *blank)
        why = blank | self._days(who, from_day, to_day, entries, returned)
        why |= {"UsageError"} if old[:3] == (from_day, to_day, entries) else set()

        def change() -> None:
            who["returns"][returned] = (from_day, to_day, entries, old[3] + 1)
            self._settles(usubjid, lambda q: q["place"].get("diary") == "FALL")

        return self._entry(why, usubjid, ["diary.corrected"], change)

    def _days(
        self, who: Plain, first: int, last: int, entries: list[Plain], besides: int | None
    ) -> set[str]:
        why = set() if 0 <= first <= last <= DIARY_END else {"OutOfRange"}
        if any(not first <= e["day"] <= last or e["grade"] not in (1, 2, 3, 4) for e in entries):
            why.add("OutOfRange")
        for number, (a, b, _, _) in who["returns"].items():
            if number != besides and first <= b and a <= last:
                why.add("Duplicate")
        return why

    # --- adverse events ----------------------------------------------------------------------

    def report_ae(self, usubjid: str, **facts: Any) -> Outcome:
        who = self.people.get(usubjid)
        if who is None:
            return refused("UnknownName")
        why = {"OutOfOrder"} if who["consent"] is None else set()
        why |= self._contradicts(facts)

        def change() -> None:
            kind = "AE" if facts["harm"] else "DD"
            n = sum(a["harm"] == facts["harm"] for a in who["aes"].values()) + 1
            report = {**facts, "by": self.actor, "updates": 0, "sent": None}
            who["aes"][f"{usubjid}-{kind}{n:02d}"] = report

        return self._safety(why, usubjid, "ae.reported", change)

    def _contradicts(self, facts: Plain) -> set[str]:
        why = set()
        if facts["end_day"] is not None and facts["end_day"] < facts["day"]:
            why.add("OutOfRange")
        if not facts["harm"] and (facts["criterion"] or not facts["device_deficiency"]):
            why.add("UsageError")
        return why

    def update_ae(self, usubjid: str, ae: str, changes: Plain, reason: str) -> Outcome:
        who = self.people.get(usubjid)
        blank = set() if reason.strip() else {"UsageError"}
        if who is None:
            return refused("UnknownName", *blank)
        report = who["aes"].get(ae)
        if report is None or not (report["harm"] or self._sees()):
            return refused("UnknownName", *blank)
        foreign = report["by"] != self.actor or not changes.keys() <= OPEN_AE
        if not self._sees() and foreign:
            return refused("UsageError") if blank else denied()
        why = blank | self._contradicts({**report, **changes})
        why |= {"UsageError"} if all(report[n] == v for n, v in changes.items()) else set()

        def change() -> None:
            report.update(changes, updates=report["updates"] + 1)
            self._settles(usubjid, lambda q: q["place"].get("ae") == ae)

        return self._safety(why, usubjid, "ae.updated", change)

    def notify_ae(self, usubjid: str, ae: str, to: str) -> Outcome:
        if not self._sees():
            return denied()
        who = self.people.get(usubjid)
        if who is None or ae not in who["aes"]:
            return refused("UnknownName")
        report = who["aes"][ae]
        return self._safety(
            set(), usubjid, "ae.notified", lambda: report.update(sent=classes_of(report))
        )

    # --- queries -----------------------------------------------------------------------------

    def raise_query(
        self, usubjid: str, text: str, visit: str | None, instrument: str | None,
        item: str | None, ae: str | None,
    ) -> Outcome:  # fmt: skip
        who = self.people.get(usubjid)
        blank = set() if text.strip() else {"UsageError"}
        if who is None:
            return refused("UnknownName", *blank)
        why = blank | ({"UsageError"} if instrument and not visit else set())
        report = who["aes"].get(ae) if ae else None
        if ae and (report is None or not (report["harm"] or self._sees())):
            why.add("UnknownName")
        if why:
            return refused(*why)
        hidden = names_arm(text) or (report is not None and not report["harm"])
        if hidden and not self._sees():
            return denied()
        named = {"visit": visit, "instrument": instrument, "item": item, "ae": ae}
        self.add_query(usubjid, {k: v for k, v in named.items() if v}, None, "", hidden=hidden)
        return Outcome(frozenset(), ["query.raised"])

    def add_query(
        self, usubjid: str, place: Plain, rule: str | None, value: str, *, hidden: bool
    ) -> str:
        """Add a query under the next name of its kind."""
        n = sum(q["hidden"] == hidden for q in self.queries.values()) + 1
        name = f"{'R' if hidden else 'Q'}{n:04d}"
        self.queries[name] = {
            "usubjid": usubjid, "place": place, "rule": rule, "value": value, "hidden": hidden,
            "status": "open", "by": self.actor, "answers": [], "reopened": 0, "settled": 0,
        }  # fmt: skip
        return name

    def _query(self, query: str) -> Plain | None:
        found = self.queries.get(query)
        if found is None or (found["hidden"] and not self._sees()):
            return None
        return None if self._elsewhere(self.people[found["usubjid"]]["site"]) else found

    def answer_query(self, query: str, text: str) -> Outcome:
        known = self._query(query)
        if known is None:
            return refused("UnknownName")
        why = {"OutOfOrder"} if known["status"] == "closed" else set()
        why |= self._unsayable(known, text)
        if why:
            return refused(*why)
        known.update(status="answered", answers=[*known["answers"], self.actor])
        return Outcome(frozenset(), ["query.answered"])

    def _unsayable(self, known: Plain, text: str) -> set[str]:
        arm = names_arm(text) and not known["hidden"]
        return {"UsageError"} if arm or not text.strip() else set()

    def close_query(self, query: str, reason: str) -> Outcome:
        known = self._query(query)
        if known is None:
            return refused("UnknownName")
        why = {"OutOfOrder"} if known["status"] == "closed" else set()
        why |= {"NotPermitted"} if known["answers"][-1:] == [self.actor] else set()
        if known["rule"] and not known["answers"] and not known["settled"]:
            why.add("OutOfOrder")
        why |= self._unsayable(known, reason)
        if why:
            return refused(*why)
        known.update(status="closed")
        return Outcome(frozenset(), ["query.closed"])

    def reopen_query(self, query: str, reason: str) -> Outcome:
        known = self._query(query)
        if known is None:
            return refused("UnknownName")
        why = {"OutOfOrder"} if known["status"] != "closed" else set()
        why |= self._unsayable(known, reason)
        if why:
            return refused(*why)
        known.update(status="open", reopened=known["reopened"] + 1)
        return Outcome(frozenset(), ["query.reopened"])

    def _settles(self, usubjid: str, about: Callable[[Plain], bool]) -> None:
        for query in self.queries.values():
            if query["usubjid"] == usubjid and query["status"] != "closed" and about(query):
                query["settled"] += 1

    def _corrects(self, usubjid: str, visit: str, form: str, old: Plain, new: Plain) -> None:
        changed = {n for n in {*old, *new} if old.get(n) != new.get(n)}
        self._settles(
            usubjid,
            lambda q: (
                q["place"].get("visit") == visit
                and q["place"].get("instrument") in (None, form)
                and (q["place"].get("item") is None or q["place"]["item"] in changed)
            ),
        )

    def run_queries(self) -> Outcome:
        """Raise what the table of docs/conduct.md finds; see `found`."""
        made = 0
        for rule, usubjid, place, value, hidden in self.found():
            there = self._elsewhere(self.people[usubjid]["site"])
            if not there and not self._asked_already(rule, usubjid, place, value):
                self.add_query(usubjid, place, rule, value, hidden=hidden)
                made += 1
        return Outcome(frozenset(), ["query.raised"] * made)

    def _asked_already(self, rule: str, usubjid: str, place: Plain, value: str) -> bool:
        same = [
            q
            for q in self.queries.values()
            if (q["rule"], q["usubjid"], q["place"]) == (rule, usubjid, place)
        ]
        open_ = any(q["status"] != "closed" for q in same)
        return open_ or bool(same and same[-1]["value"] == value)

    def found(self) -> list[tuple[str, str, Plain, str, bool]]:
        """Return what each rule finds: rule, participant, place, value, whether restricted."""
        found: list[tuple[str, str, Plain, str, bool]] = []
        for usubjid, who in self.people.items():
            for (visit, code), form in who["forms"].items():
                at = {"visit": visit, "instrument": code}
                if form["entry"] not in ("first", "differs"):
                    found += [
                        (
                            "soft_range",
                            usubjid,
                            {**at, "item": item},
                            str(form["items"][item]),
                            False,
                        )
                        for item in form["flags"]
                    ]
                if form["late"]:
                    found.append(("late_entry", usubjid, at, str(form["delay"]), False))
                if form["entry"] == "differs":
                    differ = ", ".join(form["second"]["differ"])
                    found.append(("entries_differ", usubjid, at, differ, False))
            found += self._falls(usubjid, who)
        order = ["soft_range", "late_entry", "entries_differ", "fall_not_in_diary",
                 "fall_not_reported", "diary_overdue"]  # fmt: skip
        people = list(self.people)
        return sorted(found, key=lambda f: (people.index(f[1]), order.index(f[0])))

    def _falls(self, usubjid: str, who: Plain) -> list[tuple[str, str, Plain, str, bool]]:
        found = []
        entries = [e for _, _, some, _ in who["returns"].values() for e in some]
        falls = [e["day"] for e in entries if e["grade"] >= 2]
        named = {name: ae for name, ae in who["aes"].items() if ae["category"] == "fall"}
        for name, ae in named.items():
            covered = any(a <= ae["day"] <= b for a, b, _, _ in who["returns"].values())
            noted = any(abs(day - ae["day"]) <= 1 for day in falls)
            if ae["harm"] and covered and not noted:
                device = ae["related_device"] != "not_related"
                at = {"diary": "FALL", "ae": name}
                found.append(("fall_not_in_diary", usubjid, at, str(ae["day"]), device))
        for e in entries:
            reported = any(abs(e["day"] - ae["day"]) <= 1 for ae in named.values())
            if e["grade"] >= 3 and not reported:
                at = {"diary": "FALL", "row": f"day {e['day']}"}
                found.append(("fall_not_reported", usubjid, at, str(e["grade"]), False))
        if who["day0"] is not None and who["withdrawn"] is None:
            last = max((b for _, b, _, _ in who["returns"].values()), default=-1)
            today = (self.now.date() - who["day0"]).days
            if today > last + RETURN_EVERY + 1 and last < DIARY_END:
                found.append(("diary_overdue", usubjid, {"diary": "FALL"}, str(last), False))
        return found

    # --- deviations --------------------------------------------------------------------------

    def _deviate(self, usubjid: str, category: str, classification: str | None) -> None:
        name = f"D{len(self.deviations) + 1:04d}"
        self.deviations[name] = {
            "usubjid": usubjid, "category": category, "class": classification, "status": "raised",
        }  # fmt: skip

    def raise_deviation(
        self, usubjid: str, category: str, detail: str, classification: str | None
    ) -> Outcome:
        if usubjid not in self.people:
            return refused("UnknownName")
        why = {"UsageError"} if category not in CATEGORIES or not detail.strip() else set()
        why |= {"UsageError"} if names_arm(detail) else set()
        kinds = ["deviation.raised"]
        return self._entry(
            why, usubjid, kinds, lambda: self._deviate(usubjid, category, classification)
        )

    def _deviation(self, name: str) -> Plain | None:
        found = self.deviations.get(name)
        if found is None or self._elsewhere(self.people[found["usubjid"]]["site"]):
            return None
        return found

    def acknowledge_deviation(self, deviation: str, classification: str, reason: str) -> Outcome:
        known = self._deviation(deviation)
        if known is None:
            return refused("UnknownName")
        if not reason.strip():
            return refused("UsageError")
        known.update({"class": classification})
        if known["status"] == "raised":
            known["status"] = "acknowledged"
        return Outcome(frozenset(), ["deviation.acknowledged"])

    def resolve_deviation(self, deviation: str, reason: str) -> Outcome:
        known = self._deviation(deviation)
        if known is None:
            return refused("UnknownName")
        why = {"OutOfOrder"} if known["status"] != "acknowledged" else set()
        why |= set() if reason.strip() else {"UsageError"}
        if why:
            return refused(*why)
        known["status"] = "resolved"
        return Outcome(frozenset(), ["deviation.resolved"])

    # --- unblinding --------------------------------------------------------------------------

    def request_unblinding(self, usubjid: str, reason: str) -> Outcome:
        who = self.people.get(usubjid)
        blank = set() if reason.strip() else {"UsageError"}
        if who is None:
            return refused("UnknownName", *blank)
        why = blank | ({"OutOfOrder"} if who["place"] is None else set())
        if any(u["usubjid"] == usubjid for u in self.unblindings.values()):
            why.add("Duplicate")
        if why:
            return refused(*why)
        asked = {"usubjid": usubjid, "by": self.actor, "role": self.role, "approved": None}
        self.unblindings[f"U{len(self.unblindings) + 1:03d}"] = asked
        return Outcome(frozenset(), ["unblinding.requested"])

    def approve_unblinding(self, request: str) -> Outcome:
        asked = self.unblindings.get(request)
        if asked is None:
            return refused("UnknownName")
        if self._elsewhere(self.people[asked["usubjid"]]["site"]):
            return denied()
        why = {"Duplicate"} if asked["approved"] else set()
        one = "investigator" not in (asked["role"], self.role)
        why |= {"NotPermitted"} if asked["by"] == self.actor or one else set()
        if why:
            return refused(*why)
        asked["approved"] = self.actor
        return Outcome(frozenset(), ["allocation.unblinded_one"])

    # --- freeze and lock ---------------------------------------------------------------------

    def freeze(self, usubjid: str | None, visit: str | None) -> Outcome:
        if usubjid is not None and usubjid not in self.people:
            return refused("UnknownName")
        if (usubjid, visit) in self.frozen:
            return refused("Duplicate")
        self.frozen.add((usubjid, visit))
        return Outcome(frozenset(), ["data.frozen"])

    def release(self, usubjid: str | None, visit: str | None, reason: str) -> Outcome:
        why = set() if reason.strip() else {"UsageError"}
        why |= {"UnknownName"} if (usubjid, visit) not in self.frozen else set()
        why |= {"OutOfOrder"} if self.lock is not None else set()
        if why:
            return refused(*why)
        self.frozen.remove((usubjid, visit))
        return Outcome(frozenset(), ["data.released"])

    def lock_data(self, reason: str) -> Outcome:
        why = set() if reason.strip() else {"UsageError"}
        why |= {"Duplicate"} if self.lock is not None else set()
        if why:
            return refused(*why)
        self.lock = {"by": self.actor, "request": None, "asked_by": None, "late": 0}
        return Outcome(frozenset(), ["data.locked", "head.signed"])

    def request_unlock(self, reason: str) -> Outcome:
        why = set() if reason.strip() else {"UsageError"}
        why |= {"OutOfOrder"} if self.lock is None else set()
        why |= {"Duplicate"} if self.lock and self.lock["request"] else set()
        if why or self.lock is None:
            return refused(*why)
        self.asked += 1
        self.lock.update(request=f"D{self.asked:03d}", asked_by=self.actor)
        return Outcome(frozenset(), ["data.unlock_requested"])

    def approve_unlock(self, request: str) -> Outcome:
        if self.lock is None:
            return refused("OutOfOrder")
        if self.lock["request"] != request:
            return refused("UnknownName")
        if self.lock["asked_by"] == self.actor:
            return refused("NotPermitted")
        self.lock = None
        return Outcome(frozenset(), ["data.unlocked"])

    # --- people ------------------------------------------------------------------------------

    def _person(self, user: str) -> set[str]:
        known = self.users.get(user)
        if known is None:
            return {"UnknownName"}
        return {"NotPermitted"} if known["retired"] else set()

    def _reserved(self, *roles: str) -> set[str]:
        high = any(role in ("owner", "administrator") for role in roles)
        return {"NotPermitted"} if high and self.role != "owner" else set()

    def add_user(self, user: str, role: str, sites: list[str]) -> Outcome:
        why = self._reserved(role) | ({"Duplicate"} if user in self.users else set())
        if why:
            return refused(*why)
        self.users[user] = new_user(role, sites)
        return Outcome(frozenset(), ["user.added"])

    def set_role(self, user: str, role: str) -> Outcome:
        if why := self._person(user):
            return refused(*why)
        known = self.users[user]
        why = self._reserved(role, known["role"])
        why |= {"NotPermitted"} if user == self.actor else set()
        why |= {"Duplicate"} if known["role"] == role else set()
        if why:
            return refused(*why)
        known["role"] = role
        return Outcome(frozenset(), ["user.role_changed"])

    def retire_user(self, user: str) -> Outcome:
        if why := self._person(user):
            return refused(*why)
        known = self.users[user]
        why = self._reserved(known["role"])
        why |= {"NotPermitted"} if user == self.actor else set()
        if why:
            return refused(*why)
        known["retired"] = True
        return Outcome(frozenset(), ["user.retired"])

    def unlock_user(self, user: str) -> Outcome:
        if why := self._person(user):
            return refused(*why)
        known = self.users[user]
        if known["locked_at"] is None:
            return refused("Duplicate")
        known.update(locked_at=None, failures=0)
        return Outcome(frozenset(), ["user.unlocked"])

    def login(self, user: str, right: bool) -> Outcome:
        """Check a password; a person who is retired, or locked out, is refused."""
        known = self.users[user]
        if known["retired"]:
            return refused("NotPermitted", "NotAuthenticated")
        kinds = []
        if known["locked_at"] is not None:
            if self.now - known["locked_at"] < timedelta(minutes=30):
                known["failures"] += 1
                return refused("NotAuthenticated", kinds=("user.login_failed",))
            known.update(locked_at=None, failures=0)
            kinds.append("user.unlocked")
        if not known["password"]:
            return refused("NotAuthenticated", kinds=tuple(kinds))
        if right:
            known["failures"] = 0
            return Outcome(frozenset(), [*kinds, "user.logged_in"])
        known["failures"] += 1
        kinds.append("user.login_failed")
        if known["failures"] >= 5:
            known["locked_at"] = self.now
            kinds.append("user.locked")
        return refused("NotAuthenticated", kinds=tuple(kinds))

    def require_login(self, right: bool) -> Outcome:
        if self.required:
            return refused("Duplicate")
        checked = self.login(self.actor, right)
        if checked.why:
            return checked
        self.required = True
        return Outcome(frozenset(), [*checked.kinds, "accounts.required"])

    # --- signatures --------------------------------------------------------------------------

    def sign(self, what: str, meaning: str, right: bool) -> Outcome:
        if not meaning.strip():
            return refused("UsageError")
        kind, _, rest = what.partition(":")
        usubjid, _, place = rest.partition("/")
        who = self.people.get(usubjid)
        if kind == "casebook" and not self._sees():
            return denied()
        if who is None:
            return refused("UnknownName")
        if self._elsewhere(who["site"]):
            return denied()
        checked = self.login(self.actor, right)
        if checked.why:
            return checked
        if kind == "form" and tuple(place.split("/")) not in who["forms"]:
            return Outcome(frozenset({"UnknownName"}), checked.kinds)
        self.signed.append({"what": what, "by": self.actor, "broken": False})
        return Outcome(frozenset(), [*checked.kinds, "signature.applied"])


def new_user(role: str, sites: list[str], *, password: bool = False) -> Plain:
    """Return a person."""
    return {
        "role": role, "sites": sorted(set(sites)), "retired": False, "failures": 0,
        "locked_at": None, "password": password,
    }  # fmt: skip
