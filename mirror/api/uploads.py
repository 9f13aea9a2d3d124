"""What only the package `wandb` can do: uploads by its own service. Loaded when one is asked for.

The one place where wandb is imported, by name and inside the call: nothing here works without it, and
it says so.
"""

from __future__ import annotations

import importlib
from typing import Any

from mirror.api.raising import adapt
from mirror.errors import UnsupportedError

__all__ = ["sync_tensorboard"]


def sync_tensorboard(
    root_dir: str,
    *,
    run_id: str | None,
    project: str | None,
    entity: str | None,
    base_url: str,
    api_key: str | None,
) -> tuple[str, str, str]:
    """Upload TensorBoard event files; return (entity, project, run id) of what was written.

    Raises UnsupportedError where wandb is not installed or is a release that cannot do it (0.31.0 lacks
    the module that its own method imports), and what wandb raises.
    """
    wandb = _wandb("sync_tensorboard")
    api = wandb.Api({"base_url": base_url}, api_key=api_key)
    try:
        run = api.sync_tensorboard(root_dir, run_id=run_id, project=project, entity=entity)
    except ModuleNotFoundError as error:
        if error.name != "wandb.sync":
            raise
        raise adapt(
            UnsupportedError(
                f"wandb {wandb.__version__} cannot upload {root_dir!r}: wandb.Api().sync_tensorboard"
                " imports wandb.sync, which this release does not have; nothing was sent. Log the"
                " events in a script of yours, run.log(wandb.tensorboard.tf_summary_to_dict(event)),"
                " or let wandb.init(sync_tensorboard=True) follow the training itself"
            )
        ) from error
    return run.entity, run.project, run.id


def _wandb(member: str) -> Any:
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise adapt(
            UnsupportedError(
                f"mirror.Api.{member} uploads with the package `wandb`, which is not installed: "
                "install it (`pip install wandb`) and call again; nothing was sent"
            )
        ) from error
