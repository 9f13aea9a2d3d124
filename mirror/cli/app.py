"""The `mirror` group, and the one adapter that turns our errors into sentences and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from mirror import __version__
from mirror.cli.output import print_anywhere
from mirror.errors import (
    ConfigError,
    ContentError,
    MirrorError,
    PathError,
    QueryError,
    StoreBusy,
)

__all__ = ["EXIT_FAILED", "EXIT_HELD", "EXIT_INTERRUPTED", "EXIT_PARTLY", "EXIT_USAGE", "cli"]

# docs/exit-codes.md
EXIT_FAILED, EXIT_USAGE, EXIT_PARTLY, EXIT_HELD, EXIT_INTERRUPTED = 1, 2, 3, 4, 130


class Problem(click.ClickException):
    """A MirrorError on its way to the user."""

    def __init__(self, error: MirrorError) -> None:
        super().__init__("\n".join([str(error), *getattr(error, "__notes__", ())]))
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override] # click has a class variable
        """What the process ends with."""
        return exit_code(self.error)


def exit_code(error: MirrorError) -> int:
    """Return the exit code that an error ends a command with."""
    if isinstance(error, StoreBusy) and error.holder is not None:
        return EXIT_HELD
    if isinstance(error, ConfigError | PathError | QueryError):
        return EXIT_USAGE
    return EXIT_FAILED


class Adapter(click.Group):
    """A group whose commands may raise MirrorError, be interrupted, or lose their reader."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        print_anywhere()
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except MirrorError as error:
            if ctx.find_root().meta.get("mirror.debug"):
                raise
            raise Problem(error) from error
        except BrokenPipeError:
            # `mirror runs … | head`: the reader has what it wanted. Nothing must fail at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            ctx.exit(0)
        except OSError as error:  # a folder that cannot be made or written
            if ctx.find_root().meta.get("mirror.debug") or error.strerror is None:
                raise
            where = "" if error.filename is None else f"{error.filename}: "
            raise Problem(ContentError(f"{where}{error.strerror}")) from error
        except KeyboardInterrupt:
            click.echo("\ninterrupted: what was committed stays, run it again to go on", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        return result


@click.group(
    cls=Adapter,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use or settings, 3 partly failed, 4 another sync is "
    "at work.",
)
@click.version_option(__version__, prog_name="mirror")
def cli() -> None:
    """Mirror Weights & Biases into a database of your own, and query it offline.

    \b
    mirror sync my-team/my-project
    mirror runs my-team/my-project --filter '{"config.lr": {"$gt": 1e-4}}'
    """
