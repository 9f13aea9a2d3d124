"""The client against a whole server: the sandbox's documents, faults and keys, over its socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mirror.errors import GraphQLError, RateLimited, RemoteError, ServerFailed, StuckCursor
from mirror.remote.client import Client
from mirror.remote.operations import Count, Runs
from mirror.remote.pages import entity_projects, page_of
from mirror.sandbox import Server, World

KEY = "a1b2c3d4e5" * 4
TEAM: dict[str, Any] = {"entity": "team", "project": "vision"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    world = World()
    world.add_user("alice", key=KEY, entity="alice", teams=["team"])
    for name in ("vision", "speech", "robots"):
        world.add_project("team", name)
    for number in range(25):
        world.add_run("team/vision", name=f"run{number:02}", config={"lr": number / 10})
    with Server(world, port=0) as running:
        yield running


@pytest.fixture
def world(server: Server) -> Iterator[World]:
    yield server.world
    server.world.heal()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, KEY, sleep=lambda _seconds: None) as made:
        yield made


def test_one_request_brings_pages_and_counts(world: World, client: Client) -> None:
    reply = client.combined(
        {"full": Runs(first=10), "light": Runs(first=25, light=True), "all": Count()}, **TEAM
    )
    project = reply.data["project"]
    full, light = page_of(project["full"]), page_of(project["light"])
    assert (len(full.nodes), full.has_next) == (10, True)
    assert (len(light.nodes), light.has_next) == (25, False)
    assert project["all"] == 25
    assert '"lr"' in full.nodes[0]["config"]
    assert "config" not in light.nodes[0]
    assert client.stats.requests == 1
    assert client.fields_left_out == frozenset()
    assert reply.date == client.server_time is not None


def test_every_run_comes_once_through_pages_of_any_size(world: World, client: Client) -> None:
    for size in (1, 7, 25, 1000):
        names: list[str] = []
        after, more = None, True
        while more:
            reply = client.combined({"p": Runs(first=size, after=after, light=True)}, **TEAM)
            page = page_of(reply.data["project"]["p"])
            names += [node["name"] for node in page.nodes]
            after, more = page.end_cursor, page.has_next
        assert names == [f"run{number:02}" for number in range(25)]


def test_a_teams_projects_are_listed(world: World, client: Client) -> None:
    assert {node["name"] for node in entity_projects(client, "team")} == {
        "vision",
        "speech",
        "robots",
    }


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 502},
        {"status": 429},
        {"status": 429, "retry_after": 2},
        {"status": 503, "retry_after": 2},
        {"drop": "connection"},
        {"drop": "body"},
        {"truncate": True},
    ],
    ids=str,
)
def test_a_bad_moment_is_waited_out(world: World, client: Client, fault: dict[str, Any]) -> None:
    world.fail("viewer", times=2, **fault)
    assert client.execute("MirrorViewer")["viewer"]["username"] == "alice"
    assert client.stats.retries == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 500}, ServerFailed),
        ({"truncate": True}, ServerFailed),
        ({"status": 429, "retry_after": 3600}, RateLimited),
        ({"status": 400}, GraphQLError),
        ({"errors": "this filter is none"}, GraphQLError),
    ],
    ids=str,
)
def test_trouble_that_stays_is_an_error_in_the_end(
    world: World, client: Client, fault: dict[str, Any], error: type[RemoteError]
) -> None:
    world.fail("viewer", **fault)
    with pytest.raises(error):
        client.execute("MirrorViewer")
    assert client.stats.requests <= 12


def test_a_poisoned_run_fails_in_full_and_is_listed_light(world: World, client: Client) -> None:
    world.fail("runs", poisoned="run03")
    with pytest.raises(ServerFailed):
        client.combined({"page": Runs()}, **TEAM)
    reply = client.combined({"page": Runs(light=True)}, **TEAM)
    assert len(page_of(reply.data["project"]["page"]).nodes) == 25


def test_null_nodes_are_counted_and_left_out(world: World, client: Client) -> None:
    world.fail("MirrorEntityProjects", times=1, null_nodes=1)
    assert len(list(entity_projects(client, "team"))) == 2


def test_a_listing_that_does_not_move_raises(world: World, client: Client) -> None:
    world.fail("MirrorEntityProjects", stuck=True)
    with pytest.raises(StuckCursor):
        list(entity_projects(client, "team"))


def test_a_wrong_key_is_nobody(world: World, server: Server) -> None:
    with Client(server.url, "f" * 40) as client:
        assert client.execute("MirrorViewer")["viewer"] is None
