"""Every public member of the real client is here, with the same parameters.

The table is made from the installed `wandb`; nothing of it is written down here.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from typing import Any

import pytest

import mirror.api

KINDS = (
    "Api", "Projects", "Project", "Runs", "Run", "AgentRuns", "HistoryScan", "ConsoleLogs", "ConsoleLogLine", "Files",
    "File", "Sweeps", "Sweep", "Agent", "Reports", "BetaReport", "QueryGenerator", "PythonMongoishQueryGenerator",
    "User", "Team", "Member", "Organization", "RunQueue", "QueuedRun", "HTTPSummary", "SummarySubDict",
    "LegacyAutomations", "EntityAutomations", "LegacyEntityAutomations", "Integrations", "WebhookIntegrations",
    "SlackIntegrations", "Artifact", "ArtifactManifest", "ArtifactManifestEntry", "ArtifactTypes", "ArtifactType", "ArtifactCollections",
    "ProjectArtifactCollections", "ArtifactCollection", "Artifacts", "RunArtifacts", "ArtifactFiles", "Registries",
    "Registry", "Collections", "Versions", "UserMember", "TeamMember", "MemberKind", "Job",
)  # fmt: skip

NO_MEMBERS = {"model_config", "model_post_init", "__post_init__"}
"""What a model or a dataclass has for whoever makes it."""
WITHOUT_USE = {(kind, name) for kind in ("UserMember", "TeamMember") for name in ("model_dump", "model_dump_json")}  # fmt: skip
"""Members that raise for every object: pydantic cannot serialize a person or a team."""


@functools.cache
def classes_in(package: str) -> dict[str, type]:
    """All classes defined in a package's modules, by name."""
    root = importlib.import_module(package)
    found: dict[str, type] = {}
    for info in pkgutil.walk_packages(root.__path__, f"{package}."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == info.name:
                found[name] = value
    return found


def of_wandb(kind: str) -> type:
    if kind in ("Artifact", "ArtifactManifest", "ArtifactManifestEntry"):
        return classes_in("wandb.sdk.artifacts")[kind]
    return classes_in("wandb.apis.public")[kind]


def of_mirror(kind: str) -> type:
    return classes_in("mirror.api")[kind]


def _public(kind: str) -> list[str]:
    theirs = of_wandb(kind)
    return sorted(
        name
        for one in theirs.__mro__
        if one.__module__.startswith("wandb.")
        for name, value in vars(one).items()
        if name not in NO_MEMBERS
        and (kind, name) not in WITHOUT_USE
        and (not name.startswith("_") or (name.endswith("__") and inspect.isfunction(value)))
    )


def _table() -> list[tuple[str, str]]:
    return [(kind, name) for kind in KINDS for name in dict.fromkeys(_public(kind))]


def _nature(owner: type, name: str) -> str:
    value = inspect.getattr_static(owner, name)
    if isinstance(value, classmethod):
        return "classmethod"
    if isinstance(value, property | functools.cached_property):
        return "property"
    return "method" if callable(value) else "value"


def _parameters(owner: type, name: str) -> list[tuple[str, Any, Any]]:
    value = inspect.getattr_static(owner, name)
    function = value.__func__ if isinstance(value, classmethod) else value
    return [
        (one.name, one.kind, one.default)
        for one in inspect.signature(function).parameters.values()
        if one.name not in ("cls", "self")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_is_here(kind: str) -> None:
    assert kind in classes_in("mirror.api")
    assert of_wandb(kind)


@pytest.mark.parametrize(("kind", "name"), _table())
def test_every_member_is_here_with_the_same_parameters(kind: str, name: str) -> None:
    theirs, ours = of_wandb(kind), of_mirror(kind)
    if _nature(theirs, name) == "value":
        return  # texts it sends, and defaults of what each object sets for itself
    assert hasattr(ours, name), f"{kind}.{name} is missing"
    nature = _nature(theirs, name)
    if nature == "property":
        assert _nature(ours, name) in ("property", "value")
        return
    assert _nature(ours, name) == nature
    wanted, found = _parameters(theirs, name), _parameters(ours, name)
    if wanted and wanted[0][0] == "__dataclass_self__":
        return  # a pydantic dataclass hides its fields
    assert found[: len(wanted)] == wanted
    extra = found[len(wanted) :]
    assert all(one[1] is inspect.Parameter.KEYWORD_ONLY for one in extra), extra


def test_no_public_member_of_the_api_is_left_out() -> None:
    import wandb

    theirs = {name for name in dir(wandb.Api) if not name.startswith("_")}
    assert theirs <= {name for name in dir(mirror.Api) if not name.startswith("_")}


@pytest.mark.parametrize("kind", KINDS)
def test_public_members_have_a_docstring(kind: str) -> None:
    bare = [
        name
        for name, value in vars(of_mirror(kind)).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property | classmethod))
        and not inspect.getdoc(value)
    ]
    assert not bare
