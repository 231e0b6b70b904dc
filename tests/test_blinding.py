"""No blinded role gets the arm: every verb, as every such role, on two studies with arms swapped.

The calls are made from the command line itself: each verb that takes a study with its required
arguments, then with each of its options in turn. What a blinded role is shown must be the same in
both studies, byte for byte, but for hashes, and hold no word of a person who saw the arm. A verb
that is added is called too; what its arguments are given is in `VALUES`, by their names.
"""

from __future__ import annotations

import filecmp
import inspect
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import CliRunner
from swapped_study import NOW, TELLTALE, WORD, A, B, make_pair, on_device

from trialkit._clock import RealClock
from trialkit.cli.whole import app
from trialkit.errors import TrialkitError
from trialkit.record import KeyStore, Record, StudyState
from trialkit.record.roles import ROLES, permissions_of
from trialkit.study import Study
from trialkit.study.commands import every_command

pytestmark = pytest.mark.requirement("R21")

BLINDED = {
    "assessor": "asta",
    "statistician": "stan",
    "monitor": "mona",
    "data_manager": "dana",
    "administrator": "adam",
    "none": "nobody",
}
#: What an argument or option is given, by its name; the participant is put in for A.
VALUES: dict[str, tuple[str, ...]] = {
    "usubjid": (A,),
    "--participant": (A,),
    "ae": (f"{A}-AE01", f"{A}-AE02", f"{A}-DD01"),
    "--ae": (f"{A}-AE01", f"{A}-DD01"),
    "session": (f"{A}-S01", f"{A}-S02", f"{A}-S03", f"{A}-S09"),
    "--session": (f"{A}-S01", f"{A}-S03", f"{A}-S09"),
    "what": (f"session:{A}-S01", f"session:{A}-S03", f"casebook:{A}", f"form:{A}/BL/10MWT"),
    "deviation": ("D0001", "S0001", "D0002"),
    "query": ("Q0001", "R0001", "Q0009"),
    "visit": ("W8",),
    "--visit": ("W8",),
    "instrument": ("BBS",),
    "--form": ("BBS",),
    "--item": ("BBS01=4",),
    "code": ("10MWT",),
    "diary": ("FALL",),
    "--diary": ("FALL",),
    "--correct": ("R01", "30"),
    "request": ("U001", "U002"),
    "--approve": ("D001",),
    "seq": ("30",),
    "path": ("out/trail.jsonl",),
    "out": ("out/package",),
    "--out": ("out/one",),
    "--readable": ("out/trail.csv",),
    "--since": ("none.json",),
    "--figure": ("out/curve.png",),
    "--anchor": (f"55={'0' * 64}",),
    "--against": (f"55={'0' * 64}",),
    "--text": ("It is right.",),
    "--detail": ("It came late.",),
    "--reason": ("a reason",),
    "--term": ("sore knee",),
    "--category": ("pain", "visit", "device_use"),
    "--class": ("minor",),
    "--severity": ("mild",),
    "--to": ("20", "html"),
    "--from": ("8",),
    "--entry": ("9",),
    "--day": ("40",),
    "--number": ("1", "3", "5"),
    "--code": ("OTHER",),
    "--version": ("2.0",),
    "--answer": ("a=yes",),
    "--site": ("01",),
    "--minutes": ("10",),
    "--moving": ("9",),
    "--steps": ("400",),
    "--role": ("monitor",),
    "--measure": ("WS10C", "mean_speed_m_s"),
    "--override": ("guidance=0.5",),
    "--meaning": ("seen",),
    "--signer": ("asta",),
    "--second-signer": ("ivan",),
    "result_id": ("a.b",),
    "identifier": ("a.b",),
    "template": ("primary",),
    "name": ("theo",),
    "data": ("none.csv",),
    "records": ("none.csv",),
    "dictionary": ("none.csv",),
    "--dictionary": ("none.csv",),
    "file": ("none.xml",),
    "--map": ("none.yaml",),
    "export": ("none.jsonl",),
    "drop": ("none",),
    "--listen": ("nowhere",),
}
#: Not about the record of a study that is there.
ELSEWHERE = {("device", "check"), ("import",)}
COMMAND: Any = typer.main.get_command(app)
#: Hashes, and how many places the drawn lists have: of the seed, and not of the arm.
HASH = re.compile(r"\b[0-9a-f]{8,}\b|\b\d+ places\b|\"places\": \d+")


def verbs() -> Iterator[tuple[tuple[str, ...], typer.core.TyperCommand]]:
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, child in sorted(getattr(command, "commands", {}).items()):
            yield from walk(child, (*path, name))
        if not hasattr(command, "commands"):
            yield path, command

    for path, command in walk(COMMAND, ()):
        if path not in ELSEWHERE and any(p.name == "study" for p in command.params):
            yield path, command


