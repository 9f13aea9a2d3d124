"""The root fields of queries, and fields of people, entities and projects that need more than an attribute."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from mirror.sandbox.connections import Page
from mirror.sandbox.context import Args, Context
from mirror.sandbox.ids import parts_of
from mirror.sandbox.objects import Entity, Organization, Project, Run, Sweep, User, View
from mirror.sandbox.run_fields import RUN_FIELDS, value
from mirror.sandbox.selection import Resolver

# ------------------------------------------------------------------------------- roots


def viewer(_root: Any, _args: Args, ctx: Context) -> User | None:
    return ctx.user


def user(_root: Any, args: Args, ctx: Context) -> User | None:
    found = ctx.world.users.get(args.get("userName") or "")
    return found or next((u for u in ctx.world.users.values() if u.id == args.get("id")), None)


def users(_root: Any, args: Args, ctx: Context) -> Page:
    """Search by a part of name, username or e-mail address, or look up."""
    found = list(ctx.world.users.values())
    if args.get("query"):
        asked = args["query"].lower()
        found = [u for u in found if any(asked in t.lower() for t in (u.username, u.email, u.name))]
    if args.get("usernames"):
        found = [u for u in found if u.username in args["usernames"]]
    if args.get("ids"):
        found = [u for u in found if u.id in args["ids"]]
    return ctx.page("users", found if ctx.user else [], args)


def entity(_root: Any, args: Args, ctx: Context) -> Entity | None:
    name = args.get("name")
    if name is None and ctx.user is not None:
        return ctx.user.default_entity
    return ctx.world.entities.get(name or "")


def organization(_root: Any, args: Args, ctx: Context) -> Organization | None:
    found = ctx.world.organizations
    by_id = next((o for o in found.values() if o.id == args.get("id")), None)
    return found.get(args.get("name") or "") or by_id


def all_organizations(_root: Any, args: Args, ctx: Context) -> Page:
    """List the organizations the user belongs to, or look some of them up."""
    found = [o for o in ctx.world.organizations.values() if ctx.user and o.has(ctx.user)]
    if args.get("query"):
        found = [o for o in found if args["query"].lower() in o.name.lower()]
    if args.get("ids"):
        found = [o for o in found if o.id in args["ids"]]
    return ctx.page("organizations", found, args)


def project(_root: Any, args: Args, ctx: Context) -> Project | None:
    return ctx.project(args.get("entityName"), args.get("name"))


def models(_root: Any, args: Args, ctx: Context) -> Page | None:
    name = args.get("entityName") or (ctx.user.entity if ctx.user else None)
    owner = ctx.world.entities.get(name or "")
    return None if owner is None else projects_page(owner.projects, args, ctx)


def projects_page(projects: Sequence[Project], args: Args, ctx: Context) -> Page:
    return ctx.page("projects", ctx.visible(projects), args)


def server_info(_root: Any, _args: Args, ctx: Context) -> dict[str, Any]:
    features = [{"name": name, "isEnabled": bool(on)} for name, on in ctx.world.features.items()]
    return {
        "cliVersionInfo": {"min_cli_version": "0.9.0", "max_cli_version": "0.31.0"},
        "latestLocalVersionInfo": None, "features": features, "frontendHost": ctx.base_url,
        "messageOfTheDay": None, "pollingOK": True, "hasLocalLicense": False, "licenseFlags": [],
        "exposesExplicitRunQueueAckPath": True,
    }  # fmt: skip


# ------------------------------------------------------------------------------- people


def members(owner: Entity, _args: Args, _ctx: Context) -> list[dict[str, Any]]:
    return [
        {
            "id": user.id, "name": user.name, "username": user.username, "email": user.email,
            "admin": role == "admin", "role": role, "pending": False, "photoUrl": user.photo_url,
            "accountType": "MEMBER" if user.account_type == "USER" else user.account_type,
            "apiKey": None,
        }
        for user, role in owner.members.values()
    ]  # fmt: skip


def organization_members(owner: Organization, _args: Args, _ctx: Context) -> list[dict[str, Any]]:
    return [
        {
            "id": user.id, "name": user.name, "username": user.username, "admin": role == "admin",
            "role": role, "photoUrl": user.photo_url, "user": user,
        }
        for user, role in owner.members.values()
    ]  # fmt: skip


def organizations(user: User, _args: Args, ctx: Context) -> list[Organization]:
    return [o for o in ctx.world.organizations.values() if o.has(user)]


def api_keys(user: User, args: Args, ctx: Context) -> Page | None:
    return ctx.page("apiKeys", user.api_keys, args) if user is ctx.user else None


def teams(user: User, args: Args, ctx: Context) -> Page:
    own = [user.default_entity] if user.default_entity else []
    return ctx.page("teams", [*own, *user.teams], args)


def user_projects(user: User, args: Args, ctx: Context) -> Page:
    """List the projects of a user's own entity and teams."""
    own = [user.default_entity] if user.default_entity else []
    return projects_page([p for entity in (*own, *user.teams) for p in entity.projects], args, ctx)


