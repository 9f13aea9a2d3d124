"""A sandbox stays up whatever it is sent, and its parts do not contradict each other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mirror.sandbox import Server, World, generate

KEY = "a" * 40
PATH = "team/vision"
RUNS = """query Q($filters: JSONString) {
  project(name: "vision", entityName: "team") {
    runs(filters: $filters, first: 9) { edges { node { name historyLineCount historyKeys } } } } }"""


@pytest.fixture
def world() -> World:
    world = World("2024-06-01T00:00:00Z")
    world.add_user("alice", key=KEY, teams=["team"])
    generate(world, PATH, runs=40)
    return world


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with Server(world) as server:
        yield f"{server.url}/graphql"


@pytest.mark.parametrize(
    "request_",
    [
        {"content": b""},
        {"content": b"[1]"},
        {"content": b"{"},
        {"content": b"{}", "headers": {"Content-Encoding": "gzip"}},
        {"json": {"query": RUNS, "variables": {"filters": f'{{"config.n":{"9" * 5000}}}'}}},
        {"json": {"query": RUNS, "variables": {"filters": '{"$and":[' * 200 + "]}" * 200}}},
    ],
    ids=["nothing", "a list", "half of it", "no gzip", "a number of 5,000 digits", "too deep"],
)
def test_what_cannot_be_read_is_a_400(url: str, request_: dict[str, Any]) -> None:
    with httpx.Client(auth=("api", KEY)) as client:
        assert client.post(url, **request_).status_code == 400
        # The connection is still good, and so is the server.
        assert client.post(url, json={"query": "{ viewer { username } }"}).status_code == 200


def test_a_file_does_not_unsay_the_history(world: World, url: str) -> None:
    run = next(run for run in world.projects[PATH].runs.values() if run.line_count > 5)
    filters = json.dumps({"name": run.name})

    def asked() -> Any:
        query = {"query": RUNS, "variables": {"filters": filters}}
        data = httpx.post(url, json=query, auth=("api", KEY)).json()["data"]
        return data["project"]["runs"]["edges"][0]["node"]

    before = asked()
    assert before["historyLineCount"] == before["historyKeys"]["lastStep"] + 1 == run.line_count
    run.recorded()
    assert asked() == before


@pytest.mark.parametrize(
    ("character", "updated_at"),
    [("trustworthy", "2024-06-01T00:00:00Z"), ("frozen", "2023-01-01T00:00:00Z")],
)
def test_a_late_arrival_has_the_times_of_its_own_day(
    world: World, character: Any, updated_at: str
) -> None:
    world.updated_at = character
    run = world.late_arrival(PATH, name="late", created_at="2023-01-01T00:00:00Z")
    assert (run.created_at, run.heartbeat_at) == ("2023-01-01T00:00:00Z",) * 2
    assert run.updated_at == updated_at


def test_a_world_can_be_filled_without_the_extra() -> None:
    """Only a server needs graphql-core."""
    code = (
        "import sys; from mirror.sandbox import Server, World, generate, serve;"
        "world = World(); world.add_user('a', teams=['team']); generate(world, 'team/v', runs=3);"
        "sys.exit('graphql' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
