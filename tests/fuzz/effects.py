"""Does an option do something? One command line, and the same with other values of one option."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgzoo.agents import AGENTS, agent_class, options_in_order, training_default
from pgzoo.cli.flags import flag
from pgzoo.options import Option, written
from tests.fuzz import values
from tests.fuzz.readers import TIMED, of_run

TELLING = {
    "max_grad_norm": ("0.001", "0.01", "0.0001"),
    "clip": ("0.001", "0.01", "0.0001"),
    "value_clip": ("0.001", "0.01", "0.0001"),
    "diagnostics": ("1", "2", "7"),
    "minibatches": ("1", "2", "3"),
    "seeds": ("5-6", "2-3", "7-8"),
    "policy": ("linear", "tabular", "mlp"),
    "max_episode_steps": ("5", "7", "9"),
}
"""Values that must show where others need not."""
EVERYWHERE = {
    "seeds": "0-1", "policy": "mlp", "max_episode_steps": None, "diagnostics": "4",
    "compare_estimators": None, "tensorboard_seeds": None,
}  # fmt: skip
"""Options of every agent's command, with what they are in ``question``'s command line."""


@dataclass(frozen=True)
class Question:
    """A command line and others that differ in one option.

    Attributes:
        option: which.
        base: the command line.
        others: the same with other values, the more telling first.
        values: these.
    """

    option: str
    base: tuple[str, ...]
    others: tuple[tuple[str, ...], ...]
    values: tuple[str, ...]


def question(choose: random.Random) -> Question:
    """An option of a training run, and values of it."""
    agent = choose.choice(list(AGENTS))
    known = {o.name: o for o in options_in_order(agent_class(agent))}
    base = {"env": "CartPole-v1", "seeds": "0-1", "steps": "300", "diagnostics": "4"}
    settled = {"learning_rate": "0.05", "epochs": "3", "hidden": "4", "envs": "2",
               "segment_steps": "16", "critic_learning_rate": "0.05"}  # fmt: skip
    base |= {k: v for k, v in settled.items() if k in known}
    base |= {k: v for k, v in (("episodes", "4"), ("group_size", "2")) if k in known}
    name = choose.choice([*known, *EVERYWHERE])
    if name in ("reference", "steps"):
        name = "learning_rate"
    if name.startswith("kl_"):
        base |= {"reference": "plain", "kl_coef": "0.5"}
    for other in choose.sample(list(known.values()), choose.choice((0, 0, 1, 2))):
        if other.name not in base and other.name != "reference" and other.name[:3] != "kl_":
            base[other.name] = values.telling(other, choose)
    option = known.get(name)
    base_words = _words(agent, base, known)
    if name in ("compare_estimators", "tensorboard_seeds"):
        return Question(name, base_words, ((*base_words, flag(name)),), ("given",))
    tried = _tried(option, name, choose)
    had = base.get(name)
    if had is None and option is not None:
        had = written(training_default(agent_class(agent), option, "CartPole-v1"))
    tried = [value for value in tried if value != had]
    others = tuple(_words(agent, base | {name: value}, known) for value in tried)
    return Question(name, base_words, others, tuple(tried))


def _tried(option: Option | None, name: str, choose: random.Random) -> list[str]:
    if name in TELLING:
        return list(TELLING[name])
    assert option is not None
    if option.kind is bool:
        return ["yes", "no"]
    if option.choices is not None:
        return list(option.choices)
    return list(dict.fromkeys(values.telling(option, choose) for _ in range(4)))[:3]


def _words(agent: str, chosen: dict[str, str], known: dict[str, Option]) -> tuple[str, ...]:
    words = ["run", agent, "--quiet"]
    for name, value in chosen.items():
        if name in known and known[name].kind is bool:
            words.append(flag(name) if value == "yes" else f"--no-{flag(name)[2:]}")
        else:
            words.append(f"{flag(name)}={value}")
    return tuple(words)


def seen(folder: Path) -> dict[str, Any]:
    """Everything that an option may show in: of a run, all but its configuration."""
    if (folder / "config.json").exists():
        found = of_run(folder)
        content = (folder / "checkpoint.safetensors").read_bytes()
        length = int.from_bytes(content[:8], "little")
        found["checkpoint"] = hashlib.sha256(content[8 + length :]).hexdigest()
        found.pop("snapshots")
        return found
    found = json.loads((folder / "lab.json").read_text())
    return {k: v for k, v in found.items() if k not in TIMED and k != "settings"}
