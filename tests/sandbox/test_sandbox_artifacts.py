"""Artifacts of the sandbox over its socket: what is listed, what moves when, what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import httpx
import pytest

from mirror.sandbox import Server, World, generate, generate_artifacts, generate_registries
from mirror.sandbox.answers import RESOLVERS, executor
from mirror.sandbox.artifact_objects import Artifact
from mirror.sandbox.context import Context
from mirror.sandbox.documents import Executor, document

KEY, OTHER = "a" * 40, "b" * 40
DATA, RUN = "team/vision/data", "team/vision/run1"
REGISTRY = "acme-org/wandb-registry-models"
Ask = Callable[..., Any]
HTTP = httpx.Client()


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    with HTTP:
        yield


@pytest.fixture
def world() -> World:
    world = World("2024-06-01T12:00:00Z")
    world.add_user("alice", key=KEY, teams=["team"])
    world.add_user("bob", key=OTHER)
    world.add_organization("acme", teams=["team"], members=["alice"])
    world.add_project("team", "vision")
    world.add_run("team/vision", name="run1", created_at="2024-01-01T00:00:00Z")
    for number in range(3):
        world.artifacts.log(
            DATA, "dataset", {"a.txt": f"hello {number}", "same.txt": "same"},
            references={"far": "s3://bucket/key"}, metadata={"k": number, "nan": float("nan")},
            tags=[f"t{number}"], run=RUN, created_at=f"2024-01-0{number + 1}T00:00:00Z",
            aliases=["best"] if number == 1 else [],
        )  # fmt: skip
    world.artifacts.add_registry("acme", "models", members={"alice": "admin"})
    return world


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with Server(world) as running:
        yield running


@pytest.fixture
def ask(server: Server) -> Iterator[Ask]:
    """Return `data` of an answer, or with `status` its errors, which must come with that status."""
    with httpx.Client(base_url=server.url) as client:

        def post(query: str, *, key: str = KEY, status: int = 200, **variables: Any) -> Any:
            body = {"query": query, "variables": variables}
            response = client.post("/graphql", json=body, auth=("api", key))
            assert response.status_code == status, response.text
            found = response.json()
            assert ("errors" in found) == (status != 200), found
            return found["data"] if status == 200 else found["errors"][0]["message"]

        yield post


def rows(connection: dict[str, Any]) -> list[Any]:
    return [edge["node"] for edge in connection["edges"]]


def collection(ask: Ask, fields: str, name: str = "data", **variables: Any) -> Any:
    head = f"({', '.join(f'${one}: {kind_of(one)}' for one in variables)})" if variables else ""
    query = f'query Q{head} {{ project(name: "vision", entityName: "team") {{ artifactCollection(name: "{name}") {{ {fields} }} }} }}'
    return ask(query, **variables)["project"]["artifactCollection"]


def kind_of(variable: str) -> str:
    return {"first": "Int", "names": "[String!]"}.get(
        variable, "JSONString" if "ilter" in variable else "String"
    )


# ------------------------------------------------------------------------------- what is listed


def test_a_version_has_every_field(world: World, ask: Ask) -> None:
    world.artifacts.link(f"{DATA}:v1", f"{REGISTRY}/good", ["prod"], at="2024-02-01T00:00:00Z")
    found = ask(
        """query($id: ID!) { artifact(id: $id) { versionIndex state description metadata digest
        digestAlgorithm commitHash size storageBytes fileCount historyStep ttlDurationSeconds
        ttlIsInherited tags { name } aliases { alias artifactCollectionName } createdAt updatedAt
        artifactType { name } artifactSequence { name latestArtifact { versionIndex } }
        createdBy { __typename ... on Run { name } } usedCount
        artifactMemberships { edges { node { versionIndex createdAt aliases { alias }
        artifactCollection { __typename name project { name } } } } } } }""",
        id=world.artifacts.version(f"{DATA}:v1").id,
    )["artifact"]
    own, linked = rows(found.pop("artifactMemberships"))
    assert linked["createdAt"] == "2024-02-01T00:00:00Z"
    assert linked["artifactCollection"] == {
        "__typename": "ArtifactPortfolio", "name": "good", "project": {"name": "wandb-registry-models"},
    }  # fmt: skip
    assert [one["alias"] for one in linked["aliases"]] == ["latest", "prod", "v0"]
    assert (own["versionIndex"], own["createdAt"]) == (1, "2024-01-02T00:00:00Z")
    assert sorted((a["artifactCollectionName"], a["alias"]) for a in found.pop("aliases")) == [
        ("data", "best"), ("data", "v1"), ("good", "latest"), ("good", "prod"), ("good", "v0"),
    ]  # fmt: skip
    assert found.pop("commitHash")
    assert found == {
        "versionIndex": 1, "state": "COMMITTED", "description": None,
        "metadata": '{"k": 1, "nan": NaN}', "digest": digest(world.artifacts.version(f"{DATA}:v1")),
        "digestAlgorithm": "MANIFEST_MD5", "size": 11, "storageBytes": 11, "fileCount": 3,
        "historyStep": None, "ttlDurationSeconds": -1, "ttlIsInherited": True,
        "tags": [{"name": "t1"}], "createdAt": "2024-01-02T00:00:00Z",
        "updatedAt": "2024-01-02T00:00:00Z", "artifactType": {"name": "dataset"},
        "artifactSequence": {"name": "data", "latestArtifact": {"versionIndex": 2}},
        "createdBy": {"__typename": "Run", "name": "run1"}, "usedCount": 0,
    }  # fmt: skip


def digest(artifact: Artifact) -> str:
    lines = "".join(f"{entry.path}:{entry.digest}\n" for entry in artifact.entries)
    return hashlib.md5(f"wandb-artifact-manifest-v1\n{lines}".encode()).hexdigest()


NAMED_BY = {
    "latest": 2, "best": 1, "v0": 0, "v9": None, "nothing": None, "": 2, "v": None,
}  # fmt: skip


@pytest.mark.parametrize(("alias", "index"), NAMED_BY.items())
def test_a_name_leads_to_a_version(ask: Ask, alias: str, index: int | None) -> None:
    name = f"data:{alias}" if alias else "data"
    query = 'query($name: String!) { project(name: "vision", entityName: "team") { artifactCollectionMembership(name: $name) { versionIndex } artifact(name: $name) { versionIndex } } }'
    found = None if index is None else {"versionIndex": index}
    assert ask(query, name=name)["project"] == {
        "artifactCollectionMembership": found,
        "artifact": found,
    }


def test_digest_and_commit_hash_are_names_too(world: World, ask: Ask) -> None:
    artifact = world.artifacts.version(f"{DATA}:v1")
    for name in (artifact.digest, artifact.commit_hash):
        field = f'artifactMembership(aliasName: "{name}") {{ versionIndex }}'
        assert collection(ask, field)["artifactMembership"] == {"versionIndex": 1}


VERSIONS = [
    ({}, [2, 1, 0]),
    ({"state": "COMMITTED"}, [2, 1, 0]),
    ({"state": "DELETED"}, []),
    ({"tag": "t1"}, [1]),
    ({"tags": {"$in": ["t0", "t2"]}}, [2, 0]),
    ({"alias": "best"}, [1]),
    ({"aliases": {"$nin": ["best"]}}, [2, 0]),
    ({"metadata.k": {"$gte": 1}}, [2, 1]),
    ({"metadata.nan": "NaN"}, [2, 1, 0]),
    ({"version": {"$lt": 2}}, [1, 0]),
    ({"version": "v1"}, [1]),
    ({"version_index": 1}, [1]),
    ({"created_at": {"$gt": "2024-01-02T00:00:00Z"}}, [2]),
    ({"createdAt": {"$gt": "2024-01-02T00:00:00Z"}}, [2]),
    ({"$or": [{"tag": "t0"}, {"alias": "latest"}]}, [2, 0]),
]


@pytest.mark.parametrize(("filters", "indexes"), VERSIONS)
def test_versions_are_filtered(ask: Ask, filters: Any, indexes: list[int]) -> None:
    field = "artifacts(filters: $filters) { totalCount edges { version node { versionIndex } } }"
    found = collection(ask, field, filters=json.dumps(filters))["artifacts"]
    assert [node["versionIndex"] for node in rows(found)] == indexes
    assert [edge["version"] for edge in found["edges"]] == [f"v{index}" for index in indexes]
    assert found["totalCount"] == len(indexes)


def test_an_unknown_field_is_refused(ask: Ask) -> None:
    query = 'query($filters: JSONString) { project(name: "vision", entityName: "team") { artifactCollection(name: "data") { artifacts(filters: $filters) { totalCount } } } }'
    assert "unknown field 'nonsense'" in ask(query, filters='{"nonsense": 1}', status=400)


def test_versions_come_in_an_order(ask: Ask) -> None:
    field = "artifacts(order: $order) { edges { node { versionIndex } } }"
    for order, first in (("+created_at", 0), ("-createdAt", 2), ("artifact_size", 0)):
        assert rows(collection(ask, field, order=order)["artifacts"])[0]["versionIndex"] == first


def test_lineage_goes_both_ways(world: World, ask: Ask) -> None:
    world.add_run("team/vision", name="run2", created_at="2024-01-04T00:00:00Z")
    world.artifacts.use(f"{DATA}:v0", "team/vision/run2", "train")
    world.artifacts.use(f"{DATA}:v0", "team/vision/run2", "test")
    world.artifacts.log("team/vision/net", "model", {"w": "1"}, run="team/vision/run2")
    found = ask(
        """{ project(name: "vision", entityName: "team") { run(name: "run2") {
        inputArtifacts { totalCount edges { usedAs node { versionIndex usedBy { edges { node { name } } } } } }
        outputArtifacts { edges { node { artifactType { name } } } } }
        artifact(name: "net") { artifactLineageDag(filterGeneratedArtifacts: false, limit: 10) {
        artifacts { artifactSequenceName versionIndex } runs { runName } edges { direction } hitLimit } } } }"""
    )["project"]
    [edge] = found["run"]["inputArtifacts"]["edges"]
    assert (edge["usedAs"], edge["node"]["versionIndex"]) == (["train", "test"], 0)
    assert rows(edge["node"]["usedBy"]) == [{"name": "run2"}]
    assert rows(found["run"]["outputArtifacts"]) == [{"artifactType": {"name": "model"}}]
    dag = found["artifact"]["artifactLineageDag"]
    assert sorted(one["runName"] for one in dag["runs"]) == ["run1", "run2"]
    assert len(dag["artifacts"]) == 4
    assert sorted(one["direction"] for one in dag["edges"]) == [
        "AwayFromArtifact", *["TowardArtifact"] * 4,
    ]  # fmt: skip


# ------------------------------------------------------------------------------- what moves when


def test_links_and_aliases_move_no_updated_at(world: World, ask: Ask) -> None:
    world.advance(60)
    before = "updatedAt artifacts { edges { node { updatedAt } } }"
    old = collection(ask, before)
    world.artifacts.give(f"{DATA}:v0", ["best", "latest"])
    world.artifacts.link(f"{DATA}:v0", f"{REGISTRY}/good")
    assert collection(ask, before) == old
    names = rows(
        collection(ask, "aliases { edges { node { alias artifact { versionIndex } } } }")["aliases"]
    )
    assert {"alias": "best", "artifact": {"versionIndex": 0}} in names
    world.artifacts.edit(f"{DATA}:v0", tags=["moved"])
    world.artifacts.edit_collection(DATA, tags=["moved"])
    now = collection(ask, before)
    assert now["updatedAt"] == rows(now["artifacts"])[2]["updatedAt"] == "2024-06-01T12:01:00Z"


def test_a_deleted_version_is_left_only_to_those_that_ask(world: World, ask: Ask) -> None:
    artifact = world.artifacts.delete(f"{DATA}:v2")
    field = "artifacts { edges { version node { state aliases { alias } } } } artifactMemberships { edges { node { versionIndex } } }"
    found = collection(ask, field)
    assert [one["state"] for one in rows(found["artifacts"])] == ["DELETED", "COMMITTED", "COMMITTED"]  # fmt: skip
    assert found["artifacts"]["edges"][0]["version"] == "v2"
    assert [one["versionIndex"] for one in rows(found["artifactMemberships"])] == [1, 0]
    assert world.artifacts.find(DATA).artifact.index == 1  # latest has passed on
    query = "query($id: ID!) { artifact(id: $id) { state files { totalCount } currentManifest { id } } }"
    gone = {"state": "DELETED", "files": {"totalCount": 0}, "currentManifest": None}
    assert ask(query, id=artifact.id)["artifact"] == gone
    world.artifacts.undelete(artifact)
    assert world.artifacts.find(DATA).artifact is artifact
    assert world.artifacts.log(DATA, "dataset", {"b": "new"}).index == 3


def test_a_version_that_comes_between_two_pages_shifts_the_second(world: World, ask: Ask) -> None:
    world.on_page("artifacts", 2, lambda world: world.artifacts.log(DATA, "dataset", {"b": "new"}))
    field = "artifacts(first: 2, after: $after) { edges { node { versionIndex } } pageInfo { endCursor } }"
    first = collection(ask, field, after=None)["artifacts"]
    second = collection(ask, field, after=first["pageInfo"]["endCursor"])["artifacts"]
    assert [one["versionIndex"] for one in rows(first) + rows(second)] == [2, 1, 1, 0]


TROUBLE = [
    ({"empty": True, "times": 1}, [[], [2, 1, 0]]),
    ({"short": 1, "times": 1}, [[2], [1, 0]]),
    ({"null_nodes": 1, "times": 1}, [[None, 1, 0]]),
    ({"stuck": True, "times": 1}, [[], [2, 1, 0]]),
]


@pytest.mark.parametrize(("trouble", "pages"), TROUBLE)
def test_pages_of_artifacts_can_be_in_trouble(
    world: World, ask: Ask, trouble: Any, pages: Any
) -> None:
    world.fail("artifacts", **trouble)
    field = "artifacts(first: 9, after: $after) { edges { node { versionIndex } } pageInfo { endCursor hasNextPage } }"
    found, after = [], None
    while True:
        page = collection(ask, field, after=after)["artifacts"]
        found.append([node and node["versionIndex"] for node in rows(page)])
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            assert found == pages
            return


def test_memberships_may_go_uncounted(world: World, ask: Ask) -> None:
    field = "artifactMemberships { totalCount }"
    assert collection(ask, field)["artifactMemberships"] == {"totalCount": 3}
    world.artifacts.counts_memberships = False
    assert collection(ask, field)["artifactMemberships"] == {"totalCount": None}


def test_a_deleted_collection_takes_its_versions_along(world: World, ask: Ask) -> None:
    world.artifacts.link(f"{DATA}:v0", f"{REGISTRY}/good")
    world.artifacts.delete_collection(f"{REGISTRY}/good")
    assert len(world.artifacts.version(f"{DATA}:v0").memberships) == 1
    gone = world.artifacts.delete_collection(DATA)
    assert collection(ask, "name") is None
    assert {one.state for one in gone.logged} == {"DELETED"}
    query = "query($id: ID!) { artifactCollection(id: $id) { state } }"
    assert ask(query, id=gone.id)["artifactCollection"] == {"state": "DELETED"}


# ------------------------------------------------------------------------------- registries


def registry_rows(ask: Ask, field: str, key: str = KEY, **variables: Any) -> Any:
    head = f"({', '.join(f'${one}: {kind_of(one)}' for one in variables)})" if variables else ""
    query = f'query Q{head} {{ organization(name: "acme") {{ orgEntity {{ {field} }} }} }}'
    return ask(query, key=key, **variables)["organization"]["orgEntity"]


def test_registries_are_searched(world: World, ask: Ask) -> None:
    known = world.artifacts
    known.add_registry("acme", "data", artifact_types=["dataset"], description="sets")
    known.link(f"{DATA}:v0", f"{REGISTRY}/good", ["prod"])
    known.link(f"{DATA}:v1", "acme-org/wandb-registry-data/sets", ["prod"])
    known.edit_collection(f"{REGISTRY}/good", tags=["gold"], description="the good ones")
    one = world.projects[REGISTRY]

    def names(filters: Any) -> list[str]:
        field = 'projects(filters: $filters, order: "name") { edges { node { name } } }'
        found = registry_rows(ask, field, filters=json.dumps(filters))
        return [row["name"].removeprefix("wandb-registry-") for row in rows(found["projects"])]

    assert names({}) == ["data", "models"]
    assert names({"name": {"$regex": "dat"}}) == ["data"]
    assert names({"id": one.internal_number}) == names({"id": one.internal_id}) == ["models"]
    assert names({"description": {"$contains": "set"}}) == ["data"]
    field = "artifactMemberships(projectFilters: $projectFilters, collectionFilters: $collectionFilters, filters: $filters) { edges { node { artifactCollection { name } artifact { versionIndex } } } }"

    def versions(projects: Any, collections: Any, filters: Any) -> list[str]:
        given = dict(
            zip(
                ("projectFilters", "collectionFilters", "filters"),
                map(json.dumps, (projects, collections, filters)),
                strict=True,
            )
        )
        found = rows(registry_rows(ask, field, **given)["artifactMemberships"])
        return [
            f"{row['artifactCollection']['name']}:{row['artifact']['versionIndex']}"
            for row in found
        ]

    assert versions({}, {}, {}) == ["sets:1", "good:0"]
    assert versions({"name": "wandb-registry-data"}, {}, {}) == ["sets:1"]
    assert versions({}, {"tag": "gold"}, {"alias": "prod"}) == ["good:0"]
    assert versions({}, {}, {"metadata.k": 1}) == ["sets:1"]
    assert versions({}, {"tag": "none"}, {}) == []
    field = 'artifactCollections(filters: "{\\"tag\\": \\"gold\\"}") { totalCount edges { node { description tags { edges { node { name } } } } } }'
    found = registry_rows(ask, field)["artifactCollections"]
    assert rows(found)[0]["description"] == "the good ones"
    assert found["totalCount"] == 1


def test_only_the_newer_search_orders(world: World, ask: Ask) -> None:
    query = '{ organization(name: "acme") { advancedRegistryFeatures { advancedSearch } orgEntity { artifactMemberships(order: "-artifact_size") { edges { node { id } } } } } }'
    assert "ordering is not supported" in ask(query, status=400)
    world.organizations["acme"].advanced_search = True
    assert ask(query)["organization"]["advancedRegistryFeatures"] == {"advancedSearch": True}


def test_what_a_key_may_not_see_leaves_gaps_in_pages(world: World, ask: Ask) -> None:
    for number in range(4):
        kind = "restricted" if number % 2 else "organization"
        world.artifacts.add_registry("acme", f"r{number}", visibility=kind)
    field = "projects(first: $first) { edges { node { name } } pageInfo { hasNextPage } }"
    found = registry_rows(ask, field, first=3)["projects"]
    assert [row["name"][-2:] for row in rows(found)] == ["ls", "r0"]
    assert found["pageInfo"]["hasNextPage"]
    assert rows(registry_rows(ask, field, key=OTHER, first=9)["projects"]) == []
    query = '{ project(name: "wandb-registry-r1", entityName: "acme-org") { name } }'
    assert ask(query)["project"] is None
    world.artifacts.add_registry(
        "acme", "ours", visibility="restricted", team_members={"team": "viewer"}
    )
    assert ask(query.replace("-r1", "-ours"))["project"] is not None


def test_members_of_a_registry_come_change_and_go(world: World, ask: Ask) -> None:
    project = world.projects[REGISTRY]
    user, team = world.users["bob"].id, world.entities["team"].id

    def send(name: str, **given: Any) -> None:
        kind = name[0].upper() + name[1:]
        query = f"mutation($input: {kind}Input!) {{ {name}(input: $input) {{ success }} }}"
        assert ask(query, input={"projectId": project.internal_id, **given})[name]["success"]

    def roles() -> dict[str, str]:
        query = '{ project(name: "wandb-registry-models", entityName: "acme-org") { members { username role { name } } teamMembers { team { name } role { name } } } }'
        found = ask(query)["project"]
        people = {row["username"]: row["role"]["name"] for row in found["members"]}
        return people | {row["team"]["name"]: row["role"]["name"] for row in found["teamMembers"]}

    send("createProjectMembers", userIds=[user], teamIds=[team])
    assert roles() == {"alice": "admin", "bob": "viewer", "team": "viewer"}
    send("updateProjectMember", userId=user, userProjectRole="member")
    send("updateProjectTeamMember", teamId=team, teamProjectRole="admin")
    assert roles() == {"alice": "admin", "bob": "member", "team": "admin"}
    send("deleteProjectMembers", userIds=[user], teamIds=[team])
    assert roles() == {"alice": "admin"}


LINK = "mutation($input: LinkArtifactInput!) { linkArtifact(input: $input) { versionIndex artifactMembership { id } } }"


def test_a_registry_takes_only_its_types(world: World, ask: Ask) -> None:
    world.artifacts.add_registry("acme", "nets", artifact_types=["model"])
    artifact = world.artifacts.version(f"{DATA}:v0")
    given = {
        "artifactID": artifact.id,
        "entityName": "acme-org",
        "projectName": "wandb-registry-nets",
        "artifactPortfolioName": "one",
    }
    assert "does not take artifacts of type 'dataset'" in ask(LINK, input=given, status=400)
    world.artifacts.log("team/vision/net", "model", {"w": "1"})
    world.artifacts.link("team/vision/net", f"{REGISTRY}/nets")
    given |= {"projectName": "wandb-registry-models", "artifactPortfolioName": "nets"}
    assert "is for artifacts of type 'model'" in ask(LINK, input=given, status=400)
    assert (
        ask(LINK, input=given | {"artifactPortfolioName": "sets"})["linkArtifact"]["versionIndex"]
        == 0
    )
    assert ask(LINK, key=OTHER, input=given, status=404)


def test_a_migrated_model_registry_leads_on(world: World, ask: Ask) -> None:
    world.artifacts.link(f"{DATA}:v1", f"{REGISTRY}/good")
    world.artifacts.migrate_model_registry("team", world.projects[REGISTRY])
    query = '{ project(name: "model-registry", entityName: "team") { artifactCollectionMembership(name: "good:latest") { artifactCollection { project { name } } } } }'
    found = ask(query)["project"]["artifactCollectionMembership"]
    assert found["artifactCollection"]["project"] == {"name": "wandb-registry-models"}


# ------------------------------------------------------------------------------- older servers

OLDER = {
    "ARTIFACT_DIGEST_ALGORITHM": "artifact(name: \"data\") { digestAlgorithm }",
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING": "artifactCollections(order: \"name\") { totalCount }",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP": "artifactCollectionMembership(name: \"data\") { id }",
    "ARTIFACT_REGISTRY_SEARCH": "entity { artifactCollections { totalCount } }",
    "TOTAL_COUNT_IN_FILE_CONNECTION": "artifact(name: \"data\") { files { totalCount } }",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES": "artifactCollection(name: \"data\") { artifactMembership(aliasName: \"v0\") { files { edges { node { name } } } } }",
}  # fmt: skip


@pytest.mark.parametrize(("feature", "field"), OLDER.items())
def test_a_feature_switched_off_is_not_known(
    world: World, ask: Ask, feature: str, field: str
) -> None:
    query = f'{{ project(name: "vision", entityName: "team") {{ {field} }} }}'
    assert ask(query)["project"] is not None
    world.features[feature] = False
    assert ask(query, status=400).startswith(("Cannot query field", "Unknown argument"))


# ------------------------------------------------------------------------------- files

FILES = 'artifact(name: "data:v2") { id currentManifest { file { directUrl } } files(names: $names) { totalCount edges { node { name directUrl md5 sizeBytes isReference storagePath artifact { versionIndex } } } } }'


def listed(ask: Ask, names: list[str] | None = None) -> dict[str, Any]:
    query = (
        f'query($names: [String!]) {{ project(name: "vision", entityName: "team") {{ {FILES} }} }}'
    )
    found = ask(query, names=names)["project"]["artifact"]
    files = {row["name"]: row for row in rows(found["files"])}
    manifest = HTTP.get(found["currentManifest"]["file"]["directUrl"]).json()
    return {
        "files": files,
        "manifest": manifest,
        "url": found["currentManifest"]["file"]["directUrl"],
    }


def test_files_are_fetched_by_signed_url(world: World, ask: Ask) -> None:
    found = listed(ask)
    assert set(found["files"]) == set(found["manifest"]["contents"]) == {"a.txt", "far", "same.txt"}
    file, same, far = (found["files"][name] for name in ("a.txt", "same.txt", "far"))
    assert HTTP.get(file["directUrl"]).text == "hello 2"
    assert base64.b64decode(file["md5"]) == hashlib.md5(b"hello 2").digest()
    assert (far["directUrl"], far["isReference"]) == ("s3://bucket/key", True)
    assert same["artifact"] == {"versionIndex": 0}  # where it was born
    birth = found["manifest"]["contents"]["same.txt"]["birthArtifactID"]
    assert world.artifacts.by_id[birth].index == 0
    assert list(listed(ask, ["a.txt", "nothing"])["files"]) == ["a.txt"]


RANGES = {
    "bytes=0-3": (206, b"hell", "bytes 0-3/7"),
    "bytes=4-": (206, b"o 2", "bytes 4-6/7"),
    "bytes=-2": (206, b" 2", "bytes 5-6/7"),
    "bytes=3-99": (206, b"lo 2", "bytes 3-6/7"),
    "bytes=7-": (416, None, None),
    "lines=1-2": (200, b"hello 2", None),
    "bytes=0-1,3-4": (200, b"hello 2", None),
}


@pytest.mark.parametrize(("header", "expected"), RANGES.items())
def test_files_come_in_ranges(ask: Ask, header: str, expected: Any) -> None:
    status, body, content_range = expected
    url = listed(ask)["files"]["a.txt"]["directUrl"]
    response = HTTP.get(url, headers={"Range": header})
    assert (response.status_code, response.headers.get("Content-Range")) == (status, content_range)
    assert body is None or response.content == body


def test_urls_expire(world: World, ask: Ask) -> None:
    url = listed(ask)["files"]["a.txt"]["directUrl"]
    assert HTTP.head(url).headers["Content-Length"] == "7"
    world.advance(world.url_lifetime_s + 1)
    assert HTTP.get(url).status_code == 403
    fresh = listed(ask)["files"]["a.txt"]["directUrl"]
    assert HTTP.get(fresh).status_code == 200
    world.expire_urls()
    for bad in (fresh, fresh.partition("?")[0], fresh[:-1], fresh.replace("artifacts", "x")):
        assert HTTP.get(bad).status_code == 403


def test_files_are_fetched_by_key(world: World, ask: Ask, server: Server) -> None:
    artifact = world.artifacts.version(f"{DATA}:v2")
    born = world.artifacts.version(f"{DATA}:v0").id
    digest = hashlib.md5(b"same").hexdigest()
    paths = [
        f"/artifacts/team/{digest}",
        f"/artifactsV2/default/team/vision/data/{born}/{digest}/same.txt",
        f"/artifactsV2/gcp-us/team/vision/data/{artifact.id}/{born}/{digest}/same.txt",
        f"/artifactsV2/default/team/vision/data/{artifact.id}//{digest}/same.txt",
    ]
    for path in paths:
        assert HTTP.get(server.url + path, auth=("api", KEY)).text == "same", path
        assert HTTP.get(server.url + path, auth=("api", OTHER)).status_code == 404
        assert HTTP.get(server.url + path).status_code == 404
    world.artifacts.redirects = True
    response = HTTP.get(server.url + paths[0], auth=("api", KEY))
    assert response.status_code == 307
    assert HTTP.get(response.headers["Location"]).text == "same"


def test_files_of_deleted_versions_go_unless_others_have_them(world: World, ask: Ask) -> None:
    found = listed(ask)
    world.artifacts.delete(f"{DATA}:v0")
    assert HTTP.get(found["files"]["same.txt"]["directUrl"]).status_code == 200
    world.artifacts.delete(f"{DATA}:v2")
    assert HTTP.get(found["files"]["a.txt"]["directUrl"]).status_code == 404
    assert HTTP.get(found["url"]).status_code == 404
    world.artifacts.undelete(world.artifacts.collection(DATA).logged[2])
    assert HTTP.get(found["files"]["a.txt"]["directUrl"]).text == "hello 2"


def test_downloads_fail_on_order(world: World, ask: Ask) -> None:
    found = listed(ask)
    url = found["files"]["a.txt"]["directUrl"]
    world.fail("manifests", status=503, times=1)
    assert HTTP.get(url).status_code == 200
    assert HTTP.get(found["url"]).status_code == 503
    world.fail("artifact_files", truncate=True, times=1)
    assert HTTP.get(url).text == "hel"
    world.fail(hashlib.md5(b"hello 2").hexdigest(), corrupt=True, times=1)
    assert HTTP.get(found["files"]["same.txt"]["directUrl"]).text == "same"
    assert HTTP.get(url).text == "iello 2"
    world.fail("storage", drop="body", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        HTTP.get(url)
    world.fail("storage", trickle_s=0.05, times=1)
    assert HTTP.get(url).text == "hello 2"
    assert world.requests.count("storage") == 8  # with the manifest that `listed` fetched


# ------------------------------------------------------------------------------- writing


def test_large_files_come_in_parts(world: World, ask: Ask) -> None:
    artifact = world.artifacts.log(DATA, "dataset", {}, pending=True)
    body = b"x" * 10 + b"y" * 5
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    parts = [{"partNumber": 1, "hexMD5": ""}, {"partNumber": 2, "hexMD5": ""}]
    spec = {"artifactID": artifact.id, "name": "big.bin", "md5": md5, "uploadPartsInput": parts}
    announce = "mutation($input: CreateArtifactFilesInput!) { createArtifactFiles(input: $input) { files { edges { node { uploadUrl storagePath uploadMultipartUrls { uploadID uploadUrlParts { partNumber uploadUrl } } } } } } }"
    given = {"artifactFiles": [spec], "storageLayout": "V2"}
    [file] = rows(ask(announce, input=given)["createArtifactFiles"]["files"])
    urls = [one["uploadUrl"] for one in file["uploadMultipartUrls"]["uploadUrlParts"]]
    for url, part in zip(urls, (body[:10], body[10:]), strict=True):
        assert HTTP.put(url, content=part).headers["ETag"]
    complete = "mutation($input: CompleteMultipartUploadArtifactInput!) { completeMultipartUploadArtifact(input: $input) { digest } }"
    given = {
        "artifactID": artifact.id, "storagePath": file["storagePath"],
        "uploadID": file["uploadMultipartUrls"]["uploadID"], "completedParts": parts,
        "completeMultipartAction": "Complete",
    }  # fmt: skip
    assert ask(complete, input=given)["completeMultipartUploadArtifact"] == {"digest": md5}
    blob = world.artifacts.contents.get(file["storagePath"])
    assert blob is not None
    assert blob.read() == body


def test_an_incremental_manifest_adds_to_its_base(world: World, ask: Ask) -> None:
    base = world.artifacts.version(f"{DATA}:v2")
    where = {"entityName": "team", "projectName": "vision"}
    create = "mutation($input: CreateArtifactInput!) { createArtifact(input: $input) { artifact { id state } } }"
    given = where | {
        "artifactTypeName": "dataset", "artifactCollectionName": "data", "digest": "d",
        "digestAlgorithm": "MANIFEST_MD5", "aliases": [],
    }  # fmt: skip
    made = ask(create, input=given)["createArtifact"]["artifact"]
    assert made["state"] == "PENDING"
    create = "mutation($input: CreateArtifactManifestInput!) { createArtifactManifest(input: $input) { artifactManifest { file { uploadUrl } } } }"
    given = where | {
        "artifactID": made["id"], "baseArtifactID": base.id, "name": "wandb_manifest.json",
        "digest": "", "runName": "run1", "type": "INCREMENTAL",
    }  # fmt: skip
    file = ask(create, input=given)["createArtifactManifest"]["artifactManifest"]["file"]
    contents = {"contents": {"a.txt": {"digest": "c2FtZQ==", "size": 4}, "new": {"digest": "bmV3"}}}
    body = json.dumps(contents).encode()
    assert (
        HTTP.put(file["uploadUrl"], content=body, headers={"Content-MD5": "no"}).status_code == 400
    )
    assert HTTP.put(file["uploadUrl"], content=body).status_code == 200
    commit = "mutation($id: ID!) { commitArtifact(input: {artifactID: $id}) { artifact { versionIndex fileCount size } } }"
    found = ask(commit, id=made["id"])["commitArtifact"]["artifact"]
    assert found == {"versionIndex": 3, "fileCount": 4, "size": 8}
    assert HTTP.get(file["uploadUrl"]).json()["contents"].keys() == {
        "a.txt",
        "far",
        "new",
        "same.txt",
    }


REFUSED = [
    ("updateArtifact", {"tagsToAdd": [{"tagName": "a/b"}]}, "invalid tag"),
    ("updateArtifact", {"tagsToAdd": [{"tagName": f"t{n}"} for n in range(21)]}, "at most 20"),
    (
        "updateArtifact",
        {"aliases": [{"alias": "a:b", "artifactCollectionName": "data"}]},
        "invalid alias",
    ),
    ("deleteArtifact", {}, "has aliases"),
    ("commitArtifact", {"artifactID": "nothing"}, "not found"),
]


@pytest.mark.parametrize(("name", "given", "message"), REFUSED)
def test_bad_changes_are_refused(
    world: World, ask: Ask, name: str, given: Any, message: str
) -> None:
    kind = name[0].upper() + name[1:]
    query = f"mutation($input: {kind}Input!) {{ {name}(input: $input) {{ artifact {{ id }} }} }}"
    status = 404 if "not found" in message else 400
    given = {"artifactID": world.artifacts.version(f"{DATA}:v1").id} | given
    assert message in ask(query, input=given, status=status)


def test_collections_are_made_renamed_and_deleted(world: World, ask: Ask) -> None:
    kind = world.artifacts.collection(DATA).type
    create = "mutation($input: CreateArtifactPortfolioInput!) { createArtifactPortfolio(input: $input) { artifactCollection { id __typename } } }"
    given = {"entityName": "team", "projectName": "vision", "name": "p", "artifactTypeID": kind.id}
    made = ask(create, input=given)["createArtifactPortfolio"]["artifactCollection"]
    assert made["__typename"] == "ArtifactPortfolio"
    assert "there is a collection" in ask(create, input=given, status=409)
    update = "mutation($input: UpdateArtifactPortfolioInput!) { updateArtifactPortfolio(input: $input) { artifactCollection { name } } }"
    given = {"artifactPortfolioID": made["id"], "name": "q"}
    assert ask(update, input=given)["updateArtifactPortfolio"]["artifactCollection"]["name"] == "q"
    delete = "mutation($id: ID!) { deleteArtifactPortfolio(input: {artifactPortfolioID: $id}) { artifactCollection { state } } }"
    gone = ask(delete, id=made["id"])["deleteArtifactPortfolio"]["artifactCollection"]
    assert gone == {"state": "DELETED"}
    assert "not found" in ask(delete, id=made["id"], status=404)


def test_what_a_run_logged_can_go_with_it(world: World, ask: Ask) -> None:
    query = "mutation($id: ID!) { deleteRun(input: {id: $id, deleteArtifacts: true}) { clientMutationId } }"
    ask(query, id=world.run("team/vision", "run1").id)
    assert world.artifacts.collection(DATA).members == []


# ------------------------------------------------------------------------------- made up


def test_the_same_seed_gives_the_same_artifacts() -> None:
    def shape(seed: int) -> list[Any]:
        world = World("2024-06-01T00:00:00Z")
        generate(world, "team/vision", runs=20)
        generate_artifacts(world, "team/vision", versions=60, collections=4, seed=seed)
        found = world.artifacts.by_id.values()
        return [(one.path, one.digest, one.metadata, one.tags, one.size) for one in found]

    assert shape(1) == shape(1) != shape(2)


def test_generated_files_are_what_their_manifests_say() -> None:
    world = World("2024-06-01T00:00:00Z")
    generate_artifacts(world, "team/vision", versions=20, collections=2, files=7)
    for artifact in world.artifacts.by_id.values():
        assert artifact.digest == digest(artifact)
        assert artifact.size == sum(entry.size or 0 for entry in artifact.entries)
        for entry in artifact.entries:
            birth = world.artifacts.by_id[entry.birth_id or ""]
            name = f"artifacts/{birth.number}/{base64.b64decode(entry.digest).hex()}"
            blob = world.artifacts.blob(name)
            assert blob is not None
            assert (blob.md5, blob.size_bytes) == (entry.digest, entry.size)


@pytest.mark.slow
def test_fifty_thousand_versions_fit() -> None:
    world = World("2024-06-01T00:00:00Z")
    world.add_organization("acme")
    generate_artifacts(world, "team/vision", versions=50_000, collections=50)
    generate_registries(world, "acme", "team/vision", collections=200)
    generate_artifacts(world, "team/big", versions=1, collections=1, files=10_000)
    assert len(world.artifacts.by_id) == 50_001
    assert len(list(world.artifacts.by_id.values())[-1].entries) == 10_000


FIELDS = "id versionIndex metadata aliases { alias artifactCollection { __typename name } } createdBy { __typename ... on Run { name } ... on User { username } } tags { name }"
SELECTIONS = {
    "versions": f"artifactCollection(name: $name) {{ artifacts(first: 9) {{ edges {{ version cursor node {{ {FIELDS} }} }} }} }}",
    "interfaces": "artifactCollection(name: $name) { artifacts { __typename ... on ArtifactConnectionType { edges { node { id } } } } }",
    "collections": "artifactCollections { edges { node { __typename id name type: defaultArtifactType { name } tags { edges { node { name } } } ... on ArtifactSequence { latestArtifact { id } } } } } artifactCollection(name: $name) { id }",
    "memberships": f"artifactCollection(name: $name) {{ artifactMemberships {{ edges {{ node {{ id versionIndex createdAt aliases {{ alias }} artifact {{ {FIELDS} }} }} }} }} }}",
    "files": "artifact(name: $name) { files { edges { node { name sizeBytes md5 artifact { id } } } } }",
    "lineage": "artifact(name: $name) { usedBy { edges { node { name inputArtifacts { edges { usedAs node { id } } } outputArtifacts { edges { node { id } } } } } } }",
}  # fmt: skip


@cache
def slow_executor() -> Executor:
    return Executor(RESOLVERS, fast=False)


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS.keys())
def test_the_fast_way_through_artifacts_equals_graphql_core(selection: str) -> None:
    world = World("2024-06-01T00:00:00Z")
    world.add_user("alice", key=KEY, teams=["team"])
    generate(world, "team/vision", runs=20)
    generate_artifacts(world, "team/vision", versions=60, collections=2)
    [first, *_] = world.artifacts.collections_by_id.values()
    text = (
        f'query($name: String!) {{ project(name: "vision", entityName: "team") {{ {selection} }} }}'
    )
    found = document(text)
    assert not found.errors

    def answer(by: Executor) -> Any:
        ctx = Context(world, world.users["alice"], "http://sandbox")
        return by.execute(found, {"name": first.name}, None, ctx)

    assert json.dumps(answer(executor())[0]) == json.dumps(answer(slow_executor())[0])
    assert answer(executor())[1] == []
