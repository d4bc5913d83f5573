"""The laboratory against an exact gradient, and against itself."""

import dataclasses
import math
import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from gymnasium.wrappers import TransformReward

from pgzoo.errors import UsageError
from pgzoo.lab import Problem, Settings, measure, parse_estimators
from pgzoo.lab import measurement as measure_module
from pgzoo.lab.measurement import Sampler
from pgzoo.lab.report import as_json, figure, flat, in_words
from pgzoo.lab.statistics import RESCALED, TURNED, UNBIASED, UNCLEAR
from pgzoo.sampling.plan import Episodes, Groups
from tests.lab.toy import ACTIONS, STATES, TOY

LAKE = Problem.initial("FrozenLake-v1", policy_kind="tabular", max_episode_steps=20)
SMALL = dataclasses.replace(
    Problem.initial(TOY, policy_kind="tabular"),
    theta=torch.randn(STATES * ACTIONS, generator=torch.Generator().manual_seed(0)),
)
EIGHT = Episodes(episodes=8)
POLE = Problem.initial("CartPole-v1", hidden=(8,), max_episode_steps=30)


def estimators(names, trajectories=8, group_size=4, gamma=1.0):
    return parse_estimators(names, trajectories=trajectories, group_size=group_size, gamma=gamma)


def results(problem, names, **settings):
    chosen = Settings(**{"trajectories": 8, "estimates": 40} | settings)
    parsed = estimators(names, chosen.trajectories, gamma=problem.gamma)
    return measure(problem, parsed, chosen)


def test_estimators_are_what_they_should_be_on_a_finite_mdp():
    unbiased = ("reinforce", "reinforce:whole_return=yes", "rloo", "rloo:reward_to_go=yes")
    biased = ("dr-grpo", "grpo", "reinforce++", "reinforce++-baseline", "reinforce:psi_scale=rms")
    found = results(SMALL, unbiased + biased, estimates=800)
    assert found.reference == "exact"
    p = {row.estimator: row.p_unbiased for row in found.rows}
    assert all(p[name] > 0.05 for name in unbiased), p
    assert all(p[name] < 0.05 for name in biased), p
    said = {row.estimator: row.verdict for row in found.rows}
    assert {name for name in said if said[name] == UNBIASED} == set(unbiased)
    assert (said["dr-grpo"], said["grpo"]) == (RESCALED, TURNED)
    scale = {row.estimator: row.properties.scale for row in found.rows}
    assert scale["dr-grpo"].low < 3 / 4 < scale["dr-grpo"].high


def test_verdicts_in_words():
    names = ("reinforce", "dr-grpo", "grpo")
    words = [in_words(row) for row in results(SMALL, names, estimates=800).rows]
    assert re.fullmatch(r"unbiased, to within 0\.\d+ ‖g\*‖", words[0])
    assert re.fullmatch(r"same direction, rescaled × 0\.\d+ \(to within [\d.]+°\)", words[1])
    assert re.fullmatch(r"another direction, [\d.]+° \[[\d.]+°, [\d.]+°\] off", words[2])
    (few,) = results(SMALL, names[:1], estimates=20).rows
    assert few.verdict == UNCLEAR
    assert re.search(r"a bias of up to [\d.]+ ‖g\*‖", in_words(few))
    assert "fewer than 10" in in_words(results(SMALL, names[:1], estimates=5).rows[0])


def test_the_verdict_is_in_the_table_and_in_the_figure():
    found = results(SMALL, ("reinforce", "dr-grpo"), estimates=400)
    rows = [flat(row) for row in found.rows]
    assert [row["verdict"] for row in rows] == [UNBIASED, RESCALED]
    assert [row["verdict"] for row in as_json(found)["rows"]] == [UNBIASED, RESCALED]
    handles, names = figure(found).axes[0].get_legend_handles_labels()
    assert names == [UNBIASED, RESCALED]
    points = [h.lines[0] for h in handles]
    assert len({p.get_color() for p in points}) == len({p.get_marker() for p in points}) == 2


def test_a_sampled_reference_carries_its_error():
    found = results(POLE, ("reinforce", "rloo"), estimates=60, reference_estimates=60)
    assert "60 independent estimates" in found.reference
    for row in found.rows:
        assert row.properties.scale.low < 1 < row.properties.scale.high
        assert row.p_unbiased > 0.01


def test_results_do_not_depend_on_how_much_fits_into_memory(monkeypatch):
    whole = results(POLE, ("reinforce", "rloo", "all-actions"))
    monkeypatch.setattr(measure_module, "NUMBERS_IN_MEMORY", 1)
    pieces = results(POLE, ("reinforce", "rloo", "all-actions"))
    for a, b in zip(whole.rows, pieces.rows, strict=True):
        assert a.properties.variance.point == pytest.approx(b.properties.variance.point, rel=1e-4)
        assert a.steps == b.steps


