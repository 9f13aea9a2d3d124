"""Realistic projects from a seed: nested configs, slashed keys, mixed types, NaN, ties, sweeps, users.

A generated run keeps no documents. They are written anew from its seed whenever they are asked
for, so 200,000 runs need little memory; a text that is edited is kept.
"""

from __future__ import annotations

import math
import random
import string
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from mirror.sandbox.clock import instant_us, stamp, stamp_of_us
from mirror.sandbox.objects import ENDED, Project, Run, Sweep, User
from mirror.sandbox.world import ADJECTIVES, NOUNS, World, text_of, wrapped

WEIGHTS: Final = (80, 8, 8, 3, 1)
UNFINISHED: Final = ("running", "running", "pending", "preempting")
PEOPLE: Final = ("amira", "benoit", "chiyo")
TAGS: Final = ("baseline", "best", "debug", "paper", "ablation", "größe", "needs review")
WORDS: Final = ADJECTIVES + NOUNS
KEPT: Final = 8192
"Texts kept: all of a small project's, and little memory."
ALPHABET: Final = string.ascii_lowercase + string.digits


class GeneratedRun(Run):
    """A run whose two documents come from its seed until somebody sets them."""

    __slots__ = ("_config", "_summary")

    @property
    def config_text(self) -> str:
        return self._config or config_of(self.seed)

    @config_text.setter
    def config_text(self, text: str | None) -> None:
        self._config = text

    @property
    def summary_text(self) -> str:
        return self._summary or summary_of(self.seed, self.line_count, self.created_us)

    @summary_text.setter
    def summary_text(self, text: str | None) -> None:
        self._summary = text


