import os

import gymnasium as gym
import numpy as np
import pgzoo_envs
import pytest
from pgzoo_envs import EnvError

DRAWN = {
    "CartPole-v1": 50,
    "LunarLander-v3": 50,
    "Acrobot-v1": 15,
    "MountainCar-v0": 30,
    "FrozenLake-v1": 4,
    "CliffWalking-v1": 4,
    "Taxi-v4": 4,
}


class Blind(gym.Env):
    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(3)
    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def render(self):
        return "blind"


@pytest.fixture
def _blind():
    gym.register("Blind-v0", Blind, max_episode_steps=3)
    yield
    del gym.registry["Blind-v0"]


@pytest.mark.parametrize("env_id", DRAWN)
def test_environments_draw_themselves_and_their_actions_have_names(env_id):
    assert pgzoo_envs.renders(env_id)
    with pgzoo_envs.headless():
        env = pgzoo_envs.make_rendering(env_id)
        env.reset(seed=0)
        pixels = pgzoo_envs.picture(env)
        env.close()
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert len(np.unique(pixels)) > 1
    assert pgzoo_envs.steps_per_second(env) == DRAWN[env_id]
    names = pgzoo_envs.action_names(env_id, int(env.action_space.n))
    assert len(set(names)) == env.action_space.n
    assert any(not name.isdigit() for name in names)


def test_actions_without_words_are_numbers():
    assert pgzoo_envs.action_names("Else-v0", 3) == ("0", "1", "2")
    assert pgzoo_envs.action_names("CartPole-v1", 3) == ("0", "1", "2")
    assert pgzoo_envs.action_names("CartPole-v1", 2) == ("left", "right")


@pytest.mark.usefixtures("_blind")
def test_what_cannot_be_drawn_is_refused():
    assert not pgzoo_envs.renders("Blind-v0")
    with pytest.raises(EnvError, match="Blind-v0 has these render modes: ansi"):
        pgzoo_envs.make_rendering("Blind-v0")
    with pytest.raises(EnvError, match="Unknown environment"):
        pgzoo_envs.make_rendering("CartPool-v1")


def test_what_is_drawn_must_be_pixels():
    with pytest.raises(EnvError, match=r"pixels \[height, width, 3\]"):
        pgzoo_envs.picture(Blind())


def test_headless_leaves_the_process_as_it_was(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.delenv("SDL_AUDIODRIVER", raising=False)
    with pgzoo_envs.headless():
        assert os.environ["SDL_VIDEODRIVER"] == os.environ["SDL_AUDIODRIVER"] == "dummy"
    assert os.environ["SDL_VIDEODRIVER"] == "x11"
    assert "SDL_AUDIODRIVER" not in os.environ
