"""From a server's node to the rows of the store, on both engines."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from mirror import ingest as ingest_module
from mirror.global_ids import decode_global_id
from mirror.ingest import (
    ingest_entity,
    ingest_projects,
    ingest_runs,
    ingest_sweeps,
    project_key,
    rebuild_runs,
    recount_keys,
    stored_node,
    tombstone_runs,
    unwrap_config,
)
from mirror.jsontext import Type, unescape, unpack
from mirror.store import tables
from mirror.store.store import Store

PROJECT = "42"
THEN = "2026-01-02T03:04:05Z"
LATER = "2026-01-03T03:04:05Z"


def node(name: str = "abc", **more: Any) -> dict[str, Any]:
    """A run as the server sends it; `config` and `summaryMetrics` may be given as values."""
    made = {
        "id": f"id of {name!a}",
        "name": name,
        "displayName": f"run {name}",
        "state": "finished",
        "group": "g1",
        "jobType": "train",
        "host": "box",
        "notes": "hello",
        "description": None,
        "tags": ["a", "b"],
        "createdAt": "2024-01-02T03:04:05",
        "heartbeatAt": "2024-01-02T04:00:00",
        "updatedAt": "2024-01-02T04:00:01.5",
        "user": {"username": "ann", "id": "VXNlcjox", "name": "Ann"},
        "sweepName": None,
        "historyLineCount": 7,
        "computeSeconds": 12,
        "config": '{"lr": {"value": 0.1, "desc": null}, "_wandb": {"value": {}}}',
        "summaryMetrics": '{"loss": 0.5, "_runtime": 99.5}',
        "systemMetrics": "{}",
    }
    return made | more


def put(store: Store, *nodes: Mapping[str, Any], at: str = THEN, **more: Any) -> Any:
    with store.begin() as tx:
        return ingest_runs(tx, nodes, project_id=PROJECT, synced_at=at, **more)


def runs(store: Store) -> dict[str, dict[str, Any]]:
    """Everything stored of each run, in one mapping a run; JSON as values, texts unpacked."""
    r, d, t = tables.runs.c, tables.run_documents.c, tables.run_texts.c
    statement = (
        sa.select(
            tables.runs, d.config, d.summary_metrics, d.live.label("document_live"),
            t.node, t.config.label("config_text"), t.summary_metrics.label("summary_text"),
            t.system_metrics.label("system_text"),
        )
        .join(tables.run_documents, d.run_key == r.run_key)
        .join(tables.run_texts, t.run_key == r.run_key)
    )  # fmt: skip
    found = {}
    for row in store.rows(statement):
        made = dict(row)
        for name in ("tags", "config", "summary_metrics"):
            made[name] = json.loads(made[name]) if isinstance(made[name], str) else made[name]
        for name in ("node", "config_text", "summary_text", "system_text"):
            made[name] = unpack(made[name])
        found[made["name"]] = made
    return found


def keys(store: Store) -> dict[tuple[str, str], dict[str, Any]]:
    rows = store.rows(sa.select(tables.run_keys))
    return {(row["document"], row["path"]): dict(row) for row in rows}


# ------------------------------------------------------------------ identifiers


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (_encode("Run:v1:abc:proj:ent"), ["Run", "v1", "abc", "proj", "ent"]),
        (_encode("ProjectInternalId:42").rstrip("="), ["ProjectInternalId", "42"]),
        ("not base64!", []),
        ("", [""]),
    ],
)
def test_a_global_id_has_parts(value: str, parts: list[str]) -> None:
    assert decode_global_id(value) == parts


@pytest.mark.parametrize(
    ("given", "key"),
    [
        pytest.param({"internalId": _encode("ProjectInternalId:42"), "id": "x"}, "42", id="number"),
        pytest.param({"internalId": _encode("Project:7")}, "7", id="the other spelling"),
        pytest.param({"internalId": "opaque"}, "opaque", id="an id that does not decode"),
        pytest.param(
            {"internalId": _encode("Project:v1:p:e")}, _encode("Project:v1:p:e"), id="names"
        ),
        pytest.param({"id": "only"}, "only", id="no internalId"),
    ],
)
def test_a_project_is_keyed_by_what_survives_a_rename(given: dict[str, Any], key: str) -> None:
    assert project_key(given) == key


# ------------------------------------------------------------------ config


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        pytest.param({"lr": {"value": 0.1, "desc": None}}, {"lr": 0.1}, id="wrapped"),
        pytest.param({"lr": {"value": 0.1, "x": 1}}, {"lr": 0.1}, id="any object with a value"),
        pytest.param({"lr": 0.1}, {"lr": 0.1}, id="not wrapped"),
        pytest.param({"m": {"value": {"value": 1}}}, {"m": {"value": 1}}, id="once only"),
        pytest.param({"m": {"value": None}}, {"m": None}, id="null"),
        pytest.param({"m": {"values": 1}}, {"m": {"values": 1}}, id="values is not value"),
        pytest.param({"m": {}}, {"m": {}}, id="an empty object"),
        pytest.param({"m": [{"value": 1}]}, {"m": [{"value": 1}]}, id="lists are left alone"),
        pytest.param(
            {"_wandb": {"value": 1}, "wandb_version": 1, "a": 2}, {"a": 2}, id="internals"
        ),
        pytest.param({"_mine": {"value": 1}}, {"_mine": 1}, id="an underscore of the user's"),
        pytest.param({}, {}, id="nothing"),
    ],
)
def test_config_loses_its_wrappers(config: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert unwrap_config(config) == wanted


# ------------------------------------------------------------------ runs


def test_a_run_is_scalars_documents_and_texts(store: Store) -> None:
    sent = node()
    done = put(store, sent)
    assert (done.runs, done.new) == (1, 1)
    row = runs(store)["abc"]
    assert {name: row[name] for name in (
        "project_id", "display_name", "state", "group", "job_type", "host", "username", "notes",
        "description", "tags", "sweep", "created_at", "heartbeat_at", "duration",
        "history_line_count", "live", "document_live", "deleted_at", "out_of_selection_at",
        "synced_at", "config", "summary_metrics", "config_text", "summary_text", "system_text",
    )} == {
        "project_id": PROJECT, "display_name": "run abc", "state": "finished", "group": "g1",
        "job_type": "train", "host": "box", "username": "ann", "notes": "hello",
        "description": None, "tags": ["a", "b"], "sweep": None,
        "created_at": "2024-01-02T03:04:05", "heartbeat_at": "2024-01-02T04:00:00",
        "duration": 12.0, "history_line_count": 7, "live": 1, "document_live": 1,
        "deleted_at": None, "out_of_selection_at": None, "synced_at": THEN,
        "config": {"lr": 0.1}, "summary_metrics": {"loss": 0.5, "_runtime": 99.5},
        "config_text": sent["config"], "summary_text": sent["summaryMetrics"], "system_text": "{}",
    }  # fmt: skip
    assert row["created_at_us"] == 1_704_164_645_000_000
    assert row["updated_at_us"] == 1_704_168_001_500_000


# What comes in under config.x, and what filters see there.
VALUES = [
    pytest.param("1e5", 100000.0, id="1e5 is a float"),
    pytest.param("-0.0", -0.0, id="-0.0"),
    pytest.param("1.0", 1.0, id="1.0"),
    pytest.param("NaN", "NaN", id="NaN"),
    pytest.param('"NaN"', "NaN", id="the string NaN"),
    pytest.param("-Infinity", "-Infinity", id="-Infinity"),
    pytest.param("1180591620717411303424", 2.0**70, id="2**70"),
    pytest.param("9223372036854775807", 2**63 - 1, id="the largest int64"),
    pytest.param("1e999", "Infinity", id="beyond doubles"),
    pytest.param('"\\u0000"', "\x01\x01", id="NUL, escaped"),
    pytest.param('"\\ud800x"', "\ue000\x01d800x", id="a lone surrogate, escaped"),
    pytest.param('"a\tb"', "a\tb", id="a raw control character"),
    pytest.param('{"b": 1, "a": 2}', {"b": 1, "a": 2}, id="key order"),
    pytest.param("[1, [2], {}]", [1, [2], {}], id="a list"),
    pytest.param("null", None, id="null"),
    pytest.param('"￿\U0001f600"', "￿\U0001f600", id="unicode"),
]


@pytest.mark.parametrize(("text", "wanted"), VALUES)
def test_a_text_is_kept_verbatim_and_its_document_is_strict(
    store: Store, text: str, wanted: Any
) -> None:
    config = f'{{"x": {{"value": {text}}}}}'
    summary = f'{{"x":{text} }}'
    put(store, node(config=config, summaryMetrics=summary))
    row = runs(store)["abc"]
    assert (row["config_text"], row["summary_text"]) == (config, summary)
    for name in ("config", "summary_metrics"):
        found = row[name]["x"]
        # jsonb writes a large double as its digits
        assert (float(found) if isinstance(wanted, float) else found) == wanted


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "3", '"x"', "null"], ids=lambda text: repr(text)
)
def test_a_document_that_is_no_object_is_empty_and_its_text_is_kept(
    store: Store, text: str | None
) -> None:
    put(store, node(config=text, summaryMetrics=text, systemMetrics=text))
    row = runs(store)["abc"]
    assert (row["config"], row["summary_metrics"]) == ({}, {})
    assert (row["config_text"], row["summary_text"], row["system_text"]) == (text, text, text)


SPARSE = [
    pytest.param({"tags": None}, {"tags": []}, id="no tags"),
    pytest.param({"tags": ["x", "x"]}, {"tags": ["x", "x"]}, id="a tag twice"),
    pytest.param({"user": None}, {"username": None}, id="a user who left"),
    pytest.param({"sweepName": "s1"}, {"sweep": "s1"}, id="sweepName"),
    pytest.param({"sweep": {"name": "s2"}}, {"sweep": "s2"}, id="the sweep's node"),
    pytest.param({"computeSeconds": None}, {"duration": 99.5}, id="_runtime for computeSeconds"),
    pytest.param(
        {"computeSeconds": None, "summaryMetrics": '{"_runtime": true}'},
        {"duration": None},
        id="a boolean is no duration",
    ),
    pytest.param({"createdAt": None}, {"created_at_us": None}, id="no creation time"),
    pytest.param({"heartbeatAt": "soon"}, {"heartbeat_at_us": None}, id="a time that is none"),
    pytest.param({"displayName": ""}, {"display_name": ""}, id="an empty name"),
    pytest.param({"notes": "a\x00b"}, {"notes": "a\x01\x01b"}, id="NUL in notes"),
    pytest.param({"displayName": "\ud800"}, {"display_name": "\ue000\x01d800"}, id="a surrogate"),
    pytest.param({"state": "brand-new-state"}, {"state": "brand-new-state"}, id="an unknown state"),
]


@pytest.mark.parametrize(("given", "wanted"), SPARSE)
def test_a_node_may_be_sparse_or_odd(
    store: Store, given: dict[str, Any], wanted: dict[str, Any]
) -> None:
    put(store, node(**given))
    row = runs(store)["abc"]
    assert {name: row[name] for name in wanted} == wanted


def test_a_node_of_a_name_and_nothing_else_is_stored(store: Store) -> None:
    put(store, {"name": "bare"})
    assert runs(store)["bare"]["config"] == {}


def test_unknown_fields_of_a_node_are_kept(store: Store) -> None:
    sent = node(somethingNew={"x": [1, "\ud800", None]})
    put(store, sent)
    row = store.one(sa.select(tables.run_texts))
    assert row is not None
    assert stored_node(row) == sent


def test_a_run_twice_in_a_page_is_written_once_and_the_later_wins(store: Store) -> None:
    done = put(store, node(state="running"), node("other"), node(state="finished"))
    assert (done.runs, done.new) == (2, 2)
    found = runs(store)
    assert {name: row["state"] for name, row in found.items()} == {
        "abc": "finished",
        "other": "finished",
    }


def test_a_page_twice_changes_nothing_but_the_stamps(store: Store) -> None:
    page = [node("a"), node("b", summaryMetrics='{"x": NaN}')]
    put(store, *page)
    before = runs(store)
    done = put(store, *page)
    assert (done.runs, done.new) == (2, 0)
    after = runs(store)
    for name, row in after.items():
        assert row.pop("seq") > before[name].pop("seq")
        assert row.pop("read_at_us") >= before[name].pop("read_at_us")
    assert after == before


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_page_looks_its_runs_up_by_name_however_large_the_project(store: Store) -> None:
    asked = []

    def note(_connection: Any, _c: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("SELECT") and "FROM json_each" in statement:
            asked.append(statement)

    sa.event.listen(store.engine, "before_cursor_execute", note)
    put(store, node("a"), node("b"))
    sa.event.remove(store.engine, "before_cursor_execute", note)
    assert asked
    with store.read() as connection:
        for statement in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("[]", "1")).all()
            assert "(project_id=? AND name=?)" in str(plan)


def test_an_empty_page_is_nothing(store: Store) -> None:
    assert put(store).runs == 0


def test_the_same_run_name_in_two_projects_is_two_runs(store: Store) -> None:
    put(store, node())
    with store.begin() as tx:
        ingest_runs(tx, [node(state="crashed")], project_id="43", synced_at=THEN)
    states = store.rows(sa.select(tables.runs.c.project_id, tables.runs.c.state))
    assert {row["project_id"]: row["state"] for row in states} == {
        "42": "finished",
        "43": "crashed",
    }


def test_users_are_gathered_from_runs(store: Store) -> None:
    put(store, node("a"), node("b", user={"username": "bob", "name": None}), node("c", user=None))
    rows = store.rows(sa.select(tables.users.c.username, tables.users.c.name))
    assert {row["username"]: row["name"] for row in rows} == {"ann": "Ann", "bob": None}


def test_runs_do_not_take_away_what_is_known_of_a_user(store: Store) -> None:
    with store.begin() as tx:
        row = {"username": "ann", "email": "ann@example.org", "seq": tx.seq, "synced_at": THEN}
        tx.upsert_all(tables.users, [row])
    put(store, node())
    user = store.one(sa.select(tables.users))
    assert user is not None
    assert (user["email"], user["name"]) == ("ann@example.org", "Ann")


# ------------------------------------------------------------------ deletion and revival


@pytest.mark.parametrize("column", ["deleted_at", "out_of_selection_at"])
def test_a_run_that_is_gone_stays_as_a_tombstone_and_comes_back_alive(
    store: Store, column: str
) -> None:
    put(store, node("a"), node("b"))
    with store.begin() as tx:
        assert tombstone_runs(tx, PROJECT, ["a", "never seen"], at=LATER, column=column) == 1
    found = runs(store)
    assert (found["a"]["live"], found["a"]["document_live"], found["a"][column]) == (0, 0, LATER)
    assert (found["b"]["live"], found["b"][column]) == (1, None)
    assert found["a"]["config"] == {"lr": 0.1}
    assert found["a"]["seq"] > found["b"]["seq"]

    assert put(store, node("a", state="running")).new == 0
    row = runs(store)["a"]
    assert (row["live"], row["document_live"], row[column]) == (1, 1, None)
    assert row["state"] == "running"


def test_a_thousand_tombstones_in_one_call(store: Store) -> None:
    put(store, *(node(f"r{i:04}") for i in range(1200)))
    names = [f"r{i:04}" for i in range(1100)]
    with store.begin() as tx:
        assert tombstone_runs(tx, PROJECT, names, at=LATER) == 1100
    assert sum(row["live"] for row in runs(store).values()) == 100


def test_a_strange_run_name_can_be_found_again(store: Store) -> None:
    strange = "o'neil \"\x00\ud800 %s ?"
    put(store, node(strange))
    with store.begin() as tx:
        assert tombstone_runs(tx, PROJECT, [strange], at=LATER) == 1
    (row,) = runs(store).values()
    assert unescape(row["name"]) == strange
    assert json.loads(row["node"])["name"] == strange


# ------------------------------------------------------------------ the catalogue


def test_the_catalogue_grows_with_each_page(store: Store) -> None:
    put(store, node("a", config='{"lr": {"value": 1}}', summaryMetrics='{"loss": 5}'))
    put(store, node("b", config='{"lr": {"value": "x"}}', summaryMetrics='{"loss": -2.5}'))
    put(store, node("c", config='{"lr": {"value": 3}, "new": {"value": []}}'))
    found = keys(store)
    lr = found["config", '["lr"]']
    assert (lr["types"], lr["count"], lr["min"], lr["max"]) == (Type.INTEGER | Type.STRING, 3, 1, 3)
    loss = found["summary_metrics", '["loss"]']
    assert (loss["types"], loss["min"], loss["max"]) == (Type.INTEGER | Type.FLOAT, -2.5, 5)
    assert found["config", '["new"]']["types"] == Type.LIST
    assert (found["config", '["new"]']["min"], found["config", '["new"]']["max"]) == (None, None)


def test_a_range_starts_when_the_first_number_comes(store: Store) -> None:
    put(store, node("a", summaryMetrics='{"x": "none yet"}'))
    put(store, node("b", summaryMetrics='{"x": 4}'))
    put(store, node("c", summaryMetrics='{"x": "none again"}'))
    row = keys(store)["summary_metrics", '["x"]']
    assert (row["min"], row["max"], row["count"]) == (4, 4, 3)


def test_the_catalogue_can_be_left_out(store: Store) -> None:
    put(store, node(), catalogue=False)
    assert keys(store) == {}


def test_a_project_with_too_many_paths_is_open(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "MAX_PATHS", 10)
    put(store, node("a"))
    assert keys(store)
    put(store, node("b", config=json.dumps({f"k{i}": i for i in range(20)})))
    state = store.one(sa.select(tables.sync_state.c.catalogue_open))
    assert state is not None
    assert state["catalogue_open"] == 1
    before = keys(store)
    put(store, node("c", config='{"late": 1}'))
    assert keys(store) == before


def test_counting_again_makes_counts_exact(store: Store) -> None:
    for loss in ("9", "1", "2"):
        put(store, node("a", summaryMetrics=f'{{"loss": {loss}}}'))
    put(store, node("b", summaryMetrics='{"loss": "x", "only-b": 1}'))
    with store.begin() as tx:
        tombstone_runs(tx, PROJECT, ["b"], at=LATER)
    before = keys(store)["summary_metrics", '["loss"]']
    assert (before["count"], before["min"], before["max"]) == (4, 1, 9)
    with store.begin() as tx:
        assert recount_keys(tx, PROJECT) == 3
    found = keys(store)
    loss = found["summary_metrics", '["loss"]']
    assert (loss["count"], loss["min"], loss["max"]) == (1, 2, 2)
    assert loss["types"] == Type.INTEGER | Type.STRING
    assert found["summary_metrics", '["only-b"]']["count"] == 0


def test_counting_again_closes_a_catalogue_that_was_open(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "MAX_PATHS", 2)
        put(store, node("a"))
        with store.begin() as tx:
            assert recount_keys(tx, PROJECT) == 0
    assert keys(store) == {}
    with store.begin() as tx:
        assert recount_keys(tx, PROJECT) == 3
    state = store.one(sa.select(tables.sync_state.c.catalogue_open))
    assert state is not None
    assert state["catalogue_open"] == 0


# ------------------------------------------------------------------ rebuilding


def _comparable(store: Store) -> dict[str, Any]:
    found = runs(store)
    return {
        name: {column: value for column, value in row.items() if column != "seq"}
        for name, row in found.items()
    }


def test_a_rebuild_derives_the_same_store_from_the_texts(store: Store) -> None:
    page = [
        node(f"v{i}", config=f'{{"x": {{"value": {case.values[0]}}}}}', **SPARSE[i % len(SPARSE)].values[0])
        for i, case in enumerate(VALUES)
    ]  # fmt: skip
    put(store, *page)
    with store.begin() as tx:
        tombstone_runs(tx, PROJECT, ["v1"], at=LATER)
        tombstone_runs(tx, PROJECT, ["v2"], at=LATER, column="out_of_selection_at")
    before, before_keys = _comparable(store), keys(store)
    with store.begin() as tx:
        assert rebuild_runs(tx, PROJECT) == (len(page), 0)
    assert _comparable(store) == before
    assert keys(store) == before_keys


def test_a_rebuild_repairs_what_does_not_match_the_texts(store: Store) -> None:
    put(store, node("a"), node("b"))
    before = _comparable(store)
    with store.begin() as tx:
        tx.execute(sa.update(tables.runs).where(tables.runs.c.name == "a").values(state="?"))
        tx.execute(sa.update(tables.run_keys).values(count=99))
    with store.begin() as tx:
        assert rebuild_runs(tx, PROJECT) == (2, 1)
    assert _comparable(store) == before
    assert {row["count"] for row in keys(store).values()} == {2}


def test_a_rebuild_stays_within_its_project(store: Store) -> None:
    put(store, node())
    with store.begin() as tx:
        ingest_runs(tx, [node()], project_id="43", synced_at=THEN)
        assert rebuild_runs(tx, "43") == (1, 0)
        assert rebuild_runs(tx, "44") == (0, 0)
    found = store.rows(sa.select(tables.run_keys.c.project_id).distinct())
    assert {row["project_id"] for row in found} == {"42", "43"}


# ------------------------------------------------------------------ the other kinds


def _project(number: int, name: str = "proj", **more: Any) -> dict[str, Any]:
    return {
        "id": _encode(f"Project:v1:{name}:ent"),
        "internalId": _encode(f"ProjectInternalId:{number}"),
        "name": name,
        "entityName": "ent",
        "description": "d",
        "access": "PRIVATE",
        "createdAt": "2024-01-02T03:04:05",
        "lastActive": "2024-01-03T00:00:00",
        "runCount": 3,
    } | more


def test_a_project_is_stored_with_the_path_it_answers_to(store: Store) -> None:
    with store.begin() as tx:
        assert ingest_projects(tx, [_project(1)], synced_at=THEN) == ["1"]
    row = store.one(sa.select(tables.projects))
    assert row is not None
    assert {name: row[name] for name in ("project_id", "entity", "name", "access", "run_count",
            "created_at", "last_active", "deleted_at", "synced_at")} == {
        "project_id": "1", "entity": "ent", "name": "proj", "access": "PRIVATE", "run_count": 3,
        "created_at": "2024-01-02T03:04:05", "last_active": "2024-01-03T00:00:00",
        "deleted_at": None, "synced_at": THEN,
    }  # fmt: skip


def test_a_renamed_project_stays_one_project_with_two_paths(store: Store) -> None:
    for name, at in (("old", THEN), ("new", LATER), ("new", LATER)):
        with store.begin() as tx:
            ingest_projects(tx, [_project(1, name)], synced_at=at)
    assert [row["name"] for row in store.rows(sa.select(tables.projects))] == ["new"]
    aliases = store.rows(sa.select(tables.project_aliases).order_by(tables.project_aliases.c.name))
    seen = [(row["name"], row["first_seen_at"], row["last_seen_at"]) for row in aliases]
    assert seen == [("new", LATER, LATER), ("old", THEN, THEN)]


def test_a_project_node_without_a_count_keeps_the_one_known(store: Store) -> None:
    for given in (_project(1), _project(1, runCount=None)):
        with store.begin() as tx:
            ingest_projects(tx, [given], synced_at=THEN)
    row = store.one(sa.select(tables.projects.c.run_count, tables.projects.c.name))
    assert row is not None
    assert (row["run_count"], row["name"]) == (3, "proj")


def test_a_new_project_of_an_old_name_is_another_project(store: Store) -> None:
    for number in (1, 2):
        with store.begin() as tx:
            ingest_projects(tx, [_project(number)], synced_at=THEN)
    rows = store.rows(sa.select(tables.projects.c.project_id))
    assert {row["project_id"] for row in rows} == {"1", "2"}


def test_sweeps_and_entities_are_stored(store: Store) -> None:
    sweep = {
        "id": _encode("Sweep:s1"),
        "name": "s1",
        "displayName": "grid",
        "state": "RUNNING",
        "method": "grid",
        "runCount": 4,
        "createdAt": "2024-01-02T03:04:05",
    }
    entity = {"id": "RW50aXR5OjE=", "name": "ent", "entityType": "team"}
    with store.begin() as tx:
        assert ingest_sweeps(tx, [sweep], project_id=PROJECT, synced_at=THEN) == 1
        ingest_entity(tx, entity, synced_at=THEN)
        assert ingest_sweeps(tx, [], project_id=PROJECT, synced_at=THEN) == 0
    found = store.one(sa.select(tables.sweeps))
    assert found is not None
    assert (found["name"], found["display_name"], found["run_count"]) == ("s1", "grid", 4)
    assert json.loads(str(unpack(found["node"]))) == sweep
    team = store.one(sa.select(tables.entities))
    assert team is not None
    assert (team["name"], team["entity_type"]) == ("ent", "team")
