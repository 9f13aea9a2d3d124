"""What the real package downloads while files do not come: run by test_sandbox_real_artifacts.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import wandb


def main(name: str) -> None:
    artifact = wandb.Api().artifact(name)
    root = Path(artifact.download(root="down"))
    found = {
        str(one.relative_to(root)): one.read_text() for one in root.rglob("*") if one.is_file()
    }
    listed = len(list(wandb.Api().artifacts(artifact.type, name.partition(":")[0], per_page=1000)))
    sys.stdout.write("\n" + json.dumps({"files": found, "listed": listed}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
