"""A mistake in a filter is shown in the text it was made in, under the key that is wrong."""

from __future__ import annotations

import pytest

from mirror.errors import QueryError
from mirror.explain import format_query_error
from mirror.query.parse import parse_filters


def marked(text: str) -> str:
    """Return the parts of a text that its error marks, with `|` where they begin."""
    with pytest.raises(QueryError) as caught:
        parse_filters(text)
    line, caret, _ = format_query_error(caught.value, text).split("\n")
    start = caret.index("^")
    return f"{line[:start]}|{line[start : start + caret.count('^')]}"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"state": {"$gtt": 1}}', '{"state": {|"$gtt"'),
        # The same key stands elsewhere, too: before, as a text, or deeper.
        (
            '{"$or": [{"config.a": {"$in": []}}, {"config.a": {"$in": 1}}]}',
            '{"$or": [{"config.a": {"$in": []}}, {"config.a": {|"$in"',
        ),
        ('{"state": "tag", "tag": 1}', '{"state": "tag", |"tag"'),
        (
            '{"config.a": {"$eq": {"stat": 1}}, "stat": 2}',
            '{"config.a": {"$eq": {"stat": 1}}, |"stat"',
        ),
        # Keys that hold what a place is written with.
        ('{"config.a[0].b": {"$size": -1}}', '{"config.a[0].b": {|"$size"'),
        ('{"config.a": 1, "config.a.b": {"$in": 2}}', '{"config.a": 1, "config.a.b": {|"$in"'),
        ('{"gr\\u00f6\\u00dfe": 1}', '{|"gr\\u00f6\\u00dfe"'),
        ('{"config.\\"a": {"$nin": 1}}', '{"config.\\"a": {|"$nin"'),
        # An item of a list.
        (
            '{"created_at": {"$in": [null, "soon"]}}',
            '{"created_at": {"$in": [null, |"soon"',
        ),
        ('{"$and": [{}, 7]}', '{"$and": [{}, |7'),
        # Only the line of the mistake.
        ('{"state": 1,\n "$nor": [{\n  "tags": {"$regex": "("}}]}', '  "tags": {|"$regex"'),
    ],
)
def test_a_mistake_is_marked_where_it_is(text: str, place: str) -> None:
    assert marked(text) == place
