"""Log artifacts with the real package; run by test_logged_artifacts.py in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import wandb


def main() -> None:
    quiet = wandb.Settings(quiet=True, console="off")
    folder = Path("folder")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "top.txt").write_text("top")
    (folder / "deep" / "er" / "größe 1.txt").write_text("deep")
    (folder / "empty.txt").touch()
    with wandb.init(entity="team", project="shelf", id="logs", settings=quiet) as run:
        run.log({"loss": 1})
        data = wandb.Artifact(
            "data",
            "dataset",
            "the first",
            {"k": 1e5, "nan": float("nan"), "deep": {"a": [1, None]}},
        )
        data.add_dir(str(folder), "folder")
        data.add_reference("hdfs://host/key", "far", checksum=False)
        run.log_artifact(data, aliases=["first"], tags=["raw"]).wait()
        more = data.new_draft()
        (folder / "more.txt").write_text("more")
        more.add_file(str(folder / "more.txt"))
        more.remove("folder/empty.txt")
        run.log_artifact(more, aliases=["best", "prod"]).wait()
        gone = wandb.Artifact("data", "dataset")
        gone.add_file(str(folder / "top.txt"))
        run.log_artifact(gone).wait().delete(delete_aliases=True)
        net = wandb.Artifact("net", "model", metadata={"acc": 0.5})
        net.add_file(str(folder / "top.txt"), "weights.bin")
        run.log_artifact(net).wait()
        run.link_artifact(net, "team/shelf/nets", aliases=["prod"])
        run.link_artifact(net, "wandb-registry-models/nets", aliases=["staging"])
    with wandb.init(entity="team", project="shelf", id="uses", settings=quiet) as run:
        run.use_artifact("data:first")


if __name__ == "__main__":
    sys.exit(main())
