"""The quick reading of an event and the full one say the same of every body."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import ChainBroken
from trialkit.record import chain
from trialkit.record.chain import GENESIS, Row, check_chain, decode, encode, parsed

FIELDS: dict[str, Any] = {
    "seq": 1,
    "kind": "visit.held",
    "at": "2026-01-05T08:00:00.000000Z",
    "mono_ns": 1,
    "actor": "olga",
    "role": "owner",
    "subject": "S-01",
    "reason": None,
    "payload": {"visit": "BL"},
    "prev": GENESIS,
}
LOOKALIKES = (
    f'"prev":"{"a" * 64}"',
    '},"prev":"' + GENESIS + '","reason":null,"role":"owner","seq":1,"subject":null}',
    '"seq":7,"kind":"head.signed"',
    "\\",
    '\\"',
    "\u2028 \U0001f600 \x7f \x00",
)
text = st.text() | st.sampled_from(LOOKALIKES) | st.text(alphabet='\\"{}[]:,u0dD8nul \n\t\x00é')
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(text | st.sampled_from(sorted(FIELDS)), plain, max_size=4)


def said(read: Any, body: str | bytes) -> str:
    """What a reader says: the value with its types and order, or that it is no JSON."""
    try:
        return repr(read(body))
    except (ValueError, RecursionError):
        return "no JSON"


def both_ways(rows: list[Row]) -> None:
    quick = check_chain(rows, last_seq=len(rows))

    def refuse(_: str | bytes) -> Any:
        raise ValueError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "from_json", refuse)
        assert check_chain(rows, last_seq=len(rows)) == quick


def row_of(body: bytes, seq: int = 1) -> Row:
    """The row that somebody would write who knows how hashes are made."""
    shown = (FIELDS["kind"], FIELDS["at"], FIELDS["subject"])
    return Row(seq, body, hashlib.sha256(body).hexdigest(), shown)


@given(payload=payloads, reason=st.none() | text, subject=st.none() | text)
@settings(max_examples=150)
def test_any_event(payload: dict[str, Any], reason: str | None, subject: str | None) -> None:
    body = json.dumps(
        {**FIELDS, "payload": payload, "reason": reason, "subject": subject},
        sort_keys=True, separators=(",", ":"), ensure_ascii=False,
    )  # fmt: skip
    assert said(parsed, body) == said(json.loads, body)
    stored = body.encode(errors="surrogatepass")
    assert said(parsed, stored) == said(json.loads, stored)
    both_ways([Row(1, stored, row_of(stored).hash, (FIELDS["kind"], FIELDS["at"], subject))])


@given(
    payload=payloads,
    keys=st.permutations([*FIELDS, "seq", "prev", "kind"]),
    values=st.lists(plain, min_size=3, max_size=3),
    cut=st.integers(0, 400),
    put=st.binary(max_size=6)
    | st.sampled_from([b'"', b"\\", b",", b"}", b"\xed\xa0\x80", b"\xff"]),
)
@settings(max_examples=100)
def test_a_hostile_body(
    payload: dict[str, Any], keys: list[str], values: list[Any], cut: int, put: bytes
) -> None:
    """Keys given twice and in another order, and bytes put anywhere."""
    given_values = {**FIELDS, "payload": payload}
    doubled = dict(zip(("seq", "prev", "kind"), values, strict=True))
    seen: set[str] = set()
    parts = []
    for key in keys:
        value = doubled[key] if key in seen else given_values[key]
        seen.add(key)
        parts.append(f"{json.dumps(key)}:{json.dumps(value)}")
    whole = ("{" + ",".join(parts) + "}").encode()
    for body in (whole, whole[:cut] + put + whole[cut:], whole[:cut], whole + put):
        assert said(parsed, body) == said(json.loads, body)
        both_ways([row_of(body)])


@given(st.floats(allow_nan=False) | st.decimals(allow_nan=False, allow_infinity=False, places=9))
@settings(max_examples=600)
def test_numbers_are_the_same_to_the_last_bit(number: Any) -> None:
    body = str(number)
    assert said(parsed, body) == said(json.loads, body)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"x"', b"{}", b"1", b"-0", b"1e999", b"NaN", b"-Infinity", b"01",
        b'{"a":1,}', b'{"a":1}x', b'\xef\xbb\xbf{"a":1}', '{"a":1}'.encode("utf-16"),
        b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\x01"', b'"\xff"', b'{"a":1,"a":2}',
        b"9" * 5000, b"0." + b"3" * 900, b"[" * 300 + b"]" * 300, b" [1] ", b"[1]\x0b",
    ],
)  # fmt: skip
def test_corners_of_json(body: bytes) -> None:
    assert said(parsed, body) == said(json.loads, body)
    both_ways([row_of(body)])


def test_what_is_nested_too_deeply_is_a_finding() -> None:
    deep = b"[" * 200_000 + b"]" * 200_000
    assert [f.what for f in check_chain([row_of(deep)]).findings] == ["altered"]
    with pytest.raises(ChainBroken):
        decode(deep.decode(), row_of(deep).hash)


@given(
    texts=st.lists(text.filter(str.isascii), min_size=3, max_size=6),
    at=st.integers(2, 3),
    change=st.sampled_from(["seq", "prev", "kind", "at", "subject", "hash", "order", "anchor"]),
)
def test_of_a_sound_chain_nothing_is_said_and_of_one_fault_the_same(
    texts: list[str], at: int, change: str
) -> None:
    assert check_chain(chained(texts), last_seq=len(texts)).ok
    rows = chained(texts, at, change)
    both_ways(rows)
    anchors = {at: "d" * 64} if change == "anchor" else None
    assert not check_chain(rows, last_seq=len(rows), anchors=anchors).ok


def chained(texts: list[str], at: int = 0, change: str = "") -> list[Row]:
    """A chain with one fault at event `at`."""
    rows: list[Row] = []
    before = GENESIS
    for seq, one in enumerate(texts, start=1):
        fields = {**FIELDS, "seq": seq, "prev": before, "payload": {"x": one}}
        if seq == at and change in FIELDS:
            fields[change] = {"seq": 99, "prev": "b" * 64}.get(change, "other")
        row = row_of(encode(fields)[0].encode(), seq)
        rows.append(row._replace(hash="c" * 64) if (seq, change) == (at, "hash") else row)
        before = rows[-1].hash
    if change == "order":
        first, second = rows[at - 2], rows[at - 1]
        rows[at - 2 : at] = [second._replace(seq=at - 1), first._replace(seq=at)]
    return rows


def test_an_event_is_read_as_it_was_written() -> None:
    for one in LOOKALIKES:
        body, digest = encode({**FIELDS, "payload": {"x": one}})
        assert decode(body, digest).payload == {"x": one}
