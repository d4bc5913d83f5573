import csv
import dataclasses
import json

import numpy as np
import pytest
import torch

import pgzoo.learning.loop
from pgzoo.agents import AGENTS
from pgzoo.errors import UsageError
from pgzoo.learning.loop import Replica, TrainingInterrupted, TrainState, prepare, train
from pgzoo.records.run_folder import RunFolder
from pgzoo.sampling.collect import Episodes
from tests.helpers import make_config

TIMES = ("wall_seconds", "steps_per_second")


def run(path, config, report=lambda _: None):
    return train(config, RunFolder.create(path, config), report)


def results(path):
    """All that must not depend on interruptions."""
    summary = json.loads((path / "summary.json").read_text())
    tensors, state = RunFolder.open(path).load_checkpoint()
    return (
        (path / "metrics.csv").read_bytes(),
        {k: v for k, v in summary.items() if k not in TIMES},
        {k: v.tolist() for k, v in tensors.items()},
        {k: v for k, v in state.items() if k != "seconds"},
        {p.name: p.read_bytes() for p in (path / "snapshots").iterdir()},
    )


def test_a_run_leaves_a_complete_folder(tmp_path):
    summary = run(tmp_path / "run", make_config(seeds=(3, 5, 8)))
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    assert summary["seeds"] == [3, 5, 8]
    assert summary["threshold"] == 475
    assert summary["solved"] == [False] * 3
    assert summary["failed"] == [None] * 3
    assert len(summary["eval_mean"]) == len(summary["eval_std"]) == 3
    assert all(steps >= 2_000 for steps in summary["env_steps_per_seed"])
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"3", "5", "8"}
    for seed, steps in zip((3, 5, 8), summary["env_steps_per_seed"], strict=True):
        own = [row for row in rows if row["seed"] == str(seed)]
        assert [int(row["iteration"]) for row in own] == list(range(len(own)))
        assert int(own[-1]["env_steps"]) == steps
        lengths = [float(row["length_mean"]) for row in own]
        assert sum(lengths) * 4 == pytest.approx(steps)
    assert list((tmp_path / "run" / "seed-3").glob("events*"))


SMALL = {
    "actor-critic": {"envs": 3, "segment_steps": 16},
    "all-actions": {"envs": 3, "segment_steps": 16},
    "ppo": {"envs": 3, "segment_steps": 16, "minibatches": 2},
    "rloo": {"group_size": 2},
    "grpo": {"group_size": 2},
    "dr-grpo": {"group_size": 2},
    "reinforce++-baseline": {"group_size": 2},
}


def small_config(agent, **options):
    small = SMALL.get(agent, {}) | options
    return make_config(agent, **({"episodes": None} if "envs" in small else {}) | small)


@pytest.mark.parametrize("policy", ["mlp", "tabular"])
@pytest.mark.parametrize("agent", AGENTS)
def test_a_replicas_run_does_not_depend_on_its_company(tmp_path, agent, policy):
    alone = run(tmp_path / "alone", small_config(agent, seeds=(4,), policy=policy))
    among = run(tmp_path / "among", small_config(agent, seeds=(2, 4, 9), policy=policy))
    assert alone["env_steps_per_seed"][0] == among["env_steps_per_seed"][1]
    assert alone["eval_mean"][0] == among["eval_mean"][1]


@pytest.mark.parametrize("env", ["FrozenLake-v1", "CliffWalking-v1"])
@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_runs_a_table_on_finite_environments(tmp_path, agent, env):
    config = small_config(
        agent, env=env, policy="tabular", steps=600, max_episode_steps=50, seeds=(0, 1)
    )
    assert run(tmp_path / "run", config)["failed"] == [None, None]


def test_all_actions_also_learns_from_complete_episodes(tmp_path):
    config = small_config("all-actions", sampling="episodes", seeds=(0,))
    assert run(tmp_path / "run", config)["failed"] == [None]


