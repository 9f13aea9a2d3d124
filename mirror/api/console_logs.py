"""Console output of a run, from the server page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mirror import instants
from mirror.api.paginator import Paginator
from mirror.api.raising import normalized

if TYPE_CHECKING:
    from mirror.api.runs import Run
    from mirror.api.source import Source

__all__ = ["ConsoleLogLine", "ConsoleLogs"]


@dataclass(frozen=True)
class ConsoleLogLine:
    """One line: its number, time (UTC, or None), level ("error" is stderr), label and text."""

    number: int
    timestamp: datetime | None
    level: str
    label: str
    content: str


class ConsoleLogs(Paginator[ConsoleLogLine]):
    """The lines of a run's console output, oldest first; with `last` only so many, the newest."""

    def __init__(
        self, service_api: Source, run: Run, per_page: int = 1000, last: int | None = None
    ) -> None:
        self.run = run
        self._tail = last
        super().__init__(service_api, {}, per_page)

    def _connection(self) -> dict[str, Any]:
        run = ((self.last_response or {}).get("project") or {}).get("run") or {}
        found: dict[str, Any] = run.get("logLines") or {}
        return found

    @property
    def more(self) -> bool:
        """Whether there are more lines to load."""
        if self.last_response is None:
            return True
        info = self._connection().get("pageInfo") or {}
        return self._tail is None and bool(info.get("hasNextPage") and info.get("endCursor"))

    @property
    def cursor(self) -> str | None:
        """Where the next page begins; None before the first."""
        info = self._connection().get("pageInfo") or {}
        return info.get("endCursor") or None

    def update_variables(self) -> None:
        """Do nothing: the place is kept with the last page."""

    @normalized
    def _update_response(self) -> None:
        if self._tail is not None:
            asked = {"last": self._tail}
            self.last_response = self._service_api.of_run(self.run, "MirrorLogTail", **asked)
            return
        self.last_response = self._service_api.of_run(
            self.run, "MirrorLogPage", first=self.per_page, after=self.cursor
        )

    def convert_objects(self) -> list[ConsoleLogLine]:
        """Return the lines of the page loaded last."""
        edges = self._connection().get("edges") or []
        return [_line(edge["node"]) for edge in edges]

    def __repr__(self) -> str:
        return f"<ConsoleLogs {self.run.entity}/{self.run.project}/{self.run.id}>"


def _line(node: dict[str, Any]) -> ConsoleLogLine:
    micros = instants.to_us(node.get("timestamp"))
    moment = None if micros is None else datetime.fromtimestamp(micros / 1e6, UTC)
    return ConsoleLogLine(
        number=int(node.get("number") or 0),
        timestamp=moment,
        level=node.get("level") or "",
        label=node.get("label") or "",
        content=node.get("line") or "",
    )
