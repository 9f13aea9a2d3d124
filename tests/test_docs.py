"""The documents tell the truth: what is generated is fresh, what is linked is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import click
import pytest

from mirror import errors
from mirror.cli import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def _generate() -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.pages())


@pytest.mark.parametrize("path", sorted(_generate()), ids=lambda path: path.name)
def test_a_generated_page_is_fresh(path: Path) -> None:
    assert path.read_text() == _generate()[path], f"{path.name} is stale: run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _commands(
    group: click.Group, words: tuple[str, ...] = ()
) -> dict[tuple[str, ...], click.Command]:
    found: dict[tuple[str, ...], click.Command] = {}
    for name, command in group.commands.items():
        found[(*words, name)] = command
        if isinstance(command, click.Group):
            found |= _commands(command, (*words, name))
    return found


COMMANDS = _commands(cli)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_help_has_an_example(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    if not isinstance(command, click.Group):
        assert f"mirror {' '.join(words)}" in (command.help or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    """Every `mirror …` of a code span or block names a command, and options that it has."""
    text = page.read_text()
    spans = re.findall(r"`(mirror [^`\n]+)`", text)
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    if page.name == "cli.md":
        lines = []  # generated
    for line in [*spans, *(line for line in lines if line.startswith("mirror "))]:
        _check_line(line.split("#")[0])


def _check_line(line: str) -> None:
    words = line.split()[1:]
    if not words or not words[0][0].isalpha():
        return
    name = tuple(words[:2]) if tuple(words[:2]) in COMMANDS else tuple(words[:1])
    assert name in COMMANDS, f"`{line}`: there is no such command"
    known = {option for param in COMMANDS[name].params for option in param.opts} | {"--help", "-h"}
    for option in re.findall(r"(?<=\s)(--?[a-z][a-z-]*)(?=[\s=]|$)", line.split("'")[0]):
        assert option in known, f"`{line}`: {' '.join(name)} has no {option}"


def test_every_exit_code_is_documented() -> None:
    from mirror.cli import app

    text = (ROOT / "docs" / "exit-codes.md").read_text()
    for name, code in vars(app).items():
        if name.startswith("EXIT_"):
            assert re.search(rf"^\| {code} \|", text, re.MULTILINE), f"{name} = {code}"


def test_every_error_has_a_true_first_sentence() -> None:
    for name in errors.__all__:
        first = str(getattr(errors, name).__doc__).strip().split("\n\n")[0]
        assert first.rstrip().endswith((".", ";")), name