def test_estimators_do_not_disturb_each_other():
    alone = results(LAKE, ("rloo",)).rows[0]
    beside = results(LAKE, ("reinforce", "grpo", "rloo")).rows[2]
    assert alone.properties.variance == beside.properties.variance
    assert alone.properties.p_unbiased == beside.properties.p_unbiased


def test_two_policies_share_neither_starts_nor_noise_and_one_policy_all_of_them():
    def sampled(problem, seed=0):
        sampler = Sampler(problem, Settings(seed=seed))
        try:
            return sampler.sample(measure_module.SAMPLE, range(2), EIGHT, act=problem.acting)
        finally:
            sampler.close()

    pole, moved = sampled(POLE), sampled(dataclasses.replace(POLE, theta=POLE.theta + 1e-6))
    assert not (pole.obs[:, :, 0] == moved.obs[:, :, 0]).any()
    # An untrained policy is nearly uniform: with the noise of the other it would act alike.
    steps = min(pole.mask.shape[2], moved.mask.shape[2])
    both = pole.mask[:, :, :steps] & moved.mask[:, :, :steps]
    same = (pole.action[:, :, :steps] == moved.action[:, :, :steps])[both].float().mean()
    assert 0.3 < same < 0.7
    assert torch.equal(pole.obs, sampled(POLE).obs)
    assert not torch.equal(pole.obs[:, :, 0], sampled(POLE, seed=1).obs[:, :, 0])
    elsewhere = dataclasses.replace(POLE, theta=POLE.theta + 1, behaviour=POLE.theta)
    assert torch.equal(pole.obs, sampled(elsewhere).obs)


def test_every_plan_gets_the_same_number_of_trajectories(monkeypatch):
    asked = []
    original = Sampler.sample

    def spy(self, role, indices, plan, **options):
        batch = original(self, role, indices, plan, **options)
        asked.append((role, plan.group_size, tuple(batch.mask.shape[:2])))
        return batch

    monkeypatch.setattr(Sampler, "sample", spy)
    results(LAKE, ("reinforce", "rloo", "rloo:group_size=2"))
    sampled = {(k, shape) for role, k, shape in asked if role == measure_module.SAMPLE}
    assert {shape[1] for _, shape in sampled} == {8}
    assert {k for k, _ in sampled} == {1, 2, 4}


def test_independent_starts_of_groups_are_independent_episodes():
    def starts(plan):
        sampler = Sampler(POLE, Settings())
        try:
            batch = sampler.sample(measure_module.SAMPLE, range(3), plan, act=POLE.acting)
        finally:
            sampler.close()
        return batch.group_size, batch.obs[:, :, 0]

    shared = starts(Groups(episodes=8, group_size=4))
    apart = starts(Groups(episodes=8, group_size=4, starts="independent"))
    alone = starts(EIGHT)
    assert (shared[0], apart[0], alone[0]) == (4, 4, 1)
    assert torch.equal(apart[1], alone[1])
    assert len(apart[1].flatten(0, 1).unique(dim=0)) == 3 * 8
    assert len(shared[1].flatten(0, 1).unique(dim=0)) == 3 * 2


def test_ctrl_c_keeps_complete_estimates(monkeypatch):
    monkeypatch.setattr(measure_module, "NUMBERS_IN_MEMORY", 1)
    calls = 0

    def stop_at(share, what):
        nonlocal calls
        calls += what == "sampling"
        if calls == 25:
            raise KeyboardInterrupt

    chosen = Settings(trajectories=8, estimates=40)
    found = measure(LAKE, estimators(("reinforce", "rloo")), chosen, stop_at)
    assert found.interrupted
    assert [row.estimates for row in found.rows] == [25, 25]


def test_an_interrupted_measurement_says_what_its_reference_was():
    def stop_half_way(share, what):
        if what == "sampling" and share >= 0.5:
            raise KeyboardInterrupt

    chosen = Settings(trajectories=256, estimates=40, critic_trajectories=16)
    found = measure(POLE, estimators(("reinforce",)), chosen, stop_half_way)
    (row,) = found.rows
    assert row.estimates < 40
    assert found.settings.reference_estimates == 4 * row.estimates
    assert f"{4 * row.estimates} independent estimates" in found.reference


def test_an_estimate_s_results_count_among_what_is_in_memory():
    sampler = Sampler(POLE, Settings(trajectories=1))
    assert sampler.estimates_at_once(1000) < sampler.estimates_at_once(1)


def test_few_estimates_reject_nothing():
    (row,) = results(LAKE, ("all-actions",), estimates=5).rows
    assert math.isnan(row.p_unbiased)


def test_a_wrapped_environment_is_not_what_its_table_says():
    name = "TenfoldLake-v0"

    def make(**options):
        return TransformReward(FrozenLakeEnv(**options), lambda r: 10 * r)

    gym.register(name, make, max_episode_steps=20)
    try:
        assert Problem.initial(name, policy_kind="tabular").exact_mdp is None
    finally:
        gym.registry.pop(name)


