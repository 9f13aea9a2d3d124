"""runs, explain, keys, index and db, on stores of both engines."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from commands import Run
from test_ingest import PROJECT
from test_projects import put_project

from mirror.ingest import tombstone_runs
from mirror.store import tables
from mirror.store.store import Store

pytestmark = pytest.mark.usefixtures("filled")

CRASHED = '{"state": "crashed"}'


def test_runs_are_listed_as_a_table(run: Run) -> None:
    result = run("runs", "ent/proj", "--order", "-config.lr", "--limit", "3",
                 "--columns", "name,config.lr,summary_metrics.val/acc")  # fmt: skip
    assert result.stdout.splitlines() == [
        "name  config.lr  summary_metrics.val/acc",
        "run9  0.009      0.1",
        "run8  0.008      0.2",
        "run7  0.007      0.3",
    ]
    assert "3 of 10 runs; --limit 0 shows all" in result.stderr
    assert result.exit_code == 0


def test_a_table_has_columns_of_its_own_and_is_whole_when_small(run: Run) -> None:
    result = run("runs", "ent/proj")
    assert result.stdout.splitlines()[0].split() == [
        "name", "display_name", "state", "username", "created_at", "duration", "tags",
    ]  # fmt: skip
    assert len(result.stdout.splitlines()) == 11
    assert result.stderr == ""


def test_a_filter_chooses_runs(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "crashed.json"
    file.write_text(CRASHED)
    for args, text in ((("--filter", CRASHED), None), (("--filter", f"@{file}"), None), (("--filter", "@-"), CRASHED)):  # fmt: skip
        result = run("runs", "ent/proj", "--ids", *args, input=text)
        assert sorted(result.stdout.split()) == [f"run{i}" for i in range(0, 10, 2)]


def test_the_address_of_a_page_is_a_path(run: Run) -> None:
    assert run("runs", "https://wandb.ai/ent/proj", "--count").stdout == "10\n"


def test_a_project_alone_is_of_the_default_entity(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("runs", "proj", "--count")
    assert result.exit_code == 2
    assert "set WANDB_ENTITY" in result.stderr
    monkeypatch.setenv("WANDB_ENTITY", "ent")
    assert run("runs", "proj", "--count").stdout == "10\n"


def test_count_and_ids_print_nothing_else(run: Run) -> None:
    assert run("runs", "ent/proj", "--count", "--filter", CRASHED).stdout == "5\n"
    assert (
        run("runs", "ent/proj", "--ids", "--limit", "2", "--order", "config.lr").stdout
        == "run0\nrun1\n"
    )


def test_json_has_everything_of_a_run(run: Run) -> None:
    found = json.loads(run("runs", "ent/proj", "--json", "--order", "+config.lr").stdout)
    assert len(found) == 10
    assert found[3]["name"] == "run3"
    assert found[3]["config"] == {"lr": 0.003, "model": {"name": "vit"}}
    assert found[3]["summary_metrics"] == {"val/acc": 0.7, "note": "a,b\n"}
    assert found[3]["tags"] == ["a", "b"]


def test_json_of_nothing_is_an_empty_list(run: Run) -> None:
    assert json.loads(run("runs", "ent/proj", "--json", "--filter", '{"name": "no"}').stdout) == []


def test_jsonl_is_one_object_a_line(run: Run) -> None:
    lines = run("runs", "ent/proj", "--jsonl", "--columns", "name,config.model.name").stdout
    rows = [json.loads(line) for line in lines.splitlines()]
    assert rows[0] == {"name": "run0", "config.model.name": "vit"}
    assert len(rows) == 10


def test_csv_is_read_back_by_a_reader(run: Run) -> None:
    text = run("runs", "ent/proj", "--csv", "--columns", "name,summary_metrics.note,tags").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0] == {"name": "run0", "summary_metrics.note": "a,b\n", "tags": '["a","b"]'}


def test_deleted_runs_are_not_listed(run: Run, store: Store) -> None:
    with store.begin() as tx:
        tombstone_runs(tx, PROJECT, ["run0"], at="2026-01-01T00:00:00Z")
    assert run("runs", "ent/proj", "--count").stdout == "9\n"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ('{"config.lr": {"$gtt": 1}}', "$gtt", "$gt, $gte"),
        ('{"stat": "x"}', "stat", "did you mean 'state'?"),
        ('{"$and": [{"state": "x"}, {"tags": {"$regex": "("}}]}', "$regex", "tags"),
    ],
)
def test_a_mistake_in_a_filter_is_shown_in_place(
    run: Run, text: str, place: str, said: str
) -> None:
    result = run("runs", "ent/proj", "--filter", text)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: in this filter:\n{text}\n")
    caret = result.stderr.splitlines()[2]
    start = caret.index("^")
    assert text[start : start + caret.count("^")].strip('"') == place
    assert said in result.stderr


def test_a_mistake_in_an_order_is_said(run: Run) -> None:
    result = run("runs", "ent/proj", "--order", "-nonsense")
    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_a_key_that_no_run_has_is_a_warning(run: Run) -> None:
    result = run("runs", "ent/proj", "--count", "--filter", '{"config.learning": 1}')
    assert (result.exit_code, result.stdout) == (0, "0\n")
    assert "warning: `config.learning`: no run of this project has it" in result.stderr


def test_a_project_that_is_not_mirrored_says_how_to_get_it(run: Run) -> None:
    result = run("runs", "ent/nope")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: project 'ent/nope' is not in the mirror (never synced): run `mirror sync ent/nope`\n"
    )


def test_a_first_sync_that_has_not_ended_is_said(run: Run, store: Store) -> None:
    with store.begin() as tx:
        tx.execute(sa.update(tables.sync_state).values(walk_complete_at=None))
    result = run("runs", "ent/proj", "--count")
    assert result.stdout == "10\n"
    assert "its first sync has not ended" in result.stderr


def test_two_formats_at_once_are_refused(run: Run) -> None:
    result = run("runs", "ent/proj", "--json", "--csv")
    assert result.exit_code == 2
    assert "--json and --csv cannot be given together" in result.stderr


def test_debug_shows_where_an_error_was_raised(run: Run) -> None:
    from mirror.errors import NotMirrored

    with pytest.raises(NotMirrored):
        run("runs", "ent/nope", "--debug")


# ------------------------------------------------------------------ explain, keys, index


def test_explain_shows_tree_sql_and_plan(run: Run) -> None:
    result = run(
        "explain", "ent/proj", "--filter", '{"config.lr": {"$gt": 0.004}}', "--order", "-config.lr"
    )
    assert result.exit_code == 0
    for part in ("tree: config.lr $gt 0.004", "sql:", "SELECT", "plan:", "rows found: 5"):
        assert part in result.stdout
    found = json.loads(run("explain", "ent/proj", "--filter", CRASHED, "--json").stdout)
    assert found["rows_found"] == 5


def test_keys_are_shown_with_types_and_ranges(run: Run) -> None:
    lines = run("keys", "ent/proj", "--match", "acc").stdout.splitlines()
    assert lines[1].split() == ["summary_metrics.val/acc", "float", "10", "0.1", "1"]
    found = json.loads(run("keys", "ent/proj", "--exact", "--json").stdout)
    assert [key["field"] for key in found["keys"]] == [
        "config.lr", "config.model", "config.model.name", "summary_metrics.note", "summary_metrics.val/acc",
    ]  # fmt: skip


def test_an_index_is_added_listed_and_dropped(run: Run, store: Store) -> None:
    added = run("index", "add", "ent/proj", "summary_metrics.val/acc")
    assert "summary_metrics.val/acc is indexed" in added.stdout
    assert "summary_metrics.val/acc" in run("index", "list").stdout
    (found,) = json.loads(run("index", "list", "ent/proj", "--json").stdout)
    assert (found["field"], found["ready"]) == ("summary_metrics.val/acc", True)
    if store.backend == "sqlite":  # PostgreSQL rather scans ten rows
        filters = '{"summary_metrics.val/acc": {"$gt": 0.95}}'
        assert found["name"] in run("explain", "ent/proj", "--filter", filters).stdout
    assert run("index", "drop", "ent/proj", "summary_metrics.val/acc").exit_code == 0
    gone = run("index", "drop", "ent/proj", "summary_metrics.val/acc")
    assert gone.exit_code == 1
    assert "there is no index on" in gone.stderr


def test_what_cannot_be_indexed_is_said(run: Run) -> None:
    result = run("index", "add", "ent/proj", "state")
    assert result.exit_code == 2
    assert "only keys of config and summary_metrics can be indexed" in result.stderr


def test_keys_that_are_asked_for_are_advised(run: Run, store: Store) -> None:
    assert "no key is used often enough" in run("index", "advise").stderr
    for _ in range(4):
        run("runs", "ent/proj", "--count", "--filter", '{"config.lr": {"$gt": 0.004}}')
    (row,) = run("index", "advise").stdout.splitlines()[1:]
    assert row.split()[0::3] == ["config.lr", "range"]
    (advice,) = json.loads(run("index", "advise", "--json").stdout)
    assert (advice["field"], advice["uses"], advice["kinds"]) == ("config.lr", 4, ["range"])
    assert json.loads(run("index", "advise", "ent/proj", "--json").stdout) == [advice]
    put_project(store, 43, "ent/other")
    assert json.loads(run("index", "advise", "ent/other", "--json").stdout) == []


def test_an_answer_does_not_wait_for_a_writer(run: Run, store: Store) -> None:
    with store.begin():
        result = run("runs", "ent/proj", "--count", "--filter", '{"config.lr": {"$gt": 0.004}}')
    assert (result.exit_code, result.stdout) == (0, "5\n")


# ------------------------------------------------------------------ db


def test_a_sound_store_is_said_to_be(run: Run) -> None:
    result = run("db", "check")
    assert result.exit_code == 0
    assert result.stdout.strip().endswith("is sound")


def test_a_store_that_is_not_ends_with_1(run: Run, store: Store) -> None:
    with store.begin() as tx:
        tx.execute(sa.delete(tables.run_documents).where(tables.run_documents.c.name == "run1"))
    result = run("db", "check")
    assert result.exit_code == 1
    assert "runs without documents: 1; run `mirror db rebuild`" in result.stdout
    assert json.loads(run("db", "check", "--json").stdout)
    assert run("db", "rebuild").stdout == "ent/proj: 10 runs derived again, 1 had differed\n"
    assert run("db", "check").exit_code == 0


def test_upgrading_what_is_up_to_date_says_so(run: Run) -> None:
    result = run("db", "upgrade")
    assert result.exit_code == 0
    assert "is at revision" in result.stdout


def test_a_backup_is_a_store(run: Run, store: Store, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    result = run("db", "backup", str(target))
    if store.backend == "postgresql":
        assert result.exit_code == 1
        assert "pg_dump" in result.stderr
        return
    assert result.exit_code == 0
    assert run("runs", "ent/proj", "--count", "--store", str(target)).stdout == "10\n"
