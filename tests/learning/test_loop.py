import csv
import dataclasses
import json

import numpy as np
import pytest
import torch

import pgzoo.learning.loop
import pgzoo.learning.trainer
from pgzoo.agents import AGENTS, agent_class
from pgzoo.errors import UsageError
from pgzoo.learning.loop import TrainingInterrupted, run_training
from pgzoo.learning.state import Replica, TrainState
from pgzoo.learning.trainer import Trainer
from pgzoo.options import build
from pgzoo.records.run_folder import RunFolder
from pgzoo.sampling.plan import Groups, Segments
from pgzoo.sampling.trajectories import FinishedEpisodes
from tests.helpers import make_config

TIMES = ("wall_seconds", "steps_per_second", "times_digest", "digest")


def trainer_of(config):
    return Trainer(config, build(agent_class(config.agent), config.hyperparameters), "cpu")


def train(config, folder, callback=lambda _: None):
    return run_training(trainer_of(config), folder, callback)


def run(path, config, callback=lambda _: None):
    return train(config, RunFolder.create(path, config), callback)


def results(path):
    """All that must not depend on interruptions."""
    summary = json.loads((path / "summary.json").read_text())
    tensors, state = RunFolder.open(path).load_checkpoint()
    return (
        (path / "metrics.csv").read_bytes(),
        {k: v for k, v in summary.items() if k not in TIMES},
        {k: v.tolist() for k, v in tensors.items()},
        state,
        (path / "checkpoint.safetensors").read_bytes(),
        {p.name: p.read_bytes() for p in (path / "snapshots").iterdir()},
    )


def test_a_run_leaves_a_complete_folder(tmp_path):
    summary = run(tmp_path / "run", make_config(seeds=(3, 5, 8)))
    written = json.loads((tmp_path / "run" / "summary.json").read_text())
    digests = {k: written.pop(k) for k in ("times_digest", "digest")}
    assert all(len(digest) == 64 for digest in digests.values())
    assert written == summary
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
    assert list((tmp_path / "run").glob("events*"))
    assert not list((tmp_path / "run").glob("seed-*"))


def small_config(agent, **options):
    """Few rows, whatever the plan."""
    plan, surrogate = AGENTS[agent].agent().plan, AGENTS[agent].agent().surrogate
    small = {"group_size": 2} if isinstance(plan, Groups) else {}
    if isinstance(plan, Segments) and options.get("sampling") != "episodes":
        small = {"envs": 3, "segment_steps": 16, "episodes": None}
    if surrogate.minibatches > 1:
        small["minibatches"] = 2
    return make_config(agent, **small | options)


@pytest.mark.parametrize("policy", ["mlp", "tabular"])
@pytest.mark.parametrize("agent", AGENTS)
def test_a_replicas_run_does_not_depend_on_its_company(tmp_path, agent, policy):
    alone = run(tmp_path / "alone", small_config(agent, seeds=(4,), policy_kind=policy))
    among = run(tmp_path / "among", small_config(agent, seeds=(2, 4, 9), policy_kind=policy))
    assert alone["env_steps_per_seed"][0] == among["env_steps_per_seed"][1]
    assert alone["eval_mean"][0] == among["eval_mean"][1]
    of_alone, of_among = (
        RunFolder.open(tmp_path / name).load_checkpoint()[0] for name in ("alone", "among")
    )
    assert torch.equal(of_alone["policy.values"][0], of_among["policy.values"][1])


@pytest.mark.parametrize("env", ["FrozenLake-v1", "CliffWalking-v1"])
@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_runs_a_table_on_finite_environments(tmp_path, agent, env):
    config = small_config(
        agent, env=env, policy_kind="tabular", steps=600, max_episode_steps=50, seeds=(0, 1)
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
        trainer = trainer_of(config)
        obs = torch.randn(1, 500, 4, generator=torch.Generator().manual_seed(0)) * 0.3
        own, ref = (
            trainer.networks.policy.apply(tensors[k], obs).log_softmax(-1)
            for k in ("policy.values", "reference.values")
        )
        expected, _ = RunFolder.open(reference).load_checkpoint()
        assert torch.equal(tensors["reference.values"][0], expected["policy.values"][1])
        distances.append((own.exp() * (own - ref)).sum(-1).mean().item())
    assert distances[1] < 0.7 * distances[0], distances


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"env": "Acrobot-v1"}, "`env=CartPole-v1`"),
        ({"policy_kind": "linear"}, "`policy=mlp`, got one of `env=CartPole-v1` `policy=linear`"),
        ({"hidden": (9,)}, "Give the same `hidden`"),
        ({"seeds": (7,)}, "has no seed 0"),
    ],
)
def test_a_reference_must_fit(tmp_path, other, message):
    run(tmp_path / "reference", small_config("reinforce", steps=10, **other))
    config = small_config("grpo", kl_coef=0.1, reference=str(tmp_path / "reference"))
    with pytest.raises(UsageError, match=message):
        trainer_of(config).initial_state()


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
    initial = trainer_of(config).initial_state().learners.policy.values
    assert torch.equal(folder.load_snapshot(0), initial)
    assert torch.equal(folder.load_snapshot(100), folder.load_checkpoint()[0]["policy.values"])


