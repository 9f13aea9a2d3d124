"""The differences of docs/differences.md: each is as it says there, on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from filled import HARD, KEY, MANY

import mirror
from mirror.config import resolve
from mirror.sandbox import Server
from mirror.sync import sync


def test_an_empty_page_does_not_end_a_loop(
    judged_world: Any, judged_server: Server, real: Any, tmp_path: Any
) -> None:
    hidden = list(judged_world.project(MANY).runs.values())[:60]
    try:
        for run in hidden:  # rows of a first page that the key may not see
            run.hidden = True
        judged_world.project(MANY).touch(members=True)
        config = resolve(
            store=str(tmp_path / "m.db"),
            base_url=judged_server.url,
            api_key=KEY,
            environ={},
            cwd="/",
        )
        assert sync([MANY], config=config).ok
        real.flush()
        theirs = [run.id for run in real.runs(MANY, per_page=20)]
        ours = [run.id for run in mirror.Api(config=config, mode="offline").runs(MANY, per_page=20)]
        paged = [run.id for run in mirror.Api(config=config, mode="auto").runs(MANY, per_page=20)]
    finally:
        for run in hidden:
            run.hidden = False
        judged_world.project(MANY).touch(members=True)
        real.flush()
    assert theirs == []
    assert len(ours) == len(paged) == 70


def test_a_full_listing_unwraps_configs_once(real: Any, mirrored: Any) -> None:
    def config(api: Any, lazy: bool) -> Any:
        api.flush()
        run = api.runs(HARD, {"name": "wrapped"}, lazy=lazy)[0]
        return run.config["value"], "_wandb" in run.rawconfig

    assert config(real, True) == config(mirrored, True) == ({"value": 1}, True)
    assert config(mirrored, False) == ({"value": 1}, True)
    assert config(real, False) == (1, False)


def test_reading_a_config_does_not_undo_a_rename(real: Any, mirrored: Any) -> None:
    def renamed(api: Any) -> Any:
        api.flush()
        run = api.runs(HARD, {"name": "floats"})[0]
        run.name = "mine"
        assert run.config
        api.flush()
        return run.name

    assert (renamed(real), renamed(mirrored)) == ("amber-aspen-1", "mine")


@pytest.mark.parametrize(
    ("filters", "order", "place"),
    [
        ({"$foo": 1}, "", r"\$foo"),
        ({"config.x": {"$bar": 1}}, "", r"config\.x\.\$bar"),
        ({"display_name": {"$regex": "("}}, "", "RE2"),
        ({}, "+nonsense", "did you mean 'notes'"),
    ],
)
def test_a_bad_question_is_refused_before_it_is_sent(
    filters: Any, order: str, place: str, real: Any, mirrored: Any
) -> None:
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    with pytest.raises(WandbApiFailedError):
        len(real.runs(HARD, filters, order))
    with pytest.raises(WandbApiFailedError, match=place) as caught:
        len(mirrored.runs(HARD, filters, order))
    assert isinstance(caught.value, mirror.QueryError)
    assert isinstance(caught.value, ValueError)


def test_no_key_is_needed_to_construct(tmp_path: Any) -> None:
    config = resolve(store=str(tmp_path / "none.db"), environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert mirror.Api(config=config).api_key is None


def test_a_dict_in_a_summary_stays_local(mirrored: Any) -> None:
    mirrored.flush()
    summary = mirrored.runs(HARD, {"name": "order"})[0].summary
    summary["new"] = {"x": 1}
    assert summary["new"]["x"] == 1
    with pytest.raises(mirror.OfflineError):
        summary.update()
    mirrored.flush()


def test_key_names_are_not_read(mirrored: Any) -> None:
    assert mirrored.viewer.api_keys == []


def test_counting_loads_no_page_before_somebody_looks(mirrored: Any) -> None:
    mirrored.flush()
    runs = mirrored.runs(HARD, per_page=3)
    assert len(runs) == 11
    assert len(runs.objects) == 3


@pytest.mark.parametrize(
    "member",
    [
        lambda api: api.create_project("x", "team"),
        lambda api: api.create_registry("x", "organization"),
        lambda api: api.run(f"{HARD}/floats").log_artifact("x"),
    ],
)
def test_what_is_not_offered_says_what_to_use(member: Any, reading: Any) -> None:
    with pytest.raises(mirror.UnsupportedError, match=r"wandb\.Api\(\)"):
        member(reading)
