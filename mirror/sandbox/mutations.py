"""What clients may change: projects, runs, files, sweeps and reports.

A field of an input that is null is left alone. Payloads are dicts whose keys are the schema's.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from typing import Any, Final

from mirror.sandbox.connections import Refused
from mirror.sandbox.context import Args, Context
from mirror.sandbox.ids import parts_of
from mirror.sandbox.objects import (
    Agent,
    Entity,
    Project,
    Run,
    StoredFile,
    Sweep,
    User,
    View,
)
from mirror.sandbox.run_fields import file_node
from mirror.sandbox.selection import Resolver

Payload = dict[str, Any]
ALPHABET: Final = string.ascii_lowercase + string.digits
DIRECT: Final = {
    "displayName": "display_name", "notes": "notes", "groupName": "group", "jobType": "job_type",
    "commit": "commit", "host": "host", "state": "state", "summaryMetrics": "summary_text",
    "tags": "tags",
}  # fmt: skip
"Fields of upsertBucket that set one attribute."
TRANSITIONS: Final = {
    "pending": ("running", "failed", "crashed", "preempted", "pending"),
    "failed": ("pending", "running"),
}


def mutation(change: Callable[[Args, Context], Payload]) -> Resolver:
    """Return the resolver of a mutation: it needs a key, and gets the fields of `input`."""

    def resolve(_root: Any, args: Args, ctx: Context) -> Payload:
        if ctx.user is None:
            raise Refused(401, "user is not logged in")
        given = args["input"]
        return change(given, ctx) | {"clientMutationId": given.get("clientMutationId")}

    return resolve


# ------------------------------------------------------------------------------- looking up


def writable(entity: str | None, name: str | None, ctx: Context, *, make: bool = False) -> Project:
    """Return a project the user may write to, made if it is new. Raises Refused."""
    assert ctx.user is not None
    owner = entity or ctx.user.entity
    found = ctx.project(owner, name)
    if found is not None:
        return found
    known = ctx.world.entities.get(owner or "")
    if not make or known is None or not belongs(ctx.user, known):
        raise Refused(
            404 if known is None or not make else 403, f"project {owner}/{name} not found"
        )
    if f"{owner}/{name}" in ctx.world.projects:
        raise Refused(403, "permission denied")
    return ctx.world.add_project(known.name, name or "uncategorized", user=ctx.user.username)


def belongs(user: User, owner: Entity) -> bool:
    """Tell whether somebody is a member of a team, or of the organization that an entity is of."""
    if owner.entity_type == "organization" and owner.organization is not None:
        return owner.organization.has(user)
    return user.username in owner.members


def run_of(identifier: str, ctx: Context) -> Run:
    """Return the run of a global id. Raises Refused."""
    parts = parts_of(identifier)
    if len(parts) == 5 and parts[0] == "Run":
        project = ctx.project(parts[4], parts[3])
        run = project.runs.get(parts[2]) if project else None
        if run is not None:
            return run
    raise Refused(404, f"run {identifier} not found")


def selected(
    given: Args, ctx: Context, entity: str = "entityName", name: str = "projectName"
) -> Any:
    project = writable(given.get(entity), given.get(name), ctx)
    return project, list(ctx.runs(project, given.get("filters"), "+created_at"))


# ------------------------------------------------------------------------------- projects


def upsert_model(given: Args, ctx: Context) -> Payload:
    by_id = [p for p in ctx.world.projects.values() if given.get("id") in (p.id, p.internal_id)]
    count = len(ctx.world.projects)
    project = (
        by_id[0] if by_id else writable(given.get("entityName"), given.get("name"), ctx, make=True)
    )
    inserted = len(ctx.world.projects) > count
    for field in ("description", "access"):
        if given.get(field) is not None:
            setattr(project, field, given[field])
    if given.get("allowAllArtifactTypesInRegistry") is not None:
        project.allow_all_artifact_types = given["allowAllArtifactTypesInRegistry"]
    for kind in given.get("artifactTypes") or ():
        ctx.world.artifacts.add_type(project, kind["name"])
    if inserted and project.is_registry and ctx.user is not None:
        project.members[ctx.user.username] = (ctx.user, "admin")
    project.updated_at = ctx.world.stamp()
    return project_payload(project, inserted)


def project_payload(project: Project, inserted: bool) -> Payload:
    return {
        "project": project, "model": project, "entityName": project.entity.name,
        "inserted": inserted,
    }  # fmt: skip


def rename_project(given: Args, ctx: Context) -> Payload:
    project = writable(given["entityName"], given["oldProjectName"], ctx)
    return project_payload(ctx.world.rename_project(project.path, given["newProjectName"]), False)


def delete_model(given: Args, ctx: Context) -> Payload:
    for project in ctx.visible(list(ctx.world.projects.values())):
        if given["id"] in (project.id, project.internal_id):
            ctx.world.delete_project(project.path)
            return {"success": True}
    raise Refused(404, "project not found")


# ------------------------------------------------------------------------------- runs


def upsert_bucket(given: Args, ctx: Context) -> Payload:
    """Create or change a run: by `id` exactly that one, else by `name` in a project."""
    if given.get("id"):
        run, inserted = run_of(given["id"], ctx), False
    else:
        run, inserted = named_run(given, ctx)
    for field, attribute in DIRECT.items():
        if given.get(field) is not None:
            setattr(run, attribute, given[field])
    if given.get("config") is not None:
        # By id the web and `Run.update` send all of it; a process that logs sends what is new.
        old = {} if given.get("id") else json.loads(run.config_text)
        run.config_text = merged(run.config_text if old else None, given["config"])
    if given.get("sweep"):
        run.sweep = run.project.sweeps.get(given["sweep"])
    if given.get("jobProgram"):
        run.recorded().program = given["jobProgram"]
    ctx.world.edited(run, members=inserted)
    return {"bucket": run, "inserted": inserted, "updateAvailable": False}


def merged(old: str | None, new: str) -> str:
    """Merge two config texts by top-level key; the only one is kept as it is."""
    if old is None:
        return new
    return json.dumps(json.loads(old) | json.loads(new), ensure_ascii=False)


def named_run(given: Args, ctx: Context) -> tuple[Run, bool]:
    project = writable(given.get("entityName"), given.get("modelName"), ctx, make=True)
    name = given.get("name") or "".join(random.choices(ALPHABET, k=8))
    run = project.runs.get(name)
    if run is not None and run.deleted_at is not None:
        raise Refused(409, f"run {project.path}/{name} was previously created and deleted")
    if run is not None:
        return run, False
    assert ctx.user is not None
    state = given.get("state") or "running"
    return ctx.world.add_run(
        project.path, name=name, state=state, user=ctx.user.username,
        heartbeat_at=None, updated_at=None,
    ), True  # fmt: skip


def update_run_state(given: Args, ctx: Context) -> Payload:
    run = run_of(given["id"], ctx)
    if run.sweep is not None or run.state not in TRANSITIONS.get(given["state"], ()):
        raise Refused(400, f"invalid state transition from {run.state} to {given['state']}")
    run.state = given["state"]
    ctx.world.edited(run)
    return {"success": True}


def stop_run(given: Args, ctx: Context) -> Payload:
    run = run_of(given["id"], ctx)
    run.stopped = True
    ctx.world.edited(run)
    return {"success": True}


def delete_run(given: Args, ctx: Context) -> Payload:
    """Delete softly; a second time succeeds too."""
    run = run_of(given["id"], ctx)
    if run.deleted_at is None:
        drop_run(run, given, ctx)
    return {}


def drop_run(run: Run, given: Args, ctx: Context) -> None:
    """Delete a run, and if it is asked for what it logged."""
    ctx.world.delete(run.project.path, run.name)
    for artifact in (
        ctx.world.artifacts.outputs.get(run, ()) if given.get("deleteArtifacts") else ()
    ):
        if artifact.state != "DELETED":
            ctx.world.artifacts.delete(artifact)


def delete_runs(given: Args, ctx: Context) -> Payload:
    _, runs = selected(given, ctx)
    for run in runs:
        drop_run(run, given, ctx)
    return {"errors": None}


def undelete_runs(given: Args, ctx: Context) -> Payload:
    project = writable(given["entityName"], given["projectName"], ctx)
    gone = [run for run in project.runs.values() if run.deleted_at is not None]
    for run in ctx.matching(gone, given["filters"]):
        ctx.world.undelete(project.path, run.name)
    return {}


def modify_runs(given: Args, ctx: Context) -> Payload:
    _, runs = selected(given, ctx)
    for run in runs:
        kept = [tag for tag in run.tags if tag not in (given.get("removeTags") or ())]
        run.tags = [*kept, *(tag for tag in given.get("addTags") or () if tag not in kept)]
        ctx.world.edited(run)
    return {"runs": runs, "runsSQL": runs}


def move_runs(given: Args, ctx: Context) -> Payload:
    project, runs = selected(given, ctx, "sourceEntityName", "sourceProjectName")
    target = writable(given["destinationEntityName"], given["destinationProjectName"], ctx)
    for run in runs:
        ctx.world.move_run(project.path, run.name, target.path)
    now = ctx.world.stamp()
    task = {
        "id": str(ctx.world.number()), "name": "move runs", "type": "MOVE_RUNS",
        "state": "FINISHED", "progress": 100, "createdAt": now, "updatedAt": now,
    }  # fmt: skip
    return {"task": task}


# ------------------------------------------------------------------------------- files


def file_run(given: Args, ctx: Context) -> Run:
    project = writable(given["entityName"], given["projectName"], ctx)
    run = project.runs.get(given["runName"])
    if run is None or run.deleted_at is not None:
        raise Refused(404, f"run {project.path}/{given['runName']} not found")
    return run


def create_run_files(given: Args, ctx: Context) -> Payload:
    run = file_run(given, ctx)
    files = run.recorded().files
    for name in given["files"]:
        files.setdefault(name, StoredFile(ctx.world.number(), name))
    nodes = [file_node(run, files[name], ctx) for name in given["files"]]
    return {"runID": run.id, "uploadHeaders": [], "files": nodes}


def mark_run_files_uploaded(given: Args, ctx: Context) -> Payload:
    file_run(given, ctx)
    return {"success": True}


def notify(given: Args, ctx: Context) -> Payload:
    """Take an alert of a run; nobody is told."""
    file_run(given, ctx)
    return {"success": True}


def delete_files(given: Args, ctx: Context) -> Payload:
    for project in ctx.visible(list(ctx.world.projects.values())):
        for run in project.runs.values():
            for name, file in list(run.files.items()):
                if file.id in given["files"]:
                    del run.files[name]
    return {"success": True}


# ------------------------------------------------------------------------------- sweeps


def upsert_sweep(given: Args, ctx: Context) -> Payload:
    sweep = sweep_of(given.get("id"), ctx)
    inserted = sweep is None
    if sweep is None:
        project = writable(given.get("entityName"), given.get("projectName"), ctx, make=True)
        name = "".join(random.choices(ALPHABET, k=8))
        assert ctx.user is not None
        sweep = ctx.world.add_sweep(
            project.path, name, config=given.get("config") or "", state="PENDING",
            user=ctx.user.username,
        )  # fmt: skip
    fields = {"displayName": "display_name", "description": "description", "state": "state",
              "controller": "controller", "scheduler": "scheduler", "config": "config"}  # fmt: skip
    for field, attribute in fields.items():
        if given.get(field) is not None:
            setattr(sweep, attribute, given[field])
    sweep.read_config()
    sweep.updated_at = ctx.world.stamp()
    return {"sweep": sweep, "inserted": inserted, "configValidationWarnings": []}


def sweep_of(identifier: str | None, ctx: Context) -> Sweep | None:
    """Return the sweep of a global id or a short one."""
    for project in ctx.visible(list(ctx.world.projects.values())):
        for sweep in project.sweeps.values():
            if identifier in (sweep.id, sweep.name):
                return sweep
    return None


def delete_sweep(given: Args, ctx: Context) -> Payload:
    sweep = sweep_of(given["id"], ctx)
    if sweep is None:
        raise Refused(404, "sweep not found")
    runs = [run for run in sweep.project.runs.values() if run.sweep is sweep]
    for run in runs:
        run.sweep = None
        if given["deleteRuns"] and run.deleted_at is None:
            ctx.world.delete(sweep.project.path, run.name)
    del sweep.project.sweeps[sweep.name]
    sweep.project.touch()
    return {"affectedRuns": len(runs), "affectedAgents": len(sweep.agents)}


def create_agent(given: Args, ctx: Context) -> Payload:
    sweep = sweep_of(given["sweep"], ctx)
    if sweep is None:
        raise Refused(404, "sweep not found")
    number = ctx.world.number()
    agent = Agent(number, f"agent-{number}", given["host"], sweep, ctx.world.stamp(), user=ctx.user)
    sweep.agents.append(agent)
    return {"agent": agent}


def agent_heartbeat(given: Args, ctx: Context) -> Payload:
    """Note that an agent lives. This server never hands out runs."""
    agents = (
        agent
        for project in ctx.visible(list(ctx.world.projects.values()))
        for sweep in project.sweeps.values()
        for agent in sweep.agents
    )
    agent = next((one for one in agents if one.id == given["id"]), None)
    if agent is None:
        raise Refused(404, "agent not found")
    agent.heartbeat_at = ctx.world.stamp()
    agent.metrics = given.get("metrics") or agent.metrics
    return {"agent": agent, "commands": "[]"}


# ------------------------------------------------------------------------------- reports


def upsert_view(given: Args, ctx: Context) -> Payload:
    view = view_of(given.get("id"), ctx)
    inserted = view is None
    if view is None:
        project = writable(given.get("entityName"), given.get("projectName"), ctx, make=True)
        view = ctx.world.add_view(project.path, given.get("displayName") or "Untitled Report")
        view.user = ctx.user
    fields = {
        "name": "name", "displayName": "display_name", "description": "description",
        "type": "type", "spec": "spec", "parentId": "parent_id", "locked": "locked",
        "coverUrl": "cover_url", "previewUrl": "preview_url", "createdUsing": "created_using",
    }  # fmt: skip
    for field, attribute in fields.items():
        if given.get(field) is not None:
            setattr(view, attribute, given[field])
    view.updated_by, view.updated_at = ctx.user, ctx.world.stamp()
    return {"view": view, "inserted": inserted}


def view_of(identifier: str | None, ctx: Context) -> View | None:
    for project in ctx.visible(list(ctx.world.projects.values())):
        for view in project.views:
            if identifier is not None and view.id.rstrip("=") == identifier.rstrip("="):
                return view
    return None


def delete_view(given: Args, ctx: Context) -> Payload:
    view = view_of(given.get("id"), ctx)
    if view is None:
        raise Refused(404, "view not found")
    view.project.views.remove(view)
    return {"success": True, "pendingDrafts": False}


MUTATIONS: Final[dict[tuple[str, str], Resolver]] = {
    ("Mutation", name): mutation(change)
    for name, change in {
        "upsertModel": upsert_model,
        "renameProject": rename_project,
        "deleteModel": delete_model,
        "upsertBucket": upsert_bucket,
        "updateRunState": update_run_state,
        "stopRun": stop_run,
        "deleteRun": delete_run,
        "deleteRuns": delete_runs,
        "undeleteRuns": undelete_runs,
        "modifyRuns": modify_runs,
        "moveRuns": move_runs,
        "createRunFiles": create_run_files,
        "markRunFilesUploaded": mark_run_files_uploaded,
        "notifyScriptableRunAlert": notify,
        "deleteFiles": delete_files,
        "upsertSweep": upsert_sweep,
        "deleteSweep": delete_sweep,
        "createAgent": create_agent,
        "agentHeartbeat": agent_heartbeat,
        "upsertView": upsert_view,
        "deleteView": delete_view,
    }.items()
}