def test_diagnostics_change_nothing_in_the_run(tmp_path):
    plain = make_config("rloo", group_size=2)
    watched = dataclasses.replace(plain, diagnostics=50, compare_estimators=True)
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
    config = dataclasses.replace(config, diagnostics=5)
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
    monkeypatch.setattr(pgzoo.learning.loop, "TIMES_TO_SAVE", 0)

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
    initial = Trainer.initial_state

    def spoiled(self):
        state = initial(self)
        state.learners.policy.values[1] = torch.inf
        return state

    reports = []
    monkeypatch.setattr(Trainer, "initial_state", spoiled)
    broken = run(tmp_path / "broken", config, reports.append)
    monkeypatch.undo()
    assert broken["failed"] == [None, "numbers became non-finite in iteration 0", None]
    assert reports[0].failed == {1: "numbers became non-finite in iteration 0"}
    assert all(not r.failed for r in reports[1:])
    assert broken["eval_mean"][1] is None
    assert broken["solved"][1] is False
    healthy = run(tmp_path / "healthy", make_config(seeds=(0, 2)))
    assert [broken["eval_mean"][i] for i in (0, 2)] == healthy["eval_mean"]


def with_threshold(trainer, threshold):
    trainer.env = dataclasses.replace(trainer.env, reward_threshold=threshold)
    return trainer


def test_stop_when_solved():
    """A threshold that the first hundred episodes of any policy reach."""
    trainer = with_threshold(trainer_of(make_config(steps=1_000_000, stop_when_solved=True)), 5.0)
    state = trainer.initial_state()
    while state.running:
        state, _ = trainer.iterate(state)
    for replica in state.replicas:
        assert replica.episodes == 100
        assert replica.steps_to_threshold == replica.env_steps


def test_a_threshold_counts_when_fresh_episodes_confirm_it(monkeypatch):
    """Luck in training is not enough, and the next look is at other episodes."""
    trainer = with_threshold(trainer_of(make_config(steps=1_000_000, seeds=(0,))), 5.0)
    asked = []

    def unlucky(*arguments, episodes, **options):
        asked.append(episodes)
        return np.full((1, episodes), 4.0 if len(asked) < 3 else 6.0)

    monkeypatch.setattr(pgzoo.learning.trainer, "evaluate", unlucky)
    state, looks = trainer.initial_state(), []
    while state.replicas[0].steps_to_threshold is None:
        before = len(asked)
        state, _ = trainer.iterate(state)
        if len(asked) > before:
            looks.append(state.replicas[0].episodes)
    assert asked == [200] * 3
    assert looks == [100, 200, 300]
    assert state.replicas[0].steps_to_threshold == state.replicas[0].env_steps
    state, _ = trainer.iterate(state)
    assert len(asked) == 3, "once it is reached, nobody looks again"


def test_confirming_changes_nothing_in_training():
    plain = trainer_of(make_config(seeds=(0,), steps=5_000))
    looking = with_threshold(trainer_of(make_config(seeds=(0,), steps=5_000)), 1.0)
    states = []
    for trainer in (plain, looking):
        state = trainer.initial_state()
        while state.running:
            state, _ = trainer.iterate(state)
        states.append(state)
    assert states[0].replicas[0].steps_to_threshold is None
    assert states[1].replicas[0].steps_to_threshold is not None
    a, b = (s.learners.policy.values for s in states)
    assert torch.equal(a, b)


def test_a_replica_after_iterations():
    replica = Replica(seed=0)
    for reward in (0.0, 9.0, 1.0):
        replica = replica.after(500, FinishedEpisodes([reward] * 60, [5] * 60))
    assert (replica.env_steps, replica.episodes) == (1500, 180)
    assert replica.recent == (9.0,) * 40 + (1.0,) * 60
    few = Replica(seed=0).after(50, FinishedEpisodes([9.0] * 99, [5] * 99))
    assert not few.seems_to_have_reached(8.0), "99 episodes are not 100"
    assert few.after(5, FinishedEpisodes([9.0], [5])).seems_to_have_reached(8.0)


