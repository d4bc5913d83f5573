"""Shards on a real Ray cluster, of two nodes on loopback."""

import dataclasses
import warnings

import pytest

from pgzoo.learning import on_ray
from pgzoo.learning.shards import merge, split
from tests.learning.test_loop import results, run, small_config

ray = pytest.importorskip("ray")
pytest.importorskip("ray.cluster_utils")


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_killed_node_changes_nothing(tmp_path, cluster, monkeypatch):
    """Two nodes, two shards; one node dies in the middle. Then an interruption, and the rest."""
    other = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    monkeypatch.setenv("RAY_TASK_RETRY_DELAY_MS", "0")
    config = small_config("ppo", seeds=(0, 1, 4), steps=30_000)
    config = dataclasses.replace(config, diagnostics=6)
    run(tmp_path / "whole", config)
    shards = split(config, "ppo", tmp_path / "parts", 2)
    seen, killed = {0: [], 1: []}, []

    def kill(place, report):
        seen[place].append(report.share)
        if not killed and all(len(shares) > 6 for shares in seen.values()):
            cluster.remove_node(other, allow_graceful=False)
            killed.append(dict(seen))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        on_ray.train_all(shards, kill, address=cluster.address)
    assert killed
    assert any("was lost" in str(w.message) for w in caught)
    assert [s.complete for s in shards] == [True, True]
    merge(shards, tmp_path / "merged")
    assert results(tmp_path / "whole") == results(tmp_path / "merged")
