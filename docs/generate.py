"""Write the pages that are made from the code: docs/api.md, docs/cli.md, docs/configuration.md, mirror.toml.

`make docs` calls it; tests/test_docs.py fails while a page differs from what it would write.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

import click

import mirror.api
from mirror import config
from mirror.cli import cli

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100


def pages() -> dict[Path, str]:
    """Every page that is made from the code, with its text."""
    return {
        ROOT / "docs" / "api.md": api_page(),
        ROOT / "docs" / "cli.md": cli_page(),
        ROOT / "docs" / "configuration.md": config.reference(),
        ROOT / "mirror.toml": config.template(),
    }


def cli_page() -> str:
    """The command line's reference: what every `--help` prints."""
    parts = [
        "# Command line",
        "<!-- Written by docs/generate.py from the --help of each command: change it there. -->",
        "Data goes to standard output, everything else to standard error. Exit codes are in\n"
        "[exit-codes.md](exit-codes.md), settings in [configuration.md](configuration.md).",
        _section(["mirror"], cli),
    ]
    for words, command in _commands(["mirror"], cli):
        parts.append(_section(words, command))
    return "\n\n".join(parts) + "\n"


def _commands(words: list[str], group: click.Group) -> list[tuple[list[str], click.Command]]:
    found: list[tuple[list[str], click.Command]] = []
    for name, command in sorted(group.commands.items()):
        found.append(([*words, name], command))
        if isinstance(command, click.Group):
            found += _commands([*words, name], command)
    return found


def _section(words: list[str], command: click.Command) -> str:
    context = click.Context(
        command, info_name=" ".join(words), max_content_width=WIDTH, terminal_width=WIDTH,
        help_option_names=["-h", "--help"],
    )  # fmt: skip
    return f"## {' '.join(words)}\n\n```text\n{command.get_help(context)}\n```"


# ------------------------------------------------------------------ docs/api.md

CLASSES = (
    "Api", "Runs", "Run", "HTTPSummary", "SummarySubDict", "HistoryScan", "Files", "File", "ConsoleLogs", "Projects",
    "Project", "Sweeps", "Sweep", "Agent", "AgentRuns", "Reports", "BetaReport", "User", "Team", "Member",
    "Organization", "Artifact", "ArtifactManifestEntry", "ArtifactManifest", "ArtifactTypes", "ArtifactType",
    "ArtifactCollections", "ProjectArtifactCollections", "ArtifactCollection", "Artifacts", "RunArtifacts",
    "ArtifactFiles", "Registries", "Collections", "Versions", "Registry", "Job", "Automations", "Automation", "Integrations", "RunQueue", "QueuedRun", "RawClient",
)  # fmt: skip

# Members that need more than the store, by where their answer comes from; the rest is answered from it.
READ_THROUGH = {
    "Api": "artifact artifact_collection artifact_collection_exists artifact_collections artifact_exists artifact_type"
    " artifact_types artifact_versions artifacts job list_jobs registries registry automation automations integrations organization project projects reports run run_queue runs"
    " slack_integrations sweep team user users viewer webhook_integrations default_entity from_path queued_run",
    "Runs": "histories",
    "Run": "file files history scan_history beta_scan_history metadata load load_full_data sweep console_logs lastHistoryStep"
    " logged_artifacts used_artifacts",
    "Artifact": "checkout collection download file files get get_entry get_path linked_artifacts logged_by manifest"
    " source_artifact source_collection url used_by",
    "ArtifactManifestEntry": "download",
    "ArtifactType": "load collection collections",
    "ArtifactCollection": "load aliases artifacts",
    "Registry": "load collections versions members team_members user_members",
    "File": "download",
    "Project": "artifacts_types collections owner id sweeps",
    "Sweep": "agent agents get load runs best_run",
    "Team": "load",
    "RunQueue": "access default_resource_config external_links id items prioritization_mode template_variables type",
    "QueuedRun": "state",
}
PASSED_ON = {
    "Api": "client sync_tensorboard",
    "Run": "wait_until_finished",
    "Agent": "runs",
    "QueuedRun": "wait_until_finished wait_until_running",
    "RawClient": "execute",
}
BELOW_NOTICE = {
    "convert_objects",
    "update_variables",
    "server_provides_internal_id_field",
    "model_post_init",
    "as_blob",
    "run_key",
}