def generate(world: World, path: str, runs: int = 2000, seed: int = 7) -> Project:
    """Fill a project (made if need be) with runs, and return it. The same seed, the same runs.

    Creation times lie between 400 and 2 days before the world's now and often tie; at most 100
    runs, and at most one in fifty, have not ended.
    """
    with world.lock:
        entity, _, name = path.partition("/")
        project = world.projects.get(path) or world.add_project(entity, name)
        chance = random.Random(seed)
        people = [world.users.get(one) or world.add_user(one) for one in PEOPLE]
        people += [user for user, _ in project.entity.members.values()]
        start = world.now - timedelta(days=400)
        span_s = timedelta(days=398).total_seconds()
        sweeps = made_up_sweeps(world, project, min(50, runs // 40), chance, stamp(start))
        open_from = runs - min(100, runs // 50)
        at_us = instant_us(stamp(start))
        for index in range(runs):
            if chance.random() > 0.1:  # otherwise it ties with the run before
                at_us = instant_us(stamp(start + timedelta(seconds=span_s * index // max(runs, 1))))
            unfinished = index >= open_from
            run = made_up_run(project, chance, at_us, people, sweeps, unfinished)
            project.runs[run.name] = run
        project.touch(members=True)
        return project


def made_up_run(
    project: Project, chance: random.Random, at_us: int, people: list[User],
    sweeps: list[Sweep], unfinished: bool,
) -> Run:  # fmt: skip
    name = "".join(chance.choices(ALPHABET, k=8))
    while name in project.runs:
        name = "".join(chance.choices(ALPHABET, k=8))
    state = chance.choice(UNFINISHED) if unfinished else chance.choices(ENDED, WEIGHTS)[0]
    seconds = int(chance.expovariate(1 / 3600))
    # Ended well before now, so that a clock near now finds nothing new.
    beat = None if state == "pending" else stamp_of_us(at_us + min(seconds, 80_000) * 1_000_000)
    created = stamp_of_us(at_us)
    sweep = chance.choice(sweeps) if sweeps and chance.random() < 0.25 else None
    return GeneratedRun(
        project, name, f"{chance.choice(WORDS)}-{chance.choice(WORDS)}-{len(project.runs) + 1}",
        state, created, None, None,  # type: ignore[arg-type]
        user=chance.choice(people),
        tags=chance.sample(TAGS, chance.choices((0, 1, 2, 3), (50, 30, 15, 5))[0]),
        notes=f"seed {len(project.runs)}: looks fine" if chance.random() < 0.1 else None,
        group=f"group-{chance.randrange(12)}" if chance.random() < 0.4 else None,
        job_type=chance.choice(("train", "train", "eval", None)),
        host=f"node-{chance.randrange(16):02}",
        commit=f"{chance.getrandbits(160):040x}" if chance.random() < 0.5 else None,
        sweep=sweep, heartbeat_at=beat, updated_at=beat or created,
        exitcode={"finished": 0, "failed": 1}.get(state),
        line_count=0 if state == "pending" else chance.randrange(1, 400),
        seed=chance.getrandbits(48),
    )  # fmt: skip


def made_up_sweeps(
    world: World, project: Project, count: int, chance: random.Random, created: str
) -> list[Sweep]:
    found = []
    for _ in range(count):
        name = "".join(chance.choices(ALPHABET, k=8))
        method = chance.choice(("grid", "random", "bayes"))
        config = (
            f"method: {method}\nmetric:\n  goal: minimize\n  name: val/loss\nparameters:\n"
            "  lr:\n    max: 0.1\n    min: 1e-05\n"
        )
        found.append(
            world.add_sweep(
                project.path,
                name,
                config=config,
                created_at=created,
                display_name=f"sweep of {chance.choice(WORDS)}",
                state=chance.choice(("FINISHED", "FINISHED", "RUNNING", "CANCELED")),
            )
        )
    return found


@lru_cache(maxsize=KEPT)
def config_of(seed: int) -> str:
    """Write the config of a seed, as a training script would have it."""
    chance = random.Random(seed)
    config: dict[str, Any] = {
        "lr": 10 ** chance.uniform(-5, -1),
        "batch_size": chance.choice((16, 32, 64, 128, "auto")),
        "epochs": chance.choice((1, 10, 90, 90.0)),
        "seed": chance.choice((0, 1, 42, 2**53 + 1, chance.getrandbits(63))),
        "optimizer": {
            "name": chance.choice(("adam", "sgd", "lamb")),
            "betas": [0.9, round(chance.uniform(0.95, 0.999), 4)],
            "weight_decay": chance.choice((0, 0.01, 1e-4, None)),
        },
        "model": {
            "type": chance.choice(("resnet50", "vit", "mlp")),
            "layers": [{"units": 2 ** chance.randrange(4, 11), "dropout": 0.1}] * 3,
            "pretrained": chance.random() < 0.5,
        },
        "data/path": f"/data/{chance.choice(WORDS)}/v{chance.randrange(9)}",
        "amp": chance.choice((True, False, "true", None)),
        "stages": list(range(chance.randrange(5))),
        "note": chance.choice(("", "ok", "größer \u2028 besser", 'with "quotes" and \\', None)),
    }
    if chance.random() < 0.2:
        config["optim.momentum"] = chance.choice((0.9, 0.99))
    if chance.random() < 0.05:
        config["clip"] = chance.choice((math.inf, math.nan, "inf"))
    if chance.random() < 0.05:
        config["settings"] = {"value": {"nested": True}}
    text = wrapped(config)
    version = f'"_wandb":{{"value":{{"cli_version":"0.31.0","t":{{"1":[1,5]}},"m":[{seed % 7}]}}}}'
    return f"{text[:-1]},{version}}}"


@lru_cache(maxsize=KEPT)
def summary_of(seed: int, line_count: int, created_us: int) -> str:
    """Write the summary of a seed; a run that has logged nothing has none."""
    if line_count == 0:
        return "{}"
    chance = random.Random(seed + 1)
    loss = chance.choice((chance.expovariate(2), chance.expovariate(2), math.nan, math.inf))
    summary: dict[str, Any] = {
        "_step": line_count - 1,
        "_runtime": line_count * 2.5,
        "_timestamp": created_us / 1e6 + line_count,
        "loss": loss if chance.random() < 0.05 else chance.expovariate(2),
        "val/loss": chance.expovariate(1.5),
        "val/acc": round(chance.random(), chance.choice((2, 4, 17))),
        "train/epoch": chance.randrange(1, 91),
        "best": {"epoch": chance.randrange(90), "val": {"acc": chance.random()}},
        "grad_norm": chance.choice((0, 1, chance.random() * 10, "NaN", None)),
    }
    if chance.random() < 0.1:
        summary["examples"] = {
            "_type": "table-file",
            "ncols": 3,
            "nrows": 100,
            "path": "media/t.json",
        }
    if chance.random() < 0.1:
        summary["confusion"] = [[chance.randrange(50) for _ in range(3)] for _ in range(3)]
    return text_of(summary)
