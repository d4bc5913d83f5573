"""Shards on a real Ray cluster, of two nodes on loopback (`make test-ray`)."""

import builtins
import dataclasses
import warnings

import pytest

from pgzoo.errors import UsageError
from pgzoo.learning import on_ray
from pgzoo.learning.loop import TrainingInterrupted
from pgzoo.learning.shards import merge, split
from tests.learning.test_local import ESTIMATORS, of_file
from tests.learning.test_loop import results, run, small_config


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    utils = pytest.importorskip("ray.cluster_utils")
    cluster = utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_without_ray_it_says_how_to_get_it(tmp_path, monkeypatch):
    importing = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ray":
            raise ImportError(name)
        return importing(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    shards = split(small_config("reinforce"), "reinforce", tmp_path, 2)
    with pytest.raises(UsageError, match=r"pgzoo\[ray\]"):
        on_ray.train_all(shards, lambda *_: None)


def test_a_killed_node_and_an_interruption_change_nothing(tmp_path, cluster, monkeypatch):
    """Two nodes, two shards, one node killed in the middle; interrupted; and on to the end."""
    monkeypatch.setattr(on_ray, "SECONDS_BETWEEN_FILES", 0.5)
    other = cluster.add_node(num_cpus=1, include_dashboard=False)
    cluster.wait_for_nodes()
    config = small_config("ppo", seeds=(0, 1, 4), steps=12_000)
    config = dataclasses.replace(config, diagnostics=6)
    run(tmp_path / "whole", config)
    shards = split(config, "ppo", tmp_path / "parts", 2)
    under_way, after_the_loss = set(), []

    def lose_and_interrupt(place, report):
        if len(under_way) < 2:
            under_way.add(place)
            if len(under_way) == 2:
                cluster.remove_node(other, allow_graceful=False)
        elif warned:
            after_the_loss.append(report)
            if report.iteration > 0:
                raise KeyboardInterrupt

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(TrainingInterrupted, match="the same call goes on"):
            on_ray.train_all(shards, lose_and_interrupt, address=cluster.address)
    assert "was lost. Another one goes on" in str(warned[0].message)
    assert after_the_loss
    assert not all(shard.complete for shard in shards)
    on_ray.train_all(shards, lambda *_: None, address=cluster.address)
    merge(shards, tmp_path / "merged")
    assert results(tmp_path / "whole") == results(tmp_path / "merged")


def test_what_is_wrong_comes_back_in_the_same_words(tmp_path, cluster):
    (tmp_path / "mine.py").write_text(ESTIMATORS)
    shards = of_file(f"{tmp_path}/mine.py:bad", tmp_path / "parts", 2)
    with pytest.raises(UsageError, match=rf"bad failed at {tmp_path}/mine.py:6: KeyError: 'lost'"):
        on_ray.train_all(shards, lambda *_: None, address=cluster.address)


def test_no_cluster_there(tmp_path):
    pytest.importorskip("ray")
    shards = split(small_config("reinforce"), "reinforce", tmp_path, 2)
    with pytest.raises(UsageError, match="could not connect"):
        on_ray.train_all(shards, lambda *_: None, address="127.0.0.1:1")
