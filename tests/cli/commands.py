"""The type of the `run` fixture; in a module of its own, for `conftest` is a name others have too."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import Result

Run = Callable[..., Result]
