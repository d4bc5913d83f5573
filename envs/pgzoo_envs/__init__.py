"""Vector environments for many learners at once.

Everything here is a :class:`gymnasium.vector.VectorEnv` in next-step autoreset mode with three
promises on top: ``reset(seed=[...])`` takes one seed per sub-environment, ``next_seeds`` are those
of the episodes after that, and rows whose entry in ``active`` is false are not stepped.
"""

from __future__ import annotations

import copy
import difflib
import os
from dataclasses import dataclass
from functools import partial

import gymnasium as gym
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from pgzoo_envs.base import ReplicatedVectorEnv
from pgzoo_envs.cartpole import ReplicatedCartPole
from pgzoo_envs.discretisers import DISCRETISERS, DiscretisedVectorEnv, Discretiser
from pgzoo_envs.errors import EnvError
from pgzoo_envs.processes import ProcessVectorEnv
from pgzoo_envs.rendering import RENDER_MODE, action_names, headless, picture, steps_per_second
from pgzoo_envs.sequential import SequentialVectorEnv, make_single

__all__ = [
    "DISCRETISERS",
    "DiscretisedVectorEnv",
    "Discretiser",
    "EnvError",
    "EnvInfo",
    "ProcessVectorEnv",
    "ReplicatedCartPole",
    "ReplicatedVectorEnv",
    "SequentialVectorEnv",
    "action_names",
    "available_processors",
    "describe",
    "headless",
    "make",
    "make_rendering",
    "make_single",
    "picture",
    "renders",
    "steps_per_second",
    "use_processors",
]

ROWS_WORTH_A_PROCESS = 8


@dataclass(frozen=True)
class EnvInfo:
    """What a learner needs to know of an environment before making many of it."""

    id: str
    observation_space: spaces.Box | spaces.Discrete
    num_actions: int
    max_episode_steps: int | None
    reward_threshold: float | None


def describe(
    env_id: str, max_episode_steps: int | None = None, *, discretise: bool = False
) -> EnvInfo:
    """Look an environment up and check that it can be used.

    Args:
        env_id: an id registered with Gymnasium.
        max_episode_steps: time limit in place of the registered one.
        discretise: as for :func:`make`.

    Raises:
        EnvError: for an unknown id (with near names), an environment that cannot be made here, and
            one whose actions are not ``Discrete``.
    """
    spec = _spec(env_id, max_episode_steps)
    env = make_single(spec)
    env.close()
    action_space, observation_space = env.action_space, env.observation_space
    if not isinstance(action_space, spaces.Discrete):
        raise EnvError(
            f"{env_id} has the action space {action_space}; expected Discrete actions. "
            "Pick an environment with finitely many actions, or wrap this one in a discretisation."
        )
    if action_space.start != 0:
        raise EnvError(f"{env_id} numbers its actions from {action_space.start}; expected from 0.")
    assert isinstance(observation_space, (spaces.Box, spaces.Discrete))
    if discretise and isinstance(observation_space, spaces.Box):
        observation_space = spaces.Discrete(_discretiser(env_id).num_states)
    return EnvInfo(
        id=env_id,
        observation_space=observation_space,
        num_actions=int(action_space.n),
        max_episode_steps=spec.max_episode_steps,
        reward_threshold=spec.reward_threshold,
    )


def make(
    env_id: str,
    num_envs: int,
    *,
    max_episode_steps: int | None = None,
    processes: int | None = None,
    discretise: bool = False,
) -> ReplicatedVectorEnv:
    """Make ``num_envs`` copies of an environment that step together.

    Args:
        env_id: an id registered with Gymnasium.
        num_envs: number of sub-environments.
        max_episode_steps: time limit in place of the registered one.
        processes: how many share the stepping; by default one per processor, unless there are few
            rows. CartPole's rows are one array operation and need no more than this one.
        discretise: turn continuous observations into the states of the environment's discretiser;
            finite environments stay as they are.

    Raises:
        EnvError: see :func:`describe`.
    """
    envs = _make(_spec(env_id, max_episode_steps), num_envs, processes)
    if discretise and isinstance(envs.single_observation_space, spaces.Box):
        return DiscretisedVectorEnv(envs, _discretiser(env_id))
    return envs


