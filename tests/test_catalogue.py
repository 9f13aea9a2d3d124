"""The key catalogue's counting: paths, types, counts, ranges."""

from __future__ import annotations

from typing import Any

import pytest

from mirror.catalogue import Key, Trie
from mirror.jsontext import Type


def _keys(*documents: dict[str, Any]) -> dict[str, Key]:
    trie = Trie()
    for document in documents:
        trie.add(document)
    return {key.path: key for key in trie.keys()}  # noqa: SIM118 - not a mapping


@pytest.mark.parametrize(
    ("value", "types"),
    [
        (None, Type.NULL),
        (True, Type.BOOLEAN),
        (1, Type.INTEGER),
        (1.0, Type.FLOAT),
        ("x", Type.STRING),
        ("", Type.STRING),
        ({}, Type.OBJECT),
        ([], Type.LIST),
        ("NaN", Type.NAN),
        ("Infinity", Type.INFINITY),
        ("-Infinity", Type.INFINITY),
        ("nan", Type.STRING),
    ],
)
def test_a_value_has_one_type(value: Any, types: Type) -> None:
    assert _keys({"a": value})['["a"]'].types == types


def test_types_gather_and_values_are_counted() -> None:
    key = _keys({"a": 1}, {"a": 2.5}, {"a": "x"}, {"a": None}, {"b": 1})['["a"]']
    assert key.types == Type.INTEGER | Type.FLOAT | Type.STRING | Type.NULL
    assert key.seen == 4


def test_the_range_is_that_of_the_numbers() -> None:
    keys = _keys({"a": 3}, {"a": -1.5}, {"a": "999"}, {"a": True}, {"a": 2}, {"b": "x"})
    assert (keys['["a"]'].min, keys['["a"]'].max) == (-1.5, 3.0)
    assert (keys['["b"]'].min, keys['["b"]'].max) == (None, None)


def test_a_dotted_key_is_not_a_path() -> None:
    assert set(_keys({"a.b": 1, "a": {"b": 2}})) == {'["a.b"]', '["a"]', '["a","b"]'}


def test_lists_are_seen_and_not_entered() -> None:
    assert set(_keys({"a": [{"b": 1}], "c": {"d": [1]}})) == {'["a"]', '["c"]', '["c","d"]'}


def test_parents_come_before_children() -> None:
    trie = Trie()
    trie.add({"a": {"b": {"c": 1}}})
    assert [key.path for key in trie.keys()] == ['["a"]', '["a","b"]', '["a","b","c"]']  # noqa: SIM118


def test_a_key_may_be_any_text() -> None:
    keys = _keys({"": {'"': {"val/acc": {"ä\\": 1}}}})
    assert '["","\\"","val/acc","ä\\\\"]' in keys


def test_an_object_under_a_key_that_was_a_number_is_entered() -> None:
    keys = _keys({"a": 1}, {"a": {"b": 2}})
    assert keys['["a"]'].types == Type.INTEGER | Type.OBJECT
    assert keys['["a","b"]'].seen == 1
