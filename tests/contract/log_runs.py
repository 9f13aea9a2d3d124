"""Log runs with the real package, as a training script would; run by test_logged_runs.py in a process of its own."""

from __future__ import annotations

import sys

import wandb


def main() -> None:
    quiet = wandb.Settings(quiet=True, console="off")
    for index in range(2):
        with wandb.init(
            entity="team", project="logged", id=f"logged{index}", name=f"run {index}", settings=quiet,
            config={"lr": 1e5 * index, "whole": 1.0, "nested": {"value": [1, None]}, "path": "a/b", "big": 2**70},
            tags=["one", "zwei"], group="g", job_type="train", notes="ünïcode \u2028 note",
        ) as run:  # fmt: skip
            for step in range(6):
                loss = float("nan") if step == 4 else 1 / (step + 1)
                run.log({"loss": loss, "deep": {"v": step, "w": -0.0}, "val/acc": step / 5})
            run.summary["best"] = float("inf")
            run.summary["table"] = {"a": {"b": [1, 2.0]}}
            run.config["late"] = True


if __name__ == "__main__":
    sys.exit(main())
