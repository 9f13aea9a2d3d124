"""Random runs, filters and orders: hostile keys and values, near misses, everything drawn from a seed.

Paths and literals mostly come out of the runs themselves, so that most filters match some runs and not
others. Filters are valid; what the parser must refuse is in test_parse.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from judge import COLUMN, DATES

Run = dict[str, Any]

KEYS = (
    "lr", "k", "model", "opt.wd", "opt", "a.b.c", "a", "loss/val", "value", "0", "1", "a b", "it's",
    'q"q', "back\\slash", "$p", "%s", "n\u0000l", "\u0001", "\ud800", "\ue000", "ünï", "日本", "A", "x?y",
    "{y}", ":z", "[0]", "tab\t",
)  # fmt: skip
INNER = ("a", "b", "value", "n", "0", "1", "x.y", "", "type", "wd", "c")
TEXTS = (
    "", "a", "A", "b", "ab", "abc", "adam", "Adam", "adam\n", "a.b", "a%b", "a_b", "1", "1.0", "true",
    "null", "NaN", "Infinity", "-Infinity", "'", '"', "\\", "\\n", "$gt", "{}", "[]", "é", "e\u0301",
    "日本", "\U0001f600", "\uffff", "\ue000", "\ue001", "\u0000", "\u0001", "\u0002", "\u0001\u0002",
    "a\u0000b", "\ud800", "\udfff", "d800", "Ä", " ", "a b", "--", ";", "%", "_", "*", "2024-01-01",
    "x" * 1200, "x" * 1200 + "y",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 3, 10, 0.5, 1.0, 1.5, -0.0, 0.1, 0.2, 0.1 + 0.2, 1e-05, 100, 1e16, 2**31, 2**53,
    2**53 + 1, 2.0**53, 2.0**62, 2**62, 2**62 + 1, 2**63 - 1, -(2**63), 2.0**63, 1e22, 1e308, 5e-324,
    -1e-7, 64, 32, 0.001, 123456789.125,
)  # fmt: skip
PATTERNS = (
    "a", "^a", "a$", "^adam$", "(?i)ADAM", "", "^$", ".*", "^.$", "[A-Z]", r"\d", r"\.", "%", "a|b",
    r"^\s", "é", r"\pL", "(?s)a.b", "a.b", "(?m)^b$", r"\\", "'", "^[^a]*$", "(a+)+$", r"\bb\b",
    "^ab?c", "^ab{2}", "ad(am)?", "x{3,5}y", "^x+y$", r"\x00", "\u0001", "^日", "a+b*", "d800",
)  # fmt: skip
STATES = ("running", "finished", "crashed", "failed", "killed")
TAGS = ("best", "v2", "Best", "a,b", "ü", "it's", "100%", "", 'a"best', "be\\st", "\u0000")


def scalar(rng: random.Random) -> Any:
    chance = rng.random()
    if chance < 0.4:
        return rng.choice(NUMBERS)
    return rng.choice(TEXTS) if chance < 0.8 else rng.choice((None, True, False))


def value(rng: random.Random, depth: int) -> Any:
    chance = rng.random()
    if depth == 0 or chance < 0.55:
        return scalar(rng)
    if chance < 0.8:
        return [value(rng, depth - 1) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
    keys = rng.sample(INNER, rng.choice((0, 1, 1, 2, 3)))
    return {key: value(rng, depth - 1) for key in keys}


def stamp(rng: random.Random) -> str:
    day = f"2024-{rng.randint(1, 2):02d}-{rng.randint(1, 28):02d}"
    hour, minute = rng.choice((0, 6, 23)), rng.choice((0, 30))
    tail = rng.choice(("Z", "", ".5Z", ".123456Z", "+02:00", "-0530"))
    return f"{day}T{hour:02d}:{minute:02d}:00{tail}"


def some_runs(rng: random.Random, count: int = 40) -> list[Run]:
    """Return runs with different names; their keys come from a vocabulary of the project."""
    vocabulary = rng.sample(KEYS, 14)

    def document() -> dict[str, Any]:
        return {key: value(rng, 3) for key in rng.sample(vocabulary, rng.randint(2, 8))}

    return [
        {
            "name": f"{i:02d}{rng.getrandbits(24):06x}",
            "display_name": rng.choice((None, *TEXTS)),
            "state": rng.choice(STATES),
            "tags": rng.sample(TAGS, rng.randint(0, 3)),
            "group": rng.choice((None, "", "g1", "G1")),
            "job_type": rng.choice((None, "train", "eval")),
            "host": rng.choice((None, "h1", "h2")),
            "username": rng.choice(("u1", "u2", "U1")),
            "sweep": rng.choice((None, "s1", "s2")),
            "notes": rng.choice((None, "a note", "")),
            "created_at": rng.choice((None, stamp(rng), stamp(rng), stamp(rng))),
            "heartbeat_at": rng.choice((None, stamp(rng))),
            "duration": rng.choice((None, 0, 1, 1.0, 2.5, 60, 2.0**53, 1e6)),
            "config": document(),
            "summary_metrics": document(),
        }
        for i in rng.sample(range(100), count)
    ]


# ------------------------------------------------------------------ fields

COLUMNS = (
    "name", "display_name", "state", "tags", "group", "job_type", "host", "username", "sweep", "notes",
    "created_at", "heartbeat_at", "duration",
    *(spelling for spelling in COLUMN if spelling not in ("summaryMetrics", "updatedAt")),
)  # fmt: skip


def written(key: str, exact: bool) -> str:
    key = key.replace("\\", "\\\\")
    return key.replace(".", "\\.") if exact else key


def document_field(rng: random.Random, runs: Sequence[Run]) -> tuple[str, Any]:
    """Return a dotted path and a value that stands there in some run, or None."""
    root = rng.choice(("config", "config", "summary_metrics", "summaryMetrics"))
    exact = rng.random() < 0.12
    here: Any = rng.choice(runs)[COLUMN.get(root, root)]
    names: list[str] = []
    while isinstance(here, dict | list) and here and (not names or rng.random() < 0.6):
        if isinstance(here, dict):
            key = rng.choice(sorted(here))
            if key == "":
                break
            names.append(written(key, exact))
            here = here[key]
            if root == "config" and len(names) == 1 and rng.random() < 0.15:
                names.append("value")
        else:
            at = rng.randrange(len(here))
            here = here[at]
            if rng.random() < 0.4:
                names.append(str(at))
            elif not isinstance(here, dict):
                break
    if not names or rng.random() < 0.08:
        names.append(rng.choice(("nope", "wd", "b", "0", "value")))
        here = None
    return ".".join((root, *names)), here


def field(rng: random.Random, runs: Sequence[Run]) -> tuple[str, Any]:
    """Return a field and a value it has in some run."""
    if rng.random() > 0.3:
        return document_field(rng, runs)
    name = rng.choice(COLUMNS)
    here = rng.choice(runs).get(COLUMN.get(name, name))
    if name == "tags":
        name += rng.choice(("", "", "", ".0", ".2"))
        here = rng.choice(here) if here and rng.random() < 0.7 else here
    return name, here


# ------------------------------------------------------------------ filters


def near(rng: random.Random, given: Any) -> Any:
    """Return the value, or one that must not be taken for it."""
    if rng.random() < 0.6:
        return given
    if isinstance(given, bool):
        return rng.choice((int(given), str(given).lower(), not given))
    if isinstance(given, int | float):
        others = (given + 1, given - 1, str(given), float(given), -given, bool(given))
        return rng.choice(others)
    if isinstance(given, str):
        return rng.choice((given.upper(), given + " ", given[:-1], [given], {"a": given}))
    if isinstance(given, list):
        return rng.choice((given[::-1], [*given, 1], given[:1], [given], (given or [None])[0]))
    if isinstance(given, dict):
        return rng.choice(
            (dict(reversed(given.items())), {**given, "zz": 1}, {}, [*given.values()])
        )
    return value(rng, 1)


def literal(rng: random.Random, given: Any) -> Any:
    made = near(rng, given) if rng.random() < 0.75 else value(rng, 2)
    if isinstance(made, dict) and any(key.startswith("$") for key in made):
        return {}
    return 1e308 if isinstance(made, float) and abs(made) == float("inf") else made


def date(rng: random.Random, given: Any) -> Any:
    if rng.random() < 0.08:
        return None
    text = given if isinstance(given, str) and rng.random() < 0.5 else stamp(rng)
    return rng.choice((text, text, text, text[:10], text.replace("T", " ")))


def operators(rng: random.Random, name: str, given: Any, depth: int) -> dict[str, Any]:
    """Return an object of one to three operators."""
    is_date = COLUMN.get(name, name) in DATES

    def one() -> Any:
        return date(rng, given) if is_date else literal(rng, given)

    def ranged() -> Any:
        made = one()
        return scalar(rng) if isinstance(made, list | dict) else made

    made: dict[str, Any] = {}
    names = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists"]
    names += [] if is_date else ["$regex", "$regex", "$contains", "$all", "$size"]
    names += ["$not", "$not", "$or", "$and", "$nor"] if depth else []
    for operator in rng.sample(names, rng.choice((1, 1, 1, 2, 3))):
        if operator in ("$in", "$nin", "$all"):
            count = rng.choice((0, 1, 2, 3, 12)) if operator != "$all" else rng.choice((0, 1, 2))
            made[operator] = [one() for _ in range(count)]
        elif operator == "$exists":
            made[operator] = rng.choice((True, False, 1, 0))
        elif operator == "$regex":
            made[operator] = rng.choice(PATTERNS)
            if rng.random() < 0.2:
                made["$options"] = rng.choice(("i", "m", "s", "im", ""))
        elif operator == "$contains":
            made[operator] = rng.choice(TEXTS)
        elif operator == "$size":
            made[operator] = rng.choice((0, 1, 2, 3, 1.0))
        elif operator == "$not":
            made[operator] = operators(rng, name, given, depth - 1)
        elif operator in ("$and", "$or", "$nor"):
            count = rng.randint(0, 2)
            made[operator] = [operators(rng, name, given, depth - 1) for _ in range(count)]
        else:
            made[operator] = one() if operator in ("$eq", "$ne") else ranged()
    return made


def some_filter(rng: random.Random, runs: Sequence[Run], depth: int = 3) -> dict[str, Any]:
    """Return a valid filter."""
    made: dict[str, Any] = {}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if depth and rng.random() < 0.4:
            operator = rng.choice(("$and", "$or", "$or", "$nor", "$not"))
            count = rng.choice((0, 1, 2, 2, 3))
            parts = [some_filter(rng, runs, depth - 1) for _ in range(count)]
            made[operator] = (parts or [{}])[0] if operator == "$not" else parts
            continue
        name, given = field(rng, runs)
        plain = date(rng, given) if COLUMN.get(name, name) in DATES else literal(rng, given)
        made[name] = plain if rng.random() < 0.25 else operators(rng, name, given, 1)
    return made


def some_order(rng: random.Random, runs: Sequence[Run]) -> str:
    """Return a valid order of one to three keys."""
    keys = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name, _value = field(rng, runs)
        keys.append(rng.choice(("+", "-", "")) + name.replace(",", "\\,"))
    return ",".join(keys)
