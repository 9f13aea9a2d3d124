"""What every resolver is given besides its arguments: the world, who asks, and today's faults."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mirror.sandbox.connections import Page, Refused, page_of
from mirror.sandbox.faults import Fault, Poisoned
from mirror.sandbox.listing import Listings, parse_filters
from mirror.sandbox.matcher import SPELLINGS, FilterError, compile_filter
from mirror.sandbox.objects import Project, Run, RunDocument, User
from mirror.sandbox.world import World

Args = dict[str, Any]


@dataclass(slots=True)
class Context:
    world: World
    user: User | None
    base_url: str
    operation: str = ""
    faults: Sequence[Fault] = field(default_factory=list)

    def page(self, name: str, rows: Sequence[Any], args: Args, *, cap: int | None = None) -> Page:
        """Return a page of the connection that stands at the field `name`. Raises Refused."""
        faults = [fault for fault in self.faults if fault.target in ("*", self.operation, name)]
        status = {"refuse": 400, "fail": 500}.get(self.world.over_cap)
        cap = cap or self.world.page_cap
        return page_of(rows, args, cap=cap, over_cap=status, faults=faults)

    def project(self, entity: str | None, name: str | None) -> Project | None:
        """Return a project the user may see."""
        if entity is None and self.user is not None and self.user.default_entity is not None:
            entity = self.user.default_entity.name
        found = self.world.projects.get(f"{entity}/{name}")
        return found if found is not None and self.world.visible(found, self.user) else None

    def visible(self, projects: Sequence[Project]) -> list[Project]:
        return [one for one in projects if self.world.visible(one, self.user)]

    def listings(self, project: Project) -> Listings:
        if project.listings is None:
            project.listings = Listings(project)
        assert isinstance(project.listings, Listings)
        return project.listings

    def runs(self, project: Project, filters: str | None, order: str | None) -> Sequence[Run]:
        """Return the runs of a project that a filter gives, in order. Raises Refused."""
        try:
            return self.listings(project).runs(*self._updated_at(filters, order or "-created_at"))
        except FilterError as error:
            raise Refused(400, str(error)) from error

    def run_count(self, project: Project, filters: str | None) -> int:
        try:
            filters, _ = self._updated_at(filters, "+created_at")
            return self.listings(project).count(filters)
        except FilterError as error:
            raise Refused(400, str(error)) from error

    def matching(self, runs: Sequence[Run], filters: str | None) -> list[Run]:
        """Return those of some runs that meet a filter, by the matcher alone. Raises Refused."""
        try:
            test = compile_filter(parse_filters(filters))
        except FilterError as error:
            raise Refused(400, str(error)) from error
        return [run for run in runs if test(RunDocument(run))]

    def _updated_at(self, filters: str | None, order: str) -> tuple[str | None, str]:
        """Refuse or leave out `updatedAt` where this world does not filter by it."""
        mentioned = "updated" in (filters or "") or "updated" in order
        if self.world.updated_at != "unfilterable" or not mentioned:
            return filters, order
        if self.world.unfilterable == "fail":
            raise Refused(500, "internal server error")
        return unfiltered(filters, order, refuse=self.world.unfilterable == "error")

    def documents(self, run: Run) -> Run:
        """Return the run, or raise Poisoned if its documents are not to be had."""
        fault = self.world.faults.poison.get(run.name)
        if fault is not None:
            raise Poisoned(fault)
        return run


def unfiltered(filters: str | None, order: str, *, refuse: bool) -> tuple[str, str]:
    """Leave conditions on `updatedAt` out of a filter and an order, or raise FilterError."""
    found: list[str] = []

    def clean(value: Any) -> Any:
        if isinstance(value, list):
            return [clean(item) for item in value]
        if not isinstance(value, dict):
            return value
        found.extend(key for key in value if SPELLINGS.get(key) == "updated_at")
        return {
            key: clean(item) for key, item in value.items() if SPELLINGS.get(key) != "updated_at"
        }

    kept = clean(parse_filters(filters))
    keys = order.split(",")
    left = [key for key in keys if SPELLINGS.get(key.lstrip("+-")) != "updated_at"]
    if refuse and (found or len(left) < len(keys)):
        raise FilterError("updatedAt cannot be used in filters or order")
    return json.dumps(kept), ",".join(left) or "+created_at"
