"""Runs with users' functions: random numbers of their own, errors in mid-training, callbacks."""

import os
import re

import pytest
import torch

import pgzoo
from pgzoo.learning import local
from pgzoo.learning.arguments import configure
from pgzoo.learning.loop import TrainingStoppedError
from pgzoo.learning.shards import merge, split, train_shard
from tests.learning.test_loop import results

OPTIONS = {
    "env": "CartPole-v1",
    "seeds": (0, 7, 3),
    "steps": 600,
    "hidden": (8,),
    "episodes": 4,
    "group_size": 2,
    "diagnostics": 4,
    "compare_estimators": True,
}
ITS_OWN = """
def psi(t, rng):
    kept = rng.rand(t.reward.shape) < 0.8
    first = rng.randperm(t.reward.shape[1])[:, :1, None]
    return t.reward * kept * rng.randn(t.reward.shape[:2]).unsqueeze(-1) + 0.1 * first
"""
GLOBAL = """
import random, numpy, torch
def psi(t):
    drawn = random.random() + torch.rand(1).item() + numpy.random.standard_normal()
    return t.reward * drawn * torch.randn(t.reward.shape)
"""
READS = """
import os, sys
if sys.argv[0] == "-c":  # a worker's, whose standard input is no affair of a program's
    assert os.read(0, 100) == b""
"""
FAILS = """
from pathlib import Path
calls = 0
def psi(t, rng):
    global calls
    calls += 1
    if calls > {most} and not Path({missing!r}).exists():
        raise OSError(28, "no table")
    return t.reward * rng.rand(t.reward.shape)
"""


def write(tmp_path, program, name="mine.py"):
    path = tmp_path / name
    path.write_text(program)
    return f"{path}:psi"


def train(agent, path, **options):
    return pgzoo.train(agent, out=path, **{"progress": False} | OPTIONS | options)


def shards_of(agent, path, parts):
    run = {"policy": "mlp", "device": "cpu", "max_episode_steps": None, "stop_when_solved": False}
    config, _ = configure(agent, **run | OPTIONS)
    return split(config, agent, path / f"parts-{parts}", parts)


@pytest.mark.parametrize("program", [ITS_OWN, GLOBAL], ids=["its own", "global"])
def test_equal_runs_are_equal_in_one_piece_and_resumed(tmp_path, program):
    agent = write(tmp_path, program)
    train(agent, tmp_path / "whole")
    torch.manual_seed(17)
    train(agent, tmp_path / "again")
    stopped = train(agent, tmp_path / "resumed", callback=lambda r: r.iteration == 3)
    assert stopped.summary is None
    pgzoo.load(stopped.path).resume(agent, progress=False)
    expected = results(tmp_path / "whole")
    assert results(tmp_path / "again") == expected
    assert results(tmp_path / "resumed") == expected
    other = train(write(tmp_path, "def psi(t): return t.reward", "other.py"), tmp_path / "other")
    assert other.summary["eval_mean"] != expected[1]["eval_mean"], "the noise is in it"


def test_with_its_own_random_numbers_shards_make_the_run(tmp_path):
    agent = write(tmp_path, ITS_OWN)
    train(agent, tmp_path / "whole", device="cpu")
    for parts in (2, 3):
        shards = shards_of(agent, tmp_path, parts)
        for shard in shards:
            train_shard(shard)
        merge(shards, tmp_path / f"merged-{parts}")
        assert results(tmp_path / f"merged-{parts}") == results(tmp_path / "whole")


@pytest.mark.parametrize("program", [ITS_OWN, GLOBAL], ids=["its own", "global"])
def test_shards_are_the_same_in_workers(tmp_path, program):
    agent = write(tmp_path, program + READS)
    for name in ("workers", "here"):
        (tmp_path / name).mkdir()
        shards = shards_of(agent, tmp_path / name, 2)
        if name == "workers":
            local.train_all(shards, lambda place, report: None, workers=2)
        for shard in shards:
            train_shard(shard)
        merge(shards, tmp_path / name / "merged")
    assert results(tmp_path / "workers/merged") == results(tmp_path / "here/merged")


