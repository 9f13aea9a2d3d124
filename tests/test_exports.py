"""What a module offers is what it says it offers."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import mirror

PACKAGE = Path(mirror.__file__).parent
NAMES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


def _defined(name: str) -> set[str]:
    """The public functions and classes defined (not imported) at the top of a module."""
    module = importlib.import_module(name)
    tree = ast.parse(Path(str(module.__file__)).read_text())
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }


@pytest.mark.parametrize("name", NAMES)
def test_what_a_module_exports_is_there_once(name: str) -> None:
    module = importlib.import_module(name)
    exported = list(getattr(module, "__all__", ()))  # ruff (RUF022) keeps them sorted
    assert len(exported) == len(set(exported))
    for attribute in exported:
        assert hasattr(module, attribute), f"{name}.__all__ names {attribute}, which is not there"


@pytest.mark.parametrize("name", NAMES)
def test_exports_are_public_and_have_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    for attribute in _defined(name) & set(getattr(module, "__all__", ())):
        assert getattr(module, attribute).__doc__, f"{name}.{attribute} has no docstring"


def test_every_error_is_exported_and_drawn_in_the_tree() -> None:
    from mirror import errors

    assert set(errors.__all__) == _defined("mirror.errors")
    for name in errors.__all__:
        assert name in str(errors.__doc__)
        assert issubclass(getattr(errors, name), errors.MirrorError)
        assert getattr(errors, name).__doc__