def api_page() -> str:
    """The reference of `mirror.Api`: one row for each public member of each class."""
    parts = [
        "# mirror.Api, member by member",
        "<!-- Written by docs/generate.py from the docstrings in mirror/api: change them there. -->",
        "Names, arguments and values are those of `wandb.Api` 0.31; what differs on purpose is in\n"
        "[differences.md](differences.md), how to move a script in [migrating.md](migrating.md).",
        "| from | means |\n|---|---|\n"
        "| store | answered from the mirror; opens no connection in any mode but `online` |\n"
        "| read through | from the mirror; in auto mode the server is asked for what is not there, and the answer kept. "
        "Offline that is `NotMirrored` |\n"
        "| server | passed to the server each time; offline `OfflineError` |\n"
        "| refused | not offered yet: raises `UnsupportedError` with what to use; a write offline raises `OfflineError`. "
        "Nothing is sent |",
    ]
    parts += [_class_section(kind) for kind in CLASSES]
    return "\n\n".join(parts) + "\n"


@functools.cache
def _classes() -> dict[str, type]:
    found: dict[str, type] = {}
    for info in pkgutil.walk_packages(mirror.api.__path__, "mirror.api."):
        module = importlib.import_module(info.name)
        found |= {
            name: value
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == info.name
        }
    return found


def _class_section(kind: str) -> str:
    owner = _classes()[kind]
    rows = [f"## {kind}", _first_sentences(owner)]
    members = [
        name
        for name in sorted({name for one in owner.__mro__[:-1] for name in vars(one)})
        if not name.startswith("_") and name not in BELOW_NOTICE and _is_member(owner, name)
    ]
    if members:
        table = ["| member | from | |", "|---|---|---|"]
        table += [
            f"| {_signature(owner, name)} | {_origin(kind, owner, name)} | {_about(owner, name)} |"
            for name in members
        ]
        rows.append("\n".join(table))
    return "\n\n".join(rows)


def _is_member(owner: type, name: str) -> bool:
    value = inspect.getattr_static(owner, name)
    return callable(value) or isinstance(value, property | functools.cached_property | classmethod)


def _signature(owner: type, name: str) -> str:
    value = inspect.getattr_static(owner, name)
    function: Any = value.__func__ if isinstance(value, classmethod) else value
    if isinstance(value, property | functools.cached_property):
        return f"`{name}`"
    names = [
        f"{one.name}=" if one.default is not one.empty else one.name
        for one in inspect.signature(function).parameters.values()
        if one.name not in ("self", "cls")
    ]
    return f"`{name}({', '.join(names)})`"


def _origin(kind: str, owner: type, name: str) -> str:
    if _doc(owner, name).startswith("Refused"):
        return "refused"
    if name in PASSED_ON.get(kind, "").split():
        return "server"
    return "read through" if name in READ_THROUGH.get(kind, "").split() else "store"


def _doc(owner: type, name: str) -> str:
    value = inspect.getattr_static(owner, name)
    if isinstance(value, functools.cached_property):
        value = value.func
    return inspect.getdoc(value.__func__ if isinstance(value, classmethod) else value) or ""


def _about(owner: type, name: str) -> str:
    first = _doc(owner, name).split("\n\n")[0].replace("\n", " ")
    return first.removeprefix("Refused: ").replace("|", "\\|")


def _first_sentences(owner: type) -> str:
    return (inspect.getdoc(owner) or "").split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
