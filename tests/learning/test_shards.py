"""A run in parts is the run, bit for bit."""

import dataclasses
import json

import pytest

from pgzoo.learning.shards import merge, split, train_shard
from tests.learning.test_loop import results, run, small_config

RUNS = {
    "episodes": small_config("reinforce", seeds=(0, 7, 3), lr_schedule="linear"),
    "groups": small_config("grpo", seeds=(5, 1, 2), minibatches=2),
    "segments": small_config("ppo", seeds=(0, 1, 4), steps=1_500),
    "value": small_config("reinforce-baseline", seeds=(0, 1, 2), baseline="value"),
}


def in_parts(config, path, parts):
    shards = split(config, config.agent, path / "parts", parts)
    for shard in shards:
        train_shard(shard)
    return merge(shards, path / "merged")


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("name", RUNS)
def test_merged_shards_are_the_run(tmp_path, name, parts):
    config = dataclasses.replace(RUNS[name], diagnostics=6, compare_estimators=name == "groups")
    run(tmp_path / "whole", config)
    in_parts(config, tmp_path, parts)
    assert results(tmp_path / "whole") == results(tmp_path / "merged")
    configs = [json.loads((tmp_path / p / "config.json").read_text()) for p in ("whole", "merged")]
    assert configs[0] == configs[1]