def test_a_function_that_fails_late_is_no_loss(tmp_path):
    table = tmp_path / "table"
    agent = write(tmp_path, FAILS.format(missing=str(table), most=3))
    options = {"diagnostics": 0, "compare_estimators": False}
    with pytest.raises(TrainingStoppedError) as found:
        train(agent, tmp_path / "run", **options)
    message = str(found.value)
    assert isinstance(found.value, pgzoo.UsageError)
    assert re.search(r"psi failed at .*mine\.py:8: OSError: .*no table\n    raise OSErr", message)
    assert f"in iteration 3, seeds 0, 3, 7. Everything before it is saved in {tmp_path}" in message
    assert "A mended function is another estimator" in message
    call = message.rpartition("go on with ")[2]
    assert call == f"pgzoo.load({str(tmp_path / 'run')!r}).resume({agent!r})"
    assert isinstance(found.value.__cause__, pgzoo.UsageError)
    assert isinstance(found.value.__cause__.__cause__, OSError)
    state = pgzoo.load(tmp_path / "run")._state("cpu")
    assert state.iteration == 3
    table.touch()
    eval(call[: -len(")")] + ", progress=False)")
    train(agent, tmp_path / "whole", **options)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_function_that_fails_at_once_is_not_to_be_gone_on_with(tmp_path):
    agent = write(tmp_path, "def psi(t): raise ValueError('at once')")
    with pytest.raises(pgzoo.UsageError, match="at once") as found:
        train(agent, tmp_path / "run")
    assert not isinstance(found.value, TrainingStoppedError)


def test_a_shard_that_fails_late_says_whose(tmp_path):
    agent = write(tmp_path, FAILS.format(missing="nowhere", most=8))
    shards = shards_of(agent, tmp_path, 2)
    words = (
        r"(?s)no table.*iteration \d+, seeds? (0|3, 7)\. Everything before it is saved in .*part-"
    )
    with pytest.raises(pgzoo.UsageError, match=words + r".*\. The same call goes on from there\."):
        local.train_all(shards, lambda place, report: None, workers=1)


class OfTheUserError(OSError):
    pass


@pytest.mark.parametrize("kind", [OfTheUserError, pgzoo.UsageError, SystemExit])
def test_what_a_callback_raises_is_the_users_own(tmp_path, kind):
    reason = KeyError("reason")

    def callback(report):
        if report.iteration == 3:
            raise kind("of a callback") from reason

    with pytest.raises(kind, match=r"^of a callback") as found:
        train("rloo", tmp_path / "run", callback=callback)
    error = found.value
    assert (type(error), str(error)) == (kind, "of a callback")
    assert error.__cause__ is reason
    assert error.__context__ is None
    (note,) = error.__notes__
    assert "Go on with pgzoo.load(" in note
    assert "callback" in [entry.name for entry in found.traceback], "the line can be found"
    assert pgzoo.load(tmp_path / "run")._state("cpu").iteration == 3
    pgzoo.load(tmp_path / "run").resume(progress=False)
    train("rloo", tmp_path / "whole")
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_callback_leaves_the_process_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def callback(report):
        os.chdir("/")
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)

    train("rloo", "run", callback=callback)
    train("rloo", "plain")
    assert results(tmp_path / "run") == results(tmp_path / "plain")


def test_a_function_is_measured_with_random_numbers_that_repeat():
    def psi(t, rng):
        return t.reward + rng.randn(t.reward.shape)

    def silent(t):
        return t.reward

    options = {"env": "FrozenLake-v1", "policy": "tabular", "estimates": 20, "trajectories": 4}
    one, two = (pgzoo.measure([psi, silent], **options, progress=False) for _ in range(2))
    assert one.table.equals(two.table)
    noisy, quiet = one.table["variance"]
    assert noisy > 2 * quiet
