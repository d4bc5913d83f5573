"""Values of options: what they ask for, what lies at their edges, and what nobody means."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import click

from pgzoo.cli.values import Numbers
from pgzoo.options import Option

SMALL_ENVS = ("CartPole-v1",) * 4 + ("FrozenLake-v1",) * 3 + ("Acrobot-v1", "LunarLander-v3")
ESTIMATORS = (
    "reinforce",
    "reinforce:gamma=0.9",
    "reinforce-baseline",
    "reinforce-baseline:baseline=value",
    "rloo:group_size=2",
    "grpo:group_size=2",
    "reinforce++",
    "right.py:reward_to_go",
    "wrong.py:short",
    "wrong.py:raising",
)
BY_NAME: dict[str, Sequence[str]] = {
    "env": SMALL_ENVS,
    "seeds": ("0", "1", "0-1", "0,3", "5"),
    "seed": ("0", "1", "7"),
    "policy": ("mlp", "mlp", "linear", "tabular"),
    "estimators": ESTIMATORS,
    "estimator": ESTIMATORS,
    "grid": ("ppo:lam=0.5,0.9", "rloo:group_size=2,4", "reinforce:gamma=0.5,1"),
    "formats": ("svg", "svg", "png", "pdf,svg", "svg,svg"),
    "title": ("A title", "ψ $x$", "50% of $"),
    "on": ("local",),
    "at": ("0", "100", "0,100", "50"),
    "seconds": ("0.1", "0.3"),
    "chapter": ("1", "4", "99"),
    "exercise": ("1.1", "returns", "x"),
    "workers": ("1", "2"),
    "jobs": ("1", "2"),
    "port": ("0", "0", "1", "6006"),
    "host": ("127.0.0.1", "localhost", "::1", "nowhere.invalid"),
    "device": ("cpu", "auto"),
    "until_decided": ("2", "3"),
    "gamma": ("0", "0.5", "0.9", "1"),
    "hidden": ("4", "4,4", "1"),
    "reference": ("none", "start", "initial", "plain"),
}
"""Sensible values of parameters that say too little of themselves, by their names."""
NUMBERS: dict[str, tuple[int, int]] = {
    "steps": (50, 300),
    "trajectories": (4, 8),
    "estimates": (2, 4),
    "reference_estimates": (2, 8),
    "critic_trajectories": (2, 8),
    "episodes": (2, 8),
    "group_size": (1, 4),
    "segment_steps": (2, 16),
    "max_episode_steps": (1, 30),
    "diagnostics": (0, 3),
    "epochs": (1, 3),
    "minibatches": (1, 3),
}
"""Ranges of whole numbers in which a command ends at once."""
TEXTS = (
    "",
    " ",
    "-",
    "--",
    "0",
    "nan",
    "a" * 300,
    "a" * 5000,
    "9" * 400,
    "\x1b[31mred\x1b[0m",
    "tab\tnew\nline\rback",
    "\u202egnirts",
    "\x9b31m",
    "ünïcødé ψ 🎲",
    "$(touch X)",
    "`touch X`; touch X",
    "'\"\\",
    "[bold]markup[/bold] [/]",
    "{0} {x} %s %(x)d",
    "`gamma`",
    "../..",
    "\udcff\udcfe",
    "None",
    "true",
)
"""Texts that nobody means."""
NUMERALS = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "-0.0",
    "1e300",
    "1e-300",
    "5e-324",
    "1e400",
    "1e38",
    "9" * 400,
    "-" + "9" * 400,
    "1" + "0" * 20,
    "9223372036854775807",
    "9223372036854775808",
    "2147483647",
    "2147483648",
    "4294967296",
    "65536",
    "0x10",
    "1_000",
    "١٢",
    "1e3",
    "1.5",
    "0.1" + "1" * 300,
    " 3 ",
    "+3",
    "³",
)
"""Numbers, and texts that are nearly some."""
WIDTHS = ("", ",", "0", "-1", "4,", "1" + "0" * 20, "100000,100000", "1000000", "4," * 200 + "4")
SEEDS = (
    "0-9999",
    "9-0",
    "0-10000",
    "0,0",
    "9" * 400,
    "9223372036854775807",
    "9223372036854775808",
    "0-" + "9" * 30,
    "-1",
    "1-",
    ",".join(map(str, range(3000))),
    "",
    "0,",
    "٣",
)
WORDS = ("rien", "CartPole-v0", "cartpole-v1", "module:Env-v0", "Pendulum-v1", "Blackjack-v1")
ENVS = ("CliffWalking-v1", "Taxi-v4", "MountainCar-v0", "GridWorld-v9", "phys2d/CartPole-v1")


def telling(option: Option, choose: random.Random) -> str:
    """A value of an agent's option that it accepts and that trains quickly."""
    if option.choices is not None:
        return choose.choice(option.choices)
    if option.name in NUMBERS and option.kind is int:
        low, high = NUMBERS[option.name]
        return str(choose.randint(max(low, int(option.bounds.get("minimum", low))), high))
    if option.kind is int:
        return str(int(option.bounds.get("minimum", 0)) + choose.randint(0, 3))
    if option.kind is float:
        return f"{_inside(option.bounds, choose):.3g}"
    if option.kind == tuple[int, ...]:
        return choose.choice(("4", "3,5", "2"))
    return choose.choice(BY_NAME.get(option.name, ("none",)))