def test_large_policies_are_kept_in_fewer_blocks(monkeypatch):
    assert results(LAKE, ("reinforce",), estimates=40).settings.blocks == 100
    monkeypatch.setattr(measure_module, "NUMBERS_IN_BLOCKS", 30 * 2 * LAKE.network.num_params)
    few = results(LAKE, ("reinforce",), estimates=90)
    assert few.settings.num_blocks == 30
    assert few.rows[0].estimates == 90


def test_settings_are_checked():
    with pytest.raises(UsageError, match="`critic` to be separate or same"):
        Settings(critic="seperate")
    with pytest.raises(UsageError, match="`reference_estimates` of at least 1"):
        Settings(reference_estimates=0)


def test_critics_on_the_same_data_bias_the_estimate_less_noise_but_wrong():
    """A critic fitted to the very returns it is subtracted from shrinks the gradient."""
    apart = results(POLE, ("reinforce-baseline:baseline=value",), estimates=60).rows[0]
    same = results(POLE, ("reinforce-baseline:baseline=value",), estimates=60, critic="same")
    assert same.rows[0].properties.scale.high < apart.properties.scale.high


def test_off_policy_data_bias_the_plain_score_function():
    old = dataclasses.replace(LAKE, theta=torch.zeros(64))
    moved = dataclasses.replace(old, theta=2 * torch.randn(64), behaviour=old.theta)
    row = results(moved, ("reinforce",), estimates=2_000).rows[0]
    assert row.p_unbiased < 0.05


def test_figures_of_a_user_s_estimator_equal_those_of_the_zoo(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def whole(t):\n"
        "    total = (t.reward * t.mask).sum(-1, keepdim=True)\n"
        "    return total.expand(t.mask.shape)\n"
    )
    mine, zoo = results(LAKE, (f"{path}:whole", "reinforce:whole_return=yes")).rows
    assert mine.properties.variance.point == pytest.approx(zoo.properties.variance.point)
    assert np.isfinite(mine.properties.variance.point)


def test_problems_are_checked():
    with pytest.raises(UsageError, match="no time limit"):
        Problem.initial("CliffWalking-v1", policy_kind="tabular")
    with pytest.raises(UsageError, match="`gamma` between 0 and 1, got 2"):
        Problem.initial("CartPole-v1", gamma=2.0)
    with pytest.raises(UsageError, match=r"Expected parameters \[64\]"):
        dataclasses.replace(LAKE, theta=torch.zeros(3))
    with pytest.raises(UsageError, match="finite parameters"):
        dataclasses.replace(LAKE, theta=torch.full((64,), torch.nan))
    with pytest.raises(UsageError, match="`estimates` of at least 2"):
        Settings(estimates=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rlo", "Unknown agent 'rlo'. Did you mean rloo"),
        ("rloo:colour=red", "got 'colour=red'"),
        ("rloo:group_size", "got 'group_size'. Say which value"),
        ("rloo:group_size=3", "groups of 3 .* to fill the 8 trajectories"),
        ("rloo:group_size=two", "to be a whole number, got 'two'"),
        ("rloo:reward_to_go=maybe", "to be yes or no, got 'maybe'"),
        ("reinforce:aggregation=all", "sum, step-mean, trajectory-mean; got 'all'"),
        ("rloo:episodes=64", "that change an estimate"),
        ("rloo:group_size=0", "`group_size` of at least"),
        ("actor-critic:lam=2", "`lam` between 0 and 1, got 2"),
        ("reinforce:hidden=3", "that change an estimate"),
        ("nowhere.py:mine", "nowhere.py to be a Python file"),
    ],
)
def test_estimators_are_checked(text, message):
    with pytest.raises(UsageError, match=message):
        estimators([text])


def test_lists_of_estimators_are_checked():
    with pytest.raises(UsageError, match="at least one"):
        estimators([])
    with pytest.raises(UsageError, match="rloo and rloo are the same"):
        estimators(["rloo", "grpo", "rloo"])
    with pytest.raises(UsageError, match="are the same"):
        estimators(["rloo:reward_to_go=yes", "rloo:reward-to-go=true"])


def test_functions_of_one_name_cannot_be_told_apart(tmp_path):
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for file in files:
        file.write_text("def mine(t):\n    return t.reward\n")
    for twice in (files, [files[0]] * 2):
        with pytest.raises(UsageError, match=r"both called mine"):
            estimators([f"{file}:mine" for file in twice])


def test_methods_keep_their_own_aggregation():
    found = {e.label: e.agent.aggregation for e in estimators(["reinforce", "grpo", "dr-grpo"])}
    assert found == {"reinforce": "sum", "grpo": "trajectory-mean", "dr-grpo": "sum"}
    (changed,) = estimators(["grpo:aggregation=sum,ratio=trajectory"])
    assert (changed.agent.aggregation, changed.agent.surrogate.ratio) == ("sum", "trajectory")
