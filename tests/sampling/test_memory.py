"""Batches stay within a part of the machine's memory, or say what to do."""

from functools import partial

import pgzoo_envs
import pytest
import torch

import pgzoo
from pgzoo.errors import UsageError
from pgzoo.sampling import memory
from pgzoo.sampling.collect import Collector
from pgzoo.sampling.plan import Episodes, Segments
from pgzoo.sampling.seeding import Streams

SILLY = 2**31 - 1
SAYS = r"got some that go on after [\d,]+ steps.*Give a smaller `max_episode_steps`"


def uniform(obs):
    return torch.zeros(*obs.shape[:2], 3)


def never_ending(numbers=memory.LEAST_NUMBERS):
    make = partial(pgzoo_envs.make, "MountainCar-v0", max_episode_steps=SILLY)
    return Collector(make, numbers_per_step=numbers)


@pytest.fixture
def small_machine(monkeypatch):
    monkeypatch.setattr(memory, "of_machine", lambda: 2**20)


def test_episodes_that_go_on_and_on_are_an_error_that_can_be_mended(small_machine):
    collector = never_ending()
    with pytest.raises(UsageError, match=SAYS):
        collector.collect(Episodes(episodes=4), uniform, Streams([0, 1]))
    collector.collect(Segments(envs=2, segment_steps=8), uniform, Streams([0, 1]))


def test_a_batch_may_take_its_share_and_no_more(small_machine):
    most = 2**20 // (memory.SHARE * memory.BYTES * 64 * 2)
    make = partial(pgzoo_envs.make, "MountainCar-v0", max_episode_steps=most)
    batch, *_ = Collector(make, numbers_per_step=64).collect(
        Episodes(episodes=2), uniform, Streams([0])
    )
    assert batch.mask.shape == (1, 2, most)
    memory.check_batch(2, most, 64)
    with pytest.raises(UsageError, match=SAYS):
        memory.check_batch(2, most + 1, 64)


def test_a_container_has_less_than_the_machine(monkeypatch, tmp_path):
    memory.of_machine.cache_clear()
    whole = memory.of_machine()
    limits = (tmp_path / "max", tmp_path / "none", tmp_path / "limit")
    limits[0].write_text("max\n")
    limits[2].write_text("123456789\n")
    monkeypatch.setattr(memory, "CGROUP_LIMITS", limits)
    memory.of_machine.cache_clear()
    assert memory.of_machine() == 123_456_789 <= whole
    memory.of_machine.cache_clear()


def test_training_and_laboratory_with_a_silly_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "of_machine", lambda: 2**24)
    options = {"env": "MountainCar-v0", "max_episode_steps": SILLY}
    with pytest.raises(UsageError, match=SAYS):
        pgzoo.train("reinforce", seeds=2, out=tmp_path / "run", progress=False, **options)
    assert pgzoo.load(tmp_path / "run").summary is None
    with pytest.raises(UsageError, match=SAYS):
        pgzoo.measure(["reinforce"], estimates=2, trajectories=4, **options)
