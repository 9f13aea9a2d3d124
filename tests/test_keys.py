"""The catalogue as `mirror keys` shows it."""

from __future__ import annotations

from test_ingest import PROJECT, node, put

from mirror.keys import Key, keys, recount
from mirror.query.fields import RUNS, readings, resolve
from mirror.store.store import Store


def test_keys_are_shown_as_a_filter_spells_them(store: Store) -> None:
    config = '{"opt": {"value": {"lr": 0.1, "name": "adam"}}, "a.b": {"value": [1]}}'
    put(store, node("x", config=config, summaryMetrics='{"val/acc": NaN}'))
    put(store, node("y", config="{}", summaryMetrics='{"val/acc": 3}'))
    found = keys(store, PROJECT)
    assert found.complete
    assert found.keys == [
        Key("config.a\\.b", ["list"], 1, None, None),
        Key("config.opt", ["object"], 1, None, None),
        Key("config.opt.lr", ["float"], 1, 0.1, 0.1),
        Key("config.opt.name", ["string"], 1, None, None),
        Key("summary_metrics.val/acc", ["int", "NaN"], 2, 3, 3),
    ]
    for key, path in ((found.keys[0], ("a.b",)), (found.keys[2], ("opt", "lr"))):
        assert readings(resolve(key.field, RUNS, ""))[0] == path


def test_keys_can_be_searched(store: Store) -> None:
    put(store, node(summaryMetrics='{"Loss": 1, "val": {"loss": 2}, "acc": 3}', config="{}"))
    found = keys(store, PROJECT, containing="LOSS").keys
    assert [key.field for key in found] == ["summary_metrics.Loss", "summary_metrics.val.loss"]


def test_counting_again_forgets_what_was_counted_twice(store: Store) -> None:
    for _ in range(3):
        put(store, node(config="{}", summaryMetrics='{"loss": 1}'))
    assert keys(store, PROJECT).keys[0].count == 3
    recount(store, PROJECT)
    assert keys(store, PROJECT).keys == [Key("summary_metrics.loss", ["int"], 1, 1, 1)]


def test_another_projects_keys_are_not_shown(store: Store) -> None:
    put(store, node())
    assert keys(store, "43").keys == []
