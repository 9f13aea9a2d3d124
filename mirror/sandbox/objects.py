"""The things in a world: plain objects whose attributes are the schema's fields in snake_case.

They hold no behaviour beyond derived fields; `world.py` changes them, `queries.py` and
`mutations.py` show them. A run keeps its config and summary as the very text that is served.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from mirror.sandbox.clock import instant_us
from mirror.sandbox.ids import global_id

Role = str
REGISTRY: Final = "wandb-registry-"
RUNNING: Final = ("running", "pending", "preempting")
ENDED: Final = ("finished", "failed", "crashed", "killed", "preempted")


@dataclass(slots=True, eq=False)
class User:
    number: int
    username: str
    key: str | None
    name: str
    email: str
    created_at: str
    admin: bool = False
    account_type: str = "USER"
    default_entity: Entity | None = None
    teams: list[Entity] = field(default_factory=list)
    api_keys: list[ApiKey] = field(default_factory=list)
    flags: str = "{}"
    photo_url: str = ""
    user_info: dict[str, Any] = field(default_factory=dict)
    logged_in_at: str | None = None
    deleted_at: str | None = None
    updated_at: str | None = None

    @property
    def id(self) -> str:
        return global_id("User", self.number)

    @property
    def entity(self) -> str | None:
        return self.default_entity.name if self.default_entity else None


@dataclass(slots=True, eq=False)
class ApiKey:
    number: int
    name: str
    user: User
    secret: str
    description: str | None = None

    @property
    def id(self) -> str:
        return global_id("ApiKey", self.number)


@dataclass(slots=True, eq=False)
class Organization:
    number: int
    name: str
    org_entity: Entity | None = None
    teams: list[Entity] = field(default_factory=list)
    members: dict[str, tuple[User, Role]] = field(default_factory=dict)
    org_type: str = "ORGANIZATION"
    flags: str = "{}"
    advanced_search: bool = False
    "Whether registry versions are searched the newer way, which can order them."

    @property
    def id(self) -> str:
        return global_id("Organization", self.number)

    def has(self, user: User) -> bool:
        """Tell whether somebody is a member, of the organization or of one of its teams."""
        return user.username in self.members or any(user.username in t.members for t in self.teams)


@dataclass(slots=True, eq=False)
class Entity:
    number: int
    name: str
    entity_type: str  # user, team or organization
    created_at: str
    members: dict[str, tuple[User, Role]] = field(default_factory=dict)
    organization: Organization | None = None
    projects: list[Project] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    integrations: list[Integration] = field(default_factory=list)
    invites: list[Invite] = field(default_factory=list)
    resource_configs: list[ResourceConfig] = field(default_factory=list)
    available: bool = False
    default_access: str = "PRIVATE"
    photo_url: str = ""
    xxhash_digests_enabled: bool = False
    "Whether clients that ask for XXH128 digests may write them."

    @property
    def id(self) -> str:
        return global_id("Entity", self.number)

    @property
    def is_team(self) -> bool:
        return self.entity_type == "team"

    @property
    def is_paid(self) -> bool:
        return True


@dataclass(slots=True, eq=False)
class Invite:
    number: int
    email: str
    name: str
    entity: Entity
    created_at: str
    from_user: User | None = None
    to_user: User | None = None
    accepted: bool = False

    @property
    def id(self) -> str:
        return global_id("Invite", self.number)


@dataclass(eq=False)
class Project:
    entity: Entity
    name: str
    internal_number: int
    created_at: str
    user: User | None = None
    description: str | None = None
    access: str = "ENTITY_WRITE"
    private_to: frozenset[str] | None = None
    updated_at: str | None = None
    deleted: bool = False
    runs: dict[str, Run] = field(default_factory=dict)
    sweeps: dict[str, Sweep] = field(default_factory=dict)
    views: list[View] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    run_queues: list[RunQueue] = field(default_factory=list)
    version: int = 0
    "Moves with every change of any run; answers are cached under it."
    members_version: int = 0
    "Moves when runs come, go, or change their place by creation time."
    listings: Any = None
    "Answers kept for the runs (a Listings), made at the first question."
    shelf: Any = None
    "The project's artifacts (a Shelf), made at the first question."
    allow_all_artifact_types: bool = True
    members: dict[str, tuple[User, Role]] = field(default_factory=dict)
    "Who has a role in a registry, by username."
    team_members: dict[str, tuple[Entity, Role]] = field(default_factory=dict)
    migrated_to: Project | None = None
    "The registry that a legacy model registry leads to."

    def touch(self, *, members: bool = False) -> None:
        """Note a change of the project's runs."""
        self.version += 1
        if members:
            self.members_version += 1

    @property
    def id(self) -> str:
        return global_id("Project", "v1", self.name, self.entity.name)

    @property
    def internal_id(self) -> str:
        return global_id("ProjectInternalId", self.internal_number)

    @property
    def entity_name(self) -> str:
        return self.entity.name

    @property
    def is_registry(self) -> bool:
        return self.entity.entity_type == "organization" and self.name.startswith(REGISTRY)

    @property
    def path(self) -> str:
        return f"{self.entity.name}/{self.name}"