def test_long_episodes_of_short_segments_end(tmp_path):
    """Nothing is reset for a checkpoint's sake: MountainCar's 200 steps in segments of eight."""
    config = make_config(
        "actor-critic", env="MountainCar-v0", episodes=None, envs=2, segment_steps=8, steps=1_000
    )
    run(tmp_path / "run", config)
    _, state = RunFolder.open(tmp_path / "run").load_checkpoint()
    assert [r["episodes"] for r in state["replicas"]] == [4, 4]  # 504 steps of either row
    assert all(set(r["recent"]) == {-200.0} for r in state["replicas"])


def test_a_batch_without_a_real_step_is_no_failure(tmp_path):
    """One environment, one step: after an episode's end there is only its reset."""
    config = make_config(
        "actor-critic", episodes=None, envs=1, segment_steps=1, steps=60, seeds=(0, 1)
    )
    assert run(tmp_path / "run", config)["failed"] == [None, None]


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_diagnoses_are_spread_over_the_run_and_its_seeds(tmp_path, seeds):
    config = dataclasses.replace(make_config(steps=4_000, seeds=range(seeds)), diagnostics=8)
    run(tmp_path / "run", config)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["gradient_variance"]]
    iterations = sorted({int(r["iteration"]) for r in rows})
    assert iterations[0] == 0
    assert 8 <= len(iterations) <= 9
    for iteration in iterations[:-2]:  # at the end not all are training
        assert len([r for r in rows if int(r["iteration"]) == iteration]) == 1
    assert {r["seed"] for r in rows} == set(map(str, range(seeds)))


def test_checkpoints_hold_the_whole_state():
    trainer = trainer_of(make_config(baseline="value"))
    state, _ = trainer.iterate(trainer.initial_state())
    copy = TrainState.from_checkpoint(
        state.to_checkpoint()[0],
        json.loads(json.dumps(state.to_checkpoint()[1])),
        "cpu",
    )
    assert copy.replicas == state.replicas
    assert copy.iteration == state.iteration == 1
    a, b = copy.learners, state.learners
    for mine, theirs in ((a.policy, b.policy), (a.critic, b.critic)):
        for name, tensor in mine.tensors().items():
            assert torch.equal(tensor, theirs.tensors()[name])


def test_endless_environments_need_a_limit():
    with pytest.raises(UsageError, match="`max_episode_steps`"):
        trainer_of(make_config(env="CliffWalking-v1"))
    assert trainer_of(make_config(env="CliffWalking-v1", max_episode_steps=50))


def test_a_full_disk_is_explained_and_the_run_can_go_on(tmp_path, monkeypatch):
    config = make_config()
    run(tmp_path / "whole", config)
    monkeypatch.setattr(pgzoo.learning.loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(pgzoo.learning.loop, "TIMES_TO_SAVE", 0)
    save, saved = RunFolder.save_checkpoint, []

    def full(self, tensors, state):
        if len(saved) == 3:
            raise OSError(28, "No space left on device")
        saved.append(state["iteration"])
        save(self, tensors, state)

    monkeypatch.setattr(RunFolder, "save_checkpoint", full)
    folder = RunFolder.create(tmp_path / "parts", config)
    with pytest.raises(UsageError, match=r"No space left on device.*`resume`"):
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


def test_seeds_have_tensorboard_runs_of_their_own_on_demand_and_keep_them(tmp_path):
    folder = RunFolder.create(tmp_path / "run", make_config(seeds=(3, 5)))
    trainer = trainer_of(make_config(seeds=(3, 5)))
    stopped = run_training(trainer, folder, lambda r: r.iteration == 2, tensorboard_seeds=True)
    assert stopped is None
    before = {p.name: len(list(p.glob("events*"))) for p in (tmp_path / "run").glob("seed-*")}
    assert before == {"seed-3": 1, "seed-5": 1}
    assert train(make_config(seeds=(3, 5)), folder) is not None
    after = {p.name: len(list(p.glob("events*"))) for p in (tmp_path / "run").glob("seed-*")}
    assert after == {"seed-3": 2, "seed-5": 2}


def test_event_files_that_are_gone_or_damaged_do_not_stop_a_run(tmp_path):
    config = make_config(seeds=(3, 5))
    folder = RunFolder.create(tmp_path / "run", config)
    train(config, folder, lambda report: report.iteration == 2)
    (events,) = (tmp_path / "run").glob("events*")
    events.write_bytes(b"damaged")
    train(config, folder, lambda report: report.iteration == 4)
    for events in (tmp_path / "run").glob("events*"):
        events.unlink()
    train(config, folder)
    run(tmp_path / "whole", config)
    assert results(tmp_path / "run") == results(tmp_path / "whole")
