"""Automations ("triggers") of projects and entities, and the integrations they act through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from mirror.sandbox.connections import Page, Refused
from mirror.sandbox.context import Args, Context
from mirror.sandbox.mutations import Payload, mutation
from mirror.sandbox.objects import Entity, Integration, Project, Trigger
from mirror.sandbox.people import own_entity
from mirror.sandbox.selection import Resolver

ACTIONS: Final = {
    "QUEUE_JOB": ("QueueJobTriggeredAction", "queueJobActionInput"),
    "NOTIFICATION": ("NotificationTriggeredAction", "notificationActionInput"),
    "GENERIC_WEBHOOK": ("GenericWebhookTriggeredAction", "genericWebhookActionInput"),
    "NO_OP": ("NoOpTriggeredAction", "noOpActionInput"),
    "ARIA": ("ARIATriggeredAction", "ariaActionInput"),
    "PUSH_NOTIFICATION": ("PushNotificationTriggeredAction", "pushNotificationActionInput"),
}
"Kind of action → its type in answers, its field in inputs."


def triggers_of(owner: Entity, ctx: Context) -> Iterator[Trigger]:
    """Yield the automations of an entity and of its projects that the user sees."""
    yield from owner.triggers
    for project in ctx.visible(owner.projects):
        yield from project.triggers


def entity_triggers(owner: Entity, args: Args, ctx: Context) -> Page:
    """List automations; `filters` may ask for a name."""
    wanted = json.loads(args.get("filters") or "{}").get("name")
    found = [one for one in triggers_of(owner, ctx) if wanted is None or one.name == wanted]
    return ctx.page("triggers", found, args)


def condition(trigger: Trigger, _args: Args, _ctx: Context) -> dict[str, Any]:
    """Return the event; filters of run events come as sent, others wrapped once more."""
    by_run = trigger.event_type.startswith("RUN_")
    return {
        "__typename": "FilterEventTriggeringCondition",
        "eventType": trigger.event_type,
        "filter": trigger.filter if by_run else json.dumps({"filter": trigger.filter}),
    }


def action_of(kind: str, config: dict[str, Any], ctx: Context) -> dict[str, Any]:
    typename, field = ACTIONS[kind]
    given = config.get(field) or {}
    action: dict[str, Any] = {"__typename": typename, **given}
    if "integrationID" in given:
        action["integration"] = integration_of(given["integrationID"], ctx)
    return action


def integration_of(identifier: str, ctx: Context) -> Integration:
    for owner in ctx.world.entities.values():
        for integration in owner.integrations:
            if integration.id == identifier:
                return integration
    raise Refused(404, "integration not found")


def scope_of(kind: str, identifier: str, ctx: Context) -> Project | Entity:
    if kind == "ENTITY":
        entity = next((e for e in ctx.world.entities.values() if e.id == identifier), None)
        return own_entity(entity.name if entity else None, ctx)
    for project in ctx.visible(list(ctx.world.projects.values())):
        if identifier in (project.id, project.internal_id):
            return project
    raise Refused(404, f"scope {identifier} not found")


def create_trigger(given: Args, ctx: Context) -> Payload:
    scope = scope_of(given["scopeType"], given["scopeID"], ctx)
    if any(one.name == given["name"] for one in scope.triggers):
        raise Refused(409, f"automation {given['name']!r} already exists")
    assert ctx.user is not None
    trigger = Trigger(
        ctx.world.number(), given["name"], ctx.user, ctx.world.stamp(), scope,
        given["triggeringEventType"], given["eventFilter"],
        action_of(given["triggeredActionType"], given["triggeredActionConfig"], ctx),
        description=given.get("description"), enabled=given["enabled"],
    )  # fmt: skip
    scope.triggers.append(trigger)
    return {"trigger": trigger}


def trigger_of(identifier: str, ctx: Context) -> Trigger:
    for owner in ctx.world.entities.values():
        for trigger in triggers_of(owner, ctx):
            if trigger.id == identifier:
                return trigger
    raise Refused(404, "trigger not found")


def update_trigger(given: Args, ctx: Context) -> Payload:
    trigger = trigger_of(given["id"], ctx)
    fields = {
        "name": "name", "description": "description", "enabled": "enabled",
        "triggeringEventType": "event_type", "eventFilter": "filter",
    }  # fmt: skip
    for field, attribute in fields.items():
        if given.get(field) is not None:
            setattr(trigger, attribute, given[field])
    if given.get("triggeredActionType") is not None:
        kind, config = given["triggeredActionType"], given.get("triggeredActionConfig") or {}
        trigger.action = action_of(kind, config, ctx)
    if given.get("scopeID") is not None:
        scope = scope_of(given["scopeType"], given["scopeID"], ctx)
        trigger.scope.triggers.remove(trigger)
        scope.triggers.append(trigger)
        trigger.scope = scope
    trigger.updated_at = ctx.world.stamp()
    return {"trigger": trigger}


def delete_trigger(given: Args, ctx: Context) -> Payload:
    trigger = trigger_of(given["triggerID"], ctx)
    trigger.scope.triggers.remove(trigger)
    return {"success": True}


def create_webhook(given: Args, ctx: Context) -> Payload:
    owner = own_entity(given["entityName"], ctx)
    integration = ctx.world.add_integration(
        owner.name, "GenericWebhookIntegration", name=given["name"],
        url_endpoint=given["urlEndpoint"], access_token_ref=given.get("accessTokenRef"),
        secret_ref=given.get("secretRef"),
    )  # fmt: skip
    return {"integration": integration}


AUTOMATION_MUTATIONS: Final[dict[tuple[str, str], Resolver]] = {
    ("Mutation", "createFilterTrigger"): mutation(create_trigger),
    ("Mutation", "updateFilterTrigger"): mutation(update_trigger),
    ("Mutation", "deleteTrigger"): mutation(delete_trigger),
    ("Mutation", "createGenericWebhookIntegration"): mutation(create_webhook),
}
AUTOMATION_FIELDS: Final[dict[tuple[str, str], Resolver]] = {
    ("Entity", "triggers"): entity_triggers,
    ("Trigger", "triggeringCondition"): condition,
    ("Trigger", "triggeredAction"): lambda trigger, _args, _ctx: trigger.action,
}