@pytest.mark.parametrize(
    ("agent", "placement"),
    [("grpo", "loss"), ("reinforce++", "reward"), ("rloo", "reward"), ("dr-grpo", "reward")],
)
def test_a_strong_penalty_keeps_the_policy_near_its_reference(tmp_path, agent, placement):
    """From the uniform policy it starts with, a big β pulls it to a reference far away."""
    reference = tmp_path / "reference"
    far = small_config("reinforce", seeds=(0, 1), steps=4_000, learning_rate=0.05)
    run(reference, far)
    options = {"seeds": (1,), "steps": 8_000, "reference": str(reference)}
    options |= {"learning_rate": 0.01, "lr_schedule": "constant"}
    distances = []
    for coef in (1e-6, 20.0):
        path = tmp_path / f"{agent}-{coef}"
        config = small_config(agent, kl_coef=coef, kl_placement=placement, **options)
        run(path, config)
        tensors, _ = RunFolder.open(path).load_checkpoint()
        trainer = prepare(config)
        obs = torch.randn(1, 500, 4, generator=torch.Generator().manual_seed(0)) * 0.3
        own, ref = (
            trainer.policy.apply(tensors[k], obs).log_softmax(-1)
            for k in ("policy.values", "reference.values")
        )
        expected, _ = RunFolder.open(reference).load_checkpoint()
        assert torch.equal(tensors["reference.values"][0], expected["policy.values"][1])
        distances.append((own.exp() * (own - ref)).sum(-1).mean().item())
    assert distances[1] < 0.7 * distances[0], distances


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"env": "Acrobot-v1"}, "--env CartPole-v1"),
        ({"policy": "linear"}, "--policy mlp, got one of --env CartPole-v1 --policy linear"),
        ({"hidden": (9,)}, "Give the same --hidden"),
        ({"seeds": (7,)}, "has no seed 0"),
    ],
)
def test_a_reference_must_fit(tmp_path, other, message):
    run(tmp_path / "reference", small_config("reinforce", steps=10, **other))
    config = small_config("grpo", kl_coef=0.1, reference=str(tmp_path / "reference"))
    with pytest.raises(UsageError, match=message):
        prepare(config).initial_state()


def test_the_same_run_twice_gives_the_same_bits(tmp_path):
    for name in ("one", "two"):
        run(tmp_path / name, make_config())
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_snapshots_follow_the_run_from_start_to_end(tmp_path):
    config = make_config(steps=3_000)
    run(tmp_path / "run", config)
    folder = RunFolder.open(tmp_path / "run")
    found = folder.snapshots()
    assert {found[0], found[-1]} == {0, 100}
    assert len(found) > 5
    initial = prepare(config).initial_state().policy.values
    assert torch.equal(folder.load_snapshot(0), initial)
    assert torch.equal(folder.load_snapshot(100), folder.load_checkpoint()[0]["policy.values"])


def test_diagnostics_change_nothing_in_the_run(tmp_path):
    plain = make_config("rloo", group_size=2)
    watched = dataclasses.replace(plain, diagnostics=1, compare_estimators=True)
    run(tmp_path / "plain", plain)
    run(tmp_path / "watched", watched)
    a, b = (RunFolder.open(tmp_path / p).load_checkpoint()[0] for p in ("plain", "watched"))
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    ("agent", "options"),
    [
        ("reinforce-baseline", {"baseline": "time-step-mean"}),
        ("reinforce-baseline", {"baseline": "value"}),
        ("grpo", {"group_size": 2, "minibatches": 2}),
        ("ppo", {"episodes": None, "envs": 3, "segment_steps": 16, "steps": 4_000}),
    ],
)
def test_interrupted_and_resumed_gives_the_same_bits(tmp_path, agent, options):
    config = make_config(agent, lr_schedule="linear", **options)
    run(tmp_path / "whole", config)
    stops = iter([1, 2, 5, 9] if agent != "ppo" else [3, 17, 20, 40])
    stop = [next(stops)]

    def interrupt(report):
        if report.iteration == stop[0]:
            stop[0] = next(stops, -1)
            raise KeyboardInterrupt

    folder = RunFolder.create(tmp_path / "parts", config)
    for _ in range(4):
        with pytest.raises(TrainingInterrupted):
            train(config, folder, interrupt)
        assert folder.summary() is None
    train(config, folder, interrupt)
    assert results(tmp_path / "whole") == results(tmp_path / "parts")