def renders(env_id: str) -> bool:
    """Whether an environment can draw itself.

    Raises:
        EnvError: for an unknown id, and an environment that cannot be made here.
    """
    return RENDER_MODE in _render_modes(_spec(env_id, None))


def make_rendering(env_id: str, max_episode_steps: int | None = None) -> gym.Env:
    """One environment of Gymnasium's own that draws itself; ``picture`` gives its pixels.

    Args:
        env_id: an id registered with Gymnasium.
        max_episode_steps: time limit in place of the registered one.

    Raises:
        EnvError: see :func:`describe`; and for an environment that cannot draw itself.
    """
    spec = _spec(env_id, max_episode_steps)
    modes = _render_modes(spec)
    if RENDER_MODE not in modes:
        known = ", ".join(map(str, modes)) or "none"
        raise EnvError(
            f"Expected an environment that can be drawn as pixels (the render mode {RENDER_MODE}), "
            f"but {env_id} has these render modes: {known}. There can be no film of it."
        )
    return make_single(spec, render_mode=RENDER_MODE)


def _render_modes(spec: EnvSpec) -> list[str]:
    env = make_single(spec)
    env.close()
    return list(env.metadata.get("render_modes") or [])


def _make(spec: EnvSpec, num_envs: int, processes: int | None) -> ReplicatedVectorEnv:
    if spec.entry_point == "gymnasium.envs.classic_control.cartpole:CartPoleEnv" and (
        not spec.kwargs and not spec.additional_wrappers and spec.max_episode_steps is not None
    ):
        return ReplicatedCartPole(num_envs, spec.max_episode_steps)
    if processes is None:
        processes = min(available_processors(), num_envs // ROWS_WORTH_A_PROCESS)
    if processes > 1 and isinstance(spec.entry_point, str):
        return ProcessVectorEnv(spec, num_envs, processes)
    return SequentialVectorEnv(partial(make_single, spec), num_envs)


def _discretiser(env_id: str) -> Discretiser:
    if env_id not in DISCRETISERS:
        raise EnvError(
            f"Expected finitely many states for a tabular policy, but {env_id} has continuous "
            f"observations and no discretiser. There are ones for {', '.join(DISCRETISERS)}; "
            "elsewhere use `policy=linear` or `policy=mlp`."
        )
    return DISCRETISERS[env_id]


def _spec(env_id: str, max_episode_steps: int | None) -> EnvSpec:
    """A copy of what is registered; no module is imported for it, whatever the id says."""
    if ":" in env_id and env_id not in gym.registry:
        raise EnvError(
            f"Expected an environment that is registered, got {env_id!r}, which names a module, "
            "too. Import the module that registers it, and give the id alone."
        )
    try:
        spec = copy.deepcopy(gym.spec(env_id))
    except (gym.error.Error, ValueError) as error:  # a version of thousands of digits
        lower = {name.lower(): name for name in gym.registry}
        near = difflib.get_close_matches(env_id.lower(), lower, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(lower[n] for n in near)}?" if near else ""
        raise EnvError(
            f"Unknown environment {env_id!r}. {hint or error} "
            "gymnasium.pprint_registry() names all."
        ) from error
    if max_episode_steps is not None:
        spec.max_episode_steps = max_episode_steps
    return spec


_most_processors: int | None = None


def use_processors(count: int) -> None:
    """Let this process's environments use so many processors, whatever the machine has."""
    global _most_processors
    _most_processors = count


def available_processors() -> int:
    """Processors that this process may use."""
    if _most_processors is not None:
        return _most_processors
    if hasattr(os, "sched_getaffinity"):  # a container's share, where the system can tell
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
