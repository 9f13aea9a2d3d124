"""Registries: a page in memory at a time, gone and back, killed half-way, refused one by one, logged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from artifact_worlds import PATH, fill, held, holders, wanted
from worlds import KEY

from mirror.sandbox import World
from mirror.status import status
from mirror.store import tables
from mirror.sync import plan, registries, sync


@pytest.fixture
def acme(world: World) -> World:
    """An organization with three registries, a collection with a link in each."""
    fill(world)
    world.add_organization("acme", teams=["team"], members=["alice"])
    art = world.artifacts
    for name in ("models", "data", "prompts"):
        registry = art.add_registry("acme", name, members={"alice": "admin"})
        art.link(art.version(f"{PATH}/model:v0"), f"{registry.path}/good", ["prod"])
    return world


def paths(world: World) -> list[str]:
    return sorted(one.path for one in world.projects.values() if one.is_registry)


def tombstones(store, table: sa.Table, key: str = "id") -> int:
    row = store.one(sa.select(sa.func.count(table.c.deleted_at).label("n")))
    return int(row["n"])


def entries(store) -> list[tuple[str, str, str | None]]:
    log = tables.sync_log.c
    rows = store.rows(sa.select(log.path, log.outcome, log.error).order_by(log.id))
    return [(row["path"], row["outcome"], row["error"]) for row in rows]


def test_a_round_over_registries_is_an_entry_of_the_sync_log_and_a_line_of_status(
    acme, mirror, store
):
    assert mirror().exit_code == 0
    owner = paths(acme)[0].split("/")[0]
    assert entries(store)[-1] == (f"{owner}/wandb-registry-*", "ok", None)
    log = store.rows(sa.select(tables.sync_log.c.report).order_by(tables.sync_log.c.id))[-1]
    told = json.loads(log["report"])
    assert (told["kind"], told["registries"], told["versions"]) == ("registries", 3, 3)
    (one,) = status(store).organizations
    assert (one.name, one.entity, one.registries, one.last_error) == ("acme", owner, 3, None)
    assert one.synced_at is not None
    acme.fail("MirrorRegistryPulse", status=403)
    acme.fail("MirrorArtifactPulses", status=403)
    acme.fail("MirrorRegistry", status=403, times=1)
    acme.advance(900)
    assert mirror().exit_code == 3
    assert entries(store)[-1][1] == "failed"
    assert "wandb-registry-models was not read" in str(entries(store)[-1][2])
    (now,) = status(store).organizations
    assert now.synced_at == one.synced_at
    assert "was not read" in str(now.last_error)
    assert status(store, path=paths(acme)[0]).syncs[0].kind == "registries"
    assert tombstones(store, tables.registries) == 0


def test_a_registry_deleted_on_the_server_is_gone_here_with_all_in_it_and_may_come_back(
    acme, mirror, store
):
    mirror()
    gone = next(one for one in acme.projects.values() if one.name == "wandb-registry-data")
    path = gone.path
    acme.delete_project(path)
    acme.advance(900)
    report = mirror()
    assert report.exit_code == 0, report
    assert report.counts["registries_gone"] == 1
    assert held(store, path) == {}
    for table in (tables.registries, tables.artifact_collections, tables.artifact_memberships):
        assert tombstones(store, table) == 1, table.name
    assert {stands for _, _, stands in holders(store, "good", path)} == {False}
    assert held(store) == wanted(acme)
    gone.deleted = False
    acme.projects[path] = gone
    gone.entity.projects.append(gone)
    acme.advance(900)
    assert mirror().exit_code == 0
    assert held(store, path) == wanted(acme, path)
    assert tombstones(store, tables.registries) == 0


def test_registries_are_read_page_by_page(acme, mirror, store, monkeypatch):
    monkeypatch.setattr(registries, "REGISTRIES_A_PAGE", 1)
    assert mirror().exit_code == 0
    for path in paths(acme):
        assert held(store, path) == wanted(acme, path)
    assert acme.requests.count("MirrorRegistryPulse") == 3
    r = tables.registries.c
    rows = store.rows(sa.select(r.position).order_by(r.position))
    assert [row["position"] for row in rows] == [0, 1, 2]


@pytest.mark.parametrize("hidden", [True, False], ids=["hidden", "refused"])
def test_a_registry_that_the_key_may_not_read_keeps_none_of_the_others(acme, mirror, store, hidden):
    if hidden:
        path = next(path for path in paths(acme) if path.endswith("-data"))
        acme.project(path).private_to = {"nobody"}
    else:
        acme.fail("MirrorRegistryPulse", errors="permission denied: wandb-registry-data")
        acme.fail("MirrorRegistry", errors="permission denied", skip=1, times=1)
    report = mirror()
    assert report.exit_code == (0 if hidden else 3)
    assert report.failures == {}
    read = [path for path in paths(acme) if held(store, path)]
    assert len(read) == 2
    for path in read:
        assert held(store, path) == wanted(acme, path)


def test_killed_in_the_middle_of_the_registries_the_next_sync_goes_on(
    acme, server, store, tmp_path
):
    config = tmp_path / "mirror.toml"
    config.write_text("")
    child = [
        sys.executable, str(Path(__file__).with_name("child.py")), server.url,
        store.engine.url.render_as_string(hide_password=False), str(config),
    ]  # fmt: skip
    environment = {**os.environ, "WANDB_API_KEY": KEY}
    killed = subprocess.run(
        [*child, "7"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -9, killed.stderr
    read = [path for path in paths(acme) if held(store, path)]
    assert 0 < len(read) < 3  # in the middle of them
    assert [entry.outcome for entry in status(store).syncs] == ["interrupted", "ok"]
    ended = subprocess.run(
        [*child, "0"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    for path in [PATH, *paths(acme)]:
        assert held(store, path) == wanted(acme, path)
    assert [entry.outcome for entry in status(store).syncs] == ["ok", "ok", "interrupted", "ok"]


def test_a_plan_tells_the_versions_of_registries(acme, server, tmp_path):
    where = {"store": tmp_path / "planned.db", "base_url": server.url, "api_key": KEY}
    made = plan([PATH], **where)
    (theirs,) = [one for one in made.projects if one.kind == "registries"]
    assert (theirs.versions, theirs.requests) == (3, 4)
    assert sync([PATH], **where).exit_code == 0
    after = plan([PATH], **where)
    assert [one.versions for one in after.projects] == [0, 0]


NUL = "it ends\x00here"
"""What JSON may say and PostgreSQL does not store."""


@pytest.mark.parametrize("where", ["MirrorRegistry", "MirrorArtifactPulse", "project"])
def test_whatever_a_server_says_is_kept_and_shown(acme, mirror, store, where):
    if where == "MirrorRegistry":
        acme.fail("MirrorRegistryPulse", status=403)
    acme.fail(where, errors=NUL)
    assert mirror().exit_code != 0
    told = status(store)
    errors = [entry.error for entry in told.syncs if entry.error is not None]
    errors += [one.last_error or "" for one in told.organizations]
    errors += [f"{one.last_error} {one.artifacts_error}" for one in told.projects]
    assert any(NUL in error for error in errors)
