"""What clients may change about teams, invitations, users and their keys."""

from __future__ import annotations

import json
import secrets
from typing import Final

from mirror.sandbox.connections import Refused
from mirror.sandbox.context import Args, Context
from mirror.sandbox.mutations import Payload, mutation
from mirror.sandbox.objects import ApiKey, Entity, Invite, User
from mirror.sandbox.selection import Resolver


def own_entity(name: str | None, ctx: Context) -> Entity:
    """Return an entity the user belongs to. Raises Refused."""
    found = ctx.world.entities.get(name or "")
    if found is None or ctx.user is None or ctx.user.username not in found.members:
        raise Refused(403, f"permission denied for entity {name!r}")
    return found


def create_team(given: Args, ctx: Context) -> Payload:
    if given["teamName"] in ctx.world.entities:
        raise Refused(409, f"name {given['teamName']!r} is taken")
    assert ctx.user is not None
    admin = given.get("teamAdminUserName") or ctx.user.username
    return {"entity": ctx.world.add_member(given["teamName"], admin, "admin")}


def create_invite(given: Args, ctx: Context) -> Payload:
    """Add a known user at once; keep an invitation for an e-mail address."""
    team = own_entity(given.get("entityName"), ctx)
    role = given.get("role") or ("admin" if given.get("admin") else "member")
    by_email = (u for u in ctx.world.users.values() if u.email == given.get("email"))
    user = ctx.world.users.get(given.get("username") or "") or next(by_email, None)
    if user is not None:
        ctx.world.add_member(team.name, user.username, role)
    elif given.get("email") is None:
        raise Refused(404, f"user {given.get('username')!r} not found")
    email = given.get("email") or (user.email if user else "")
    invite = Invite(
        ctx.world.number(), email, email, team, ctx.world.stamp(),
        from_user=ctx.user, to_user=user, accepted=user is not None,
    )  # fmt: skip
    if user is None:
        team.invites.append(invite)
    return {"invite": invite, "entity": team, "success": True}


def delete_invite(given: Args, ctx: Context) -> Payload:
    """Take back an invitation, or remove the member of that id."""
    team = own_entity(given.get("entityName"), ctx)
    for username, (user, _role) in list(team.members.items()):
        if user.id == given.get("id"):
            del team.members[username]
            user.teams = [one for one in user.teams if one is not team]
            return {"success": True}
    left = [invite for invite in team.invites if invite.id != given.get("id")]
    found = len(left) < len(team.invites)
    team.invites = left
    if not found:
        raise Refused(404, "invite not found")
    return {"success": True}


def create_service_account(given: Args, ctx: Context) -> Payload:
    team = own_entity(given.get("entityName"), ctx)
    username = f"service-{ctx.world.number()}"
    user = ctx.world.add_user(
        username, key=secrets.token_hex(20), teams=[team.name], name=given.get("description")
    )
    user.account_type = "SERVICE"
    return {"user": user}


def create_user(given: Args, ctx: Context) -> Payload:
    assert ctx.user is not None
    if not ctx.user.admin:
        raise Refused(403, "permission denied")
    username = given["email"].partition("@")[0]
    user = ctx.world.add_user(username, email=given["email"], admin=bool(given.get("admin")))
    user.account_type = given.get("accountType") or user.account_type
    return {"user": user}


def update_user(given: Args, ctx: Context) -> Payload:
    user = next((u for u in ctx.world.users.values() if u.id == given.get("id")), ctx.user)
    assert user is not None
    if user is not ctx.user and not (ctx.user and ctx.user.admin):
        raise Refused(403, "permission denied")
    fields = {"name": "name", "photoUrl": "photo_url", "primaryEmail": "email"}
    for field, attribute in fields.items():
        if given.get(field) is not None:
            setattr(user, attribute, given[field])
    if given.get("userInfo") is not None:
        user.user_info = json.loads(given["userInfo"])
    if given.get("defaultEntity") is not None:
        user.default_entity = own_entity(given["defaultEntity"], ctx)
    return {"user": user}


def generate_api_key(given: Args, ctx: Context) -> Payload:
    """Make a key. Its name is the key itself this once, and only its start later."""
    user, secret = asker(ctx), secrets.token_hex(20)
    kept = ApiKey(ctx.world.number(), f"{secret[:4]}...", user, secret, given.get("description"))
    user.api_keys.append(kept)
    ctx.world.keys[secret] = user
    return {"apiKey": ApiKey(kept.number, secret, user, secret, kept.description)}


def delete_api_key(given: Args, ctx: Context) -> Payload:
    user = asker(ctx)
    for key in user.api_keys:
        if key.id == given.get("id"):
            user.api_keys.remove(key)
            ctx.world.keys.pop(key.secret, None)
            return {"success": True}
    raise Refused(404, "API key not found")


def asker(ctx: Context) -> User:
    assert ctx.user is not None  # `mutation` refuses requests without a key
    return ctx.user


PEOPLE_MUTATIONS: Final[dict[tuple[str, str], Resolver]] = {
    ("Mutation", "createTeam"): mutation(create_team),
    ("Mutation", "createInvite"): mutation(create_invite),
    ("Mutation", "deleteInvite"): mutation(delete_invite),
    ("Mutation", "createServiceAccount"): mutation(create_service_account),
    ("Mutation", "createUser"): mutation(create_user),
    ("Mutation", "updateUser"): mutation(update_user),
    ("Mutation", "generateApiKey"): mutation(generate_api_key),
    ("Mutation", "deleteApiKey"): mutation(delete_api_key),
}
PEOPLE_FIELDS: Final[dict[tuple[str, str], Resolver]] = {
    ("ApiKey", "ips"): lambda _key, _args, _ctx: [],
}
