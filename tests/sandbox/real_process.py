"""Run a script with the unmodified `wandb` package against a sandbox, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

KEY = "a1b2c3d4e5" * 4
FOLDERS = ("HOME", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")


def seen_by(script: str, url: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Return the JSON object that a script of this folder prints last."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("WANDB_")}
    own = dict.fromkeys(FOLDERS, str(folder))
    given = {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_SILENT": "true"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *arguments], cwd=folder,
        env=kept | own | given, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found
