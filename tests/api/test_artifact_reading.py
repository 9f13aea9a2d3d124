"""What is read through of artifacts is found offline afterwards, and nothing looks complete by it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import mirror
from mirror import lineage
from mirror.api.door import TRIES
from mirror.artifact_lookup import find_version, parse
from mirror.config import Config
from mirror.errors import Gone
from mirror.remote import client as client_module
from mirror.sandbox import World
from mirror.status import status
from mirror.store import tables
from mirror.store.store import Store
from mirror.sync import sync

sys.path.append(str(Path(__file__).parent.parent / "sync"))
from artifact_worlds import fill, held, holders, wanted

KEY = "a1b2c3d4e5" * 4
PATH = "team/vision"
DATA, REGISTRY = f"{PATH}/data", "acme-org/wandb-registry-models"


@pytest.fixture
def world() -> World:
    made = World()
    made.add_user("alice", key=KEY, entity="team", teams=["team"])
    made.add_organization("acme", teams=["team"], members=["alice"])
    made.add_project("team", "vision")
    fill(made)
    made.artifacts.add_registry("acme", "models", members={"alice": "admin"})
    made.artifacts.link(f"{PATH}/model:v0", f"{REGISTRY}/nets", ["prod"])
    return made


def reading(config: Config, **changes: Any) -> Any:
    return mirror.Api({"entity": "team"}, config=replace(config, **changes))


def offline(config: Config) -> Any:
    return mirror.Api({"entity": "team"}, config=replace(config, api_key=None), mode="offline")


def synced(config: Config) -> None:
    report = sync([PATH], config=config)
    assert report.exit_code == 0, report


def assert_whole(store: Store, world: World) -> None:
    """The mirror shows all that the server does, and nothing counts as met by itself any more."""
    assert held(store) == wanted(world)
    assert held(store, REGISTRY) == wanted(world, REGISTRY)
    m, c = tables.artifact_memberships.c, tables.artifact_collections.c
    alone = sa.select(m.id).where(m.deleted_at.is_(None), m.alone.is_not(None))
    assert store.rows(alone) == []
    unread = sa.select(c.id).where(c.deleted_at.is_(None), c.walked_at.is_(None))
    assert store.rows(unread) == []


# ------------------------------------------------------------------ of a project never synced


def about(api: Any, question: str) -> Any:
    """What `logged_by` and `used_by` ask before they read the runs themselves."""
    return api._service_api.artifact_node(question, id=api.artifact(f"{DATA}:v3").id)


FOUND: dict[str, Callable[[Any], Any]] = {
    "by the same name": lambda api: api.artifact(f"{DATA}:latest").name,
    "by its number": lambda api: api.artifact(f"{DATA}:v3").aliases,
    "by its digest": lambda api: api.artifact(f"{DATA}:{api.artifact(f'{DATA}:v3').digest}").version,
    "its collection": lambda api: api.artifact(f"{DATA}:v3").collection.description,
    "a collection by name": lambda api: api.artifact_collection("dataset", DATA).name,
    "whether it exists": lambda api: api.artifact_exists(f"{DATA}:v3"),
    "who logged it": lambda api: about(api, "ApiCreatedBy")["name"],
    "who used it": lambda api: [one["node"]["name"] for one in about(api, "ApiUsedBy")["edges"]],
    "its metadata": lambda api: api.artifact(f"{DATA}:v3").metadata,
    "its manifest": lambda api: list(api.artifact(f"{DATA}:v3").manifest.entries),
}  # fmt: skip
UNKNOWN: dict[str, Callable[[Any], Any]] = {
    "another version": lambda api: api.artifact(f"{DATA}:v0"),
    "another collection": lambda api: api.artifact(f"{PATH}/model:v0"),
    "whether another exists": lambda api: api.artifact_exists(f"{DATA}:v0"),
    "its versions": lambda api: len(api.artifacts("dataset", DATA)),
    "types": lambda api: list(api.artifact_types(PATH)),
    "collections": lambda api: list(api.artifact_collections(PATH, "dataset")),
    "collections of the project": lambda api: len(api.project("vision", "team").collections()),
    "aliases of the collection": lambda api: api.artifact(f"{DATA}:v3").collection.aliases,
    "links": lambda api: api.artifact(f"{DATA}:v3").linked_artifacts,
    "who logged it": lambda api: api.artifact(f"{DATA}:v3").logged_by(),
    "runs": lambda api: len(api.runs(PATH)),
}  # fmt: skip


def test_a_version_that_was_read_is_found_offline_and_nothing_else(
    world: World, store: Store, config: Config
) -> None:
    assert reading(config).artifact(f"{DATA}:latest").manifest.entries
    for name, ask in UNKNOWN.items():
        with pytest.raises(mirror.NotMirrored):
            pytest.fail(f"{name}: {ask(offline(config))!r}")
    found = {name: ask(offline(config)) for name, ask in FOUND.items()}
    assert found == {name: ask(reading(config, mode="online")) for name, ask in FOUND.items()}


def test_lineage_and_which_know_what_was_read(store: Store, config: Config) -> None:
    artifact = reading(config).artifact(f"{DATA}:latest")
    entry = artifact.manifest.entries["a.txt"]
    found = lineage.holdings(store, [entry.digest])
    assert [(one.artifact, one.path) for one in found] == [(f"{DATA}:v3", "a.txt")]
    assert [one.note for one in status(store).projects] == [
        "not synced: only what was asked for is here"
    ]
    graph = lineage.lineage(store, find_version(store, parse(f"{DATA}:latest")))
    paths = {key: node.path for key, node in graph.nodes.items()}
    edges = [(paths[start], paths[end]) for start, end, _ in graph.edges]
    assert sorted(edges) == sorted(
        [(f"{PATH}/trainer1", f"{DATA}:v3"), (f"{DATA}:v3", f"{PATH}/user1")]
    )


@pytest.mark.parametrize("engine", ["sqlite"])
def test_where_nobody_answers_what_was_read_is_found_by_its_other_names(config: Config) -> None:
    assert reading(config).artifact(f"{DATA}:latest").version == "v3"
    down = reading(config, base_url="http://127.0.0.1:9")
    with pytest.warns(mirror.api.notices.MirrorWarning, match="may be stale"):
        assert down.artifact(f"{DATA}:v3").aliases == ["latest"]
    with pytest.raises(mirror.RemoteError):
        down.artifact(f"{DATA}:v0")


@pytest.mark.parametrize(
    "names",
    [
        ["data:latest", "data:v0", "model:best", "shelf:prod"],
        ["data:v0", "data:v1", "data:v2", "data:v3"],
    ],
    ids=" ".join,
)
def test_a_sync_afterwards_brings_all_and_buries_nothing(
    names: list[str], world: World, store: Store, config: Config
) -> None:
    for name in names:
        reading(config).artifact(f"{PATH}/{name}")
    reading(config).artifact(f"{REGISTRY}/nets:prod")
    synced(config)
    assert_whole(store, world)
    m, a = tables.artifact_memberships.c, tables.artifact_aliases.c
    assert store.rows(sa.select(m.id).where(m.deleted_at.is_not(None))) == []
    assert store.rows(sa.select(a.alias).where(a.until_us.is_not(None))) == []
    world.advance(900)
    walks = ("MirrorMemberships", "MirrorLightMemberships", "MirrorMember")
    before = [world.requests.count(name) for name in walks]
    synced(config)
    assert [world.requests.count(name) for name in walks] == before
    assert_whole(store, world)


EVENTS: dict[str, Callable[[World], object]] = {
    "it is deleted": lambda w: w.artifacts.delete(f"{DATA}:v3"),
    "it is deleted and another comes": lambda w: (
        w.artifacts.delete(f"{DATA}:v3"),
        w.artifacts.log(DATA, "dataset", {"n": "new"}),
    ),
    "another is deleted": lambda w: w.artifacts.delete(f"{DATA}:v1"),
    "another has its alias": lambda w: w.artifacts.log(DATA, "dataset", {"n": "new"}),
    "its collection is deleted": lambda w: w.artifacts.delete_collection(DATA),
    "its collection is renamed": lambda w: w.artifacts.edit_collection(DATA, name="other"),
    "it is edited": lambda w: w.artifacts.edit(f"{DATA}:v3", description="new", tags=["x"]),
    "it is used": lambda w: w.artifacts.use(f"{DATA}:v3", f"{PATH}/trainer1"),
}


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize("when", ["before the first sync", "after one"])
@pytest.mark.parametrize("event", EVENTS)
def test_what_happens_to_a_version_that_was_met_is_mirrored(
    event: str, when: str, world: World, store: Store, config: Config
) -> None:
    if when == "after one":
        gone = world.artifacts.delete(f"{DATA}:v3")
        synced(config)
        world.advance(900)
        world.artifacts.undelete(gone)
    assert reading(config).artifact(f"{DATA}:v3").state == "COMMITTED"
    EVENTS[event](world)
    world.advance(900)
    synced(config)
    assert_whole(store, world)


def test_read_through_that_is_switched_off_writes_nothing(store: Store, config: Config) -> None:
    assert reading(config, read_through=False).artifact(f"{DATA}:latest").manifest.entries
    for table in (tables.artifacts, tables.artifact_collections, tables.projects, tables.objects):
        assert store.rows(sa.select(table).limit(1)) == []


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        ({"errors": "Cannot query field 'usedBy'"}, 1),
        ({"errors": "the lineage is down"}, 2),
        ({"status": 403}, 2),
        ({"status": 413}, 2),
        ({"status": 504}, 2 * TRIES),  # of two versions, every time
    ],
)
def test_a_server_that_tells_less_is_asked_as_wandb_asks(
    fault: dict[str, Any],
    asked: int,
    world: World,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "BACKOFF_S", 0.001)
    world.fail("ApiWholeMembership", **fault)
    api = reading(config)
    assert api.artifact(f"{DATA}:latest").version == "v3"
    assert api.artifact(f"{DATA}:v2").version == "v2"
    assert world.requests.count("ApiWholeMembership") == asked
    assert offline(config).artifact(f"{DATA}:latest").version == "v3"


# ------------------------------------------------------------------ of a project that is mirrored


@pytest.fixture
def later(world: World, config: Config) -> Config:
    """A mirror of all, and two versions and a collection that came since."""
    synced(config)
    world.advance(900)
    for number in (4, 5):
        aliases = ["candidate"] if number == 5 else []
        world.artifacts.log(DATA, "dataset", {"a.txt": f"later {number}"}, aliases=aliases)
    world.artifacts.log(f"{PATH}/fresh", "dataset", {"a.txt": "fresh"})
    return config


LISTED: dict[str, Callable[[Any], Any]] = {
    "versions": lambda api: [one.name for one in api.artifacts("dataset", DATA)],
    "versions counted": lambda api: len(api.artifacts("dataset", DATA)),
    "versions by order": lambda api: [
        one.name for one in api.artifacts("dataset", DATA, order="created_at")
    ],
    "collections": lambda api: [one.name for one in api.artifact_collections(PATH, "dataset")],
    "collections counted": lambda api: len(api.project("vision", "team").collections()),
    "aliases": lambda api: api.artifact_collection("dataset", DATA).aliases,
    "latest": lambda api: api.artifact(f"{DATA}:latest").version,
}


def test_listings_stay_those_of_the_sync_until_the_next(
    world: World, store: Store, later: Config
) -> None:
    before = {name: ask(offline(later)) for name, ask in LISTED.items()}
    assert before["versions"] == ["data:v3", "data:v2", "data:v1", "data:v0"]
    assert reading(later).artifact(f"{DATA}:v5").aliases == ["latest", "candidate"]
    assert reading(later).artifact(f"{PATH}/fresh:latest").version == "v0"
    for api in (offline(later), reading(later)):
        assert {name: ask(api) for name, ask in LISTED.items()} == before
        assert [api.artifact(f"{DATA}:{name}").version for name in ("v5", "candidate")] == [
            "v5"
        ] * 2
        assert api.artifact(f"{PATH}/fresh:latest").collection.name == "fresh"
    assert find_version(store, parse(f"{DATA}:candidate")).name == "data:v5"
    with pytest.raises(mirror.CommError):
        offline(later).artifact(f"{DATA}:v4")
    with pytest.raises(mirror.NotMirrored):
        len(offline(later).artifacts("dataset", f"{PATH}/fresh"))
    assert len(reading(later).artifacts("dataset", f"{PATH}/fresh")) == 1
    key = find_version(store, parse(f"{DATA}:v5")).collection["project_id"]
    assert {one.name: one.whole for one in lineage.collections(store, key)} == {
        "data": False, "fresh": False, "model": True, "shelf": True,
    }  # fmt: skip
    world.advance(900)
    synced(later)
    assert_whole(store, world)
    assert all(one.whole for one in lineage.collections(store, key))
    assert LISTED["versions counted"](offline(later)) == 6
    newest = world.artifacts.version(f"{DATA}:v5").id
    assert {("candidate", newest, True), ("latest", newest, True)} < {*holders(store, "data")}


def test_an_alias_that_is_seen_to_have_moved_is_on_one_version(
    world: World, store: Store, config: Config
) -> None:
    world.artifacts.give(world.artifacts.version(f"{DATA}:v0").memberships[0], ["prod"])
    synced(config)
    world.advance(900)
    world.artifacts.give(world.artifacts.version(f"{DATA}:v1").memberships[0], ["prod"])
    again = reading(config, max_age_s=0.0).artifact(f"{DATA}:prod")
    assert again.version == "v1"
    listed = {one.version: one.aliases for one in offline(config).artifacts("dataset", DATA)}
    assert listed == {"v3": ["latest"], "v2": [], "v1": ["prod"], "v0": []}
    world.advance(900)
    synced(config)
    assert_whole(store, world)


def test_what_was_kept_of_a_project_stays_when_the_project_becomes_known(
    store: Store, config: Config
) -> None:
    o = tables.objects.c
    assert len(reading(config).reports(PATH)) == 0
    kept = store.rows(sa.select(o.kind, o.name).where(o.scope == PATH))
    assert kept
    reading(config).artifact(f"{DATA}:latest")
    key = store.one(sa.select(tables.projects.c.project_id))["project_id"]
    assert store.rows(sa.select(o.kind, o.name).where(o.scope == key)) == kept
    assert len(offline(config).reports(PATH)) == 0


# ------------------------------------------------------------------ what was deleted


@pytest.fixture
def without(world: World, config: Config) -> Config:
    """A mirror that saw a version, a collection and a registry's link go."""
    world.artifacts.give(world.artifacts.version(f"{DATA}:v1").memberships[0], ["prod"])
    synced(config)
    world.advance(900)
    world.artifacts.delete(f"{DATA}:v1")
    world.artifacts.delete_collection(f"{PATH}/shelf")
    synced(config)
    return config


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    ("name", "told"),
    [("data:v1", True), ("data:prod", True), ("data:v9", False), ("data:nope", False)],
)
def test_offline_a_deleted_version_is_told_as_such_by_the_error_of_wandb(
    name: str, told: bool, without: Config
) -> None:
    with pytest.raises(mirror.CommError) as caught:
        offline(without).artifact(f"{PATH}/{name}")
    assert str(caught.value) == f"artifact membership {name!r} not found in {PATH!r}"
    assert isinstance(caught.value.exc, ValueError)
    notes = " ".join(getattr(caught.value, "__notes__", ()))
    assert ("deleted on the server" in notes and "mirror artifacts" in notes) is told
    assert not offline(without).artifact_exists(f"{PATH}/{name}")


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("data:v1", r"version 'team/vision/data:v1' was deleted on the server, as the sync of"),
        ("data:prod", r"`mirror artifacts team/vision/data` shows which there are"),
        (
            "shelf:v0",
            r"collection 'team/vision/shelf' was deleted .*`mirror artifacts team/vision`",
        ),
    ],
)
def test_a_command_says_that_a_version_was_deleted(
    name: str, told: str, without: Config, store: Store
) -> None:
    with pytest.raises(Gone, match=told):
        find_version(store, parse(f"{PATH}/{name}"))
    with pytest.raises(mirror.NotMirrored, match=r"last synced 20") as caught:
        find_version(store, parse(f"{REGISTRY}/nets:v9"))
    assert not isinstance(caught.value, Gone)


def test_offline_a_deleted_project_has_nothing_as_on_the_server(
    world: World, store: Store, without: Config
) -> None:
    with store.begin() as tx:
        tx.execute(sa.update(tables.projects).values(deleted_at="2024-01-01T00:00:00Z"))
    api = offline(without)
    with pytest.raises(mirror.CommError, match="project 'vision' not found under entity 'team'"):
        api.artifact(f"{DATA}:v0")
    with pytest.raises(ValueError, match="Unable to parse 'ArtifactTypes' response data"):
        list(api.artifact_types(PATH))
    assert not api.artifact_exists(f"{DATA}:v0")
