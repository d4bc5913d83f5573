"""What worker processes import, and from where."""

import os
import subprocess
import sys
from pathlib import Path

import pgzoo_envs
import pytest

TRAP = "import os, sys; print('IMPORTED', __name__, file=sys.stderr); os._exit(3)"
TRAPS = ("traceback", "random", "numpy", "gymnasium", "encodings", "sitecustomize", "usercustomize")

PLAY = """
import random, sys, traceback
import gymnasium, numpy, pgzoo_envs
gymnasium.make("LunarLander-v3").close()  # whatever else the caller itself needs
{prepare}
envs = pgzoo_envs.make({env_id!r}, 4, processes=2)
obs, _ = envs.reset(seed=[1, 2, 3, 4])
for _ in range(200):
    envs.step(numpy.zeros(4, int))
envs.close()
print("PLAYED")
"""

OWN_ENV = """
import gymnasium, own_helper
class Own(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(3)
    action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return own_helper.START, {}
    def step(self, action):
        return 1, 1.0, False, False, {}
"""


def play_in(folder, env_id, prepare, python_path=""):
    """Run a caller whose current folder is full of traps, and return the finished process."""
    for name in TRAPS:
        (folder / f"{name}.py").write_text(TRAP)
    package_folder = str(Path(pgzoo_envs.__file__).parents[1])
    script = PLAY.format(env_id=env_id, prepare=prepare)
    return subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": package_folder + python_path},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    "prepare",
    ["", "sys.path.insert(0, '')", "import os; sys.path.insert(0, os.getcwd())"],
    ids=["script", "notebook", "python -m"],
)
def test_nothing_in_the_current_folder_is_imported(tmp_path, prepare):
    """Neither what its name shadows, nor when the caller itself has the folder on its path."""
    result = play_in(tmp_path, "LunarLander-v3", prepare)
    assert "IMPORTED" not in result.stderr
    assert result.stdout == "PLAYED\n", result.stderr


def test_an_environment_in_the_current_folder_is_found_and_nothing_shadowed(tmp_path):
    (tmp_path / "own_env.py").write_text(OWN_ENV)
    (tmp_path / "own_helper.py").write_text("START = 2")
    prepare = "sys.path.insert(0, ''); gymnasium.register('Own-v0', 'own_env:Own')"
    result = play_in(tmp_path, "Own-v0", prepare)
    assert "IMPORTED" not in result.stderr
    assert result.stdout == "PLAYED\n", result.stderr