def _inside(bounds: Any, choose: random.Random) -> float:
    low = bounds.get("minimum", bounds.get("above", 0.0))
    high = bounds.get("maximum", bounds.get("below", low + choose.choice((0.1, 1.0, 3.0))))
    return low + (high - low) * choose.uniform(0.05, 0.95)


def at_the_edge(option: Option, choose: random.Random) -> str:
    """A limit of an agent's option, or a number just beyond."""
    limits = list(option.bounds.values()) or [0.0]
    limit = choose.choice(limits)
    if option.kind is int:
        return str(int(limit) + choose.choice((-1, 0, 1)))
    return repr(limit + choose.choice((-1e-9, 0.0, 1e-9, 1e-300)))


def plain(parameter: click.Parameter, choose: random.Random) -> str:
    """A value of a parameter that makes sense, as far as its name and type say."""
    name, kind = str(parameter.name), parameter.type
    if isinstance(kind, click.Choice):
        return str(choose.choice(list(kind.choices)))
    if name in NUMBERS:
        low = getattr(kind, "min", None)
        return str(max(choose.randint(*NUMBERS[name]), 0 if low is None else int(low)))
    if name in BY_NAME:
        return choose.choice(BY_NAME[name])
    if isinstance(kind, (click.IntRange, click.FloatRange)):
        low = 0 if kind.min is None else kind.min
        return str(low + choose.randint(int(isinstance(kind, click.FloatRange)), 3))
    if isinstance(kind, click.types.IntParamType):
        return str(choose.randint(1, 3))
    if isinstance(kind, click.types.FloatParamType):
        return choose.choice(("0.1", "0.5", "1"))
    if isinstance(kind, Numbers):
        return choose.choice(("4", "4,4"))
    return choose.choice(("text", "4", "other"))


def absurd(parameter: click.Parameter, choose: random.Random) -> str:
    """A value that nobody means."""
    name, kind = str(parameter.name), parameter.type
    if name in ("seeds", "seed") and choose.random() < 0.5:
        return choose.choice(SEEDS)
    if isinstance(kind, Numbers) and choose.random() < 0.6:
        return choose.choice(WIDTHS)
    if name == "env" and choose.random() < 0.6:
        return choose.choice(WORDS + ENVS)
    if isinstance(kind, click.Choice) and choose.random() < 0.5:
        return str(choose.choice(list(kind.choices))).upper()
    numeric = isinstance(kind, (click.types.IntParamType, click.types.FloatParamType))
    return choose.choice(NUMERALS if choose.random() < (0.85 if numeric else 0.2) else TEXTS)
