"""`mirror.Api`: the drop-in for `wandb.Api`, answered from the mirror.

Constructing one opens neither a socket nor a database and loads nothing heavy. Names, order and
defaults of all arguments are those of `wandb.Api` 0.31; our own are keyword-only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from mirror.api.artifact_members import ArtifactMembers
from mirror.api.raising import adapt, normalized
from mirror.api.refused import Refused
from mirror.api.source import Source
from mirror.config import Config, resolve
from mirror.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from mirror.api.client import RawClient
    from mirror.api.projects import Project, Projects
    from mirror.api.queues import QueuedRun, RunQueue
    from mirror.api.reports import Reports
    from mirror.api.runs import Run, Runs
    from mirror.api.sweeps import Sweep
    from mirror.api.users import Organization, Team, User
    from mirror.store.store import Store

__all__ = ["Api"]

_WANDB = "0.31.0"
"""The version of the client whose members these are."""

Mode = Literal["auto", "offline", "online"]


class Api(ArtifactMembers, Refused):
    """Reads runs, projects, sweeps and more from the mirror, as `wandb.Api` reads them from the server.

    >>> import mirror
    >>> api = mirror.Api(store="mirror.db", mode="offline")
    >>> best = api.runs("team/vision", {"state": "finished"}, order="-summary_metrics.acc")[0]
    """

    def __init__(
        self,
        overrides: dict[str, Any] | None = None,
        timeout: int | None = None,
        api_key: str | None = None,
        *,
        mode: Mode | None = None,
        max_age: float | timedelta | None = None,
        config: str | os.PathLike[str] | Config | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        partial: bool = False,
        read_through: Literal["sync", "page"] = "sync",
    ) -> None:
        """Settle where answers come from; nothing is opened.

        Args:
            overrides: `base_url`, `entity`, `project`, `run` and `organization` to use instead of the
                configured ones.
            timeout: seconds to wait for the server, retries included; None: as configured.
            api_key: the key; None: WANDB_API_KEY, else netrc. Offline none is needed.
            mode: "auto" answers from the mirror and asks the server for what it lacks; "offline" never
                opens a connection; "online" refreshes first. None: MIRROR_MODE, else mirror.toml.
            max_age: seconds (or a timedelta) an answer may be old. Older ones are refreshed first;
                offline they raise StaleError.
            config: the path of a mirror.toml, or a resolved Config.
            store: a file path, a SQLAlchemy URL, or an open Store; None: as configured.
            partial: answer from projects whose first sync has not ended.
            read_through: what `runs()` does in auto mode with a project that is not mirrored: "sync" it
                first, or answer "page" by page from the server.

        Raises:
            ConfigError: a setting is wrong.
        """
        overrides = dict(overrides or {})
        found = _config(config, store, overrides.get("base_url"), api_key, mode)
        if max_age is not None:
            seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else float(max_age)
            found = replace(found, max_age_s=seconds)
        if read_through not in ("sync", "page"):
            raise ConfigError('"sync" or "page" is expected', where="argument read_through")
        self.settings: dict[str, Any] = {
            "base_url": found.base_url,
            "entity": found.entity,
            "project": found.project,
            "organization": None,
            **overrides,
        }
        self.settings["base_url"] = found.base_url
        self.api_key = found.api_key
        self._service_api = Source(
            found,
            store=None if isinstance(store, str | os.PathLike) else store,
            partial=partial,
            by_page=read_through == "page",
            timeout_s=timeout,
        )
        self._viewer: User | None = None
        self._default_entity: str | None = None
        self._runs: dict[str, Any] = {}
        self._projects: dict[str, Projects] = {}
        self._sweeps: dict[str, Sweep] = {}
        self._reports: dict[str, Reports] = {}

    def __repr__(self) -> str:
        return f"<Api {self._service_api.mode} {self.settings['base_url']}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "api_key": None}  # a pickle is no place for a key

    # -------------------------------------------------------------- who and where

    @property
    def client(self) -> RawClient:
        """Raw GraphQL against the server: `api.client.execute(document, variable_values)`."""
        from mirror.api.client import RawClient

        return RawClient(self._service_api)

    @property
    def mode(self) -> str:
        """How answers are found: "auto", "offline" or "online"."""
        return self._service_api.mode

    @property
    def user_agent(self) -> str:
        """The name under which `wandb.Api` speaks to the server."""
        return f"W&B Public Client {_WANDB}"

    @property
    def default_entity(self) -> str | None:
        """The entity of paths that name none: the viewer's; None where it has none.

        Offline it is the one noted at the last sync; None where there was none.
        """
        if self._default_entity is None:
            viewer = self._service_api.viewer()
            self._default_entity = (viewer or {}).get("entity")
        return self._default_entity

    @property
    def viewer(self) -> User:
        """The user the key belongs to; offline the one noted at the last sync.

        Raises ValueError where the server says the key is nobody's, NotMirrored offline where no
        sync noted one.
        """
        if self._viewer is None:
            from mirror.api.users import User, user_attrs

            node = self._service_api.viewer(needed=True)
            if node is None:
                raise ValueError(
                    "Unable to fetch user data from W&B, please verify your API key is valid."
                )
            self._viewer = User(self._service_api, user_attrs(node), api_key=self.api_key)
            self._default_entity = node.get("entity")
        return self._viewer

    def flush(self) -> None:
        """Forget the runs and listings of runs held by this object; the mirror keeps its own."""
        self._runs = {}

    # -------------------------------------------------------------- paths

    def _entity(self) -> str | None:
        entity: str | None = self.settings["entity"] or self.default_entity
        return entity

    def _project_path(self, path: str | None) -> tuple[str | None, str]:
        if path is not None and "/" in path:
            entity, _, project = path.partition("/")
            return entity, project
        project = self.settings["project"] or "uncategorized"
        return self._entity(), project if path is None else path

    def _path(self, path: str) -> tuple[str, str, str]:
        """Entity, project and id of a run or sweep, in any spelling. Raises ValueError."""
        text = path.replace("/runs/", "/").replace("/sweeps/", "/").strip("/ ")
        parts = text.split("/") if text else []
        if len(parts) in (1, 2) and ":" in parts[-1]:
            parts[-1:] = parts[-1].split(":", 1)
        if len(parts) > 3:
            parts = []
        known: list[str | None] = [None, self.settings["project"], None]
        known[3 - len(parts) :] = parts
        if len(parts) < 3:
            known[0] = self._entity()
        entity, project, name = (part and part.strip() for part in known)
        if not entity:
            raise ValueError(f"Invalid path: {path!r} (missing entity)")
        if not project:
            raise ValueError(f"Invalid path: {path!r} (missing project)")
        if not name:
            raise ValueError(f"Invalid path: {path!r}")
        return entity, project, name

    def from_path(self, path: str) -> Any:
        """Return what a path names: a Project, Run, Sweep or BetaReport.

        Raises UsageError (an Error of wandb where wandb is loaded) for a path that names nothing.
        """
        parts = path.strip("/ ").split("/")
        if len(parts) == 1:
            return self.project(path)
        if len(parts) == 2:
            return self.project(parts[1], parts[0])
        if len(parts) == 3:
            return self.run(path)
        if len(parts) == 4:
            kind = parts[2]
            if kind.startswith("run"):
                return self.run(path)
            if kind.startswith("sweep"):
                return self.sweep(path)
            if kind.startswith("report"):
                return self._report(parts)
        raise adapt(
            UsageError(
                "Invalid path, should be TEAM/PROJECT/TYPE/ID where TYPE is runs, sweeps, or reports"
            )
        )

    def _report(self, parts: list[str]) -> Any:
        from mirror.api.reports import BetaReport

        last = parts[3]
        if "--" not in last:
            if "-" in last:
                raise adapt(
                    UsageError("Invalid report path, should be team/project/reports/Name--XXXX")
                )
            last = f"--{last}"
        name, report = last.split("--")
        attrs = {"displayName": unquote(name.replace("-", " ")), "id": report, "spec": "{}"}
        return BetaReport(self._service_api, attrs, parts[0], parts[1])

    # -------------------------------------------------------------- projects, runs, sweeps

    def projects(self, entity: str | None = None, per_page: int = 200) -> Projects:
        """Return the projects of an entity, a lazy listing; the same object for the same entity.

        From the server in auto mode, kept; offline the mirrored ones. Raises ValueError without an
        entity, NotMirrored offline when none of its projects is mirrored.
        """
        from mirror.api.projects import Projects

        entity = self._needed_entity(entity)
        if entity not in self._projects:
            self._projects[entity] = Projects(self._service_api, entity, per_page=per_page)
        return self._projects[entity]

    def _needed_entity(self, entity: str | None) -> str:
        entity = self._entity() if entity is None else entity
        if entity is None:
            raise ValueError("entity must be passed as a parameter, or set in settings")
        return entity

    def project(self, name: str, entity: str | None = None) -> Project:
        """Return a project. Nothing is read before an attribute is asked for; it never fails itself."""
        from mirror.api.artifact_names import is_registry
        from mirror.api.projects import Project

        if is_registry(name):  # it belongs to the organization, which is named by either name
            entity = self._organization_entity(entity)
        elif entity is None:
            entity = self._entity()
        return Project(self._service_api, entity, name, {})  # type: ignore[arg-type]

    def runs(
        self,
        path: str | None = None,
        filters: dict[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = False,
        lazy: bool = True,
    ) -> Runs:
        """Return the runs of a project that match a filter, a lazy listing answered from the mirror.

        The same path, filters and order give the same object until `flush()`.

        Args:
            path: "entity/project", or a project of the default entity.
            filters: W&B's MongoDB-style filters, such as `{"config.lr": {"$gt": 0.1}}`.
            order: a sign and a key, such as "-summary_metrics.acc" or "+created_at".
            per_page: runs a page.
            include_sweeps: whether each run gets its sweep at once.
            lazy: whether documents are read only when touched.

        Raises (at the first use of the listing):
            ValueError: there is no such project. QueryError: the filter or order is wrong.
            NotMirrored, StaleError: offline, the mirror cannot answer.
        """
        from mirror.api.runs import Runs

        entity, project = self._project_path(path)
        filters = filters or {}
        key = f"{path or ''}{filters}{order}"
        held = self._runs.get(key)
        if held:
            if not lazy and held._lazy:
                held.upgrade_to_full()
            return held  # type: ignore[no-any-return]
        self._runs[key] = runs = Runs(
            self._service_api,
            entity,  # type: ignore[arg-type]
            project,
            filters=filters,
            order=order,
            per_page=per_page,
            include_sweeps=include_sweeps,
            lazy=lazy,
            api_key=self.api_key,
        )
        return runs

    @normalized
    def run(self, path: str = "") -> Run:
        """Return one run: "entity/project/run_id", or shorter with defaults.

        The same path gives the same object until `flush()`. Read through in auto mode.

        Raises:
            CommError: there is no such run (`exc` is a RunNotFoundError), or the path is no path.
            NotMirrored: offline, and the mirror cannot know.
        """
        from mirror.api.runs import Run

        entity, project, name = self._path(path)
        if not self._runs.get(path):
            self._runs[path] = Run(
                self._service_api, entity, project, name, lazy=False, api_key=self.api_key
            )
        found: Run = self._runs[path]
        return found

    @normalized
    def sweep(self, path: str = "") -> Sweep:
        """Return one sweep: "entity/project/sweep_id", or shorter with defaults.

        Read through in auto mode. Raises CommError where there is none, NotMirrored offline when the
        mirror cannot know.
        """
        from mirror.api.sweeps import Sweep

        entity, project, name = self._path(path)
        if not self._sweeps.get(path):
            self._sweeps[path] = Sweep(self._service_api, entity, project, name)
        return self._sweeps[path]

    def reports(self, path: str = "", name: str | None = None, per_page: int = 50) -> Reports:
        """Return the reports of a project, a lazy listing; `name` chooses by internal name.

        Mirrored by sync, read through in auto mode. A missing project raises ValueError when it is read.
        """
        from mirror.api.projects import Project
        from mirror.api.reports import Reports

        entity, project, _ = self._path(f"{path}/fake_run")
        name = unquote(name) if name else name
        key = "/".join([entity, project, *([name] if name else [])])
        if key not in self._reports:
            owner = Project(self._service_api, entity, project, {})
            self._reports[key] = Reports(self._service_api, owner, name=name, per_page=per_page)
        return self._reports[key]

    # -------------------------------------------------------------- people

    def user(self, username_or_email: str) -> User | None:
        """Return the user found by name or e-mail address; None where there is none.

        Read through and kept; offline and never asked: the users that runs of the mirror name.
        """
        found = self.users(username_or_email)
        if len(found) > 1:
            from mirror.api.notices import warn

            warn(f"Found multiple users, returning the first user matching {username_or_email!r}")
        return found[0] if found else None

    def users(self, username_or_email: str) -> list[User]:
        """Return all users that a search by name or e-mail address finds; [] for none."""
        from mirror.api.users import User, user_attrs

        nodes = self._service_api.users(username_or_email)
        return [User(self._service_api, user_attrs(node), api_key=self.api_key) for node in nodes]

    def team(self, team: str) -> Team:
        """Return a team with its members. Raises KeyError('members') where there is none.

        Mirrored by sync, read through in auto mode. Raises NotMirrored offline when it was never read.
        """
        from mirror.api.users import Team

        return Team(self._service_api, team)

    @normalized
    def organization(self, name: str | None = None) -> Organization:
        """Return an organization by name, else the configured one, else that of the default entity.

        Read through and kept. Raises CommError where there is none, NotMirrored offline when it was
        never read.
        """
        from mirror.api.users import Organization, OrgEntity

        wanted = name or self.settings.get("organization")
        node = self._service_api.organization(wanted, None if wanted else self._entity())
        if node is None:
            raise ValueError(f"Organization {wanted!r} not found.")
        entity = node["orgEntity"]
        return Organization(node["id"], node["name"], OrgEntity(entity["id"], entity["name"]))

    # -------------------------------------------------------------- automations, queues

    def automation(self, name: str, *, entity: str | None = None) -> Any:
        """Return the one automation of that name. Raises ValueError for none and for several."""
        found = list(self.automations(entity=entity, name=name))
        if not found:
            raise ValueError("No automations found")
        if len(found) > 1:
            raise ValueError("Multiple automations found")
        return found[0]

    def automations(
        self,
        entity: str | None = None,
        *,
        name: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> Iterator[Any]:
        """Return the automations of an entity, else all that the viewer may see; lazy.

        Read through and kept. Raises NotMirrored offline when they were never read.
        """
        from mirror.api.automations import Automations, EntityAutomations

        if entity is None:
            return Automations(self._service_api, name=name, per_page=per_page, start=start)
        filter = {"name": name} if name else None
        return EntityAutomations(
            self._service_api, entity, filter=filter, per_page=per_page, start=start
        )

    def integrations(
        self, entity: str | None = None, *, per_page: int = 50, start: str | None = None
    ) -> Iterator[Any]:
        """Return the Slack and webhook integrations of an entity; lazy, read through and kept."""
        from mirror.api.automations import Integrations

        variables = {"entity": entity or self._entity()}
        return Integrations(self._service_api, variables, per_page=per_page, start=start)

    def webhook_integrations(
        self, entity: str | None = None, *, per_page: int = 50, start: str | None = None
    ) -> Iterator[Any]:
        """Return the webhook integrations of an entity; lazy, read through and kept."""
        from mirror.api.automations import WebhookIntegrations

        variables = {"entity": entity or self._entity()}
        return WebhookIntegrations(self._service_api, variables, per_page=per_page, start=start)

    def slack_integrations(
        self, *, entity: str | None = None, per_page: int = 50, start: str | None = None
    ) -> Iterator[Any]:
        """Return the Slack integrations of an entity; lazy, read through and kept."""
        from mirror.api.automations import SlackIntegrations

        variables = {"entity": entity or self._entity()}
        return SlackIntegrations(self._service_api, variables, per_page=per_page, start=start)

    def run_queue(self, entity: str, name: str) -> RunQueue:
        """Return a run queue; nothing is read before an attribute is asked for. Read through and kept."""
        from mirror.api.queues import RunQueue

        return RunQueue(self._service_api, name, entity)

    def queued_run(
        self,
        entity: str,
        project: str,
        queue_name: str,
        run_queue_item_id: str,
        project_queue: str | None = None,
        priority: int | None = None,
    ) -> QueuedRun:
        """Return an item of a run queue; nothing is read before an attribute is asked for."""
        from mirror.api.queues import QueuedRun

        return QueuedRun(
            self._service_api,
            entity,
            project,
            queue_name,
            run_queue_item_id,
            project_queue=project_queue,
            priority=priority,
        )

    def sync_tensorboard(
        self,
        root_dir: str,
        run_id: str | None = None,
        project: str | None = None,
        entity: str | None = None,
    ) -> Run:
        """Upload a folder of TensorBoard event files as a run, by the package `wandb`; return the run.

        Args:
            root_dir: the folder. run_id: the run to write; None: a new one.
            project, entity: where the run goes; None: the configured ones.

        Raises:
            OfflineError: the mode is offline; nothing was sent.
            UnsupportedError: `wandb` is not installed, or is a release whose own method fails, as
                that of 0.31.0 does; nothing was sent.
        """
        if self._service_api.mode == "offline":
            self._service_api.refuse_write("sync_tensorboard")
        from mirror.api.uploads import sync_tensorboard

        sent = sync_tensorboard(
            root_dir,
            run_id=run_id,
            project=project or self.settings["project"],
            entity=entity or self._entity(),
            base_url=self.settings["base_url"],
            api_key=self._service_api.api_key,
        )
        found: Run = self.run("/".join(sent))
        return found


def _config(
    config: str | os.PathLike[str] | Config | None,
    store: Any,
    base_url: str | None,
    api_key: str | None,
    mode: str | None,
) -> Config:
    """The settings: those of the arguments over those of `config`."""
    url = os.fspath(store) if isinstance(store, str | os.PathLike) else None
    if not isinstance(config, Config):
        return resolve(store=url, base_url=base_url, api_key=api_key, config=config, mode=mode)
    given: dict[str, Any] = {"store": url, "base_url": base_url, "api_key": api_key, "mode": mode}
    if mode is not None and mode not in ("auto", "offline", "online"):
        raise ConfigError('"auto", "offline" or "online" is expected', where="argument mode")
    return replace(config, **{name: value for name, value in given.items() if value is not None})
