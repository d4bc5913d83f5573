"""Shards in worker processes: interrupted, killed, refused, and in a script without a guard."""

import dataclasses
import subprocess
import sys
import threading

import psutil
import pytest

from pgzoo.errors import UsageError
from pgzoo.learning import local
from pgzoo.learning.arguments import configure
from pgzoo.learning.loop import TrainingInterrupted
from pgzoo.learning.run import load
from pgzoo.learning.shards import Shard, merge, split
from tests.helpers import COMMON
from tests.learning.test_loop import results, run, small_config


def workers():
    found = psutil.Process().children()
    return [p for p in found if any("pgzoo.learning.worker" in word for word in p.cmdline())]


@pytest.fixture(autouse=True)
def _nobody_is_left():
    yield
    assert workers() == []


def test_interrupted_and_killed_it_is_still_the_run(tmp_path):
    config = small_config("ppo", seeds=(0, 1, 4), steps=6_000)
    config = dataclasses.replace(config, diagnostics=6)
    run(tmp_path / "whole", config)
    shards = split(config, "ppo", tmp_path / "parts", 2)
    under_way = []

    def interrupt(place, report):
        if report.iteration > 0:
            under_way.append(place)
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match="the same call goes on"):
        local.train_all(shards, interrupt, workers=2)
    assert workers() == []
    (first,) = under_way
    assert not shards[first].complete
    stood = shards[first].run_folder().load_checkpoint()[1]["iteration"]
    assert stood > 0, "it was saved"
    killed = []

    def kill(place, report):
        if place == first and not killed:
            assert report.iteration >= stood, "it goes on from there"
            killed.append(place)
            workers()[0].kill()

    with pytest.warns(UserWarning, match=r"was killed \(SIGKILL\). Another one goes on"):
        local.train_all(shards, kill, workers=2)
    merge(shards, tmp_path / "merged")
    assert results(tmp_path / "whole") == results(tmp_path / "merged")
    before = (tmp_path / "merged" / "metrics.csv").stat()
    local.train_all(shards, lambda *_: pytest.fail("nothing was left to train"))
    assert (tmp_path / "merged" / "metrics.csv").stat() == before


def test_a_worker_that_dies_twice_is_an_error(tmp_path):
    config = small_config("reinforce", seeds=(0, 1), steps=200_000)
    (shard,) = split(config, "reinforce", tmp_path, 1)

    def kill(place, report):
        for worker in workers():
            worker.kill()

    with (
        pytest.warns(UserWarning, match="was killed"),
        pytest.raises(
            UsageError, match=r"seeds 0, 1, was killed \(SIGKILL\), 2 times in all.*part-1"
        ),
    ):
        local.train_all([shard], kill)


ESTIMATORS = """
def good(t):
    return t.reward

def bad(t):
    raise KeyError("lost")

def ends(t):
    import os
    os._exit(3)
"""


def of_file(name, folder, parts=1, **options):
    options = {"steps": 500, "hidden": (4,), "episodes": 4} | options
    config, _ = configure(
        name,
        env="CartPole-v1",
        seeds=2,
        **COMMON | options,
    )
    return split(config, name, folder, parts)


def test_what_is_wrong_comes_back_in_the_same_words(tmp_path):
    (tmp_path / "mine.py").write_text(ESTIMATORS)
    shards = of_file(f"{tmp_path}/mine.py:bad", tmp_path / "parts", 2)
    with pytest.raises(UsageError, match=rf"bad failed at {tmp_path}/mine.py:6: KeyError: 'lost'"):
        local.train_all(shards, lambda *_: None, workers=1)
    (good,) = of_file(f"{tmp_path}/mine.py:good", tmp_path / "good")
    (tmp_path / "mine.py").write_text(ESTIMATORS + "\n")
    with pytest.raises(UsageError, match="its source has changed since"):
        local.train_all([good], lambda *_: None)


def test_a_function_that_ends_its_process(tmp_path):
    (tmp_path / "mine.py").write_text(ESTIMATORS)
    (shard,) = of_file(f"{tmp_path}/mine.py:ends", tmp_path / "parts")
    with (
        pytest.warns(UserWarning, match=r"mine.py:ends, seeds 0, 1, ended .*status 3\)\. Another"),
        pytest.raises(UsageError, match=r"status 3\), 2 times in all.*the same call goes on"),
    ):
        local.train_all([shard], lambda *_: None)


def test_a_function_that_cannot_travel(tmp_path):
    lock = threading.Lock()

    def locked(t):
        with lock:
            return t.reward

    shards = of_file(locked, tmp_path)
    with pytest.raises(UsageError, match=r"locked to be a function that can be sent.*lock.*FILE"):
        local.train_all(shards, lambda *_: None)


def test_bad_numbers(tmp_path):
    config = small_config("reinforce", seeds=(0, 1))
    for parts in (0, 3):
        with pytest.raises(UsageError, match=f"Expected 1 to 2 parts of 2 seeds, got {parts}"):
            split(config, "reinforce", tmp_path, parts)
    with pytest.raises(UsageError, match="`workers` of at least 1, got 0"):
        local.train_all(split(config, "reinforce", tmp_path, 1), lambda *_: None, workers=0)


SCRIPT = """
import helper
from pgzoo.learning import local
from pgzoo.learning.arguments import configure
from pgzoo.learning.shards import merge, split
from pathlib import Path

print("once")

def mine(t):
    print("a word that is no message")
    return helper.double(t.reward)

config, _ = configure(
    mine, env="CartPole-v1", seeds=2, policy="mlp", device="cpu", max_episode_steps=None,
    stop_when_solved=False, diagnostics=0, compare_estimators=False, steps=500, hidden=(4,),
)
shards = split(config, mine, Path("parts"), 2)
local.train_all(shards, lambda place, report: None)
print(merge(shards, Path("run")))
"""


def test_a_script_needs_no_guard_and_its_functions_travel(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("once") == 1
    assert "a word that is no message" in done.stderr
    assert load(tmp_path / "run").summary["failed"] == [None, None]


def test_a_worker_whose_caller_is_gone_saves_and_ends(tmp_path):
    """As after the caller was killed: its pipe closes."""
    config = small_config("reinforce", seeds=(0, 1), steps=10_000_000)
    shard = Shard(config, (0, 1), "reinforce", tmp_path / "run")
    worker = local._Worker(1, inbox := local.queue.SimpleQueue())
    worker.give(local.pack(shard))
    while inbox.get()[1].iteration < 5:
        pass
    worker.stop()
    worker.wait()
    assert worker.fate() == "ended unexpectedly (status 0)"
    assert shard.run_folder().load_checkpoint()[1]["iteration"] >= 5
    with shard.run_folder().training():
        pass
