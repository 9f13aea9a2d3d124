"""The world behind the server: users, entities, projects and runs in memory, and how they change.

Tests and the demo change it through the methods here, clients through `mutations.py`. One lock
guards it: every request and every change holds it.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from mirror.sandbox.artifact_world import ArtifactWorld
from mirror.sandbox.clock import Clock, instant_us, stamp, stamp_of_us
from mirror.sandbox.faults import Faults
from mirror.sandbox.objects import (
    Entity,
    Integration,
    Organization,
    Project,
    QueueItem,
    ResourceConfig,
    Run,
    RunQueue,
    Sweep,
    Trigger,
    User,
    View,
)
from mirror.sandbox.requests import RequestLog

UpdatedAt = Literal["trustworthy", "unfilterable", "frozen"]
UNSET: Final[Any] = object()
ADJECTIVES: Final = ("amber", "brisk", "calm", "dusty", "eager", "fluent", "gentle", "hollow", "icy", "jolly")  # fmt: skip
NOUNS: Final = ("aspen", "brook", "cloud", "dune", "ember", "field", "grove", "hill", "inlet", "jungle")  # fmt: skip
EDITABLE: Final = frozenset(
    {
        "commit", "compute_seconds", "created_at", "display_name", "exitcode", "group", "hidden",
        "host", "job_type", "notes", "state", "stopped", "sweep", "system_metrics", "tags", "user",
    }
)  # fmt: skip


class World:
    """Everything a server knows. `updated_at` is the character of `Run.updatedAt`:

    - "trustworthy": it filters, orders, and moves with every edit (a deletion is none);
    - "unfilterable": it moves, but a filter or order by it is refused with 400
      (`unfilterable="error"`), passes over it ("ignore"), or is answered with 500 ("fail");
    - "frozen": it filters, but edits do not move it.
    """

    def __init__(
        self,
        now: datetime | str | None = None,
        updated_at: UpdatedAt = "trustworthy",
        *,
        unfilterable: Literal["error", "ignore", "fail"] = "error",
        page_cap: int = 1000,
        over_cap: Literal["clamp", "refuse", "fail"] = "clamp",
    ) -> None:
        """Start an empty world at `now`, or by the machine's clock."""
        self.clock = Clock(now)
        self.updated_at: UpdatedAt = updated_at
        self.unfilterable = unfilterable
        self.page_cap = page_cap
        self.over_cap = over_cap
        self.lock = threading.RLock()
        self.users: dict[str, User] = {}
        self.keys: dict[str, User] = {}
        self.entities: dict[str, Entity] = {}
        self.organizations: dict[str, Organization] = {}
        self.projects: dict[str, Project] = {}
        self.features: dict[str, bool] = dict(FEATURES)
        self.faults = Faults(self)
        self.artifacts = ArtifactWorld(self)
        self.requests = RequestLog()
        self.rate_limit_remaining = 1000
        self.rate_limit_reset_s = 60
        self.url_lifetime_s = 3600
        self._secret = secrets.token_bytes(16)
        self._last_number = 100

    # ------------------------------------------------------------------------- time

    @property
    def now(self) -> datetime:
        """The time of the world, an aware datetime."""
        return self.clock.now

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def stamp(self) -> str:
        """Return the time of the world as the server writes it."""
        return stamp(self.clock.now)

    def number(self) -> int:
        """Return the next number for an id."""
        self._last_number += 1
        return self._last_number

    def signed(self, path: str) -> str:
        """Return a path with what lets the bearer fetch it without a key, for `url_lifetime_s`."""
        expires = int(self.now.timestamp()) + self.url_lifetime_s
        return f"{path}?expires={expires}&signature={self._signature(path, expires)}"

    def expire_urls(self) -> None:
        """Let every URL signed so far be expired."""
        self._secret = secrets.token_bytes(16)

    def is_signed(self, path: str, query: str) -> bool:
        """Tell whether a query string lets its bearer fetch a path now."""
        given = dict(pair.partition("=")[::2] for pair in query.split("&"))
        expires = given.get("expires", "")
        if not expires.isdecimal() or int(expires) < self.now.timestamp():
            return False
        return hmac.compare_digest(given.get("signature", ""), self._signature(path, int(expires)))

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode(), "sha256").hexdigest()

    # ------------------------------------------------------------------------- people

    def add_entity(self, name: str, entity_type: str = "team") -> Entity:
        """Return the entity of that name, made if need be."""
        with self.lock:
            if name not in self.entities:
                self.entities[name] = Entity(self.number(), name, entity_type, self.stamp())
            return self.entities[name]

    def add_user(
        self,
        username: str,
        *,
        key: str | None = None,
        entity: str | None = None,
        teams: Iterable[str] = (),
        name: str | None = None,
        email: str | None = None,
        admin: bool = False,
    ) -> User:
        """Add a person with an API key and an entity of their own, and put them into teams."""
        with self.lock:
            user = User(
                self.number(), username, key, name or username.title(),
                email or f"{username}@example.com", self.stamp(), admin=admin,
            )  # fmt: skip
            self.users[username] = user
            if key is not None:
                self.keys[key] = user
            own = self.add_entity(entity or username, "user")
            user.default_entity = own
            own.members[username] = (user, "admin")
            for team in teams:
                self.add_member(team, username)
            return user

    def add_member(self, team: str, username: str, role: str = "member") -> Entity:
        """Put a user into a team, made if need be."""
        with self.lock:
            entity, user = self.add_entity(team), self.users[username]
            entity.members[username] = (user, role)
            if entity not in user.teams:
                user.teams.append(entity)
            return entity

    def add_organization(
        self, name: str, teams: Iterable[str] = (), members: Iterable[str] = ()
    ) -> Organization:
        """Add an organization of teams and people, with the entity that owns its registries."""
        with self.lock:
            org_entity = self.add_entity(f"{name}-org", "organization")
            found = Organization(self.number(), name, org_entity)
            org_entity.organization = found
            for team in map(self.add_entity, teams):
                team.organization = found
                found.teams.append(team)
            for username in members:
                found.members[username] = (self.users[username], "member")
            self.organizations[name] = found
            return found

    # ------------------------------------------------------------------------- projects

    def add_project(
        self,
        entity: str,
        name: str,
        *,
        private_to: str | Iterable[str] | None = None,
        description: str | None = None,
        access: str = "ENTITY_WRITE",
        created_at: str | None = None,
        user: str | None = None,
    ) -> Project:
        """Add a project; `private_to` names the only users who see it, else all of its entity."""
        with self.lock:
            owner = self.add_entity(entity)
            if isinstance(private_to, str):
                private_to = (private_to,)
            project = Project(
                owner, name, self.number(), created_at or self.stamp(),
                user=self.users.get(user) if user else None,
                description=description, access=access,
                private_to=None if private_to is None else frozenset(private_to),
            )  # fmt: skip
            if project.path in self.projects:
                raise ValueError(f"there is a project {project.path!r} already")
            owner.projects.append(project)
            self.projects[project.path] = project
            return project

    def project(self, path: str) -> Project:
        """Return a live project. Raises KeyError."""
        return self.projects[path]

    def rename_project(self, path: str, name: str) -> Project:
        with self.lock:
            project = self.projects.pop(path)
            project.name = name
            project.updated_at = self.stamp()
            self.projects[project.path] = project
            project.touch()
            return project

    def delete_project(self, path: str) -> Project:
        with self.lock:
            project = self.projects.pop(path)
            project.deleted = True
            project.entity.projects.remove(project)
            return project

    def visible(self, project: Project, user: User | None) -> bool:
        """Tell whether a user may see a project."""
        if user is None or project.deleted:
            return False
        if project.private_to is not None:
            return user.username in project.private_to
        if project.is_registry:
            return self._sees_registry(project, user)
        if project.access in ("USER_READ", "USER_WRITE") or user.admin:
            return True
        return user.username in project.entity.members

    def _sees_registry(self, project: Project, user: User) -> bool:
        organization = project.entity.organization
        if user.username in project.members or user.admin:
            return True
        if any(user.username in team.members for team, _ in project.team_members.values()):
            return True
        inside = organization is not None and organization.has(user)
        return inside and project.access != "RESTRICTED"

    def add_sweep(
        self,
        path: str,
        name: str,
        *,
        config: str = "method: random\nparameters:\n  lr:\n    max: 0.1\n    min: 0.0001\n",
        state: str = "FINISHED",
        created_at: str | None = None,
        **fields: Any,
    ) -> Sweep:
        """Add a sweep; `config` is YAML text."""
        with self.lock:
            project = self.projects[path]
            user = fields.pop("user", None)
            sweep = Sweep(
                project, self.number(), name, config, created_at or self.stamp(), state=state,
                user=self.users[user] if isinstance(user, str) else user, **fields,
            )  # fmt: skip
            sweep.read_config()
            sweep.updated_at = sweep.updated_at or sweep.created_at
            project.sweeps[name] = sweep
            project.touch()
            return sweep

    def add_view(
        self,
        path: str,
        display_name: str,
        *,
        type: str = "runs",
        spec: str = '{"version":5,"blocks":[]}',
        name: str | None = None,
        user: str | None = None,
        created_at: str | None = None,
        **fields: Any,
    ) -> View:
        """Add a saved view; one of type "runs" is a report. `spec` is JSON text."""
        with self.lock:
            number, project, now = self.number(), self.projects[path], created_at or self.stamp()
            view = View(
                number, project, name or f"view{number}", display_name, type, spec, now,
                user=self.users[user] if user else next(iter(self.users.values()), None),
                updated_at=now, **fields,
            )  # fmt: skip
            project.views.append(view)
            return view

    def add_trigger(
        self,
        path: str,
        name: str,
        *,
        event_type: str = "RUN_STATE",
        filter: str = "{}",
        action: Mapping[str, Any] | None = None,
        user: str | None = None,
        **fields: Any,
    ) -> Trigger:
        """Add an automation to a project ("entity/project") or an entity.

        `action` is a node: `{"__typename": "NoOpTriggeredAction", "noOp": True}`.
        """
        with self.lock:
            scope = self.projects[path] if "/" in path else self.entities[path]
            trigger = Trigger(
                self.number(), name,
                self.users[user] if user else next(iter(self.users.values())),
                self.stamp(), scope, event_type, filter,
                dict(action or {"__typename": "NoOpTriggeredAction", "noOp": True}), **fields,
            )  # fmt: skip
            scope.triggers.append(trigger)
            return trigger

    def add_integration(
        self, entity: str, kind: str = "SlackIntegration", **fields: Any
    ) -> Integration:
        """Add a SlackIntegration or a GenericWebhookIntegration to an entity."""
        with self.lock:
            integration = Integration(self.number(), kind, self.stamp(), **fields)
            self.add_entity(entity).integrations.append(integration)
            return integration

    def add_resource_config(self, entity: str, resource: str, config: Any) -> ResourceConfig:
        """Add what run queues of an entity can take as their default configuration."""
        with self.lock:
            made = ResourceConfig(self.number(), resource, config, self.stamp())
            self.add_entity(entity).resource_configs.append(made)
            return made

    def add_queue_item(self, queue: RunQueue, run_spec: Any, **fields: Any) -> QueueItem:
        with self.lock:
            item = QueueItem(self.number(), run_spec, self.stamp(), **fields)
            queue.items.append(item)
            return item

    def add_run_queue(self, path: str, name: str, **fields: Any) -> RunQueue:
        """Add a run queue; the real client looks for it in the project "model-registry"."""
        with self.lock:
            project = self.projects[path]
            queue = RunQueue(self.number(), project, name, self.stamp(), **fields)
            project.run_queues.append(queue)
            return queue

    # ------------------------------------------------------------------------- runs

    def add_run(
        self,
        path: str,
        *,
        name: str,
        config: Mapping[str, Any] | None = None,
        summary: Mapping[str, Any] | None = None,
        config_text: str | None = None,
        summary_text: str | None = None,
        state: str = "finished",
        created_at: str | None = None,
        heartbeat_at: str | None = UNSET,
        updated_at: str | None = UNSET,
        user: str | None = None,
        sweep: str | None = None,
        system_metrics: Mapping[str, Any] | None = None,
        history: Iterable[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> Run:
        """Add a run.

        `config` and `summary` are plain values; the two texts are kept and served as they are.
        By default the last heartbeat comes `compute_seconds` after `created_at`, and `updated_at`
        with it; None makes them null. A sweep that does not exist is made.
        """
        with self.lock:
            project = self.projects[path]
            if name in project.runs:
                raise ValueError(f"there is a run {path}/{name} already")
            created = created_at or self.stamp()
            seconds = fields.get("compute_seconds") or 0
            if heartbeat_at is UNSET:
                heartbeat_at = None if state == "pending" else later(created, seconds)
            if sweep is not None and sweep not in project.sweeps:
                self.add_sweep(path, sweep, created_at=created)
            fields.setdefault("display_name", made_up_name(len(project.runs)))
            run = Run(
                project, name, state=state, created_at=created,
                config_text=wrapped(config) if config_text is None else config_text,
                summary_text=text_of(summary or {}) if summary_text is None else summary_text,
                heartbeat_at=heartbeat_at,
                updated_at=(heartbeat_at or created) if updated_at is UNSET else updated_at,
                user=self.users[user] if user else next(iter(self.users.values()), None),
                sweep=project.sweeps[sweep] if sweep else None,
                system_metrics=None if system_metrics is None else text_of(system_metrics),
                **fields,
            )  # fmt: skip
            rows = [text_of(row) for row in history]
            if rows:
                run.recorded().history.extend(rows)
            project.runs[name] = run
            project.touch(members=True)
            return run

    def late_arrival(self, path: str, *, name: str, created_at: str, **fields: Any) -> Run:
        """Add a run of an earlier day that arrives only now, as one that was logged offline does.

        Its times are of its own day, but for `updatedAt`, which is now unless it is frozen.
        Takes what `add_run` takes.
        """
        with self.lock:
            if self.updated_at != "frozen":
                fields.setdefault("updated_at", self.stamp())
            return self.add_run(path, name=name, created_at=created_at, **fields)

    def run(self, path: str, name: str) -> Run:
        """Return a run that is not deleted. Raises KeyError."""
        found = self.projects[path].runs[name]
        if found.deleted_at is not None:
            raise KeyError(f"{path}/{name} is deleted")
        return found

    def edit(self, path: str, name: str, **changes: Any) -> Run:
        """Change fields of a run as somebody at the web page would: no heartbeat.

        Takes `config` and `summary` (plain values, replacing all of them), `config_text`,
        `summary_text`, and the run's fields. `updatedAt` moves unless it is frozen.
        """
        with self.lock:
            run = self.run(path, name)
            if "config" in changes:
                run.config_text = wrapped(changes.pop("config"))
            if "summary" in changes:
                run.summary_text = text_of(changes.pop("summary"))
            for text in ("config_text", "summary_text"):
                if text in changes:
                    setattr(run, text, changes.pop(text))
            unknown = changes.keys() - EDITABLE
            if unknown:
                raise TypeError(f"a run has no {', '.join(sorted(unknown))} to edit")
            self._assign(run, changes)
            self.edited(run, members="created_at" in changes or "hidden" in changes)
            return run

    def _assign(self, run: Run, changes: Mapping[str, Any]) -> None:
        for field, value in changes.items():
            if field == "user" and isinstance(value, str):
                value = self.users[value]
            if field == "sweep" and isinstance(value, str):
                value = run.project.sweeps[value]
            if field == "system_metrics" and isinstance(value, Mapping):
                value = text_of(value)
            setattr(run, field, value)
        run.created_us = instant_us(run.created_at)

    def edited(self, run: Run, *, members: bool = False) -> None:
        """Note an edit: `updatedAt` moves, unless this world's is frozen."""
        if self.updated_at != "frozen":
            run.updated_at = self.stamp()
        run.project.touch(members=members)

    def heartbeat(self, path: str, name: str, **changes: Any) -> Run:
        """Let a run report: its heartbeat moves; other fields as in `edit`."""
        with self.lock:
            run = self.edit(path, name, **changes)
            self.beat(run)
            return run

    def beat(self, run: Run) -> None:
        run.heartbeat_at = run.updated_at = self.stamp()
        run.project.touch()

    def finish(self, path: str, name: str, *, exitcode: int = 0, **changes: Any) -> Run:
        """Let a run end, as `finished` or, with another exit code, `failed`."""
        state = "finished" if exitcode == 0 else "failed"
        return self.heartbeat(path, name, state=state, exitcode=exitcode, **changes)

    def resume(self, path: str, name: str, **changes: Any) -> Run:
        """Let an ended run go on."""
        return self.heartbeat(path, name, state="running", exitcode=None, **changes)

    def delete(self, path: str, name: str) -> Run:
        """Delete a run softly: it vanishes from every answer."""
        with self.lock:
            run = self.run(path, name)
            run.deleted_at = self.stamp()
            run.project.touch(members=True)
            return run

    def undelete(self, path: str, name: str) -> Run:
        with self.lock:
            run = self.projects[path].runs[name]
            run.deleted_at = None
            run.project.touch(members=True)
            return run

    def move_run(self, path: str, name: str, to: str) -> Run:
        """Move a run into another project, where it keeps its name and times."""
        with self.lock:
            run, target = self.run(path, name), self.projects[to]
            if name in target.runs:
                raise ValueError(f"there is a run {to}/{name} already")
            del run.project.runs[name]
            run.project.touch(members=True)
            run.project, run.sweep = target, None
            target.runs[name] = run
            self.edited(run, members=True)
            return run

    # ------------------------------------------------------------------------- trouble

    def fail(self, target: str = "*", **fault: Any) -> None:
        """Let requests fail; see `Faults.add` for what can be asked."""
        self.faults.add(target, **fault)

    def on_page(self, target: str, page: int, do: Any) -> None:
        """Call `do(world)` once, just before the page-th request for `target` from now is answered."""
        self.faults.on_page(target, page, do)

    def heal(self) -> None:
        """Remove every fault and hook."""
        self.faults.clear()


FEATURES: Final = {
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING": True,
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES": True,
    "ARTIFACT_DIGEST_ALGORITHM": True,
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE": True,
    "ARTIFACT_REGISTRY_SEARCH": True,
    "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID": True,
    "AUTOMATION_ACTION_NO_OP": True,
    "AUTOMATION_ENTITY_SCOPE": True,
    "AUTOMATION_EVENT_RUN_METRIC": True,
    "AUTOMATION_EVENT_RUN_METRIC_CHANGE": True,
    "AUTOMATION_EVENT_RUN_STATE": True,
    "FILESTREAM_GZIP": True,
    "INCLUDE_ARTIFACT_TYPES_IN_REGISTRY_CREATION": True,
    "MARK_RUN_FILES_UPLOADED": True,
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP": True,
    "QUERY_AUTOMATIONS_ON_ENTITY": True,
    "SWEEPS_QUERY_FILTERING": True,
    "TOTAL_COUNT_IN_FILE_CONNECTION": True,
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION": True,
}


def text_of(value: Any) -> str:
    """Write JSON as the server stores it: compact, UTF-8, with bare NaN and Infinity."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def wrapped(config: Mapping[str, Any] | None) -> str:
    """Return the stored text of a config: each value in an object of its own."""
    return text_of({key: {"value": value} for key, value in (config or {}).items()})


def later(text: str, seconds: float) -> str:
    return text if not seconds else stamp_of_us(instant_us(text) + int(seconds * 1_000_000))


def made_up_name(count: int) -> str:
    adjective, noun = ADJECTIVES[count % 10], NOUNS[count // 10 % 10]
    return f"{adjective}-{noun}-{count + 1}"
