"""Trouble on order: what a server does on its bad days, for chosen requests and a number of times.

`Faults.add` is what `World.fail` passes on. A fault is asked twice about a request: before it is
executed (`Fault.refuses`, latency) and when its pages and its answer are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mirror.sandbox.requests import named

if TYPE_CHECKING:
    from mirror.sandbox.world import World


class Poisoned(Exception):
    """An answer would hold the documents of a poisoned run."""

    def __init__(self, fault: Fault) -> None:
        super().__init__("internal error")
        self.fault = fault


@dataclass(slots=True)
class Fault:
    """One kind of trouble; unset parts do nothing. See `Faults.add`."""

    target: str
    times: int | None = None
    skip: int = 0
    status: int | None = None
    retry_after: float | str | None = None
    message: str = "the server is not well"
    latency_s: float = 0.0
    errors: list[dict[str, Any]] | None = None
    drop: Literal["connection", "body"] | None = None
    truncate: bool = False
    corrupt: bool = False
    trickle_s: float = 0.0
    poisoned: str | None = None
    empty: bool = False
    short: int | None = None
    stuck: bool = False
    null_nodes: int = 0
    struck: int = 0

    def takes(self) -> bool:
        """Tell whether it strikes this time, and count."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self.struck += 1
        return True


@dataclass(slots=True)
class Hook:
    target: str
    countdown: int
    do: Callable[[World], object]


class Faults:
    """The faults and hooks of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._faults: list[Fault] = []
        self._hooks: list[Hook] = []
        self.poison: dict[str, Fault] = {}
        self.struck = 0
        self.clock_skew_s = 0.0

    def add(self, target: str = "*", *, clock_skew_s: float | None = None, **fault: Any) -> None:
        """Let requests for `target` fail: an operation's name, a field at the root or one below, "*".

        Files that are fetched or put are the operation "files". What artifacts have can be meant
        more closely: "storage" (by signed URL), "by_key" (the paths /artifacts and /artifactsV2),
        "manifests", "artifact_files" (all other files), "PUT", or the hex digest of one file.

        times, skip        how often (None: until `heal`), after letting `skip` requests pass
        status             that HTTP status with the error envelope; retry_after adds the header
        latency_s          wait before answering; alone, or with another fault
        errors             GraphQL errors under 200: a list of objects, or one message
        drop               "connection": close without an answer; "body": in the middle of it
        truncate           200 with JSON, or a file, cut in the middle; the length is that of the rest
        corrupt            a file comes whole, with its first byte wrong
        trickle_s          the body comes in pieces, over so many seconds
        poisoned           a run's name: answers holding its documents fail with `status` (500)
        empty, short       a page with no rows, or with so many, that says there are more
        stuck              an empty page whose cursor does not move
        null_nodes         so many nodes of a page are null
        clock_skew_s       the Date header is off by so many seconds (for all requests)
        """
        if clock_skew_s is not None:
            self.clock_skew_s = clock_skew_s
        if isinstance(fault.get("errors"), str):
            fault["errors"] = [{"message": fault["errors"]}]
        if not fault:
            return
        made = Fault(target, **fault)
        if made.poisoned is not None:
            made.status = made.status or 500
            self.poison[made.poisoned] = made
        else:
            self._faults.append(made)

    def on_page(self, target: str, page: int, do: Callable[[World], object]) -> None:
        self._hooks.append(Hook(target, page, do))

    def clear(self) -> None:
        self._faults.clear()
        self._hooks.clear()
        self.poison.clear()
        self.clock_skew_s = 0.0

    def strike(self, operation: str, fields: Iterable[str]) -> list[Fault]:
        """Return the faults that strike this request, and run the hooks that are due."""
        fields = frozenset(fields)
        for hook in list(self._hooks):
            if named(hook.target, operation, fields):
                hook.countdown -= 1
                if hook.countdown == 0:
                    self._hooks.remove(hook)
                    hook.do(self._world)
        found = [f for f in self._faults if named(f.target, operation, fields) and f.takes()]
        self.struck += len(found)
        return found
