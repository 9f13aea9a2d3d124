"""What commands print: tables, JSON, CSV, and parameters as they are read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import click
import pytest

from mirror.cli.options import DURATION, FILTER, one_of
from mirror.cli.output import (
    age,
    bytes_text,
    counted,
    csv_lines,
    json_text,
    print_anywhere,
    print_table,
    shown,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (0.1 + 0.2, "0.3"),
        (1e-7, "1e-07"),
        (12345678, "12345678"),
        ("plain ä", "plain ä"),
        (["a", "b"], "a, b"),
        ([1, {"x": None}], '[1,{"x":null}]'),
        ({"a": "NaN"}, '{"a":"NaN"}'),
        pytest.param("two\nlines\t", "two\\nlines\\t", id="one line only"),
        pytest.param("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m", id="no escape codes"),
        pytest.param("a\u202eb", "a\\u202eb", id="no change of direction"),
        pytest.param("\ud800", "\\ud800", id="a lone surrogate"),
    ],
)
def test_a_cell_is_one_harmless_line(value: Any, text: str) -> None:
    assert shown(value) == text
    shown(value).encode()


def test_a_table_is_aligned_and_whole_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("name", "n"), [("a" * 100, 1), ("日本", 1234)], right=("n",))
    assert capsys.readouterr().out.splitlines() == [
        "name" + " " * 96 + "     n",
        "a" * 100 + "     1",
        "日本" + " " * 96 + "  1234",  # two cells each
    ]


def test_an_empty_table_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "state"), [])
    assert capsys.readouterr().out == "name  state\n"


@pytest.mark.parametrize("value", [{"a": [1, "ä", None]}, 2**70, "\ud800", {"\ud800": 1}, [1.5]])
def test_json_is_read_back_as_it_was(value: Any) -> None:
    for indent in (False, True):
        assert json.loads(json_text(value, indent=indent)) == value


def test_csv_is_read_back_by_a_reader() -> None:
    rows = [("a,b", 'say "hi"', None), ("two\nlines", [1, {"x": 2}], True), ("ä", 1.5, 2**70)]
    text = "".join(csv_lines(("x", "y", "z"), rows))
    assert list(csv.reader(io.StringIO(text))) == [
        ["x", "y", "z"],
        ["a,b", 'say "hi"', ""],
        ["two\nlines", '[1,{"x":2}]', "true"],
        ["ä", "1.5", str(2**70)],
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "never"),
        (0, "0 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7200, "2 h ago"),
        (86_400 * 2, "2 d ago"),
    ],
)
def test_an_age_is_short(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (4_300_000, "4.3 MB"),
        (2 * 10**15, "2000.0 TB"),
    ],
)
def test_bytes_are_readable(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("90", 90), ("15m", 900), ("6H", 21_600), ("1 d", 86_400)]
)
def test_a_duration_has_a_unit(text: str, seconds: int) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "0s", "1.5h", "5 weeks"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no duration: write 90s, 15m, 6h or 1d"):
        DURATION.convert(text, None, None)


def test_a_filter_comes_from_the_line_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "filter.json"
    file.write_text('{"state": "crashed"}')
    for text in ('{"state": "crashed"}', f"@{file}"):
        assert FILTER.convert(text, None, None).value == {"state": "crashed"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": }', '  {"a": }\n        ^'),
        ("{'a': 1}", "  {'a': 1}\n   ^"),
        ("[1]", "a filter is a JSON object"),
        ("3", "a filter is a JSON object"),
        ("", "this is no JSON"),
        ("@/no/such/file", "cannot read '/no/such/file'"),
        ('{"a": {"$gt": 1}, "a": {"$lt": 2}}', "'a' stands twice in one object"),
        ('{"a": {"$gt": 1, "$gt": 2}}', "'$gt' stands twice in one object"),
        ('{"$not": ' * 100_000 + "{}" + "}" * 100_000, "too deep"),
    ],
)
def test_a_filter_that_is_none_is_shown_with_its_place(text: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as error:
        FILTER.convert(text, None, None)
    assert said in error.value.message


def test_flags_that_exclude_each_other_do() -> None:
    assert one_of({"--a": False, "--b": True}) == "--b"
    assert one_of({"--a": False, "--b": False}) is None
    with pytest.raises(click.UsageError, match="--a and --b cannot be given together"):
        one_of({"--a": True, "--b": True})


@pytest.mark.parametrize(
    ("count", "thing", "text"),
    [
        (0, "file", "0 files"),
        (1, "file", "1 file"),
        (2000, "file", "2,000 files"),
        (1, "entry", "1 entry"),
        (2, "entry", "2 entries"),
        (2, "retry", "2 retries"),
    ],
)
def test_one_thing_is_not_several(count: int, thing: str, text: str) -> None:
    assert counted(count, thing) == text


def test_what_a_stream_cannot_write_is_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    print_anywhere()
    value = {"name": "größe 日本 𝄞", "alone": "\ud800"}
    print("│├└─ v1→v2…", end="\n", flush=True)
    print(json_text(value), flush=True)
    drawn, text = raw.getvalue().decode("latin-1").splitlines()
    assert drawn == "||`- v1->v2..."
    assert json.loads(text) == value