def entity_user(owner: Entity, _args: Args, _ctx: Context) -> User | None:
    people = [user for user, _ in owner.members.values() if user.default_entity is owner]
    return people[0] if people and owner.entity_type == "user" else None


# ------------------------------------------------------------------------------- projects


def run(project: Project, args: Args, _ctx: Context) -> Run | None:
    found = project.runs.get(args["name"])
    return found if found is not None and found.deleted_at is None else None


def runs(project: Project, args: Args, ctx: Context) -> Page:
    found = ctx.runs(project, args.get("filters"), args.get("order"))
    if args.get("names") is not None:
        wanted = set(args["names"])
        found = [run for run in found if run.name in wanted]
    return ctx.page("runs", found, args)


def run_count(project: Project, args: Args, ctx: Context) -> int:
    return ctx.run_count(project, args.get("filters"))


def active_count(project: Project, args: Args, ctx: Context) -> int:
    return sum(run.running for run in ctx.runs(project, args.get("filters"), "+created_at"))


def sweeps(project: Project, args: Args, ctx: Context) -> Page:
    """List sweeps, newest first; `filters` may ask for name, state or display name."""
    found = sorted(project.sweeps.values(), key=lambda one: one.created_at, reverse=True)
    filters = json.loads(args.get("filters") or "{}")
    return ctx.page("sweeps", [one for one in found if sweep_meets(one, filters)], args)


def sweep_meets(sweep: Sweep, filters: dict[str, Any]) -> bool:
    for key, wanted in filters.items():
        if key == "$and" and not all(sweep_meets(sweep, part) for part in wanted):
            return False
        if key == "$or" and not any(sweep_meets(sweep, part) for part in wanted):
            return False
        if not key.startswith("$"):
            attribute = {"displayName": "display_name"}.get(key, key)
            found = getattr(sweep, attribute, None)
            choices = (
                wanted.get("$in", [wanted.get("$eq")]) if isinstance(wanted, dict) else [wanted]
            )
            if found not in choices:
                return False
    return True


def views(project: Project, args: Args, ctx: Context) -> Page:
    """List saved views: reports are those of type "runs"."""
    found: list[View] = project.views
    if args.get("viewType"):
        found = [view for view in found if view.type == args["viewType"]]
    if args.get("viewName"):
        found = [view for view in found if args["viewName"] in (view.name, view.display_name)]
    if args.get("userName"):
        found = [view for view in found if view.user and view.user.username == args["userName"]]
    return ctx.page("allViews", found, args)


def tag_counts(project: Project, args: Args, ctx: Context) -> list[dict[str, Any]]:
    found = ctx.runs(project, args.get("filters"), "+created_at")
    counts = Counter(tag for run in found for tag in run.tags)
    return [{"name": name, "count": count} for name, count in counts.most_common()]


def project_fields(project: Project, args: Args, ctx: Context) -> Page:
    """List the columns of the runs: `config.lr.value`, `summary_metrics.loss` …"""
    found: dict[str, str] = {}
    for run in ctx.listings(project).live():
        for root, text in (("config", run.config_text), ("summary_metrics", run.summary_text)):
            for key, item in json.loads(text).items():
                number = isinstance(item, int | float) and not isinstance(item, bool)
                found.setdefault(f"{root}.{key}", "number" if number else "string")
    rows = [{"path": path, "type": kind} for path, kind in sorted(found.items())]
    return ctx.page("fields", rows, args)


def last_active(project: Project, _args: Args, ctx: Context) -> str:
    live = ctx.listings(project).live()
    return live[-1].created_at if live else project.created_at


def compute_hours(_project: Project, _args: Args, _ctx: Context) -> int:
    return 0


def entity_run_count(owner: Entity, args: Args, ctx: Context) -> int:
    return sum(ctx.run_count(one, args.get("filters")) for one in ctx.visible(owner.projects))


def find_view(_root: Any, args: Args, ctx: Context) -> View | None:
    for one in ctx.visible(list(ctx.world.projects.values())):
        for view in one.views:
            # Report ids lose their padding in URLs.
            if view.id.rstrip("=") == args["id"].rstrip("="):
                return view
    return None


def run_queue(project: Project, args: Args, _ctx: Context) -> Any:
    return next((queue for queue in project.run_queues if queue.name == args["name"]), None)


def by_number(rows: Sequence[Any], identifier: str) -> Any:
    """Return the row a global id or a bare number names."""
    number = (parts_of(identifier) or [identifier])[-1]
    return next((one for one in rows if str(one.number) in (number, identifier)), None)


