"""JSON texts: read as Python reads them, documents as filters see them, texts that survive a store."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from mirror.jsontext import (
    VERBATIM,
    document,
    dumps,
    escape,
    load_document,
    loads,
    pack,
    read_document,
    read_json,
    unescape,
    unpack,
)
from mirror.store import tables
from mirror.store.store import Store

TEXTS = [
    pytest.param("{}", id="an empty object"),
    pytest.param('{"a": 1, "b": [1.5, null, true, "x"]}', id="plain"),
    pytest.param('{"a": NaN, "b": Infinity, "c": -Infinity}', id="bare NaN and infinities"),
    pytest.param('{"a": "NaN"}', id="the string NaN"),
    pytest.param('{"a": 1180591620717411303424}', id="2**70"),
    pytest.param('{"a": -9223372036854775808, "b": 9223372036854775807}', id="the ends of int64"),
    pytest.param('{"a": 9223372036854775808}', id="one past int64"),
    pytest.param('{"a":[18446744073709551615,18446744073709551616]}', id="around uint64"),
    pytest.param("1180591620717411303424", id="a long integer alone"),
    pytest.param('{"a": 1e400, "b": -1e400}', id="numbers beyond doubles"),
    pytest.param('{"a": 1e5, "b": 1.0, "c": -0.0}', id="floats that look like integers"),
    pytest.param('{"a": 0.1000000000000000055511151231257827}', id="more digits than a double has"),
    pytest.param('{"a": "x\ty\nz\x01"}', id="raw control characters"),
    pytest.param('{"a": "\\u0000"}', id="an escaped NUL"),
    pytest.param('{"a": "\\ud800", "\\udfff": 1}', id="lone surrogates"),
    pytest.param('{"a": "\\ud83d\\ude00"}', id="a pair of surrogates"),
    pytest.param('{"a": "\U0001f600 ä \ue000"}', id="unicode"),
    pytest.param('{"a": 1, "a": 2}', id="a key twice: the last wins"),
    pytest.param(' {"a"\n:\r[ ] } ', id="white space"),
    pytest.param('{"sha": "00000000000000000000000000000000"}', id="a long number in a string"),
    pytest.param("[" * 200 + "]" * 200, id="deep"),
    pytest.param("null", id="null"),
]


def _same(a: Any, b: Any) -> bool:
    """Equality that tells 1 from 1.0 from True, -0.0 from 0.0, and finds NaN equal to itself."""
    return repr(a) == repr(b)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_read_as_python_reads_it(text: str) -> None:
    assert _same(loads(text), json.loads(text, strict=False))


@pytest.mark.parametrize("text", TEXTS)
def test_reading_a_document_is_reading_and_then_normalising(text: str) -> None:
    assert _same(load_document(text), document(json.loads(text, strict=False)))


@pytest.mark.parametrize("text", ["", "{", '{"a": }', "{'a': 1}", "[1,]", "nan", '"\\x"', "{} {}"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)
    with pytest.raises(ValueError):
        load_document(text)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        pytest.param(math.nan, "NaN", id="NaN is W&B's string"),
        pytest.param(math.inf, "Infinity", id="infinity"),
        pytest.param(-math.inf, "-Infinity", id="minus infinity"),
        pytest.param(2**63 - 1, 2**63 - 1, id="the largest int64 stays"),
        pytest.param(2**63, 9.223372036854775808e18, id="past int64 a double"),
        pytest.param(2**70, 1.1805916207174113e21, id="2**70 is a double"),
        pytest.param(-(2**63), -(2**63), id="the smallest int64 stays"),
        pytest.param(-(2.0**63), -(2**63), id="the smallest int64, sent as a double"),
        pytest.param(-(2**63) - 1, -(2**63), id="just below int64, its double is the smallest"),
        pytest.param(10**400, "Infinity", id="past doubles, infinity"),
        pytest.param(-(10**400), "-Infinity", id="past doubles, minus infinity"),
        pytest.param(True, True, id="a boolean is no integer"),
        pytest.param(1.0, 1.0, id="a whole float stays a float"),
        pytest.param({"a\x00": ["\x00"]}, {"a\x01\x01": ["\x01\x01"]}, id="NUL in keys and lists"),
        pytest.param({"a": {"b": math.nan}}, {"a": {"b": "NaN"}}, id="nested"),
        pytest.param(None, None, id="null"),
    ],
)
def test_a_document_is_strict_json_with_one_spelling_per_value(value: Any, wanted: Any) -> None:
    assert _same(document(value), wanted)
    json.loads(dumps(document(value)))


def _values() -> st.SearchStrategy[Any]:
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**80), 2**80)
        | st.floats()
        | st.text(st.characters())
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(st.characters()), inner, max_size=4)
        ),
        max_leaves=12,
    )


@given(_values(), st.booleans())
def test_any_value_in_any_spelling_is_read_as_python_reads_it(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert _same(loads(text), json.loads(text))
    assert _same(load_document(text), document(json.loads(text)))
    assert _same(json.loads(dumps(load_document(text))), load_document(text))


AWKWARD = st.text(
    st.sampled_from("a\x00\x01\x02\ue000\ud800\udfff\U0001f60004fé~") | st.characters(codec=None)
)


@given(AWKWARD)
def test_escaping_is_reversible_and_storable(text: str) -> None:
    escaped = escape(text)
    assert unescape(escaped) == text
    assert "\x00" not in escaped
    escaped.encode()  # no lone surrogate is left


@given(AWKWARD, AWKWARD)
def test_escaping_keeps_the_order_of_texts(one: str, other: str) -> None:
    assert (escape(one) < escape(other)) == (one < other)
    assert (escape(one) == escape(other)) == (one == other)


def test_plain_text_is_not_touched() -> None:
    for text in ("", "abc", "tab\tand\nline", "ä é \U0001f600", "￿"):
        assert escape(text) is text


@given(st.none() | AWKWARD)
def test_a_packed_text_comes_back_as_it_was(text: str | None) -> None:
    assert unpack(pack(text)) == text


def test_packing_is_safe_between_threads() -> None:
    texts = [str(i) * 1000 for i in range(200)]
    failures: list[str] = []

    def work() -> None:
        failures.extend(text for text in texts if unpack(pack(text)) != text)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\x01", "\ud800", "\ue000", "\udfff\x00", "ä"])
def test_an_escaped_text_is_stored_and_read_back_on_both_engines(store: Store, text: str) -> None:
    with store.begin() as tx:
        row = {"username": escape(text), "seq": tx.seq, "synced_at": "2026-01-01T00:00:00Z"}
        tx.upsert_all(tables.users, [row])
    (found,) = store.rows(sa.select(tables.users.c.username))
    assert unescape(found["username"]) == text


@pytest.mark.parametrize(
    ("text", "verbatim"),
    [
        ('{"a": 1e5, "b": -0.0, "c": 1.0, "a": "two"}', True),
        ('{"a": 9007199254740993, "b": "NaN", "c": "größe"}', False),  # digits: looked at with care
        ('{"a": 123456789012345, "b": "NaN", "c": "größe"}', True),
        ('{"seed": 7061247670777058275, "b": 9223372036854775807}', True),
        ('{"seed": 12345678901234567}', True),
        ('{"seed": 9223372036854775808}', False),
        ('{"seed": -9223372036854775807}', False),
        ('{"seed": 12345678901234567.0}', False),
        ('{"seed": 1234567890123456789e0}', False),
        ('{"a": NaN}', False),
        ('{"a": 1180591620717411303424}', False),
        ('{"a": 1e300}', False),
        ('{"a": "\\u0000"}', False),
        ('{"a": "\ue000"}', False),
    ],
)
def test_a_document_called_verbatim_reads_as_the_text_does(text: str, verbatim: bool) -> None:
    value, same = read_document(text)
    assert not same or repr(read_json(dumps(value) + VERBATIM)) == repr(loads(text))
    assert same or not verbatim


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(_JSON, st.booleans())
def test_whatever_is_called_verbatim_reads_as_its_text(value: Any, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii)
    found, same = read_document(text)
    assert not same or repr(read_json(dumps(found) + VERBATIM)) == repr(loads(text))


@given(
    st.integers(-(2**66), 2**66)
    | st.integers(2**63 - 3, 2**63 + 3)
    | st.integers(-(2**63) - 3, -(2**63) + 3)
    | st.integers(10**15, 10**20),
    st.sampled_from(["", ".0", ".5", "e0", "E0", "e-3", " "]),
    st.sampled_from(['{"a":%s}', '{"a": %s, "b": 12345678901234567}', "[1,%s]", '["x %s", %s]']),
)
def test_a_long_number_becomes_what_the_document_of_its_reading_is(
    number: int, behind: str, around: str
) -> None:
    text = around.replace("%s", f"{number}{behind}")
    value, same = read_document(text)
    wanted = loads(text)
    assert repr(value) == repr(document(wanted))
    assert not same or repr(read_json(dumps(value) + VERBATIM)) == repr(wanted)
