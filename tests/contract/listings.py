"""Scripts about listings of runs: filters, orders, paging, slices, laziness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from filled import EMPTY, HARD, MANY

Script = Callable[[Any], Any]

FILTERS: Final[list[dict[str, Any]]] = [
    {},
    {"state": "finished"},
    {"state": {"$ne": "finished"}},
    {"state": {"$in": ["crashed", "failed"]}},
    {"state": {"$nin": ["crashed", "failed"]}},
    {"tags": "baseline"},
    {"tags": {"$in": ["best", "paper"]}},
    {"tags": {"$nin": ["best", "paper"]}},
    {"group": "group-3"},
    {"group": None},
    {"jobType": "train"},
    {"username": "chiyo"},
    {"displayName": {"$regex": "^a"}},
    {"display_name": {"$regex": "brook"}},
    {"config.batch_size": 32},
    {"config.batch_size.value": 32},
    {"config.batch_size": "auto"},
    {"config.optimizer.name": "adam"},
    {"config.optimizer.value.name": "adam"},
    {"config.lr": {"$gt": 0.001, "$lt": 0.05}},
    {"config.epochs": 90},
    {"config.amp": True},
    {"config.amp": {"$exists": True}},
    {"config.clip": {"$exists": True}},
    {"summary_metrics.loss": {"$lt": 0.3}},
    {"summary_metrics.loss": {"$gte": 0.3}},
    {"summary_metrics.val/acc": {"$gt": 0.5}},
    {"summary_metrics.best.val.acc": {"$gt": 0.5}},
    {"createdAt": {"$gte": "2023-09-01T00:00:00Z"}},
    {"created_at": {"$lt": "2023-09-01T00:00:00Z"}},
    {"$or": [{"state": "failed"}, {"config.model.type": "vit"}]},
    {"$and": [{"state": "finished"}, {"config.model.pretrained": True}]},
    {"$nor": [{"state": "finished"}, {"state": "failed"}]},
    {"$not": {"state": "finished"}},
    {"$and": [{"config.seed": {"$in": [0, 1, 42]}}, {"tags": {"$ne": "debug"}}]},
    {"name": {"$in": ["no such run"]}},
    {"sweep": "no such sweep"},
]

ORDERS: Final[list[str]] = [
    "+created_at", "-created_at", "created_at", "+createdAt", "-heartbeat_at", "+name", "-displayName",
    "+config.lr.value", "-config.lr", "-summary_metrics.loss", "+summary_metrics.loss",
    "-summary_metrics.val/acc", "+state",
]  # fmt: skip


def ids(runs: Any) -> list[str]:
    return [run.id for run in runs]


def _by_filter(filters: dict[str, Any]) -> Script:
    return lambda api: (ids(api.runs(MANY, filters)), len(api.runs(MANY, filters)))


def _by_order(order: str) -> Script:
    return lambda api: ids(api.runs(MANY, order=order))


SCRIPTS: Final[dict[str, Script]] = {
    f"filter {filters}": _by_filter(filters) for filters in FILTERS
}
SCRIPTS.update({f"order {order}": _by_order(order) for order in ORDERS})


def script(function: Script) -> Script:
    SCRIPTS[function.__name__] = function
    return function


@script
def order_may_be_empty(api: Any) -> Any:
    return ids(api.runs(MANY, order="")), api.runs(MANY, order="").order


@script
def a_filter_of_none_is_none(api: Any) -> Any:
    runs = api.runs(HARD, filters=None)
    return runs.filters, runs.order, runs.per_page, runs.entity, runs.project, len(runs)


@script
def nothing_is_loaded_before_it_is_used(api: Any) -> Any:
    runs = api.runs(MANY, per_page=7)
    before = (runs.objects, runs.index, runs.more, runs.cursor, runs.last_response)
    first = runs[0].id
    return before, first, len(runs.objects), runs.more


@script
def pages_are_loaded_as_far_as_needed(api: Any) -> Any:
    runs = api.runs(MANY, {"state": {"$ne": "x"}}, per_page=7)
    seen = []
    for index in (0, 6, 7, 20, 3):
        seen.append((runs[index].id, len(runs.objects)))
    return seen


@script
def negative_indexes_see_what_is_loaded(api: Any) -> Any:
    runs = api.runs(MANY, {"state": {"$ne": "y"}}, per_page=7)
    return runs[3].id, runs[-1].id, len(runs.objects), ids(runs[-3:10])


@script
def a_negative_index_of_nothing_is_an_error(api: Any) -> Any:
    return api.runs(MANY, {"state": {"$ne": "z"}}, per_page=7)[-1]


@script
def an_index_past_the_end_is_an_error(api: Any) -> Any:
    return api.runs(HARD)[1000]


@script
def slices_are_lists(api: Any) -> Any:
    runs = api.runs(MANY, {"state": {"$ne": "q"}}, per_page=5)
    return [
        type(runs[:3]).__name__,
        ids(runs[:3]),
        ids(runs[4:9]),
        ids(runs[2:20:4]),
        len(runs.objects),
    ]


@script
def an_open_slice_is_an_error(api: Any) -> Any:
    return ids(api.runs(MANY, {"state": {"$ne": "r"}})[3:])


@script
def iterating_again_starts_again(api: Any) -> Any:
    runs = api.runs(HARD)
    return ids(runs) == ids(runs), [
        run is again for run, again in zip(list(runs), list(runs), strict=True)
    ]


@script
def next_goes_on_where_it_was(api: Any) -> Any:
    runs = api.runs(MANY, per_page=3)
    iter(runs)
    return [next(runs).id for _ in range(5)], runs.next().id, runs.index


@script
def an_iterator_ends(api: Any) -> Any:
    runs = api.runs(EMPTY)
    return list(runs), len(runs), runs.more, bool(runs), next(runs, "nothing")


@script
def the_same_question_is_the_same_listing(api: Any) -> Any:
    one, two = (
        api.runs(HARD, {"state": "finished"}),
        api.runs(HARD, {"state": "finished"}, per_page=3),
    )
    len(one)
    three = api.runs(HARD, {"state": "finished"}, per_page=3)
    return one is two, one is three, three.per_page, one is api.runs(HARD)


@script
def flush_forgets_listings(api: Any) -> Any:
    one = api.runs(HARD, {"state": "failed"})
    len(one)
    api.flush()
    return one is api.runs(HARD, {"state": "failed"})


@script
def lazy_runs_have_the_light_fields(api: Any) -> Any:
    api.flush()
    run = api.runs(HARD, {"name": "order"})[0]
    light = sorted(run._attrs)
    missing = [hasattr(run, name) for name in ("history_keys", "system_metrics", "historyKeys")]
    run.config  # noqa: B018 - loads the rest
    return light, missing, sorted(run._attrs), hasattr(run, "history_keys")


@script
def full_runs_have_all_fields(api: Any) -> Any:
    api.flush()
    run = api.runs(HARD, {"name": "order"}, lazy=False)[0]
    return sorted(run._attrs.items())


@script
def a_lazy_listing_can_be_upgraded(api: Any) -> Any:
    api.flush()
    runs = api.runs(HARD, per_page=4)
    first = runs[0]
    runs.upgrade_to_full()
    return "config" in first._attrs, [("config" in run._attrs) for run in runs]


@script
def asking_for_full_upgrades_a_lazy_listing(api: Any) -> Any:
    api.flush()
    lazy = api.runs(HARD)
    lazy[0]  # an empty listing is not kept
    full = api.runs(HARD, lazy=False)
    return lazy is full, "config" in lazy.objects[0]._attrs


@script
def sweeps_can_be_included(api: Any) -> Any:
    api.flush()
    return [(run.id, run.sweep and run.sweep.id) for run in api.runs(HARD, include_sweeps=True)]


@script
def a_run_edited_by_hand_keeps_the_edit(api: Any) -> Any:
    api.flush()
    run = api.runs(HARD)[0]
    run.tags.append("mine")
    run.name = "renamed"
    run.notes = "a note"
    again = api.runs(HARD)[0]
    seen = (again.tags, again.name, again.notes, again.display_name)
    api.flush()
    return seen


@script
def listings_have_a_look(api: Any) -> Any:
    return (
        repr(api.runs(HARD)),
        repr(api.projects("team")),
        repr(api.project("hard", "team").sweeps()),
    )
