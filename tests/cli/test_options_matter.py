"""No option of any command is without effect: it changes what comes out, or is refused.

Every command is found by walking the tree of them, so a new option has to be named here: by words
that are added to its command's line, or by two lines of its own.
"""

import hashlib
import json
import re
from contextlib import contextmanager
from functools import cache
from importlib import import_module

import click
import gymnasium as gym
import pytest
import torch
from click.testing import CliRunner

from pgzoo.agents import AGENTS, agent_class
from pgzoo.cli import main
from pgzoo.course.grading.protections import missing
from pgzoo.errors import UsageError
from pgzoo.options import options_of

RUN = "--env CartPole-v1 --seeds 0-1 --steps 60 --episodes 2 --diagnostics 2 --max-episode-steps 8"
TABLE = "lab measure --env FrozenLake-v1 --policy tabular --max-episode-steps 6 --trajectories 8"
POLE = "lab measure --env CartPole-v1 --policy linear --max-episode-steps 5 --trajectories 4"
OF_CRITICS = f"{POLE} --estimates 2 --reference-estimates 2 --estimator actor-critic"
OF_RUN = "lab measure --run r --estimator reinforce --estimates 2 --trajectories 4"
EASY = "run reinforce --env Easy-v0 --seeds 0-1 --steps 2000 --episodes 20 --diagnostics 0 --quiet"
CLASS = "course grade class --seed 3 --jobs 1 --out g.csv"
PERMISSION = "lets grading go on where a protection is lacking, which tests of grading take away"
COMPARE = "compare ppo rloo --env CartPole-v1 --seeds 0-2 --out c"
LINES = {
    "run": f"run reinforce {RUN} --quiet",
    "eval": "eval r --episodes 2",
    "lab": f"{TABLE} --estimates 4 --estimator reinforce",
    "check": "check reinforce --episodes 4 --group-size 2 --json",
    "watch": "watch r --seconds 0.2",
    "plot": "plot r --format svg",
    "tensorboard": "tensorboard r",
    "doctor": "doctor r",
    "course": CLASS,
    "list": "list",
    "compare": COMPARE,
}
"""A command line of every command that has options."""
WITH = {
    "run": {
        "env": "--env Acrobot-v1",
        "seeds": "--seeds 2-3",
        "policy": "--policy linear",
        "out": "--out there",
        "resume": "--resume r",
        "device": "--device cuda",
        "max_episode_steps": "--max-episode-steps 5",
        "stop_when_solved": (EASY, f"{EASY} --stop-when-solved"),
        "diagnostics": "--diagnostics 1",
        "compare_estimators": "--compare-estimators",
        "tensorboard_seeds": "--tensorboard-seeds",
        "quiet": (f"run reinforce {RUN}", f"run reinforce {RUN} --quiet"),
    },
    "eval": {"episodes": "--episodes 3", "greedy": "--greedy"},
    "lab": {
        "env": "--env CliffWalking-v1",
        "run": (OF_RUN.replace("--run r", "--env CartPole-v1 --max-episode-steps 8"), OF_RUN),
        "at": (OF_RUN, f"{OF_RUN} --at 0"),
        "replica": "--replica 1",
        "theta": "--theta theta.safetensors",
        "policy": "--policy linear",
        "hidden": ("--policy mlp", "--policy mlp --hidden 4"),
        "max_episode_steps": "--max-episode-steps 4",
        "estimators": "--estimator rloo",
        "trajectories": "--trajectories 4",
        "estimates": "--estimates 6",
        "group_size": ("--estimator rloo", "--estimator rloo --group-size 2"),
        "gamma": "--gamma 0.5",
        "limit": ("--gamma 0.5", "--gamma 0.5 --limit continues"),
        "reference_estimates": (OF_CRITICS, f"{OF_CRITICS} --reference-estimates 4"),
        "critic": (OF_CRITICS, f"{OF_CRITICS} --critic same"),
        "critic_trajectories": (OF_CRITICS, f"{OF_CRITICS} --critic-trajectories 8"),
        "seed": "--seed 1",
        "out": "--out there",
    },
    "check": {
        "gamma": "--gamma 0.9",
        "group_size": "--group-size 1",
        "episodes": "--episodes 6",
        "seed": "--seed 1",
        "as_json": ("check reinforce", "check reinforce --json"),
    },
    "watch": {
        "seed": "--seed 1",
        "at": "--at 0,60",
        "out": "--out there.gif",
        "episodes": "--episodes 2",
        "first": "--first 1",
        "greedy": "--greedy",
        "seconds": "--seconds 0.1",
    },
    "plot": {"out": "--out there", "formats": "--format png", "title": "--title Other"},
    "tensorboard": {"host": "--host localhost", "port": "--port 7"},
    "doctor": {"evaluate": "--evaluate", "as_json": "--json"},
    "course": {
        "out": "--out there.csv",
        "chapter": (CLASS, f"{CLASS} --chapter 5"),
        "exercise": (CLASS, f"{CLASS} --exercise leave_one_out"),
        "seconds": "--seconds 2",
        "jobs": "--jobs 2",
        "seed": "--seed 4",
        "without": PERMISSION,
    },
    "list": {"markdown": "--markdown"},
    "compare": {
        "env": "--env Acrobot-v1",
        "seeds": "--seeds 2-3",
        "policy": "--policy linear",
        "grid": "--grid ppo:lam=0.5,0.9",
        "out": "--out there",
        "reuse": "--reuse r",
        "no_reuse": "--no-reuse",
        "any_version": "--any-version",
        "any_budget": "--any-budget",
        "on": "--on ray",
        "workers": "--workers 1",
        "until_decided": "--until-decided 6",
        "difference": "--difference 5",
        "films": "--films",
        "device": "--device cpu",
        "max_episode_steps": "--max-episode-steps 8",
        "stop_when_solved": "--stop-when-solved",
        "diagnostics": "--diagnostics 1",
        "compare_estimators": "--compare-estimators",
        "tensorboard_seeds": "--tensorboard-seeds",
        "quiet": "--quiet",
        "steps": "--steps 10",
        "learning_rate": "--learning-rate 0.1",
        "lr_schedule": "--lr-schedule constant",
        "gamma": "--gamma 0.5",
        "max_grad_norm": "--max-grad-norm 1",
        "entropy_coef": "--entropy-coef 0.1",
        "hidden": "--hidden 4",
        "aggregation": "--aggregation sum",
        "psi_scale": "--psi-scale rms",
    },
}
"""What shows that an option matters: words that are added, two lines, or ends of lines; or why
nothing can."""
TIMED = ("wall_seconds", "steps_per_second", "digest", "times_digest", "seconds", "settings")