@dataclass(slots=True, eq=False)
class StoredFile:
    number: int
    name: str
    updated_at: str | None = None
    content: bytes = b""
    mimetype: str = ""

    @property
    def id(self) -> str:
        return global_id("File", self.number)

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        return self.content[start:stop]

    @property
    def md5(self) -> str:
        if self.updated_at is None:
            return "0"  # named but never uploaded
        return base64.b64encode(hashlib.md5(self.content, usedforsecurity=False).digest()).decode()


@dataclass(slots=True, eq=False)
class Record:
    """What only a run that really logged has: its rows, console and files."""

    history: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    log_lines: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, StoredFile] = field(default_factory=dict)
    program: str | None = None
    args: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Run:
    project: Project
    name: str
    display_name: str
    state: str
    created_at: str
    config_text: str = "{}"
    summary_text: str = "{}"
    user: User | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    group: str | None = None
    job_type: str | None = None
    host: str | None = None
    commit: str | None = None
    sweep: Sweep | None = None
    agent: Agent | None = None
    heartbeat_at: str | None = None
    updated_at: str | None = None
    deleted_at: str | None = None
    compute_seconds: int | None = None
    system_metrics: str | None = None
    exitcode: float | None = None
    stopped: bool = False
    hidden: bool = False
    "Takes a place in listings but is not shown: rows the key may not see."
    line_count: int = 0
    "Rows of made-up history; a run that logged rows counts those instead."
    seed: int = 0
    record: Record | None = None
    created_us: int = 0

    def __post_init__(self) -> None:
        self.created_us = instant_us(self.created_at)

    @property
    def id(self) -> str:
        return global_id("Run", "v1", self.name, self.project.name, self.project.entity.name)

    @property
    def project_id(self) -> str:
        return str(self.project.internal_number)

    @property
    def sweep_name(self) -> str | None:
        return self.sweep.name if self.sweep else None

    @property
    def description(self) -> str:
        return self.display_name

    @property
    def running(self) -> bool:
        return self.state in RUNNING

    @property
    def failed(self) -> bool:
        return self.state in ("failed", "crashed")

    @property
    def duration_s(self) -> int:
        """How long it computed: as it says, else from creation to its last heartbeat."""
        if self.compute_seconds is not None or self.heartbeat_at is None:
            return int(self.compute_seconds or 0)
        return max(0, (instant_us(self.heartbeat_at) - self.created_us) // 1_000_000)

    @property
    def history_line_count(self) -> int:
        return len(self.record.history) if self.record and self.record.history else self.line_count

    @property
    def files(self) -> dict[str, StoredFile]:
        return self.record.files if self.record else {}

    @property
    def path(self) -> str:
        return f"{self.project.path}/{self.name}"

    def recorded(self) -> Record:
        """Return the run's record, made at the first write."""
        if self.record is None:
            self.record = Record()
        return self.record


class RunDocument:
    """A run as the matcher sees it; the two documents are parsed when first asked for."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def column(self, name: str) -> Any:
        run = self.run
        if name == "username":
            return run.user.username if run.user else None
        if name == "sweep":
            return run.sweep.name if run.sweep else None
        if name == "duration":
            return run.duration_s
        return getattr(run, name)

    def document(self, name: str) -> dict[str, Any]:
        return self.config if name == "config" else self.summary

    @cached_property
    def config(self) -> dict[str, Any]:
        return unwrapped(parsed(self.run.config_text))

    @cached_property
    def summary(self) -> dict[str, Any]:
        return parsed(self.run.summary_text)


# Made once: json.loads would make a decoder for every text.
DECODER: Final = json.JSONDecoder(parse_constant=str, strict=False)


def parsed(text: str) -> dict[str, Any]:
    """Read a document text; NaN and Infinity tokens become strings, as filters see them."""
    found = DECODER.decode(text)
    return found if isinstance(found, dict) else {}


def unwrapped(config: dict[str, Any]) -> dict[str, Any]:
    """Return a stored config without W&B's {"value": …} around each key and its own keys."""
    return {
        key: value["value"] if isinstance(value, dict) and "value" in value else value
        for key, value in config.items()
        if key not in ("_wandb", "wandb_version")
    }


@dataclass(slots=True, eq=False)
class Agent:
    number: int
    name: str
    host: str
    sweep: Sweep
    created_at: str
    user: User | None = None
    state: str = "RUNNING"
    heartbeat_at: str | None = None
    metrics: str = "{}"
    display_name: str | None = None

    @property
    def id(self) -> str:
        return global_id("Agent", self.number)


@dataclass(slots=True, eq=False)
class Sweep:
    project: Project
    number: int
    name: str
    config: str
    created_at: str
    state: str = "RUNNING"
    display_name: str | None = None
    description: str | None = None
    user: User | None = None
    run_count_expected: int | None = None
    updated_at: str | None = None
    controller: str | None = None
    scheduler: str | None = None
    agents: list[Agent] = field(default_factory=list)
    metric: str | None = None
    minimize: bool = True
    method: str = "random"

    def read_config(self) -> None:
        """Take method and metric from the config, which is YAML or JSON text."""
        method = re.search(r"\bmethod\"?:\s*\"?(\w+)", self.config)
        metric = re.search(r"\bmetric\"?:(?:\s|\{)((?:.|\n)*?)(?:\n\S|\}|\Z)", self.config)
        self.method = method[1] if method else self.method
        name = re.search(r"\bname\"?:\s*\"?([^\s\",}]+)", metric[1]) if metric else None
        if name is not None and metric is not None:
            self.metric = name[1]
            self.minimize = "maximize" not in metric[1]

    @property
    def id(self) -> str:
        return global_id("Sweep", "v1", self.name, self.project.name, self.project.entity.name)


@dataclass(slots=True, eq=False)
class View:
    number: int
    project: Project
    name: str
    display_name: str
    type: str
    spec: str
    created_at: str
    user: User | None = None
    updated_by: User | None = None
    updated_at: str | None = None
    description: str | None = None
    created_using: str = "WANDB_UI"
    locked: bool = False
    cover_url: str | None = None
    preview_url: str | None = None
    parent_id: str | None = None

    @property
    def id(self) -> str:
        return global_id("View", self.number)

    @property
    def entity(self) -> Entity:
        return self.project.entity

    @property
    def entity_name(self) -> str:
        return self.project.entity.name

    @property
    def project_name(self) -> str:
        return self.project.name

    @property
    def project_id(self) -> int:
        return self.project.internal_number


@dataclass(slots=True, eq=False)
class Trigger:
    number: int
    name: str
    created_by: User
    created_at: str
    scope: Any
    event_type: str
    filter: str
    action: dict[str, Any]
    description: str | None = None
    enabled: bool = True
    updated_at: str | None = None

    @property
    def id(self) -> str:
        return global_id("Trigger", self.number)


@dataclass(slots=True, eq=False)
class Integration:
    number: int
    kind: str  # the GraphQL type
    created_at: str
    name: str = ""
    url_endpoint: str = ""
    access_token_ref: str | None = None
    secret_ref: str | None = None
    team_name: str = ""
    channel_name: str = ""

    @property
    def id(self) -> str:
        return global_id("Integration", self.number)


@dataclass(slots=True, eq=False)
class ResourceConfig:
    number: int
    resource: str
    config: Any
    created_at: str
    template_variables: list[dict[str, Any]] = field(default_factory=list)
    updated_at: str | None = None

    @property
    def id(self) -> str:
        return global_id("DefaultResourceConfig", self.number)


@dataclass(slots=True, eq=False)
class RunQueue:
    number: int
    project: Project
    name: str
    created_at: str
    access: str = "PROJECT"
    prioritization_mode: str | None = None
    external_links: Any = None
    default_resource_config_id: str | None = None
    created_by: int | None = None
    updated_at: str | None = None
    items: list[QueueItem] = field(default_factory=list)

    @property
    def id(self) -> str:
        return global_id("RunQueue", self.number)


@dataclass(slots=True, eq=False)
class QueueItem:
    number: int
    run_spec: Any
    created_at: str
    state: str = "PENDING"
    associated_run_id: str | None = None
    launch_agent_id: str | None = None
    priority: int | None = None
    updated_at: str | None = None

    @property
    def id(self) -> str:
        return global_id("RunQueueItem", self.number)
