"""What the real package logs into a sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filled import KEY

from mirror.sandbox import Server


def run_beside(script: str, server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run a script of this folder in a process of its own, against a server."""
    folder = tmp_path_factory.mktemp("logged")
    environment = {
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": KEY,
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
    }
    path = Path(__file__).with_name(script)
    subprocess.run([sys.executable, path], cwd=folder, env=environment, check=True, timeout=120)
