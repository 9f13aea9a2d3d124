"""Checking, backing up and rebuilding a store."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from test_ingest import PROJECT, node, put, runs
from test_projects import put_project

from mirror import databases
from mirror.errors import NotMirrored, StoreError
from mirror.store import tables
from mirror.store.store import Store


@pytest.fixture
def filled(store: Store) -> Store:
    put_project(store, int(PROJECT), "ent/proj")
    put(store, node("a"), node("b"))
    return store


def test_a_sound_store_has_nothing_to_say(filled: Store) -> None:
    assert databases.check(filled) == []


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("run_documents", "runs without documents: 2; run `mirror db rebuild`"),
        ("run_texts", "runs without the texts of the server: 2; run `mirror sync --full`"),
        ("runs", "documents that belong to no run: 2; run `mirror db rebuild`"),
    ],
)
def test_rows_that_miss_their_others_are_found(filled: Store, table: str, text: str) -> None:
    with filled.begin() as tx:
        tx.execute(sa.delete(tables.metadata.tables[table]))
    assert databases.check(filled) == [text]


def test_a_mark_that_differs_is_found(filled: Store) -> None:
    with filled.begin() as tx:
        tx.execute(sa.update(tables.run_documents).values(live=0))
    assert databases.check(filled) == [
        "runs that are marked differently in their documents: 2; run `mirror db rebuild`"
    ]


def test_a_mapping_of_another_version_is_found(filled: Store) -> None:
    with filled.begin() as tx:
        state = {"project_id": PROJECT, "stage": "runs", "generation": 0}
        tx.upsert_all(tables.sync_state, [state])
    (problem,) = databases.check(filled)
    assert "projects that another version of the mapping wrote: 1" in problem


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mirror.db"
    with Store.open(path, create=True, upgrade=True) as store:
        put(store, *(node(f"r{i}") for i in range(500)))
        store.checkpoint()
    content = bytearray(path.read_bytes())
    middle = len(content) // 8192 // 2 * 8192
    content[middle : middle + 3 * 8192] = bytes(3 * 8192)
    path.write_bytes(content)
    with Store.open(path) as store:
        try:
            problems = databases.check(store)
        except StoreError as error:
            problems = [str(error)]
    assert problems
    assert "SQLite finds" in problems[0] or "is damaged" in problems[0]


def test_a_rebuild_says_what_had_differed(filled: Store) -> None:
    assert list(databases.rebuild(filled)) == [databases.Rebuilt("ent/proj", 2, 0)]
    with filled.begin() as tx:
        tx.execute(sa.delete(tables.run_documents))
        tx.execute(sa.update(tables.runs).where(tables.runs.c.name == "a").values(notes="?"))
    assert list(databases.rebuild(filled, path="ent/proj")) == [databases.Rebuilt("ent/proj", 2, 2)]
    assert databases.check(filled) == []
    assert runs(filled)["a"]["config"] == {"lr": 0.1}


def test_a_rebuild_of_an_unknown_project_says_so(filled: Store) -> None:
    with pytest.raises(NotMirrored):
        list(databases.rebuild(filled, path="ent/nope"))


def test_a_backup_is_one_whole_private_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "backup.db"
    steps: list[tuple[int, int]] = []
    with Store.open(tmp_path / "mirror.db", create=True, upgrade=True) as store:
        put(store, node("a"))
        written = databases.backup(store, target, progress=lambda *step: steps.append(step))
        wanted = runs(store)
    assert written == target.stat().st_size
    assert steps[-1][0] == steps[-1][1]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [item.name for item in target.parent.iterdir()] == ["backup.db"]
    with Store.open(target) as copy:
        assert runs(copy) == wanted
        assert databases.check(copy) == []


def test_a_backup_writes_over_nothing(tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.write_text("precious")
    with Store.open(":memory:", upgrade=True) as store:
        with pytest.raises(StoreError, match="exists already: name a new file"):
            databases.backup(store, target)
        with pytest.raises(StoreError, match="cannot write a backup"):
            databases.backup(store, target / "below")
    assert target.read_text() == "precious"


def test_a_postgresql_store_is_left_to_its_own_tool(postgres_url: str, tmp_path: Path) -> None:
    with (
        Store.open(postgres_url, upgrade=True) as store,
        pytest.raises(StoreError, match="pg_dump -Fc mirror_test_"),
    ):
        databases.backup(store, tmp_path / "backup.db")
