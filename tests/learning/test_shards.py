"""A run in parts is the run, bit for bit."""

import dataclasses
import json

import pytest

from pgzoo.errors import UsageError
from pgzoo.learning.shards import Shard, merge, split, train_shard
from pgzoo.learning.trainer import Trainer
from pgzoo.records.run_folder import RunFolder
from tests.learning.test_loop import results, run, small_config
from tests.records.test_tensorboard import scalars, tensors

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


def check_same(config, path, parts):
    merged = in_parts(config, path, parts)
    assert results(path / "whole") == results(path / "merged")
    configs = [(path / p / "config.json").read_bytes() for p in ("whole", "merged")]
    assert configs[0] == configs[1]
    order = [list(json.loads((path / p / "summary.json").read_text())) for p in ("whole", "merged")]
    assert order[0] == order[1]
    return merged


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("name", RUNS)
def test_merged_shards_are_the_run(tmp_path, name, parts):
    config = dataclasses.replace(RUNS[name], diagnostics=6, compare_estimators=name == "groups")
    run(tmp_path / "whole", config)
    merged = check_same(config, tmp_path, parts)
    assert merged.times["iteration"].tolist() == list(range(merged.summary["iterations"]))
    assert merged.times["seconds"].is_monotonic_increasing


def test_merged_shards_with_a_reference_are_the_run(tmp_path):
    run(tmp_path / "reference", small_config("reinforce", seeds=(0, 1, 2, 3), steps=300))
    options = {"reference": str(tmp_path / "reference"), "kl_coef": 0.1}
    config = small_config("rloo", seeds=(3, 0, 2), **options)
    run(tmp_path / "whole", config)
    check_same(config, tmp_path, 2)


@pytest.mark.parametrize("spoiled", [{7}, {0, 7}])
def test_merged_shards_with_failed_seeds_are_the_run(tmp_path, monkeypatch, spoiled):
    """One of a shard's two, or all that it has: then its metrics have not even a header."""
    initial = Trainer.initial_state

    def spoil(self):
        state = initial(self)
        for i, seed in enumerate(self.config.seeds):
            if seed in spoiled:
                state.learners.policy.values[i] = 1e38  # products of it are infinite
        return state

    monkeypatch.setattr(Trainer, "initial_state", spoil)
    summary = run(tmp_path / "whole", RUNS["episodes"])
    assert summary["failed"].count(None) == 3 - len(spoiled)
    reports = []
    shards = split(RUNS["episodes"], "reinforce", tmp_path / "parts", 2)
    assert [s.part for s in shards] == [(0,), (7, 3)]
    train_shard(shards[1], reports.append)
    assert reports[-1].failed == {7: "numbers became non-finite in iteration 0"}
    assert reports[-1].share == 1
    shards = split(RUNS["episodes"], "reinforce", tmp_path / "parts", 2)
    train_shard(shards[0])
    merge(shards, tmp_path / "merged")
    whole, merged = (RunFolder(tmp_path / p) for p in ("whole", "merged"))
    for name in ("metrics.csv", "checkpoint.safetensors", "snapshots/040.safetensors"):
        assert (whole.path / name).read_bytes() == (merged.path / name).read_bytes()
    assert whole.summary()["failed"] == merged.summary()["failed"]


def test_a_shard_that_is_told_to_stop_goes_on_later(tmp_path):
    config = small_config("ppo", seeds=(0, 1), steps=1_500)
    run(tmp_path / "whole", config)
    (shard,) = split(config, "ppo", tmp_path / "parts", 1)
    train_shard(shard, lambda report: True)
    assert not shard.complete
    reports, sessions = [], 0

    def once(report):
        reports.append(report)
        return report.iteration > start

    while not shard.complete:
        checkpoint = shard.run_folder().load_checkpoint()
        start = 0 if checkpoint is None else checkpoint[1]["iteration"]
        train_shard(shard, once)
        sessions += 1
    assert sessions > 1
    assert [r.share for r in reports] == sorted(r.share for r in reports)
    assert all(len(r.returns) == 2 for r in reports)
    train_shard(shard, lambda report: pytest.fail("nothing is left to train"))
    merge([shard], tmp_path / "merged")
    assert results(tmp_path / "whole") == results(tmp_path / "merged")


def test_merged_shards_have_the_run_s_dashboard(tmp_path):
    config = dataclasses.replace(RUNS["groups"], diagnostics=6, compare_estimators=True)
    run(tmp_path / "whole", config)
    check_same(config, tmp_path, 2)
    boards = [
        {
            events.parent.relative_to(path): scalars(events.parent)
            for events in path.rglob("events*")
        }
        for path in (tmp_path / "whole", tmp_path / "merged")
    ]
    assert boards[0] == boards[1]
    assert len(boards[0]) > 1
    assert tensors(tmp_path / "merged", "images").keys() == {
        "with figures/learning curve, seed by seed"
    }


def test_what_cannot_be_merged(tmp_path):
    config = small_config("reinforce", seeds=(0, 1), steps=100)
    shards = split(config, "reinforce", tmp_path / "parts", 2)
    train_shard(shards[0])
    with pytest.raises(UsageError, match=r"Expected complete shards, .*part-2-of-2 is not"):
        merge(shards, tmp_path / "merged")
    with pytest.raises(UsageError, match="each seed of one run once between them; these have 0 of"):
        merge(shards[:1], tmp_path / "merged")
    with pytest.raises(UsageError, match="these have 0, 0, 1 of 0, 1"):
        merge([shards[0], *shards], tmp_path / "merged")
    train_shard(shards[1])
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "of-somebody").touch()
    with pytest.raises(UsageError, match="to be free, but it holds another run"):
        merge(shards, tmp_path / "merged")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["merged", "parts"], "nothing is left over"
    (tmp_path / "merged" / "of-somebody").unlink()
    assert merge(shards, tmp_path / "merged").summary["seeds"] == [0, 1]


def test_a_folder_of_another_run_is_no_shards(tmp_path):
    config = small_config("reinforce", seeds=(0, 1), steps=100)
    run(tmp_path / "run", config)
    shard = Shard(config, (1,), "reinforce", tmp_path / "run")
    with pytest.raises(UsageError, match="holds another run"):
        train_shard(shard)
    with pytest.raises(UsageError, match="started with, reinforce, got rloo"):
        split(config, "rloo", tmp_path / "parts", 2)
