"""The sandbox over its socket: keys, pages, envelopes, trouble on order, and the request log."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from mirror.sandbox import Server, World, generate

KEY, OTHER = "a" * 40, "b" * 40
PATH = "team/vision"
RUNS = (
    "query Listing($first: Int, $after: String, $order: String, $filters: JSONString) {"
    ' project(name: "vision", entityName: "team") {'
    " runs(first: $first, after: $after, order: $order, filters: $filters) {"
    " edges { cursor node { name config } } pageInfo { endCursor hasNextPage } totalCount } } }"
)
LIGHT = RUNS.replace(" config", "")
Ask = Callable[..., httpx.Response]


@pytest.fixture
def world() -> World:
    world = World("2024-06-01T12:00:00Z")
    world.add_user("alice", key=KEY, teams=["team"])
    world.add_user("bob", key=OTHER)
    world.add_project("team", "vision")
    for number in range(10):
        world.add_run(
            PATH, name=f"run{number}", config={"n": number}, created_at="2024-01-01T00:00:00Z"
        )
    return world


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with Server(world) as running:
        yield running


@pytest.fixture
def ask(server: Server) -> Iterator[Ask]:
    with httpx.Client(base_url=server.url) as client:

        def post(query: str, *, key: str | None = KEY, **variables: Any) -> httpx.Response:
            auth = ("api", key) if key else None
            return client.post("/graphql", json={"query": query, "variables": variables}, auth=auth)

        yield post


def runs_of(response: httpx.Response) -> Any:
    return response.json()["data"]["project"]["runs"]


def names(response: httpx.Response) -> list[str | None]:
    return [edge["node"] and edge["node"]["name"] for edge in runs_of(response)["edges"]]


def walk(ask: Ask, query: str = RUNS, **variables: Any) -> list[list[str | None]]:
    """Every page of a listing, by the cursor of `pageInfo`."""
    pages, after = [], None
    while True:
        response = ask(query, after=after, **variables)
        pages.append(names(response))
        info = runs_of(response)["pageInfo"]
        if not info["hasNextPage"]:
            return pages
        assert info["endCursor"] != after
        after = info["endCursor"]


# ------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("key", "viewer", "project"),
    [(KEY, "alice", "vision"), (OTHER, "bob", None), ("c" * 40, None, None), (None, None, None)],
    ids=["a member", "a stranger", "a wrong key", "no key"],
)
def test_a_key_sees_what_it_may(
    ask: Ask, key: str | None, viewer: str | None, project: str | None
) -> None:
    response = ask(
        '{ viewer { username } project(name: "vision", entityName: "team") { name } }', key=key
    )
    data = response.json()["data"]
    assert response.status_code == 200
    assert (data["viewer"] or {}).get("username") == viewer
    assert (data["project"] or {}).get("name") == project


def test_a_private_project_is_for_those_it_names(world: World, ask: Ask) -> None:
    world.add_member("team", "bob")
    world.add_project("team", "secret", private_to="alice")
    query = '{ models(entityName: "team") { edges { node { name } } } }'

    def listed(key: str) -> list[str]:
        return [
            edge["node"]["name"] for edge in ask(query, key=key).json()["data"]["models"]["edges"]
        ]

    assert (listed(KEY), listed(OTHER)) == (["vision", "secret"], ["vision"])


def test_names_that_are_none_answer_null(ask: Ask) -> None:
    query = (
        '{ project(name: "vision", entityName: "team") { run(name: "x") { id } sweep(sweepName: "x") { id } }'
        ' no: project(name: "x", entityName: "team") { id } models(entityName: "x") { edges { cursor } }'
        ' entity(name: "x") { id } organization(name: "x") { id } }'
    )
    data = ask(query).json()["data"]
    assert data == {
        "project": {"run": None, "sweep": None}, "no": None, "models": None, "entity": None,
        "organization": None,
    }  # fmt: skip


# ------------------------------------------------------------------------------- pages


def test_pages_join_to_the_listing(ask: Ask) -> None:
    assert walk(ask, first=4) == [
        ["run0", "run1", "run2", "run3"], ["run4", "run5", "run6", "run7"], ["run8", "run9"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("over_cap", "status", "count"),
    [("clamp", 200, 3), ("refuse", 400, None), ("fail", 500, None)],
)
def test_a_page_is_at_most_the_cap(
    world: World, ask: Ask, over_cap: Any, status: int, count: int | None
) -> None:
    world.page_cap, world.over_cap = 3, over_cap
    response = ask(RUNS, first=5)
    assert response.status_code == status
    if count is not None:
        assert len(names(response)) == count


def test_runs_a_key_may_not_see_leave_short_and_empty_pages(world: World, ask: Ask) -> None:
    for number in (0, 1, 2, 4):
        world.edit(PATH, f"run{number}", hidden=True)
    assert walk(ask, first=3) == [[], ["run3", "run5"], ["run6", "run7", "run8"], ["run9"]]


@pytest.mark.parametrize(
    "filters", ['{"nonsense": 1}', '{"config.n": NaN}', '{"createdAt": {"$gt": 1}}', "{"]
)
def test_a_filter_the_server_cannot_read_is_a_400(ask: Ask, filters: str) -> None:
    response = ask(RUNS, filters=filters)
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("{ nonsense }", "Cannot query field"),
        ("{", "Syntax Error"),
        ("{ viewer }", "must have a selection"),
    ],
)
def test_a_bad_document_is_a_400(ask: Ask, query: str, part: str) -> None:
    response = ask(query)
    assert response.status_code == 400
    assert part in response.json()["errors"][0]["message"]


def test_documents_come_byte_for_byte(world: World, ask: Ask) -> None:
    text = '{"a":{"value":1e5},"b":{"value":NaN}, "c":{"value":-0.0,"desc":null},"d":{"value":1180591620717411303424},"e":{"value":"\\u0000\x01\U0001f600"}}'
    world.edit(PATH, "run0", config_text=text)
    assert runs_of(ask(RUNS, first=1))["edges"][0]["node"]["config"] == text


# ------------------------------------------------------------------------------- events


def test_the_world_changes_between_two_pages(world: World, ask: Ask) -> None:
    world.on_page("runs", page=2, do=lambda world: world.delete(PATH, "run0"))
    # A cursor is an offset: run4 moved over the border and is in neither page.
    assert walk(ask, first=4) == [
        ["run0", "run1", "run2", "run3"], ["run5", "run6", "run7", "run8"], ["run9"],
    ]  # fmt: skip


def test_an_edit_moves_updated_at_and_not_the_heartbeat(world: World) -> None:
    before = world.run(PATH, "run0").heartbeat_at
    run = world.edit(PATH, "run0", tags=["x"], config={"n": 7}, summary={"loss": 1})
    assert (run.heartbeat_at, run.updated_at) == (before, "2024-06-01T12:00:00Z")
    assert world.heartbeat(PATH, "run0").heartbeat_at == "2024-06-01T12:00:00Z"


@pytest.mark.parametrize(
    ("character", "unfilterable", "status", "count", "moved"),
    [
        ("trustworthy", "error", 200, 1, True),
        ("unfilterable", "error", 400, None, True),
        ("unfilterable", "ignore", 200, 10, True),
        ("unfilterable", "fail", 500, None, True),
        ("frozen", "error", 200, 0, False),
    ],
)
def test_updated_at_has_the_character_asked_for(
    world: World,
    ask: Ask,
    character: Any,
    unfilterable: Any,
    status: int,
    count: int | None,
    moved: bool,
) -> None:
    world.updated_at, world.unfilterable = character, unfilterable
    run = world.edit(PATH, "run0", notes="new")
    assert (run.updated_at == "2024-06-01T12:00:00Z") is moved
    response = ask(RUNS, filters=json.dumps({"updatedAt": {"$gte": "2024-06-01T00:00:00Z"}}))
    assert response.status_code == status
    if count is not None:
        assert runs_of(response)["totalCount"] == count


def test_a_renamed_project_keeps_its_number_only(world: World, ask: Ask) -> None:
    query = '{ project(name: "%s", entityName: "team") { id internalId runs { edges { node { id projectId } } } } }'
    before = ask(query % "vision").json()["data"]["project"]
    world.rename_project(PATH, "vision2")
    after = ask(query % "vision2").json()["data"]["project"]
    assert ask(query % "vision").json()["data"]["project"] is None
    assert before["internalId"] == after["internalId"]
    assert before["id"] != after["id"]
    old, new = (page["runs"]["edges"][0]["node"] for page in (before, after))
    assert old["projectId"] == new["projectId"]
    assert old["id"] != new["id"]


# ------------------------------------------------------------------------------- trouble


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_fault_strikes_as_often_as_asked(world: World, ask: Ask, status: int) -> None:
    world.fail("runs", times=2, skip=1, status=status, retry_after=7)
    assert [ask(RUNS).status_code for _ in range(4)] == [200, status, status, 200]
    world.fail("Listing", status=status)
    response = ask(RUNS)
    assert response.status_code == status
    assert "Retry-After" not in response.headers
    assert (response.headers["RateLimit-Remaining"] == "0") is (status == 429)
    assert ask("{ viewer { username } }").status_code == 200
    world.heal()
    assert ask(RUNS).status_code == 200


def test_retry_after_is_sent_when_asked(world: World, ask: Ask) -> None:
    world.fail("*", times=1, status=429, retry_after=0.5)
    response = ask(RUNS)
    assert response.headers["Retry-After"] == "0.5"
    assert response.json() == {"error": "Rate limit exceeded"}


def test_a_poisoned_run_fails_every_answer_with_its_documents(world: World, ask: Ask) -> None:
    world.fail("runs", poisoned="run5", status=502)
    assert ask(RUNS, first=5).status_code == 200
    assert ask(RUNS, first=6).status_code == 502
    assert names(ask(LIGHT, first=6))[-1] == "run5"
    run = '{ project(name: "vision", entityName: "team") { run(name: "run5") { name %s } } }'
    assert ask(run % "summaryMetrics").status_code == 502
    assert ask(run % "state").status_code == 200
    assert ask(RUNS, filters='{"name": {"$nin": ["run5"]}}').status_code == 200


@pytest.mark.parametrize(
    ("fault", "error"),
    [("connection", httpx.RemoteProtocolError), ("body", httpx.RemoteProtocolError)],
)
def test_a_connection_is_cut(world: World, ask: Ask, fault: str, error: type[Exception]) -> None:
    world.fail("runs", times=1, drop=fault)
    with pytest.raises(error):
        ask(RUNS)
    assert ask(RUNS).status_code == 200


def test_an_answer_is_truncated(world: World, ask: Ask) -> None:
    world.fail("runs", times=1, truncate=True)
    response = ask(RUNS)
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_graphql_errors_come_under_200(world: World, ask: Ask) -> None:
    world.fail("runs", times=1, errors="something went wrong")
    response = ask(RUNS)
    assert response.status_code == 200
    assert response.json() == {"errors": [{"message": "something went wrong"}], "data": None}


@pytest.mark.parametrize("fault", [{"empty": True}, {"short": 1}, {"short": 2, "skip": 1}])
def test_short_and_empty_pages_lose_nothing(world: World, ask: Ask, fault: dict[str, Any]) -> None:
    world.fail("runs", times=2, **fault)
    pages = walk(ask, first=4)
    assert [name for page in pages for name in page] == [f"run{number}" for number in range(10)]
    assert len(pages) > 3


def test_a_stuck_cursor_does_not_move(world: World, ask: Ask) -> None:
    world.fail("runs", stuck=True, skip=1)
    after = runs_of(ask(RUNS, first=4))["pageInfo"]["endCursor"]
    stuck = runs_of(ask(RUNS, first=4, after=after))
    assert stuck == {
        "edges": [],
        "pageInfo": {"endCursor": after, "hasNextPage": True},
        "totalCount": 10,
    }


def test_nodes_can_be_null(world: World, ask: Ask) -> None:
    world.fail("runs", times=1, null_nodes=2)
    assert names(ask(RUNS, first=3)) == [None, None, "run2"]


def test_the_date_header_follows_the_world_and_its_skew(world: World, ask: Ask) -> None:
    world.advance(60)
    world.fail(clock_skew_s=-3600)
    assert (
        parsedate_to_datetime(ask(RUNS).headers["Date"]).isoformat() == "2024-06-01T11:01:00+00:00"
    )


def test_latency_holds_up_only_its_own_request(world: World, ask: Ask, server: Server) -> None:
    world.fail("runs", times=1, latency_s=0.6)
    slow = threading.Thread(target=ask, args=(RUNS,))
    slow.start()
    while not world.faults.struck:
        time.sleep(0.001)
    assert (
        httpx.post(f"{server.url}/graphql", json={"query": "{ viewer { id } }"}).status_code == 200
    )
    assert slow.is_alive()
    slow.join()


def test_the_log_counts_by_operation_and_field(world: World, ask: Ask) -> None:
    first, second = ask(RUNS, first=1), ask("query Who { viewer { id } }", key=OTHER)
    assert [(one.operation, one.user, one.status) for one in world.requests] == [
        ("Listing", "alice", 200), ("Who", "bob", 200),
    ]  # fmt: skip
    assert world.requests.count("runs") == world.requests.count("Listing") == 1
    assert world.requests.response_bytes() == len(first.content) + len(second.content)
    assert world.requests[0].variables == {"first": 1}
    world.requests.reset()
    assert world.requests.count() == 0


# ------------------------------------------------------------------------------- generator


def test_the_generator_makes_the_same_runs_from_the_same_seed() -> None:
    def made(seed: int) -> list[tuple[Any, ...]]:
        world = World("2024-06-01T00:00:00Z")
        project = generate(world, PATH, runs=300, seed=seed)
        return [
            (run.name, run.config_text, run.summary_text, run.created_at)
            for run in project.runs.values()
        ]

    assert made(1) == made(1) != made(2)


def test_generated_runs_are_of_all_kinds() -> None:
    world = World("2024-06-01T00:00:00Z")
    runs = list(generate(world, PATH, runs=3000).runs.values())
    assert {run.state for run in runs} == {
        "finished", "failed", "crashed", "killed", "preempted", "running", "pending", "preempting",
    }  # fmt: skip
    assert 0 < sum(run.running for run in runs) <= 60
    assert len({run.created_at for run in runs}) < len(runs)
    assert max(run.heartbeat_at or "" for run in runs) < "2024-06-01T00:00:00Z"
    assert len({run.user.username for run in runs if run.user}) >= 3
    assert {bool(run.sweep) for run in runs} == {bool(run.group) for run in runs} == {True, False}
    documents = "".join(run.config_text + run.summary_text for run in runs)
    for part in (
        "NaN",
        "Infinity",
        "null",
        '"val/loss"',
        "[",
        "größer",
        '"_wandb"',
        "9007199254740993",
    ):
        assert part in documents


@pytest.mark.slow
def test_200_000_runs_are_paged_in_seconds(ask: Ask, world: World) -> None:
    world.delete_project(PATH)
    generate(world, PATH, runs=200_000)
    assert sum(map(len, walk(ask, LIGHT, first=1000))) == 200_000
    assert world.requests.count("runs") == 200


# ------------------------------------------------------------------------------- writing

UPSERT = "mutation M($input: UpsertBucketInput!) { upsertBucket(input: $input) { inserted bucket { name config } } }"


@pytest.mark.parametrize(
    ("key", "given", "status"),
    [
        (KEY, {"name": "new"}, 200),
        (None, {"name": "new"}, 401),
        (OTHER, {"name": "new"}, 403),
        (OTHER, {"name": "new", "modelName": "unheard"}, 403),
        (KEY, {"id": "bm9uc2Vuc2U="}, 404),
        (KEY, {"name": "run1"}, 409),
    ],
    ids=["a member", "no key", "a stranger", "a stranger's project", "no such run", "a deleted name"],
)  # fmt: skip
def test_who_may_write_what(
    world: World, ask: Ask, key: str | None, given: dict[str, str], status: int
) -> None:
    world.delete(PATH, "run1")
    project = {} if "id" in given else {"entityName": "team", "modelName": "vision"}
    assert ask(UPSERT, key=key, input=project | given).status_code == status


def test_a_config_sent_by_name_is_merged_and_by_id_replaces(world: World, ask: Ask) -> None:
    run = world.run(PATH, "run2")
    name = {"entityName": "team", "modelName": "vision", "name": "run2"}
    ask(UPSERT, input={**name, "config": '{"b":{"value":2}}'})
    assert json.loads(run.config_text) == {"n": {"value": 2}, "b": {"value": 2}}
    ask(UPSERT, input={"id": run.id, "config": '{"b":{"value":NaN}}'})
    assert run.config_text == '{"b":{"value":NaN}}'
    assert run.heartbeat_at == run.created_at


def test_runs_are_changed_by_filter(world: World, ask: Ask) -> None:
    where = {"entityName": "team", "projectName": "vision", "filters": '{"config.n": {"$lt": 3}}'}

    def send(name: str, kind: str, **given: Any) -> None:
        query = f"mutation M($input: {kind}!) {{ {name}(input: $input) {{ clientMutationId }} }}"
        assert ask(query, input=where | given).status_code == 200

    send("modifyRuns", "ModifyRunsInput", addTags=["x"])
    assert [run.name for run in world.projects[PATH].runs.values() if run.tags == ["x"]] == [
        "run0",
        "run1",
        "run2",
    ]
    send("deleteRuns", "DeleteRunsInput")
    assert walk(ask, first=20) == [[f"run{number}" for number in range(3, 10)]]
    send("undeleteRuns", "UndeleteRunsInput")
    assert walk(ask, first=20) == [[f"run{number}" for number in range(10)]]


def test_a_mutation_that_is_not_supported_says_so(ask: Ask) -> None:
    response = ask('mutation { deleteCustomChart(input: {entity: "e", name: "n"}) { success } }')
    assert response.status_code == 501
    assert "deleteCustomChart is not supported" in response.text


def test_files_go_up_and_down_by_key_or_signature(world: World, ask: Ask, server: Server) -> None:
    query = (
        'mutation { createRunFiles(input: {entityName: "team", projectName: "vision", runName: "run1",'
        ' files: ["a b.txt"]}) { files { uploadUrl md5 } } }'
    )
    [file] = ask(query).json()["data"]["createRunFiles"]["files"]
    assert file["md5"] == "0"
    bare = file["uploadUrl"].partition("?")[0]
    assert httpx.put(file["uploadUrl"], content=b"hello").status_code == 200
    assert httpx.get(file["uploadUrl"]).content == b"hello"
    assert httpx.get(bare, auth=("api", KEY)).content == b"hello"
    for url, auth in ((bare, None), (bare, ("api", OTHER)), (f"{bare}?signature=0", None)):
        assert httpx.get(url, auth=auth).status_code == 404


def test_a_file_stream_is_what_a_run_says(world: World, server: Server) -> None:
    url = f"{server.url}/files/team/vision/run3/file_stream"

    def send(**body: Any) -> Any:
        return httpx.post(url, json=body, auth=("api", KEY)).json()

    lines = ['{"_step":0,"loss":2}', '{"_step":1,"loss":NaN}']
    assert send(files={"wandb-history.jsonl": {"offset": 0, "content": lines}}) == {}
    run = world.run(PATH, "run3")
    assert (run.state, run.heartbeat_at) == ("running", "2024-06-01T12:00:00Z")
    send(
        files={
            "wandb-history.jsonl": {"offset": 1, "content": lines[1:]},
            "wandb-summary.json": {"offset": 0, "content": ['{"loss":NaN}']},
        }
    )
    assert (run.history_line_count, run.summary_text) == (2, '{"loss":NaN}')
    run.stopped = True
    assert send(complete=True, exitcode=1) == {"stopped": True}
    assert run.state == "failed"


def test_the_command_serves_until_it_is_stopped() -> None:
    command = [sys.executable, "-m", "mirror.sandbox", "--port", "0", "--runs", "3", "--key", KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = re.search(r"WANDB_BASE_URL=(\S+)", process.stdout.readline())
            assert url is not None
            response = httpx.post(f"{url[1]}/graphql", json={"query": LIGHT}, auth=("api", KEY))
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert len(names(response)) == 3
