"""Write the pages that are made from the code: docs/cli.md, docs/configuration.md, mirror.toml.

`make docs` calls it; tests/test_docs.py fails while a page differs from what it would write.
"""

from __future__ import annotations

from pathlib import Path

import click

from mirror import config
from mirror.cli import cli

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100


def pages() -> dict[Path, str]:
    """Every page that is made from the code, with its text."""
    return {
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


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
