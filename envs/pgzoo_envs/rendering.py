"""Environments that draw themselves: without a display, and with names for their actions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from pgzoo_envs.errors import EnvError

RENDER_MODE = "rgb_array"
USUAL_RATE = 30.0

_NO_DEVICES = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
_ACTIONS = {
    "CartPole": ("left", "right"),
    "LunarLander": ("nothing", "left", "main", "right"),
    "Acrobot": ("-1", "0", "+1"),
    "MountainCar": ("left", "none", "right"),
    "FrozenLake": ("left", "down", "right", "up"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Taxi": ("south", "north", "east", "west", "pick up", "drop"),
    "Blackjack": ("stick", "hit"),
}
"""By the environment's name without its version."""


def action_names(env_id: str, num_actions: int) -> tuple[str, ...]:
    """What each action does, in a word; their numbers where no words are known."""
    names = _ACTIONS.get(env_id.rpartition("-v")[0], ())
    return names if len(names) == num_actions else tuple(map(str, range(num_actions)))


@contextmanager
def headless() -> Iterator[None]:
    """Pygame opens no window and no sound device; afterwards the process is as it was."""
    before = {name: os.environ.get(name) for name in _NO_DEVICES}
    os.environ.update(_NO_DEVICES)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def picture(env: gym.Env) -> NDArray[np.uint8]:
    """The environment as it looks now, ``[height, width, 3]``.

    Raises:
        EnvError: if it cannot draw itself here.
    """
    try:
        image = env.render()
    except (gym.error.Error, ImportError) as error:
        raise EnvError(f"{_name(env)} cannot be drawn here: {error}") from error
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
        raise EnvError(
            f"Expected {_name(env)} to render pixels [height, width, 3] of uint8, got "
            f"{list(pixels.shape)} of {pixels.dtype}."
        )
    return pixels


def steps_per_second(env: gym.Env) -> float:
    """How many steps of the environment are a second of its own time."""
    return float(env.metadata.get("render_fps") or USUAL_RATE)


def _name(env: gym.Env) -> str:
    return env.spec.id if env.spec is not None else str(env)