QUERIES: Final[dict[tuple[str, str], Resolver]] = RUN_FIELDS | {
    ("Query", "viewer"): viewer,
    ("Query", "user"): user,
    ("Query", "users"): users,
    ("Query", "entity"): entity,
    ("Query", "organization"): organization,
    ("Query", "organizations"): all_organizations,
    ("Query", "project"): project,
    ("Query", "model"): project,
    ("Query", "models"): models,
    ("Query", "projects"): models,
    ("Query", "view"): find_view,
    ("Query", "serverInfo"): server_info,
    ("User", "apiKeys"): api_keys,
    ("User", "teams"): teams,
    ("User", "organizations"): organizations,
    ("User", "userEntity"): value(lambda user: user.default_entity),
    ("User", "totalRuns"): value(lambda _user: 0),
    ("User", "projects"): user_projects,
    ("Entity", "members"): members,
    ("Entity", "memberCount"): value(lambda owner: len(owner.members)),
    ("Entity", "user"): entity_user,
    ("Entity", "organizationId"): value(lambda owner: owner.organization and owner.organization.id),
    ("Entity", "project"): lambda owner, args, ctx: ctx.project(owner.name, args.get("name")),
    ("Entity", "runCount"): entity_run_count,
    ("Entity", "integrations"): lambda owner, args, ctx: ctx.page(
        "integrations", owner.integrations, args
    ),
    ("Entity", "invites"): lambda owner, args, ctx: ctx.page("invites", owner.invites, args),
    ("Entity", "defaultResourceConfigs"): lambda owner, args, ctx: ctx.page(
        "defaultResourceConfigs", owner.resource_configs, args
    ),
    ("Entity", "defaultResourceConfig"): lambda owner, args, _ctx: by_number(
        owner.resource_configs, args["id"]
    ),
    ("Entity", "readOnly"): value(lambda _owner: False),
    ("Entity", "readOnlyAdmin"): value(lambda _owner: False),
    ("Entity", "privateOnly"): value(lambda _owner: False),
    ("Entity", "codeSavingEnabled"): value(lambda _owner: True),
    ("Entity", "storageBytes"): value(lambda _owner: 0),
    ("Entity", "referenceBytes"): value(lambda _owner: 0),
    ("Entity", "protectedAliases"): value(lambda _owner: []),
    ("Organization", "members"): organization_members,
    ("Organization", "pendingInvites"): value(lambda _organization: []),
    ("Organization", "featureFlags"): value(lambda _organization: []),
    ("Project", "run"): run,
    ("Project", "bucket"): run,
    ("Project", "runs"): runs,
    ("Project", "buckets"): runs,
    ("Project", "runCount"): run_count,
    ("Project", "runActiveCount"): active_count,
    ("Project", "bucketCount"): run_count,
    ("Project", "totalRuns"): run_count,
    ("Project", "sweep"): lambda project, args, _ctx: project.sweeps.get(args["sweepName"]),
    ("Project", "sweeps"): sweeps,
    ("Project", "totalSweeps"): value(lambda project: len(project.sweeps)),
    ("Project", "allViews"): views,
    ("Project", "fields"): project_fields,
    ("Project", "tagCounts"): tag_counts,
    ("Project", "tags"): lambda project, args, ctx: [
        {"name": tag["name"], "colorIndex": 0} for tag in tag_counts(project, args, ctx)
    ],
    ("Project", "runQueue"): run_queue,
    ("Project", "launchAgents"): value(lambda _project: []),
    ("Project", "lastActive"): last_active,
    ("Project", "computeHours"): compute_hours,
    ("Project", "storageBytes"): value(lambda _project: 0),
    ("Project", "isBenchmark"): value(lambda _project: False),
    ("Project", "isPublished"): value(lambda _project: False),
    ("Project", "readOnly"): value(lambda _project: False),
    ("Project", "public"): value(lambda project: project.access in ("USER_READ", "USER_WRITE")),
    ("Project", "entityId"): value(lambda project: project.entity.number),
    ("Project", "runOutputArtifactsCount"): lambda project, args, ctx: sum(
        len(ctx.world.artifacts.outputs.get(run, ()))
        for run in ctx.runs(project, args.get("filters"), "+created_at")
    ),
    ("View", "starCount"): value(lambda _view: 0),
    ("View", "starred"): value(lambda _view: False),
    ("View", "viewCount"): value(lambda _view: 0),
    ("RunQueue", "createdBy"): value(lambda queue: queue.created_by),
    ("RunQueue", "executorInfo"): value(lambda _queue: ""),
    ("RunQueue", "defaultResourceConfigID"): value(lambda queue: queue.default_resource_config_id),
    ("RunQueue", "runQueueItem"): lambda queue, args, _ctx: by_number(queue.items, args["id"]),
    ("RunQueue", "runQueueItems"): lambda queue, args, ctx: ctx.page(
        "runQueueItems", queue.items, args
    ),
}