def calls(path: tuple[str, ...], command: Any) -> Iterator[list[str]]:
    """Yield the calls of a verb: what it requires, then that with one option more each time."""
    asked = [p for p in command.params if p.required and p.name != "study"]
    optional = [
        p
        for p in command.params
        if not p.required and p.name not in ("help", "as_json", "study", "user")
    ]
    base = [words for p in asked for words in [_words(p)[0]]]
    least = [*path, *(word for words in base for word in words)]
    yield least
    for at, param in enumerate(asked):  # each value of what is required
        for other in _words(param)[1:]:
            yield [
                *path,
                *(w for i, words in enumerate(base) for w in (other if i == at else words)),
            ]
    for param in optional:
        for words in _words(param, needed=False):
            yield [*least, *words]


def _words(param: Any, *, needed: bool = True) -> list[list[str]]:
    if getattr(param, "is_flag", False):
        return [[param.opts[0]]]
    option = param.param_type_name == "option"
    name = param.opts[0] if option else param.name
    if name not in VALUES and not needed:
        return []
    return [[name, value] if option else [value] for value in VALUES.get(name, ("1",))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Both studies, made once."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("swapped")
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        return make_pair(folder)


Shown = Callable[[list[str], str], list[str]]


@pytest.fixture
def pair(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """Copies of both studies, a clock that stands still, and a home of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("TRIALKIT_STUDY", "TRIALKIT_USER"):
        monkeypatch.delenv(name, raising=False)
    ticks = iter(range(10**12))
    monkeypatch.setattr(RealClock, "now", lambda self: NOW)
    monkeypatch.setattr(RealClock, "monotonic_ns", lambda self: next(ticks))
    for original in made:
        shutil.copytree(original, tmp_path / original.name)
    return tmp_path / "first", tmp_path / "second"


@pytest.fixture
def shown(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Make a call in both studies; exit status, output and messages of each, without hashes."""

    def one(folder: Path, words: list[str], user: str) -> str:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("TRIALKIT_KEYS", str(folder / "keys"))
        who = [] if user == "nobody" or not _takes_user(words) else ["--as", user]
        monkeypatch.setattr("getpass.getuser", lambda: user)
        done = CliRunner().invoke(
            COMMAND, [*words, "--study", "study", *who], input=f"{WORD}\n" * 3
        )
        said = f"{done.exit_code}\n{done.stdout}\n{done.stderr}\n{_error(done.exception)}"
        return HASH.sub("#", said)

    def both(words: list[str], user: str) -> list[str]:
        return [one(folder, words, user) for folder in pair]

    return both


def _takes_user(words: list[str]) -> bool:
    command = COMMAND
    for word in words:
        if not hasattr(command, "commands"):
            break
        command = command.commands[word]
    return any(p.name == "user" for p in command.params)


def _error(error: BaseException | None) -> str:
    if isinstance(error, TrialkitError):
        return str(error)
    assert error is None or isinstance(error, SystemExit), repr(error)
    return ""


def test_every_role_that_may_not_see_allocations_is_tried() -> None:
    assert set(BLINDED) - {"none"} == {
        r for r in ROLES if "see_allocation" not in permissions_of(r)
    }


@pytest.mark.slow(seconds=10)
def test_the_two_studies_differ_in_what_a_blinded_role_must_not_see(
    pair: tuple[Path, Path], shown: Shown
) -> None:
    """The positive control: whoever may see allocations is shown two different studies."""
    found = []
    for folder in pair:
        with Study.open(folder / "study", actor="olga", keys=KeyStore(folder / "keys")) as study:
            found.append((on_device(study), study.state.seq))
    assert found[0][0] is not found[1][0]
    assert found[0][1] > found[1][1]
    for words in (
        ["status"], ["ae", "list"], ["query", "list"], ["deviation", "list"], ["replay", "--all"],
        ["consent", B, "--version", "2.0"], ["record", "verify", "--counts"],
    ):  # fmt: skip
        first, second = shown(words, "cora")
        assert first != second, words


#: Known: while a session on the device is open, somewhere in the study, all data cannot be locked,
#: and a data manager who tries is told so, not whose it is. The page of requirements says it
#: under R21.
OPEN_SESSION = {"data_manager": {("lock-data",), ("unlock-data",)}}


@pytest.mark.slow(seconds=50)
@pytest.mark.parametrize("role", BLINDED)
def test_every_verb_shows_the_same_in_both_studies(
    pair: tuple[Path, Path], shown: Shown, role: str
) -> None:
    user, made, differs = BLINDED[role], 0, []
    for path, command in verbs():
        if path in OPEN_SESSION.get(role, ()):
            continue
        for words in _told(list(calls(path, command)), role):
            first, second = shown(words, user)
            made += 1
            if first != second or TELLTALE in first:
                differs.append((" ".join(words), first, second))
    assert not differs, f"{len(differs)} of {made}: {differs[:3]}"
    assert made > 200
    _same_files(*(folder / "study" / "snapshots" for folder in pair))
    _same_files(*(folder / "out" for folder in pair))


#: Take a device, or minutes; they are tried where they are tested.
LONG = {("run",), ("supervise",), ("report",), ("demo",)}


@pytest.mark.slow(seconds=40)
@pytest.mark.requirement("R01", "R03")
def test_no_verb_changes_what_is_stored_or_stops_the_recording(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the owner, who may most: what was stored stays, and every change of state is an event."""
    folder = pair[0]
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TRIALKIT_KEYS", str(folder / "keys"))

    def stored() -> list[bytes]:
        with Record.open(folder / "study" / "study.db", write=False, clock=RealClock()) as record:
            return [row.body for row in record.rows()]

    before, made = stored(), 0
    for path, command in verbs():
        for words in calls(path, command) if path not in LONG else ():
            done = CliRunner().invoke(COMMAND, [*words, "--study", "study", "--as", "olga"])
            _error(done.exception)
            now = stored()
            assert now[: len(before)] == before, words
            before, made = now, made + 1
    assert made > 150
    assert len(before) > 80
    with Study.open(folder / "study", write=False) as study:
        assert vars(StudyState(study.record.read())) == vars(study.state)
        assert study.status().chain_ok


def _told(every: list[list[str]], role: str) -> list[list[str]]:
    """Return the calls of a verb; for an assessor its shortest about B too, and as JSON."""
    if role != "assessor":
        return every
    least = every[0]
    return [[w.replace(A, B) for w in least], [*least, "--json"], *every]


def _same_files(first: Path, second: Path) -> None:
    """Assert that both folders hold files of the same names, sizes and bytes."""
    names = [
        sorted(str(p.relative_to(f)) for f in [d] for p in d.rglob("*")) for d in (first, second)
    ]
    assert names[0] == names[1]
    files = [name for name in names[0] if (first / name).is_file()]
    assert filecmp.cmpfiles(first, second, files, shallow=False)[1:] == ([], [])


@pytest.mark.slow(seconds=8)
def test_the_assessor_in_short(shown: Shown) -> None:
    """The fast part of the test above: what an assessor is most likely to call."""
    for words in (
        ["status"], ["status", "--json"], ["ae", "list", "--json"], ["query", "list", "--json"],
        ["deviation", "list"], ["queries"], ["sign", "--list"], ["record", "verify", "--json"],
        ["replay", "--all"], ["replay", f"{A}-S01"], ["gait", f"{A}-S01"], ["progress", A],
        ["record", "export", "out.jsonl"], ["record", "head"], ["next-settings", A],
        ["sign", f"session:{A}-S03", "--meaning", "seen"], ["visit", A, "W8"],
        ["diary", A, "FALL", "--correct", "R01", "--to", "6", "--reason", "slip", "--json"],
        ["diary", A, "FALL", "--correct", "3", "--to", "6", "--reason", "slip"],
    ):  # fmt: skip
        first, second = shown(words, "asta")
        assert first == second, words
        assert TELLTALE not in first


@pytest.mark.slow(seconds=8)
def test_a_masked_snapshot_is_the_same_byte_for_byte(pair: tuple[Path, Path], shown: Shown) -> None:
    first, second = shown(["snapshot", "--json"], "mona")
    assert first == second
    folders = [folder / "study" / "snapshots" for folder in pair]
    (one,), (two,) = (list(folder.iterdir()) for folder in folders)
    assert one.name == two.name
    _same_files(one, two)
    text = b"".join(path.read_bytes() for path in one.iterdir())
    assert TELLTALE.encode() not in text
    assert b"ROBOTIC" not in text


@pytest.mark.slow(seconds=20)
@pytest.mark.parametrize("role", BLINDED)
def test_every_command_refuses_alike(pair: tuple[Path, Path], role: str) -> None:
    """The Python calls: whatever error a command raises for A, it raises in both studies."""
    user = BLINDED[role]
    if role == "none":
        user = "gone"
    found: list[dict[str, str]] = []
    for folder in pair:
        errors: dict[str, str] = {}
        with Study.open(folder / "study", actor="olga", keys=KeyStore(folder / "keys")) as study:
            view = Study(study._shared, user)
            for name, command in every_command().items():
                if command.permission in permissions_of(view.role):
                    continue
                with pytest.raises(TrialkitError) as caught:
                    command.function(view, **_given(command.function))
                errors[name] = HASH.sub("#", str(caught.value))
        found.append(errors)
    assert found[0] == found[1]
    assert len(found[0]) > 10
    assert all("may not" in text or "not a user" in text for text in found[0].values())


def _given(function: Callable[..., object]) -> dict[str, str]:
    names = inspect.signature(function).parameters
    return {"usubjid": A} if "usubjid" in names else {}
