"""Who may import whom. The tables below are the architecture; a new module needs a row here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mirror

PACKAGE = Path(mirror.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LEAVES = {
    "errors",
    "paths",
    "config",
    "settings",
    "instants",
    "jsontext",
    "catalogue",
    "regex",
    "global_ids",
}
EVERYTHING = {"*"}

# part of the package → the parts it may import besides itself and the leaves
MAY_IMPORT: dict[str, set[str]] = {
    "store": set(),
    "ingest": {"store"},
    "ingest_artifacts": {"ingest", "store"},
    "query": {"store.tables", "store.json", "store.sql"},
    "plan": {"query", "store"},
    "reads": {"plan", "query", "store"},
    "explain": {"plan", "reads", "query", "store"},
    "query_log": {"query", "store"},
    "indexes": {"plan", "reads", "explain", "query", "store"},
    "remote": set(),
    "blobs": {"remote"},
    "sync": {"remote", "ingest", "ingest_artifacts", "store"},
    "artifact_lookup": {"projects", "store"},
    "lineage": {"artifact_lookup", "store"},
    "api": {
        "artifact_lookup",
        "ingest_artifacts",
        "lineage",
        "blobs",
        "reads",
        "explain",
        "indexes",
        "query_log",
        "projects",
        "query",
        "sync",
        "ingest",
        "store",
        "remote",
    },
    "sandbox": set(),  # not even the leaves: it judges us, so it shares nothing with us
    # The commands and the functions behind them.
    "cli": EVERYTHING,
    "databases": EVERYTHING,
    "demo": EVERYTHING,
    "doctor": EVERYTHING,
    "keys": EVERYTHING,
    "projects": {"store"},
    "schedule": EVERYTHING,
    "status": EVERYTHING,
    "__main__": EVERYTHING,
}

# library → where it may be imported
MAY_USE: dict[str, tuple[str, ...]] = {
    "alembic": ("store/migrate.py",),
    "click": ("cli",),
    "graphql": ("sandbox",),
    "httpx": ("remote", "sandbox"),
    "netrc": ("config.py",),
    "pandas": ("api",),
    "psycopg": ("store",),
    "rich": ("cli",),
    "sqlalchemy": (
        "store",
        "query/compile.py",
        "plan.py",
        "reads.py",
        "explain.py",
        "indexes.py",
        "query_log.py",
        "keys.py",
        "ingest.py",
        "ingest_artifacts.py",
        "artifact_lookup.py",
        "lineage.py",
        "status.py",
        "databases.py",
        "sync",
    ),
    "sqlite3": ("store", "databases.py", "doctor.py"),
    "tomllib": ("config.py",),
    "wandb": (),
}


def _imports(path: Path) -> Iterator[str]:
    """Every module imported anywhere in a file, but for those under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _part(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def _ids(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=_ids)
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    part = _part(path)
    if part == "__init__":
        return
    if part in LEAVES:
        allowed = LEAVES
    else:
        allowed = {part} | MAY_IMPORT[part] | (set() if part == "sandbox" else LEAVES)
    if "*" in allowed:
        return
    for name in _imports(path):
        if not name.startswith("mirror."):
            continue
        inner = name.removeprefix("mirror.")
        if inner == "__version__":  # a fact about the package, not a part of it
            continue
        assert any(inner == one or inner.startswith(f"{one}.") for one in allowed), (
            f"mirror/{_ids(path)} imports {name}; {part} may import {', '.join(sorted(allowed))}"
        )


@pytest.mark.parametrize("path", MODULES, ids=_ids)
def test_a_library_is_used_in_its_place_only(path: Path) -> None:
    inside = _ids(path)
    for name in _imports(path):
        places = MAY_USE.get(name.split(".")[0])
        if places is None:
            continue
        assert any(inside == place or inside.startswith((f"{place}/", f"{place}.py")) for place in places), (
            f"mirror/{inside} imports {name}, which belongs in {', '.join(places) or 'no module'}"
        )  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=_ids)
def test_only_config_reads_the_environment(path: Path) -> None:
    if _ids(path) == "config.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("os", "environ"), ("os", "getenv")}, (
                f"mirror/{_ids(path)}:{node.lineno} reads the environment"
            )


@pytest.mark.parametrize("path", MODULES, ids=_ids)
def test_a_module_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"mirror/{_ids(path)} has no docstring"


def test_every_row_of_the_tables_is_in_use() -> None:
    parts = {_part(path) for path in MODULES} - {"__init__"}
    assert parts == LEAVES | set(MAY_IMPORT)


HEAVY = (
    "alembic",
    "click",
    "graphql",
    "httpx",
    "numpy",
    "pandas",
    "psycopg",
    "rich",
    "sqlalchemy",
    "wandb",
)


@pytest.mark.parametrize("statement", ["import mirror", "from mirror import errors"])
def test_importing_the_package_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}; import sys; print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []
