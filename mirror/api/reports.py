"""Reports of a project (views of type "runs"): Reports and BetaReport."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mirror.api.attrs import Attrs, iframe
from mirror.api.paginator import SizedPaginator
from mirror.api.query_generator import QueryGenerator
from mirror.jsontext import loads

if TYPE_CHECKING:
    from mirror.api.projects import Project
    from mirror.api.runs import Runs
    from mirror.api.source import Source

__all__ = ["BetaReport", "Reports"]

_FIELDS = (
    "id", "name", "displayName", "description", "user", "spec", "updatedAt", "createdAt",
)  # fmt: skip


class Reports(SizedPaginator["BetaReport"]):
    """The reports of a project, loaded page by page. `len()` counts those loaded so far."""

    def __init__(
        self,
        service_api: Source,
        project: Project,
        name: str | None = None,
        entity: str | None = None,
        per_page: int = 50,
    ) -> None:
        self.project = project
        self.name = name
        self._found: list[Mapping[str, Any]] | None = None
        variables = {"project": project.name, "entity": project.entity, "viewName": name}
        super().__init__(service_api, variables, per_page)

    @property
    def _length(self) -> int | None:
        return None if self._found is None else len(self.objects)

    @property
    def more(self) -> bool:
        """Whether there are more reports to load."""
        return self._found is None or len(self.objects) < len(self._found)

    @property
    def cursor(self) -> str | None:
        """A text that marks where the loaded reports end; None before the first page."""
        return str(len(self.objects)) if self._found is not None else None

    def update_variables(self) -> None:
        """Note in `variables` where the next page begins."""
        self.variables.update({"reportCursor": self.cursor, "reportLimit": self.per_page})

    def _update_response(self) -> None:
        if self._found is not None:
            return
        found = self._service_api.views(self.project.entity, self.project.name)
        if found is None:
            raise ValueError(
                f"Project {self.project.name} does not exist under entity {self.project.entity}"
            )
        self._found = [node for node in found if self.name in (None, node.get("name"))]

    def convert_objects(self) -> list[BetaReport]:
        """Return the next page of reports."""
        start = len(self.objects)
        page = (self._found or [])[start : start + self.per_page]
        entity, project = self.project.entity, self.project.name
        return [
            BetaReport(
                self._service_api, {name: node.get(name) for name in _FIELDS}, entity, project
            )
            for node in page
        ]

    def __repr__(self) -> str:
        return f"<Reports {'/'.join(self.project.path)}>"


class BetaReport(Attrs):
    """A report: its texts, times, `spec`, and the runs of its sections."""

    def __init__(
        self,
        service_api: Source,
        attrs: dict[str, Any],
        entity: str | None = None,
        project: str | None = None,
    ) -> None:
        super().__init__(attrs)
        self._service_api = service_api
        self.project = project
        self.entity = entity
        self.query_generator = QueryGenerator()
        spec = self._attrs.setdefault("spec", {})
        if isinstance(spec, str):
            self._attrs["spec"] = loads(spec)

    @property
    def spec(self) -> dict[str, Any]:
        """The report's contents, as the app keeps them."""
        found: dict[str, Any] = self._attrs["spec"]
        return found

    @property
    def sections(self) -> Any:
        """The panel groups. Raises KeyError for reports of the newer kind, which have none."""
        return self.spec["panelGroups"]

    def runs(self, section: dict[str, Any], per_page: int = 50, only_selected: bool = True) -> Runs:
        """Return the runs that a section shows, a lazy listing; `only_selected` leaves out hidden ones."""
        from mirror.api.runs import Runs

        run_set = section["runSets"][section.get("openRunSet", 0)]
        key = self.query_generator.key_to_server_path(run_set["sort"]["key"])
        order = ("+" if run_set["sort"].get("ascending") else "-") + key
        filters = self.query_generator.filter_to_mongo(run_set["filters"])
        if only_selected:
            chosen = {"name": {"$in": run_set["selections"]["tree"]}}
            filters["$or"][0]["$and"].append(chosen)
        return Runs(
            self._service_api,
            str(self.entity),
            str(self.project),
            filters=filters,
            order=order,
            per_page=per_page,
        )

    @property
    def id(self) -> str:
        """The server's global id."""
        return str(self._attrs["id"])

    @property
    def name(self) -> str | None:
        """The internal name."""
        name: str | None = self._attrs.get("name")
        return name

    @property
    def display_name(self) -> str | None:
        """The title."""
        name: str | None = self._attrs.get("displayName")
        return name

    @property
    def description(self) -> str | None:
        """The description."""
        text: str | None = self._attrs.get("description")
        return text

    @property
    def user(self) -> Any:
        """Who made it: a dict with username, photoUrl and email."""
        return self._attrs.get("user")

    @property
    def updated_at(self) -> Any:
        """When it was last changed, as the server says it."""
        return self._attrs.get("updatedAt")

    @property
    def created_at(self) -> Any:
        """When it was made, as the server says it."""
        return self._attrs.get("createdAt")

    @property
    def url(self) -> str | None:
        """The address of the report's page; None where a part of it is not known."""
        if not (self.entity and self.project and self.display_name and self.id):
            return None
        title = re.sub("-+", "-", re.sub(r"\W", "-", self.display_name)).strip("-")
        page = f"{quote(title)}--{self.id.replace('=', '')}"
        return f"{self._service_api.app_url}{self.entity}/{self.project}/reports/{page}"

    def to_html(self, height: int = 1024, hidden: bool = False) -> str:
        """Return HTML that shows the report's page in a frame."""
        url = self.url
        if url is None:
            return "<div>Report URL not available</div>"
        return iframe(url, height, hidden, "report")

    def _repr_html_(self) -> str:
        return self.to_html()