def test_a_crash_between_checkpoints_loses_nothing_but_time(tmp_path, monkeypatch):
    config = make_config()
    run(tmp_path / "whole", config)
    monkeypatch.setattr(pgzoo.learning.loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def crash(report):
        if report.iteration == 4:  # after the metrics of iteration 4, before its checkpoint
            raise MemoryError

    folder = RunFolder.create(tmp_path / "parts", config)
    with pytest.raises(MemoryError):
        train(config, folder, crash)
    assert folder.load_checkpoint()[1]["iteration"] == 3
    train(config, folder)
    assert results(tmp_path / "whole") == results(tmp_path / "parts")


def test_a_finished_run_stays_as_it_is(tmp_path):
    config = make_config()
    summary = run(tmp_path / "run", config)
    assert train(config, RunFolder.open(tmp_path / "run")) == summary


def test_a_replica_with_non_finite_numbers_stops_and_the_others_go_on(tmp_path, monkeypatch):
    config = make_config(seeds=(0, 1, 2))
    initial = pgzoo.learning.loop.Trainer.initial_state

    def spoiled(self):
        state = initial(self)
        state.policy.values[1] = torch.inf
        return state

    reports = []
    monkeypatch.setattr(pgzoo.learning.loop.Trainer, "initial_state", spoiled)
    broken = run(tmp_path / "broken", config, reports.append)
    monkeypatch.undo()
    assert broken["failed"] == [None, "numbers became non-finite in iteration 0", None]
    assert reports[0].failed == {1: "numbers became non-finite in iteration 0"}
    assert all(not r.failed for r in reports[1:])
    assert broken["eval_mean"][1] is None
    assert broken["solved"][1] is False
    healthy = run(tmp_path / "healthy", make_config(seeds=(0, 2)))
    assert [broken["eval_mean"][i] for i in (0, 2)] == healthy["eval_mean"]


def test_stop_when_solved(tmp_path):
    """A threshold that the second hundred episodes of any policy reach."""
    config = make_config(steps=1_000_000, stop_when_solved=True)
    trainer = prepare(config)
    trainer.env = dataclasses.replace(trainer.env, reward_threshold=5.0)
    state = trainer.initial_state()
    while state.running:
        state, _ = trainer.iterate(state)
    for replica in state.replicas:
        assert replica.episodes == 100
        assert replica.steps_to_threshold == replica.env_steps


def test_steps_to_threshold_is_the_first_time():
    replica = Replica(seed=0)
    for reward in (0.0, 9.0, 9.0, 0.0):
        replica = replica.after(500, Episodes([reward] * 100, [5] * 100), threshold=8.0)
    assert replica.steps_to_threshold == 1000
    assert replica.env_steps == 2000
    assert replica.recent_mean == 0
    few = Replica(seed=0).after(50, Episodes([9.0] * 99, [5] * 99), threshold=8.0)
    assert few.steps_to_threshold is None, "99 episodes are not 100"


def test_checkpoints_hold_the_whole_state():
    trainer = prepare(make_config(baseline="value"))
    state, _ = trainer.iterate(trainer.initial_state())
    copy = TrainState.from_checkpoint(
        state.to_checkpoint()[0],
        json.loads(json.dumps(state.to_checkpoint()[1])),
        "cpu",
    )
    assert copy.replicas == state.replicas
    assert copy.iteration == state.iteration == 1
    for mine, theirs in ((copy.policy, state.policy), (copy.critic, state.critic)):
        for name, tensor in mine.tensors().items():
            assert torch.equal(tensor, theirs.tensors()[name])


def test_endless_environments_need_a_limit():
    with pytest.raises(UsageError, match="--max-episode-steps"):
        prepare(make_config(env="CliffWalking-v1"))
    assert prepare(make_config(env="CliffWalking-v1", max_episode_steps=50))


def test_a_full_disk_is_explained_and_the_run_can_go_on(tmp_path, monkeypatch):
    config = make_config()
    run(tmp_path / "whole", config)
    monkeypatch.setattr(pgzoo.learning.loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    save, saved = RunFolder.save_checkpoint, []

    def full(self, tensors, state):
        if len(saved) == 3:
            raise OSError(28, "No space left on device")
        saved.append(state["iteration"])
        save(self, tensors, state)

    monkeypatch.setattr(RunFolder, "save_checkpoint", full)
    folder = RunFolder.create(tmp_path / "parts", config)
    with pytest.raises(UsageError, match=r"No space left on device.*--resume"):
        train(config, folder)
    monkeypatch.undo()
    assert folder.load_checkpoint()[1]["iteration"] == saved[-1]
    train(config, folder)
    assert results(tmp_path / "whole") == results(tmp_path / "parts")


def test_learning_happens(tmp_path):
    """Not a claim over ten seeds (see benchmarks/), a guard: far above the random policy's 22."""
    summary = run(
        tmp_path / "run", make_config(seeds=range(4), steps=30_000, hidden=(64, 64), episodes=8)
    )
    assert np.mean(summary["eval_mean"]) > 100
