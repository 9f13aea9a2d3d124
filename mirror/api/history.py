"""Histories of runs, read through the server and kept: sampled rows, and HistoryScan over all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mirror.api.notices import complain, warn

if TYPE_CHECKING:
    from mirror.api.runs import Run
    from mirror.api.source import Source

__all__ = ["HistoryScan", "frame", "sampled"]


def sampled(
    run: Run, samples: int, keys: list[str] | None, x_axis: str, pandas: bool, stream: str
) -> Any:
    """Return a sampled history (`Run.history`). A bad argument is said on stderr and gives []."""
    problem = _problem(keys, stream)
    if problem is not None:
        complain(problem)
        return []
    rows = run._service_api.history(run, samples, keys, x_axis, stream)
    if not pandas:
        return rows
    try:
        import pandas as pd
    except ImportError:
        warn("Unable to load pandas, call history with pandas=False")
        return rows
    return pd.DataFrame.from_records(rows)


def _problem(keys: Any, stream: str) -> str | None:
    if keys is not None and not isinstance(keys, list):
        return "keys must be specified in a list"
    if keys and not isinstance(keys[0], str):
        return "keys argument must be a list of strings"
    if keys and stream != "default":
        return "stream must be default when specifying keys"
    return None


def frame(runs: Sequence[list[dict[str, Any]]], format: str) -> Any:
    """Return the rows of several runs as one list, or as a frame with sorted columns."""
    if format == "default":
        return [row for rows in runs for row in rows]
    if format == "pandas":
        import pandas as pd

        if not runs:
            return pd.DataFrame()
        joined = pd.concat([pd.DataFrame.from_records(rows) for rows in runs])
        joined.reset_index(drop=True, inplace=True)
        return joined[sorted(joined.columns)]
    import polars as pl  # type: ignore[import-not-found,unused-ignore]

    if not runs:
        return pl.DataFrame()
    joined = pl.concat([pl.from_records(rows) for rows in runs], how="vertical")
    return joined.select(sorted(joined.columns))


class HistoryScan:
    """An iterator over the rows of a history, a window of steps at a time."""

    def __init__(
        self,
        run: Run,
        *,
        service_api: Source,
        min_step: int,
        max_step: int,
        keys: list[str] | None = None,
        page_size: int = 1000,
        use_cache: bool = True,
    ) -> None:
        self.run = run
        self.min_step = min_step
        self.keys = keys
        self.page_size = page_size
        self._stop_step = max_step
        self._service_api = service_api
        self._use_cache = use_cache
        self._restart()

    def _restart(self) -> None:
        self.scan_offset = 0
        self.page_offset = self.min_step
        self.rows: list[dict[str, Any]] = []

    @property
    def max_step(self) -> int:
        """The last step that can be returned."""
        return self._stop_step - 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._restart()
        return self

    def __next__(self) -> dict[str, Any]:
        while self.scan_offset >= len(self.rows):
            if self.page_offset >= self._stop_step:
                raise StopIteration
            self._load_next()
        row = self.rows[self.scan_offset]
        self.scan_offset += 1
        return row

    def _load_next(self) -> None:
        stop = min(self.page_offset + self.page_size, self._stop_step)
        found = self._service_api.history_rows(
            self.run, self.page_offset, stop, use_cache=self._use_cache
        )
        rows: list[dict[str, Any]] = [_whole(row) for row in found]
        self.rows = rows if self.keys is None else _with_keys(rows, self.keys)
        self.page_offset += self.page_size
        self.scan_offset = 0


def _with_keys(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that have all keys, and of them only these and the step."""
    wanted = dict.fromkeys(["_step", *keys])
    found = []
    for row in rows:
        values = {key: _value(row, key) for key in wanted}
        if all(values[key] is not _MISSING for key in keys):
            found.append({key: value for key, value in values.items() if value is not _MISSING})
    return found


_MISSING: Any = object()


def _value(row: Any, key: str) -> Any:
    """The value of a metric; one with dots may be an object's part."""
    if key in row:
        return row[key]
    first, dot, rest = key.partition(".")
    if dot and isinstance(row.get(first), dict):
        return _value(row[first], rest)
    return _MISSING


def _whole(value: Any) -> Any:
    """Whole numbers below a million as integers, as the reader of the real client's scans gives them."""
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) < 1e6 else value
    if kind is dict:
        return {key: _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if kind is list else value


def spec_of(keys: Sequence[str], x_axis: str, samples: int) -> str:
    """The specification of a sampled history, as the server takes it."""
    return json.dumps({"keys": [x_axis, *keys], "samples": samples})
