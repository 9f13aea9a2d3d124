"""The command line: parses and prints. Each command calls one function that a script could call.

Commands import what they need when they run, so that `mirror --help` is quick.
"""

from __future__ import annotations

from mirror.cli import artifacts, blobs, database, demonstration, get, query, sync
from mirror.cli.app import cli

__all__ = ["artifacts", "blobs", "cli", "database", "demonstration", "get", "query", "sync"]
