"""Registries: projects of an organization's entity, searched across it, with members and roles.

Rows of which the user may not see the project are taken out after paging, so that pages can be
short or empty and more may follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from mirror.sandbox import artifact_filters
from mirror.sandbox.artifact_objects import Collection, shelf
from mirror.sandbox.artifacts import FIELDS, KINDS, collections, with_features
from mirror.sandbox.connections import Page, Refused
from mirror.sandbox.context import Args, Context
from mirror.sandbox.mutations import Payload, mutation
from mirror.sandbox.objects import Entity, Organization, Project, User
from mirror.sandbox.selection import Resolver

ROLES: Final = ("admin", "member", "viewer", "restricted_viewer")

# ------------------------------------------------------------------------------- searching


def projects(owner: Entity, args: Args, ctx: Context) -> Page:
    rows = artifact_filters.registries(owner.projects, args.get("filters"), args.get("order"))
    return shown(ctx.page("projects", rows, args), ctx, lambda one: one)


def shown(page: Page, ctx: Context, project: Any) -> Page:
    """Take out of a page what belongs to a project the user may not see."""
    page.edges = [
        edge
        for edge in page.edges
        if edge.node is None or ctx.world.visible(project(edge.node), ctx.user)
    ]
    return page


def registries_of(owner: Entity, filters: str | None) -> list[Project]:
    """Return the projects that a search covers: of an organization, its registries."""
    found = owner.projects
    if owner.entity_type == "organization":
        found = [one for one in found if one.is_registry]
    return artifact_filters.registries(found, filters)


def found_collections(owner: Entity, args: Args) -> Iterator[Collection]:
    for project in registries_of(owner, args.get("projectFilters")):
        yield from shelf(project).collections.values()


def entity_collections(owner: Entity, args: Args, ctx: Context) -> Page:
    page = collections(found_collections(owner, args), args, ctx)
    return shown(page, ctx, lambda one: one.project)


def entity_memberships(owner: Entity, args: Args, ctx: Context) -> Page:
    """Search the links of the registries that meet one filter, collections another, versions a third."""
    advanced = owner.organization is not None and owner.organization.advanced_search
    if args.get("order") and not advanced:
        raise Refused(400, "ordering is not supported by this search")
    portfolios = (one for one in found_collections(owner, args) if one.kind == KINDS["PORTFOLIO"])
    kept = artifact_filters.collections(portfolios, args.get("collectionFilters"))
    rows = sorted(
        (member for one in kept for member in one.members), key=lambda one: one.number, reverse=True
    )
    rows = artifact_filters.versions(rows, args.get("filters"), args.get("order"))
    page = ctx.page("artifactMemberships", rows, args)
    return shown(page, ctx, lambda one: one.collection.project)


def organization_collections(found: Organization, args: Args, ctx: Context) -> Page:
    if found.org_entity is None:
        return ctx.page("artifactCollections", [], args)
    return entity_collections(found.org_entity, args, ctx)


def organization_projects(found: Organization, args: Args, ctx: Context) -> Page:
    if found.org_entity is None:
        return ctx.page("projects", [], args)
    return projects(found.org_entity, args, ctx)


def advanced_features(found: Organization, _args: Args, _ctx: Context) -> dict[str, Any]:
    return {"advancedSearch": found.advanced_search}


# ------------------------------------------------------------------------------- members


def members(project: Project, _args: Args, _ctx: Context) -> list[dict[str, Any]]:
    """List who has a role: in a registry those that were added, elsewhere the entity's members."""
    people = project.members if project.is_registry else project.entity.members
    return [
        {
            "id": user.id, "name": user.name, "username": user.username, "email": user.email,
            "role": {"name": role},
        }
        for user, role in people.values()
    ]  # fmt: skip


def team_members(project: Project, _args: Args, _ctx: Context) -> list[dict[str, Any]]:
    return [{"team": team, "role": {"name": role}} for team, role in project.team_members.values()]


def registry_of(given: Args, ctx: Context) -> Project:
    """Return the registry an input names, to one who may manage it. Raises Refused."""
    asked = given["projectId"]
    for project in ctx.visible(list(ctx.world.projects.values())):
        if asked in (project.id, project.internal_id, str(project.internal_number)):
            if not project.is_registry:
                raise Refused(400, f"project {project.path} is no registry")
            return project
    raise Refused(404, "project not found")


def people(given: Args, ctx: Context, field: str = "userIds") -> list[User]:
    by_id = {user.id: user for user in ctx.world.users.values()}
    return all_of(by_id, given.get(field) or (), "user")


def teams(given: Args, ctx: Context) -> list[Entity]:
    by_id = {one.id: one for one in ctx.world.entities.values()}
    return all_of(by_id, given.get("teamIds") or (), "team")


def all_of(known: dict[str, Any], wanted: Sequence[str], noun: str) -> list[Any]:
    for identifier in wanted:
        if identifier not in known:
            raise Refused(404, f"{noun} {identifier!r} not found")
    return [known[identifier] for identifier in wanted]


def create_members(given: Args, ctx: Context) -> Payload:
    """Give people and teams a role, at first that of a viewer; who has one keeps it."""
    project = registry_of(given, ctx)
    for user in people(given, ctx):
        project.members.setdefault(user.username, (user, "viewer"))
    for team in teams(given, ctx):
        project.team_members.setdefault(team.name, (team, "viewer"))
    return {"success": True}


def delete_members(given: Args, ctx: Context) -> Payload:
    project = registry_of(given, ctx)
    for user in people(given, ctx):
        project.members.pop(user.username, None)
    for team in teams(given, ctx):
        project.team_members.pop(team.name, None)
    return {"success": True}


def update_member(given: Args, ctx: Context) -> Payload:
    project = registry_of(given, ctx)
    [user] = people({"userIds": [given["userId"]]}, ctx)
    if user.username not in project.members:
        raise Refused(404, f"{user.username} is no member of {project.name}")
    project.members[user.username] = (user, given["userProjectRole"])
    return {"success": True}


def update_team_member(given: Args, ctx: Context) -> Payload:
    project = registry_of(given, ctx)
    [team] = teams({"teamIds": [given["teamId"]]}, ctx)
    if team.name not in project.team_members:
        raise Refused(404, f"{team.name} is no member of {project.name}")
    project.team_members[team.name] = (team, given["teamProjectRole"])
    return {"success": True}


ARTIFACT_FIELDS: Final[dict[tuple[str, str], Resolver]] = with_features(
    FIELDS
    | {
        ("Entity", "projects"): projects,
        ("Entity", "artifactCollections"): entity_collections,
        ("Entity", "artifactMemberships"): entity_memberships,
        ("Organization", "artifactCollections"): organization_collections,
        ("Organization", "advancedRegistryFeatures"): advanced_features,
        ("Organization", "projects"): organization_projects,
        ("Project", "allowAllArtifactTypesInRegistry"): lambda project, _args, _ctx: (
            project.allow_all_artifact_types
        ),
        ("Project", "members"): members,
        ("Project", "teamMembers"): team_members,
    }
)
REGISTRY_MUTATIONS: Final[dict[tuple[str, str], Resolver]] = {
    ("Mutation", name): mutation(change)
    for name, change in {
        "createProjectMembers": create_members,
        "deleteProjectMembers": delete_members,
        "updateProjectMember": update_member,
        "updateProjectTeamMember": update_team_member,
    }.items()
}
