"""An environment that can be told to fail, and how."""

import os
import sys
from pathlib import Path

import gymnasium
import pgzoo_envs
from gymnasium import spaces

VARIABLE = "PGZOO_TESTS_FAILING"
ENV_ID = "Failing-v0"


class Failing(gymnasium.Env):
    """Two actions, the second of which pays; a file's words say whether a step fails."""

    observation_space = spaces.Discrete(4)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return int(self.np_random.integers(4)), {}

    def step(self, action):
        path = Path(os.environ[VARIABLE])
        how = path.read_text() if path.exists() else ""
        if how == "workers die" and "pgzoo_envs.worker" in sys.modules:
            os._exit(9)
        if how == "raises":
            raise ValueError("no such luck")
        return int(self.np_random.integers(4)), float(action), False, False, {}


gymnasium.register(ENV_ID, f"{__name__}:Failing", max_episode_steps=10)


def prepare(monkeypatch, tmp_path):
    """Have its rows dealt out to two processes, and return the file that it reads."""
    how = tmp_path / "how"
    monkeypatch.setenv(VARIABLE, str(how))
    monkeypatch.setattr(pgzoo_envs, "_most_processors", 2)
    return how
