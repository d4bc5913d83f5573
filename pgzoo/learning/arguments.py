"""What a user asks of a run, made its configuration or refused."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch

from pgzoo.agents import agent_class
from pgzoo.agents.base import Agent
from pgzoo.errors import UsageError
from pgzoo.learning.common import Common
from pgzoo.options import (
    LARGEST_SEED,
    MOST_SEEDS,
    build,
    checked,
    flat,
    own_options,
    plain,
    shown,
)
from pgzoo.records.config import RunConfig

AgentName = str | Callable[..., Any]


def configure(
    agent: AgentName,
    *,
    env: str,
    seeds: int | Iterable[int],
    policy: str,
    device: str,
    max_episode_steps: int | None,
    stop_when_solved: bool,
    diagnostics: int,
    compare_estimators: bool,
    **options: Any,
) -> tuple[RunConfig, Agent]:
    """The configuration that ``train`` would run, and its agent; arguments as there."""
    kind = agent_class(agent)
    check_env_id(env)
    common = build(
        Common,
        {
            "policy": policy,
            "device": device,
            "max_episode_steps": max_episode_steps,
            "stop_when_solved": stop_when_solved,
            "diagnostics": diagnostics,
            "compare_estimators": compare_estimators,
        },
    )
    made = kind.for_env(env, common.policy, **options)
    common.check_budget(made.steps)
    config = RunConfig(
        agent=made.name,
        env=env,
        policy_kind=common.policy,
        seeds=seeds_of(seeds),
        device=choose_device(common.device),
        max_episode_steps=common.max_episode_steps,
        stop_when_solved=common.stop_when_solved,
        hyperparameters=flat(made),
        diagnostics=common.diagnostics,
        compare_estimators=common.compare_estimators,
        estimator_sha256=getattr(made, "sha256", None),
    )
    return config, made


def check_env_id(env: str) -> None:
    """Raise a ``UsageError`` for what can be no environment's id."""
    if not isinstance(env, str) or not env:
        raise UsageError(
            f"Expected `env` to be an environment's id, such as CartPole-v1; got {shown(env)}."
        )


def check_policy_kind(kind: str) -> None:
    """Raise a ``UsageError`` unless there is a kind of policy of that name."""
    own_options(Common)["policy"].check(kind)


def choose_device(name: str) -> str:
    """cpu or cuda.

    Raises:
        UsageError: for another name, or cuda where there is none.
    """
    own_options(Common)["device"].check(name)
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("Expected a CUDA device for `device=cuda`, found none. Use `device=cpu`.")
    return "cuda" if available and name != "cpu" else "cpu"


def device_here(config: RunConfig) -> str:
    """The run's own device, or the CPU if that is not to be had here."""
    return choose_device("cpu" if config.device == "cpu" else "auto")


def agent_of(config: RunConfig, agent: AgentName) -> type[Agent]:
    """The class of a run's agent, by the name or function that it was started with.

    Raises:
        UsageError: if it is another one, or has changed since.
    """
    kind = agent_class(agent)
    if kind.name != config.agent:
        raise UsageError(
            f"Expected the agent that the run was started with, {config.agent}, got {kind.name}."
        )
    if getattr(kind, "sha256", None) != config.estimator_sha256:
        raise UsageError(
            f"Expected {config.agent} as it was when the run was started; its source has "
            "changed since. Restore it, or start a new run."
        )
    return kind


def seeds_of(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Seeds, of which there may be given how many, from 0 on.

    Raises:
        UsageError: for none or too many, negative ones, or a repetition.
    """
    count = plain(seeds)
    if isinstance(count, int) and not isinstance(count, bool):
        return tuple(range(checked("seeds", count, minimum=1, maximum=MOST_SEEDS)))
    return distinct("seeds", seeds, LARGEST_SEED)


def distinct(name: str, numbers: int | Iterable[int], largest: int) -> tuple[int, ...]:
    """Different whole numbers from 0 on, of which there may be one."""
    one = plain(numbers)
    if isinstance(one, str) or not isinstance(one, Iterable):
        return (checked(name, one, minimum=0, maximum=largest),)
    chosen = tuple(
        checked(name, n, minimum=0, maximum=largest) for n in itertools.islice(one, MOST_SEEDS + 1)
    )
    if not 0 < len(chosen) <= MOST_SEEDS:
        got = len(chosen) or "none"
        more = " or more" if chosen else ""
        raise UsageError(f"Expected 1 to {MOST_SEEDS:,} numbers for `{name}`, got {got}{more}.")
    again, times = Counter(chosen).most_common(1)[0]
    if times > 1:
        raise UsageError(f"Expected `{name}` without repetition, got {again} more than once.")
    return chosen
