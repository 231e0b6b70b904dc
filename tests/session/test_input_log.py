from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit._content import find_content
from trialkit.errors import StorageRefused, TelemetryDamaged
from trialkit.protocol import load_protocol
from trialkit.session import words as w
from trialkit.session.inputs import (
    InputLog,
    decision_model,
    decode,
    encode,
    keep_good_lines,
    read_inputs,
)
from trialkit.session.program import make_course

INPUTS: list[w.Input] = [
    w.Ready(),
    w.Tick(0.1 + 0.2, w.Summary(0, gap_s=1 / 3, silent=("emg",))),
    w.Begin({"rpe": 11.0}),
    w.Tick(
        120.00000000000001,
        w.Summary(3, 4, 401, 0.1, late_s=1e-9, measures={"x": 5e-324}, guards={"spasm": 61.0}),
    ),
    w.Hold("pain", "left knee ß\u2028\n"),
    w.Resume("", "rest_taken"),
    w.Answered("walk-1", {"rpe": 12, "trips": 0.0}),
    w.Decide(1, False, "PT", 0.1),
    w.Acknowledged(3, False, {"speed_m_s": 0.30000000000000004}, "too fast"),
    w.DeviceFailed("link_lost", "gone"),
    w.BlockLogged("overground", 5.0),
    w.Stop("participant", "tired"),
]


def written(path: Path, *, at_once: bool = False) -> Path:
    log = InputLog(path, {"session": "X-S01"}, at_once=at_once)
    for one in INPUTS:
        log.given(one)
    log.sent(w.Send(1, {"speed_m_s": 0.333}, {"speed_m_s": 0.1}))
    log.clock({"stream": "motion", "offset_ns": -5})
    log.close("completed")
    log.close("completed")
    return path


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_written_is_read(tmp_path: Path, at_once: bool) -> None:
    content = read_inputs(written(tmp_path / "a", at_once=at_once))
    assert (content.fault, content.ended, content.lines) == (None, "completed", len(INPUTS) + 4)
    assert content.good_bytes == content.total_bytes
    assert [decode(e) for e in content.entries if "input" in e] == INPUTS
    assert content.head["session"] == "X-S01"
    assert content.clock == [{"stream": "motion", "offset_ns": -5}]


def test_at_once_means_that_a_kill_loses_nothing(tmp_path: Path) -> None:
    log = InputLog(tmp_path / "a", {"session": "X"}, at_once=True)
    for n, one in enumerate(INPUTS, 1):
        log.given(one)
        content = read_inputs(tmp_path / "a")
        assert (content.lines, content.ended, content.fault) == (n + 1, None, None)
    log.discard()


@given(
    dt=st.floats(allow_nan=False),
    values=st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False), max_size=3),
)
def test_floats_keep_every_digit(dt: float, values: dict[str, float]) -> None:
    from trialkit.session.inputs import _text

    tick = w.Tick(dt, w.Summary(1, measures=values, guards=values))
    assert decode(json.loads(_text(encode(tick)))) == tick


def test_what_is_no_number_comes_back() -> None:
    from trialkit.session.inputs import _text

    values = {"a": math.nan, "b": math.inf, "c": -math.inf}
    back = decode(json.loads(_text(encode(w.Begin(values)))))
    assert isinstance(back, w.Begin)
    assert math.isnan(back.values["a"])
    assert (back.values["b"], back.values["c"]) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    "entry", [{"input": "nothing"}, {}, {"input": "hold", "colour": 1}, {"input": "tick"}]
)
def test_an_entry_of_another_version_is_damage(entry: dict[str, object]) -> None:
    with pytest.raises(TelemetryDamaged, match="no input"):
        decode(entry)


def test_every_altered_byte_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 1
        path.write_bytes(bytes(changed))
        content = read_inputs(path)
        assert content.fault is not None, at
        assert content.good_bytes <= at  # everything before it stays readable
        assert content.good_bytes >= data.rfind(b"\n", 0, at) + 1 or content.lines == 0


def test_lines_that_are_left_out_or_moved_are_found(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert read_inputs(path).lines == 3
    path.write_bytes(b"".join([*lines[:2], lines[3], lines[2], *lines[4:]]))
    assert "not the successor" in str(read_inputs(path).fault)
    path.write_bytes(b"".join(lines[:-1]))  # no end: as after a crash
    assert (read_inputs(path).fault, read_inputs(path).ended) == (None, None)


@pytest.mark.parametrize("cut", [1, 40, 130])
def test_the_good_lines_of_a_cut_log_are_kept(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "a")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    content, lost = keep_good_lines(path)
    assert content is not None
    assert path.read_bytes() == whole[: content.good_bytes]
    assert lost == len(whole) - cut - content.good_bytes
    assert read_inputs(path).fault is None


def test_a_log_without_a_good_line_is_taken_away_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert keep_good_lines(path) == (None, 0)
    path.write_bytes(b"nothing good\n")
    assert keep_good_lines(path) == (None, 13)
    assert not path.exists()
    with pytest.raises(TelemetryDamaged, match="no input log"):
        read_inputs(path)


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageRefused):
        InputLog(tmp_path / "no" / "a", {}, at_once=True)


def test_the_decision_model_shows_a_gain_that_moved_by_a_billionth() -> None:
    protocol = load_protocol(find_content("protocols", "stroke-robotic"))
    assert protocol.progression is not None
    rules = list(protocol.progression.order)
    rules[0] = rules[0].model_copy(update={"step": rules[0].step + 1e-9})
    changed = protocol.model_copy(
        update={"progression": protocol.progression.model_copy(update={"order": rules})}
    )
    assert decision_model(make_course(protocol)) == decision_model(make_course(protocol))
    assert decision_model(make_course(protocol)) != decision_model(make_course(changed))
