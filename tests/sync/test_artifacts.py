"""Artifacts: the first walk, what moves without a trace in time, deletions, trouble, registries."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from artifact_worlds import PATH, fill, held, holders, wanted
from worlds import KEY

from mirror.config import ProjectSettings, resolve
from mirror.ingest_artifacts import map_artifact
from mirror.jsontext import unpack
from mirror.remote import client as client_module
from mirror.sandbox import World, generate_artifacts
from mirror.status import status
from mirror.store import tables
from mirror.sync import sync, verify
from mirror.sync.registries import Registries


@pytest.fixture
def filled(world: World) -> World:
    fill(world)
    return world


def count(store, table: sa.Table, *where) -> int:
    row = store.one(sa.select(sa.func.count().label("n")).select_from(table).where(*where))
    return int(row["n"])


def test_a_first_sync_brings_everything(filled, mirror, store):
    report = mirror()
    assert report.exit_code == 0, report
    assert held(store) == wanted(filled)
    u = tables.artifact_uses.c
    used = store.one(sa.select(u.used_as).where(u.direction == "used"))
    assert used["used_as"] == '["training-data"]'
    assert count(store, tables.artifact_uses, u.direction == "logged") == 5
    v = tables.artifacts.c
    row = store.one(sa.select(tables.artifacts).where(v.version_index == 3))
    assert (row["created_by_kind"], row["created_by"]) == ("run", "trainer1")


def test_an_idle_pass_is_one_request_and_writes_nothing(filled, mirror, store):
    mirror()
    filled.advance(900)
    mirror()
    filled.requests.reset()
    before = count_seq(store)
    report = mirror()
    assert report.exit_code == 0
    assert report.requests <= 4, filled.requests
    assert report.counts["versions"] == report.counts["collections"] == 0
    assert count_seq(store) == before


def count_seq(store) -> int:
    """The newest change of any table of artifacts."""
    newest = 0
    for table in (tables.artifacts, tables.artifact_memberships, tables.artifact_collections):
        row = store.one(sa.select(sa.func.max(table.c.seq).label("n")))
        newest = max(newest, row["n"])
    return newest


def _version(world: World, name: str = f"{PATH}/data:v0"):
    return world.artifacts.version(name)


EVENTS: dict[str, Callable[[World], object]] = {
    "a new version": lambda w: w.artifacts.log(f"{PATH}/data", "dataset", {"n": "new"}),
    "a new collection": lambda w: w.artifacts.log(f"{PATH}/other", "table", {"n": "new"}),
    "a late link": lambda w: w.artifacts.link(
        _version(w), f"{PATH}/shelf", at="2020-01-01T00:00:00Z"
    ),
    "an alias that moves": lambda w: w.artifacts.give(
        w.artifacts.find(f"{PATH}/data:v1"), ["latest"]
    ),
    "an alias that is new": lambda w: w.artifacts.give(
        w.artifacts.find(f"{PATH}/data:v1"), ["silver"]
    ),
    "an alias that is taken away": lambda w: w.artifacts.take(
        w.artifacts.find(f"{PATH}/model:best"), ["best"]
    ),
    "a version is deleted": lambda w: w.artifacts.delete(_version(w)),
    "the newest version is deleted": lambda w: w.artifacts.delete(_version(w, f"{PATH}/data:v3")),
    "one is deleted and one is new": lambda w: (
        w.artifacts.delete(_version(w)),
        w.artifacts.log(f"{PATH}/data", "dataset", {"n": "newer"}),
    ),
    "a link is taken away": lambda w: w.artifacts.unlink(
        _version(w, f"{PATH}/model:v0"), f"{PATH}/shelf"
    ),
    "tags of a version": lambda w: w.artifacts.edit(_version(w), tags=["gold", "t"]),
    "metadata of a version": lambda w: w.artifacts.edit(_version(w), metadata='{"n": 99}'),
    "tags of a collection": lambda w: w.artifacts.edit_collection(
        w.artifacts.collection(f"{PATH}/shelf"), tags=["x"]
    ),
    "a collection is renamed": lambda w: w.artifacts.edit_collection(
        w.artifacts.collection(f"{PATH}/data"), name="renamed"
    ),
    "a collection is deleted": lambda w: w.artifacts.delete_collection(
        w.artifacts.collection(f"{PATH}/shelf")
    ),
}


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_mirrored_by_the_next_sync(filled, mirror, store, event):
    mirror()
    filled.advance(900)
    EVENTS[event](filled)
    report = mirror()
    assert report.exit_code == 0, report
    assert held(store) == wanted(filled)


def test_a_deleted_version_comes_back(filled, mirror, store):
    mirror()
    version = _version(filled)
    filled.artifacts.delete(version)
    mirror()
    v = tables.artifacts.c
    row = store.one(sa.select(v.state, v.deleted_at).where(v.id == version.id))
    assert row["state"] == "DELETED"
    assert row["deleted_at"]
    filled.artifacts.undelete(version)
    mirror()
    assert held(store) == wanted(filled)


def test_alias_history_tells_who_had_it(filled, mirror, store):
    mirror()
    art = filled.artifacts
    first = art.version(f"{PATH}/data:latest")
    filled.advance(3600)
    art.give(art.find(f"{PATH}/data:v0"), ["latest"])
    mirror()
    assert holders(store, "data") == [
        ("latest", first.id, False),
        ("latest", art.version(f"{PATH}/data:v0").id, True),
    ]


def test_a_use_by_a_later_run_is_found_with_what_it_is_used_as(filled, mirror, store):
    mirror()
    filled.advance(900)
    run = filled.add_run(PATH, name="later")
    filled.artifacts.use(_version(filled), run, "eval")
    mirror()
    u = tables.artifact_uses.c
    row = store.one(sa.select(u.artifact_id, u.used_as).where(u.run == "later"))
    assert (row["artifact_id"], row["used_as"]) == (_version(filled).id, '["eval"]')


def test_a_version_made_between_two_pages_is_not_lost(world, mirror, store):
    generate_artifacts(world, PATH, versions=250, collections=1, files=1)
    world.on_page(
        "artifactMemberships", 2, lambda w: w.artifacts.log(f"{PATH}/late", "dataset", {"x": "y"})
    )
    mirror()
    mirror()
    assert held(store) == wanted(world)


def test_a_failing_listing_of_artifacts_does_not_fail_the_runs(filled, mirror, store):
    filled.fail("MirrorArtifactPulse", errors="artifacts are out of order")
    report = mirror()
    assert report.exit_code == 3
    assert report.failures == {}
    assert report.counts["new"] == 2
    assert "artifacts" in report.projects[0].failed_stages
    filled.heal()
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)


@pytest.mark.parametrize(
    "says",
    [
        "Cannot return null for non-nullable field Project.artifactTypes.",
        'Cannot query field "artifactCollections" on type "Project".',
        "artifacts are not implemented",
    ],
)
def test_a_server_that_knows_no_artifacts_is_told_and_fails_nothing(filled, mirror, says):
    filled.fail("MirrorArtifactPulse", errors=says)
    filled.fail("MirrorArtifactTypes", errors=says)
    report = mirror()
    assert (report.exit_code, report.counts["new"]) == (0, 2)
    assert "has no artifacts to read" in str(report.projects[0].warnings)


@pytest.mark.parametrize("kind", ["project", "registry"])
def test_a_collection_that_fails_keeps_none_of_the_others_from_being_read(
    filled, mirror, store, monkeypatch, kind
):
    monkeypatch.setattr(client_module, "BACKOFF_S", 0.001)
    monkeypatch.setattr(client_module, "BACKOFF_MAX_S", 0.01)
    path = PATH
    if kind == "registry":
        filled.add_organization("acme", teams=["team"], members=["alice"])
        path = filled.artifacts.add_registry("acme", "models").path
        for name in ("a", "b", "c"):
            filled.artifacts.link(filled.artifacts.version(f"{PATH}/model:v0"), f"{path}/{name}")
        read_before = 3  # pages of the project's own collections
    else:
        read_before = 0
    filled.fail("MirrorMemberships", errors="no", skip=read_before, times=1)
    report = mirror()
    assert (report.exit_code, report.failures, report.counts["new"]) == (3, {}, 2)
    (told,) = [text for one in report.projects for text in one.warnings]
    assert re.search(r"collection '\w+': MirrorMemberships.* no", told)
    there, complete = wanted(filled, path), held(store, path)
    assert [complete[name] == there[name] for name in there].count(True) == 2
    assert mirror().exit_code == 0
    assert held(store, path) == there


def test_a_server_that_fails_at_every_collection_is_given_up_at_the_third(filled, mirror, store):
    for number in range(5):
        filled.artifacts.log(f"{PATH}/more{number}", "dataset", {"a": "b"})
    filled.fail("MirrorMemberships", errors="no")
    assert mirror().exit_code == 3
    assert filled.requests.count("MirrorMemberships") == 3
    filled.heal()
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)


@pytest.mark.parametrize("says", [None, "artifact collection not found"], ids=["null", "refused"])
def test_collections_that_are_gone_are_looked_up_many_in_a_request(filled, mirror, store, says):
    for number in range(5):
        filled.artifacts.log(f"{PATH}/more{number}", "dataset", {"a": "b"})
    mirror()
    for number in range(5):
        filled.artifacts.delete_collection(f"{PATH}/more{number}")
    if says is not None:
        filled.fail("MirrorEach", errors=says)
    filled.advance(900)
    filled.requests.reset()
    report = mirror()
    assert (report.exit_code, report.projects[0].warnings) == (0, [])
    assert held(store) == wanted(filled)
    assert filled.requests.count("MirrorEach") == (1 if says is None else 9)


def test_artifacts_that_fail_for_ever_keep_no_runs_from_coming(filled, mirror, monkeypatch):
    monkeypatch.setattr(client_module, "BACKOFF_S", 0.001)
    monkeypatch.setattr(client_module, "BACKOFF_MAX_S", 0.01)
    assert mirror().exit_code == 0
    filled.fail("MirrorArtifactPulse", status=502)
    filled.add_run(PATH, name="later")
    report = mirror()
    assert (report.exit_code, report.failures, report.counts["new"]) == (3, {}, 1)
    assert report.projects[0].failed_stages == ["artifacts"]


@pytest.mark.parametrize(
    ("sent", "kept", "read"),
    [
        ('{"lr": 1e-3}', '{"lr": 1e-3}', {"lr": 0.001}),
        ({"lr": 0.1, "n": [1, None]}, '{"lr":0.1,"n":[1,null]}', {"lr": 0.1, "n": [1, None]}),
        (None, None, {}),
    ],
)
def test_metadata_is_kept_as_sent_be_it_text_or_json(sent, kept, read):
    row = map_artifact({"id": "QQ==", "metadata": sent})
    assert json.loads(row["metadata"]) == read
    assert (unpack(row["metadata_text"]) if kept else row["metadata_text"]) == kept


def test_a_fault_of_ours_in_registries_is_told_and_keeps_what_was_synced(
    filled, mirror, store, monkeypatch
):
    def broken(*_args):
        raise AttributeError("no such thing")

    # No input is known that breaks it: the boundary is for the bug that nobody has met yet.
    monkeypatch.setattr(Registries, "_organization", broken)
    filled.add_organization("acme", teams=["team"], members=["alice"])
    report = mirror()
    assert (report.exit_code, report.failures, report.counts["new"]) == (3, {}, 2)
    assert "internal error: AttributeError: no such thing" in str(report.projects[-1].warnings)
    assert held(store) == wanted(filled)


def test_a_server_that_forgets_artifacts_it_had_fails_the_round(filled, mirror):
    assert mirror().exit_code == 0
    filled.fail("MirrorArtifactPulse", errors="artifacts are not implemented")
    assert mirror().exit_code == 3


@pytest.mark.parametrize(
    "feature",
    ["ARTIFACT_COLLECTIONS_FILTERING_SORTING", "ARTIFACT_DIGEST_ALGORITHM", "ARTIFACT_REGISTRY_SEARCH"],
)  # fmt: skip
def test_an_older_server_is_mirrored_all_the_same(filled, mirror, store, feature):
    filled.features[feature] = False
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)
    filled.artifacts.give(filled.artifacts.find(f"{PATH}/data:v1"), ["silver"])
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)


def test_an_idle_round_with_a_registry_costs_no_request_more(filled, mirror, store):
    filled.add_organization("acme", teams=["team"], members=["alice"])
    registry = filled.artifacts.add_registry("acme", "models")
    filled.artifacts.link(
        filled.artifacts.version(f"{PATH}/model:v0"), f"{registry.path}/good", ["prod"]
    )
    mirror()
    filled.requests.reset()
    mirror()
    assert filled.requests.count("MirrorArtifactPulses") == 1
    assert filled.requests.count("MirrorArtifactPulse") == 0
    assert filled.requests.count("MirrorRegistryPulse") == 0
    filled.artifacts.give(filled.artifacts.find(f"{registry.path}/good:v0"), ["live"])
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)


def test_a_registry_is_mirrored_with_members_and_links(filled, mirror, store, server, tmp_path):
    filled.add_organization("acme", teams=["team"], members=["alice"])
    art = filled.artifacts
    registry = art.add_registry("acme", "models", members={"alice": "admin"})
    art.link(art.version(f"{PATH}/model:v0"), f"{registry.path}/good", ["prod"])
    report = mirror()
    assert report.exit_code == 0, report
    row = store.one(sa.select(tables.registries))
    assert (row["name"], row["full_name"], row["organization"]) == (
        "models",
        "wandb-registry-models",
        "acme",
    )
    member = store.one(sa.select(tables.registry_members))
    assert (member["name"], member["role"]) == ("alice", "admin")
    assert held(store, registry.path) == wanted(filled, registry.path)
    (one,) = [each for each in status(store).projects if each.path == registry.path]
    assert one.complete
    assert one.synced_at is not None
    config = resolve(base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path)
    assert verify(store=store, config=config) == []
    art.give(art.find(f"{registry.path}/good:v0"), ["staging"])
    again = mirror()
    assert held(store, registry.path) == wanted(filled, registry.path)
    assert again.exit_code == 0
    filled.advance(900)
    mirror()
    assert mirror().requests <= 5


def test_killed_after_any_page_the_next_sync_goes_on(world, server, mirror, store, tmp_path):
    generate_artifacts(world, PATH, versions=260, collections=2, files=1)
    config = tmp_path / "mirror.toml"
    config.write_text("[sync]\npage_size = 50\npage_size_max = 50\n")
    url = store.engine.url.render_as_string(hide_password=False)
    child = [
        sys.executable,
        str(Path(__file__).with_name("child.py")),
        server.url,
        url,
        str(config),
    ]
    environment = {**os.environ, "WANDB_API_KEY": KEY}
    killed = 0
    for page in range(2, 16):
        ended = subprocess.run(
            [*child, str(page)], env=environment, capture_output=True, timeout=60, check=False
        )
        if ended.returncode != -9:
            break
        killed += 1
    assert ended.returncode == 0, ended.stderr
    assert killed >= 2
    assert held(store) == wanted(world)
    pages = world.requests.count("MirrorMemberships")
    assert pages <= 6 + killed + 2  # a killed sync costs at most the page it was in


def test_a_known_alias_that_moves_in_a_long_collection_is_found(world, mirror, store):
    generate_artifacts(world, PATH, versions=700, collections=1, files=1)
    (name,) = wanted(world)
    art = world.artifacts
    art.give(art.find(f"{PATH}/{name}:v5"), ["prod"])
    mirror()
    world.advance(900)
    art.give(art.find(f"{PATH}/{name}:v600"), ["prod"])
    mirror()
    assert held(store) == wanted(world)
    world.advance(900)
    art.give(art.find(f"{PATH}/{name}:v7"), ["new"])  # on an old version: the comparison finds it
    mirror(reconcile=True)
    assert held(store) == wanted(world)
    assert mirror().requests <= 5


def test_verify_names_what_differs_and_status_counts(filled, mirror, store, server, tmp_path):
    config = resolve(base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path)
    mirror()
    assert verify([PATH], store=store, config=config) == []
    (one,) = status(store).projects
    assert (one.collections, one.versions, one.artifacts_error) == (3, 6, None)
    art = filled.artifacts
    art.give(art.find(f"{PATH}/data:v1"), ["silver"])
    art.delete(art.version(f"{PATH}/data:v0"))
    art.log(f"{PATH}/data", "dataset", {"x": "new"})
    art.log(f"{PATH}/other", "dataset", {"x": "new"})
    found = {(d.kind, d.name) for d in verify([PATH], store=store, config=config)}
    assert found == {
        ("stale", "data:v1"),
        ("stale", "data:v3"),  # latest has left it
        ("extra", "data:v0"),
        ("missing", "data:v4"),
        ("missing", "other"),
    }


def test_only_chosen_types_and_collections_are_mirrored(filled, store, server, tmp_path):
    config = resolve(base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path)
    chosen = ProjectSettings(artifact_types=("model",), artifact_collections=("mo*",))
    config = dataclasses.replace(config, projects=((PATH, chosen),))
    assert sync([PATH], store=store, config=config).exit_code == 0
    assert list(held(store)) == ["model"]
    assert verify([PATH], store=store, config=config) == []


def test_a_manifest_the_server_has_lost_keeps_none_of_the_others(filled, store, server, tmp_path):
    config = resolve(base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path)
    config = dataclasses.replace(config, projects=((PATH, ProjectSettings(depth="manifests")),))
    filled.fail("manifests", status=404, times=2)  # an address is asked for twice
    report = sync([PATH], store=store, config=config)
    assert report.exit_code == 0
    assert report.projects[0].manifests == 4
    assert report.projects[0].warnings == [f"1 manifests of {PATH} are not on the server"]
    again = sync([PATH], store=store, config=config)
    assert (again.projects[0].manifests, again.projects[0].warnings) == (1, [])


@pytest.mark.parametrize(
    ("trouble", "exit_code"),
    [
        pytest.param({"status": 502, "times": 2}, 0, id="two bad gateways"),
        pytest.param({"truncate": True, "times": 1}, 0, id="half a body"),
        pytest.param({"drop": "body", "times": 1}, 0, id="a cut in the body"),
        pytest.param({"short": 1, "times": 1}, 0, id="a short page"),
        pytest.param({"empty": True, "times": 1}, 0, id="an empty page with more behind it"),
        pytest.param({"null_nodes": 2, "times": 1}, 0, id="null nodes for once"),
        pytest.param({"stuck": True}, 3, id="a cursor that stands"),
        pytest.param({"errors": "no"}, 3, id="errors under 200"),
        pytest.param({"status": 403}, 3, id="forbidden"),
    ],
)
def test_trouble_with_memberships_loses_nothing(filled, mirror, store, trouble, exit_code):
    filled.fail("artifactMemberships", **trouble)
    report = mirror()
    assert report.exit_code == exit_code, report
    assert report.failures == {}
    filled.heal()
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)
