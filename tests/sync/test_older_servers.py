"""Servers without the listings that a pulse asks for: artifacts are read another way, or said to be left out."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from artifact_worlds import PATH, fill, held, wanted

from mirror.sandbox import World
from mirror.store import tables

LACKING = {
    "no collections of a project": ("COLLECTIONS_OF_PROJECTS",),
    "no memberships": ("MEMBERSHIPS_OF_COLLECTIONS",),
    "neither": ("COLLECTIONS_OF_PROJECTS", "MEMBERSHIPS_OF_COLLECTIONS"),
    "no aliases of collections either": (
        "COLLECTIONS_OF_PROJECTS",
        "MEMBERSHIPS_OF_COLLECTIONS",
        "ALIASES_OF_COLLECTIONS",
    ),
}


def by_place(found: dict) -> dict:
    """What is held or wanted, by collection and version: an older server has no ids of memberships."""
    return {
        name: {**one, "members": {each["index"]: each for each in one["members"].values()}}
        for name, one in found.items()
    }


@pytest.fixture
def filled(world: World) -> World:
    fill(world)
    return world


CASES = [
    (lacking, way)  # False: the field is unknown; None: it is null, which memberships must not be
    for lacking in LACKING
    for way in (False, None)
    if way is False or lacking != "no memberships"
]


@pytest.mark.parametrize(("lacking", "way"), CASES)
def test_artifacts_come_all_the_same_and_follow_what_moves(filled, mirror, store, lacking, way):
    filled.features |= dict.fromkeys(LACKING[lacking], False)
    if way is None:
        filled.features["COLLECTIONS_OF_PROJECTS"] = None
    report = mirror()
    assert report.exit_code == 0, report
    assert report.counts["new"] == 2
    assert by_place(held(store)) == by_place(wanted(filled))
    assert "does not list collections" in str(report.projects[0].warnings)
    art = filled.artifacts
    filled.advance(900)
    art.give(art.find(f"{PATH}/data:v1"), ["latest", "silver"])
    art.delete(art.version(f"{PATH}/data:v0"))
    art.log(f"{PATH}/data", "dataset", {"n": "new"})
    art.log(f"{PATH}/other", "table", {"n": "new"})
    art.unlink(art.version(f"{PATH}/model:v0"), f"{PATH}/shelf")
    art.edit(art.version(f"{PATH}/data:v2"), tags=["gold"])
    again = mirror()
    assert again.exit_code == 0, again
    assert again.projects[0].warnings == []
    assert by_place(held(store)) == by_place(wanted(filled))
    assert mirror().counts["versions"] == 0


def test_aliases_that_are_listed_without_who_has_them_are_read_of_the_members(
    filled, mirror, store
):
    filled.features["HOLDERS_OF_ALIASES"] = None
    mirror()
    assert held(store) == wanted(filled)
    art = filled.artifacts
    filled.advance(900)
    art.give(art.find(f"{PATH}/data:v1"), ["latest", "silver"])
    mirror()
    assert held(store) == wanted(filled)


def test_a_server_that_does_not_tell_edits_of_versions_is_not_asked_for_them_each_round(
    filled, mirror, store
):
    filled.add_organization("acme", teams=["team"], members=["alice"])
    art = filled.artifacts
    registry = art.add_registry("acme", "models")
    art.link(art.version(f"{PATH}/model:v0"), f"{registry.path}/good", ["prod"])
    filled.features["FILTERS_OF_VERSIONS"] = False
    assert mirror().exit_code == 0
    assert mirror().exit_code == 0
    filled.requests.reset()
    assert mirror().exit_code == 0
    assert [one.operation for one in filled.requests if one.status != 200] == []
    assert filled.requests.count("MirrorRegistryPulse") <= 1
    art.edit(art.version(f"{PATH}/data:v2"), tags=["gold"])
    assert mirror(reconcile=True).exit_code == 0
    assert held(store) == wanted(filled)


def test_sequences_do_where_types_list_nothing_else(filled, mirror, store):
    filled.features |= {"COLLECTIONS_OF_PROJECTS": False, "COLLECTIONS_OF_TYPES": False}
    assert mirror().exit_code == 0
    expected = {name: one for name, one in wanted(filled).items() if one["kind"] == "sequence"}
    assert by_place(held(store)) == by_place(expected)


def test_a_server_that_was_brought_up_to_date_is_asked_as_others_by_the_next_comparison(
    filled, mirror, store
):
    filled.features |= {"COLLECTIONS_OF_PROJECTS": False, "MEMBERSHIPS_OF_COLLECTIONS": False}
    mirror()
    filled.features |= {"COLLECTIONS_OF_PROJECTS": True, "MEMBERSHIPS_OF_COLLECTIONS": True}
    assert mirror(reconcile=True).exit_code == 0
    assert held(store) == wanted(filled)
    filled.requests.reset()
    assert mirror().exit_code == 0
    assert filled.requests.count("MirrorLightVersions") == 0


def test_registries_of_an_older_server_are_read_one_by_one(filled, mirror, store):
    filled.add_organization("acme", teams=["team"], members=["alice"])
    registry = filled.artifacts.add_registry("acme", "models")
    art = filled.artifacts
    art.link(art.version(f"{PATH}/model:v0"), f"{registry.path}/good", ["prod"])
    filled.features |= {"COLLECTIONS_OF_PROJECTS": False, "MEMBERSHIPS_OF_COLLECTIONS": False}
    assert mirror().exit_code == 0
    assert by_place(held(store, registry.path)) == by_place(wanted(filled, registry.path))


def test_where_nothing_of_artifacts_is_known_the_sync_log_says_that_they_are_left_out(
    filled, mirror, store
):
    for operation in ("MirrorArtifactPulse", "MirrorArtifactTypes"):
        filled.fail(operation, errors='Cannot query field "artifactTypes" on type "Project".')
    report = mirror()
    assert (report.exit_code, report.counts["new"]) == (0, 2)
    log = store.one(sa.select(tables.sync_log.c.report, tables.sync_log.c.outcome))
    assert log["outcome"] == "ok"
    assert "has no artifacts to read" in log["report"]