def leaves(command, words=()):
    """Every command that does something, by the words that name it."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*words, name))


def options(words, command):
    """Names of its options; of an agent's own there are tests in ``tests/agents``."""
    own = options_of(agent_class(words[1])) if words[0] == "run" else {}
    return [p.name for p in command.params if isinstance(p, click.Option) and p.name not in own]


CASES = sorted(
    {(words[0], name) for words, command in leaves(main) for name in options(words, command)}
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run, parameters and a class in it."""
    place = tmp_path_factory.mktemp("options")
    (place / "class").mkdir()
    (place / "class" / "ann.py").write_text("def leave_one_out(returns, group_size): ...")
    gym.register(
        "Easy-v0",
        "gymnasium.envs.classic_control:CartPoleEnv",
        max_episode_steps=8,
        reward_threshold=1.0,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(import_module("pgzoo.records.viewer"), "serving", _serving)
        patch.setattr(import_module("pgzoo.compare.api"), "compare", _compare)
        patch.setattr(import_module("pgzoo.course.grading.grade"), "grade_class", _grade_class)
        assert CliRunner().invoke(main, f"{LINES['run']} --out r".split()).exit_code == 0
        import safetensors.torch

        safetensors.torch.save_file({"theta": torch.linspace(-1, 1, 64)}, "theta.safetensors")
        yield place
    del gym.registry["Easy-v0"]
    _outcome.cache_clear()


@contextmanager
def _serving(path, host, port):
    """In place of TensorBoard: where it would have been."""
    print(f"{host}:{port}")
    raise KeyboardInterrupt
    yield


def _grade_class(paths, setting, jobs):
    """In place of grading, which is slow: what would be done."""
    print(setting, jobs)
    return iter(())


def _compare(agents, **given):
    """In place of the comparison, whose own tests show what these do: how it is called."""
    raise UsageError(str((agents, sorted((k, v) for k, v in given.items() if k != "command"))))


def outcome(place, line):
    return _outcome(place, line)


@cache
def _outcome(place, line):
    """Exit status, what is printed but for times, and the files that are left, which then go."""
    there = set(place.rglob("*"))
    result = CliRunner().invoke(main, line.split())
    assert result.exception is None or isinstance(result.exception, SystemExit), line
    new = {p: _content(p) for p in sorted(set(place.rglob("*")) - there) if p.is_file()}
    for path in sorted(set(place.rglob("*")) - there, reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    silent = line.startswith(("run", "lab", "watch", "plot")) and result.exit_code == 0
    shown = re.sub(r"[\d.,]+ GB are free", "", result.output)  # others use the disk, too
    printed = bool(shown) if silent else shown
    return result.exit_code, printed, {_name(k): v for k, v in new.items() if v is not None}


def _name(path):
    """Without the time and the process that are part of an event file's name."""
    return str(path.with_name("events") if "tfevents" in path.name else path)


def _content(path):
    """Of a file, what does not depend on when it was made; None: all that is in it."""
    if path.name in ("config.json", "times.csv", "checkpoint.safetensors"):
        return None  # what was asked for is no effect; policies are among the snapshots
    if path.suffix == ".json":
        found = json.loads(path.read_text())
        return str({k: v for k, v in found.items() if k not in TIMED})
    data = path.read_bytes()
    if path.name.endswith(".safetensors"):
        data = data[8 + int.from_bytes(data[:8], "little") :]
    if path.suffix == ".svg":
        data = re.sub(rb"<dc:date>.*?</dc:date>", b"", data)
    return "" if "tfevents" in path.name else hashlib.sha256(data).hexdigest()


def lines(command, name):
    """The two command lines that an option tells apart."""
    case = WITH[command][name]
    base = LINES[command]
    if isinstance(case, str):
        return base, f"{base} {case}"
    return tuple(end if end.startswith(command) else f"{base} {end}" for end in case)


@pytest.mark.parametrize(("command", "name"), CASES)
def test_an_option_changes_what_comes_out_or_is_refused(place, command, name):
    assert name in WITH[command], f"say here what shows that {name} of {command} matters"
    if WITH[command][name] == PERMISSION:
        return
    if command == "course" and missing():
        pytest.skip("no protections here")
    without, given = (outcome(place, line) for line in lines(command, name))
    assert without[0] != 2 or command == "compare", without[1]
    assert given != without
    if given[0] == 2 and command != "compare":
        assert name == "device", given[1]


def test_the_same_command_line_leaves_the_same(place):
    """Or every option would seem to matter."""
    for command, line in LINES.items():
        if command != "course" or not missing():
            assert outcome(place, line) == outcome(place, f"{line} ".replace("  ", " ")), command


def test_every_agent_has_the_same_options_beside_its_own():
    names = {tuple(options(words, c)) for words, c in leaves(main) if words[0] == "run"}
    assert len(names) == 1
    assert len([w for w, _ in leaves(main) if w[0] == "run"]) == len(AGENTS)
