"""Run queues, their items and their default resource configurations."""

from __future__ import annotations

import json
from typing import Any, Final

from mirror.sandbox.connections import Refused
from mirror.sandbox.context import Args, Context
from mirror.sandbox.mutations import Payload, mutation, writable
from mirror.sandbox.objects import Project, QueueItem, ResourceConfig, RunQueue
from mirror.sandbox.people import own_entity
from mirror.sandbox.selection import Resolver


def parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def create_resource_config(given: Args, ctx: Context) -> Payload:
    owner = own_entity(given["entityName"], ctx)
    variables = parsed(given.get("templateVariables")) or {}
    config = ResourceConfig(
        ctx.world.number(), given["resource"], parsed(given["config"]), ctx.world.stamp(),
        template_variables=[
            {
                "name": name, "schema": json.dumps(variable.get("schema")),
                "description": variable.get("description"),
            }
            for name, variable in variables.items()
        ],
    )  # fmt: skip
    owner.resource_configs.append(config)
    return {"defaultResourceConfigID": config.id, "success": True}


def create_queue(given: Args, ctx: Context) -> Payload:
    project = writable(given["entityName"], given["projectName"], ctx)
    if any(queue.name == given["queueName"] for queue in project.run_queues):
        raise Refused(409, f"queue {given['queueName']!r} already exists")
    assert ctx.user is not None
    queue = ctx.world.add_run_queue(
        project.path, given["queueName"], access=given["access"],
        prioritization_mode=given.get("prioritizationMode"),
        default_resource_config_id=given.get("defaultResourceConfigID"),
        created_by=ctx.user.number,
    )  # fmt: skip
    return {"success": True, "queueID": queue.id}


def upsert_queue(given: Args, ctx: Context) -> Payload:
    project = writable(given["entityName"], given["projectName"], ctx)
    config = create_resource_config(
        given | {"resource": given["resourceType"], "config": given["resourceConfig"]}, ctx
    )
    queue = next((q for q in project.run_queues if q.name == given["queueName"]), None)
    if queue is None:
        queue = ctx.world.add_run_queue(project.path, given["queueName"])
    queue.default_resource_config_id = config["defaultResourceConfigID"]
    queue.prioritization_mode = given.get("prioritizationMode") or queue.prioritization_mode
    queue.external_links = parsed(given.get("externalLinks")) or queue.external_links
    queue.updated_at = ctx.world.stamp()
    return {"success": True, "configSchemaValidationErrors": []}


def queues(ctx: Context) -> list[tuple[Project, RunQueue]]:
    projects = ctx.visible(list(ctx.world.projects.values()))
    return [(project, queue) for project in projects for queue in project.run_queues]


def queue_of(identifier: str, ctx: Context) -> tuple[Project, RunQueue]:
    found = [(project, queue) for project, queue in queues(ctx) if queue.id == identifier]
    if not found:
        raise Refused(404, "run queue not found")
    return found[0]


def delete_queues(given: Args, ctx: Context) -> Payload:
    for identifier in given["queueIDs"]:
        project, queue = queue_of(identifier, ctx)
        project.run_queues.remove(queue)
    return {"success": True}


def push(queue: RunQueue, given: Args, ctx: Context) -> Payload:
    item = QueueItem(
        ctx.world.number(), json.loads(given["runSpec"]), ctx.world.stamp(),
        priority=given.get("priority"),
    )  # fmt: skip
    queue.items.append(item)
    return {"runQueueItemId": item.id, "runSpec": given["runSpec"]}


def push_by_name(given: Args, ctx: Context) -> Payload:
    project = writable(given["entityName"], given["projectName"], ctx)
    queue = next((q for q in project.run_queues if q.name == given["queueName"]), None)
    if queue is None:
        raise Refused(404, f"run queue {given['queueName']!r} not found")
    return push(queue, given, ctx)


def delete_item(given: Args, ctx: Context) -> Payload:
    _, queue = queue_of(given["queueID"], ctx)
    left = [item for item in queue.items if item.id != given["runQueueItemId"]]
    found, queue.items = len(left) < len(queue.items), left
    return {"success": found}


LAUNCH_MUTATIONS: Final[dict[tuple[str, str], Resolver]] = {
    ("Mutation", "createDefaultResourceConfig"): mutation(create_resource_config),
    ("Mutation", "createRunQueue"): mutation(create_queue),
    ("Mutation", "upsertRunQueue"): mutation(upsert_queue),
    ("Mutation", "deleteRunQueues"): mutation(delete_queues),
    ("Mutation", "pushToRunQueue"): mutation(
        lambda given, ctx: push(queue_of(given["queueID"], ctx)[1], given, ctx)
    ),
    ("Mutation", "pushToRunQueueByName"): mutation(push_by_name),
    ("Mutation", "deleteFromRunQueue"): mutation(delete_item),
}
