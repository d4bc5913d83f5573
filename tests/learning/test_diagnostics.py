"""What a batch says of its gradient estimate: by textbook, by fresh batches, by hand."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from pgzoo.agents import AGENTS, agent_class
from pgzoo.learning.diagnostics import (
    Diagnostician,
    comparable,
    diagnose,
    drift,
    variance_and_signal,
)
from pgzoo.learning.gradients import policy_gradient, weigh
from pgzoo.options import options_of
from pgzoo.policies.model import Model
from pgzoo.policies.networks import Table
from pgzoo.records.columns import DIAGNOSED, signal_column, variance_column
from tests.finite_mdp import GAMMA, make_mdp
from tests.helpers import (
    CLIPPED,
    GROUPED,
    POLICY,
    make_model,
    make_segments,
    make_trajectories,
    of_replica,
    on_policy,
    small,
)

EPISODES = make_trajectories([[3, 7, 1, 5, 2, 6, 4, 4], [6, 2, 4, 4, 8, 1, 3, 5]])
SEGMENTS = make_segments(
    [[[], [1], [], [2, 4], [], [], [0], []], [[3], [], [], [5], [], [1], [], []]]
)
FIGURES = set(DIAGNOSED)


def of_eight(name, **options):
    """An agent for batches of eight rows."""
    known = options_of(small(name).__class__)
    episodes = {"episodes": 8} if "episodes" in known and "sampling" not in known else {}
    return small(name, **episodes | options)


def outputs_for(agent, batch=None, num_replicas=2):
    """On policy."""
    model = make_model(agent, num_replicas)
    if batch is None:
        batch = EPISODES if agent.plan.complete else SEGMENTS
    batch = dataclasses.replace(on_policy(model, batch), group_size=agent.plan.group_size)
    return model.on(batch)


def single_gradients(agent, outputs, size=1):
    """The estimate from every unit of so many rows alone, ``[S, units, P]``."""
    model, t = outputs.model, outputs.trajectories
    rows = torch.arange(t.mask.shape[1]).view(-1, size)
    parts = [t.rows(r.expand(len(t.mask), -1)) for r in rows]
    gradients = [policy_gradient(agent, model, weigh(agent, model.on(p))[0])[0] for p in parts]
    return torch.stack(gradients, dim=1)


def test_variance_of_a_mean_is_the_sample_variance_over_n():
    """For REINFORCE the jackknife is the textbook formula, and so are its relatives."""
    agent = of_eight("reinforce")
    outputs = outputs_for(agent)
    found = diagnose(agent, outputs)
    singles = single_gradients(agent, outputs)
    variance = singles.var(1, correction=1).sum(-1) / 8
    torch.testing.assert_close(found["gradient_variance"], variance)
    signal = singles.mean(1).square().sum(-1) - variance
    torch.testing.assert_close(found["gradient_signal"], signal, rtol=1e-6, atol=0)
    first, second = singles[:, :4].mean(1), singles[:, 4:].mean(1)
    cosine = torch.cosine_similarity(first, second, dim=-1)
    torch.testing.assert_close(found["split_half_cosine"], cosine)
    assert found["gradient_blocks"].tolist() == [8, 8]


def test_variance_of_groups_is_that_of_independent_groups():
    agent = of_eight("rloo")
    outputs = outputs_for(agent)
    found = diagnose(agent, outputs)
    groups = single_gradients(agent, outputs, 2)
    variance = groups.var(1, correction=1).sum(-1) / 4
    torch.testing.assert_close(found["gradient_variance"], variance)
    assert found["gradient_blocks"].tolist() == [4, 4]


@pytest.mark.parametrize("name", AGENTS)
def test_signal_is_the_estimates_squared_length_less_its_variance(name):
    agent = of_eight(name, **{"minibatches": 1} if name == "ppo" else {})
    outputs = outputs_for(agent)
    found = diagnose(agent, outputs)
    gradient, _ = policy_gradient(agent, outputs.model, weigh(agent, outputs)[0])
    want = gradient.square().sum(-1) - found["gradient_variance"]
    torch.testing.assert_close(found["gradient_signal"], want)
    variance, signal = variance_and_signal(agent, outputs)
    torch.testing.assert_close(variance, found["gradient_variance"])
    torch.testing.assert_close(signal, found["gradient_signal"])


def test_jackknife_agrees_with_independent_batches_where_units_are_tied():
    """Whitening ties a batch together; the spread over fresh batches is the truth."""
    agent = small("reinforce++", episodes=64)
    pool = outputs_for(agent, make_trajectories([[5] * 4096]), 1)
    generator = torch.Generator().manual_seed(0)
    index = torch.stack([torch.randperm(4096, generator=generator)[:64] for _ in range(400)])
    batches = pool.trajectories.map(lambda x: x[0][index])
    model = Model(POLICY, pool.model.theta.expand(400, -1))
    gradients, _ = policy_gradient(agent, model, weigh(agent, model.on(batches))[0])
    truth = gradients.var(0).sum().item()
    few = Model(POLICY, model.theta[:80]).on(batches.map(lambda x: x[:80]))
    said = diagnose(agent, few)["gradient_variance"].mean().item()
    assert said == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize(
    ("name", "options", "most"),
    [
        ("reinforce", {}, 1.06),
        ("rloo", {"group_size": 2}, 1.06),
        ("reinforce-baseline", {"baseline": "time-step-mean"}, 1.3),
        ("reinforce++", {}, 1.3),
    ],
)
def test_the_jackknife_overstates_at_most(name, options, most):
    """Sixteen trajectories of a known process, against the spread over 1500 batches of them."""
    agent = small(name, **{"episodes": 16, "gamma": GAMMA} | options)
    theta = torch.linspace(-0.5, 0.5, 8, dtype=torch.float64)
    t = make_mdp().sample(theta, 1500, 16, agent.plan.group_size, 3)
    outputs = Model(Table(4, 2), theta.expand(1500, -1)).on(t)
    gradients, _ = policy_gradient(agent, outputs.model, weigh(agent, outputs)[0])
    said, _ = variance_and_signal(agent, outputs)
    assert 0.94 < said.mean() / gradients.var(0).sum() < most


@pytest.mark.parametrize("minibatches", [1, 2])
@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_has_every_figure_and_company_changes_none(name, minibatches):
    """Among them those of its minibatches; beside other rows, longer ones, and more resets."""
    if minibatches > 1 and name not in CLIPPED:
        minibatches = 1
    agent = of_eight(name, **{"minibatches": minibatches} if name in CLIPPED else {})
    outputs = outputs_for(agent)
    found = diagnose(agent, outputs) | drift(outputs, outputs.model.theta + 0.1)
    assert set(found) == FIGURES
    assert all(v.shape == (2,) for v in found.values())
    assert found["gradient_variance"].isfinite().all()
    for s in range(2):
        own = of_replica(outputs.trajectories, s)
        model = {k: v[s : s + 1] for k, v in vars(outputs.model).items() if torch.is_tensor(v)}
        alone = dataclasses.replace(outputs.model, **model).on(own)
        figures = diagnose(agent, alone) | drift(alone, alone.model.theta + 0.1)
        for key, value in figures.items():
            torch.testing.assert_close(value[0], found[key][s], msg=f"{key}, {s}", equal_nan=True)


def test_figures_of_ppo_are_those_of_one_minibatch():
    """A quarter of the steps, each independent: four times the variance, and the same signal."""
    lengths = [[16] * 8] * 60
    variance, signal = {}, {}
    for parts in (1, 4):
        agent = small("ppo", minibatches=parts, standardize=False, lam=0.0, gamma=0.0)
        model = make_model(agent, 60)
        model = dataclasses.replace(model, theta=model.theta[:1].expand(60, -1), phi=0 * model.phi)
        t = make_trajectories(lengths)
        t = dataclasses.replace(t, terminated=torch.zeros_like(t.mask), reward=t.reward + t.action)
        found = diagnose(agent, model.on(on_policy(model, t)))
        variance[parts] = found["gradient_variance"].mean().item()
        signal[parts] = found["gradient_signal"].mean().item()
    assert variance[4] == pytest.approx(4 * variance[1], rel=0.1)
    assert signal[4] == pytest.approx(signal[1], rel=0.1)
    assert signal[1] > variance[1]


@pytest.mark.parametrize("aggregation", ["sum", "step-mean", "trajectory-mean"])
def test_a_minibatch_of_rows_is_diagnosed_by_textbook(aggregation):
    """Half of 16 rows: the variance of a mean of eight, each weighed as it is in the batch."""
    options = {"group_size": 1, "aggregation": aggregation, "episodes": 16}
    rng = np.random.default_rng(0)
    t = make_trajectories(rng.integers(1, 9, (2, 16)).tolist())
    agent, plain = (small("dr-grpo", minibatches=m, **options) for m in (2, 1))
    outputs = outputs_for(agent, t)
    whole = t.mask.sum((1, 2), keepdim=True)
    weight = {
        "sum": torch.ones(1),
        "step-mean": 16 / whole,
        "trajectory-mean": 1 / t.mask.sum(2, keepdim=True),
    }
    psi = plain.psi(t, outputs) * weight[aggregation]
    (rows,) = outputs.scores.trajectory_sums([psi])
    kept = rows[:, ::2]
    found = diagnose(agent, outputs)
    variance = kept.var(1, correction=1).sum(-1) / 8
    signal = kept.mean(1).square().sum(-1) - variance
    if aggregation != "step-mean":  # there the steps of a batch without a row are fewer, too
        torch.testing.assert_close(found["gradient_variance"], variance, rtol=1e-5, atol=0)
        torch.testing.assert_close(found["gradient_signal"], signal, rtol=1e-5, atol=0)
    total = found["gradient_signal"] + found["gradient_variance"]
    torch.testing.assert_close(total, kept.mean(1).square().sum(-1), rtol=1e-5, atol=0)


def test_no_more_blocks_than_a_minibatch_has_rows():
    for parts, blocks in ((1, 8), (2, 4), (4, 2), (8, 1)):
        agent = of_eight("reinforce++", minibatches=parts)
        found = diagnose(agent, outputs_for(agent))
        assert found["gradient_blocks"].tolist() == [blocks] * 2
        assert bool(found["gradient_variance"].isnan().all()) == (blocks < 2)


def test_one_unit_has_no_variance():
    agent = of_eight("rloo", group_size=8)
    found = diagnose(agent, outputs_for(agent))
    assert set(found) == FIGURES - {"kl_behaviour", "ratio_ess"}
    assert found["gradient_variance"].isnan().all()
    assert found["gradient_signal"].isnan().all()
    assert found["gradient_blocks"].tolist() == [1, 1]
    assert found["psi_q50"].isfinite().all()
    assert variance_and_signal(agent, outputs_for(agent))[0].isnan().all()


def test_a_users_estimator_that_needs_the_whole_batch_has_quantiles_alone():
    def needs_eight(t):
        assert t.mask.shape[1] == 8
        return t.reward

    agent = agent_class(needs_eight).with_options(episodes=8)
    found = diagnose(agent, outputs_for(agent))
    assert found["gradient_variance"].isnan().all()
    assert found["psi_q50"].isfinite().all()


def test_drift_by_hand():
    """Nowhere to go: no divergence, and all of the sample; ratios 2, ½ and ½."""
    outputs = outputs_for(of_eight("reinforce"))
    theta = outputs.model.theta
    still = drift(outputs, theta)
    torch.testing.assert_close(still["kl_behaviour"], torch.zeros(2).double())
    torch.testing.assert_close(still["ratio_ess"], torch.ones(2).double())
    t = outputs.trajectories.rows(torch.tensor([[0], [0]]))
    ratios = torch.tensor([2.0, 0.5, 0.5]).double()
    shift = torch.nn.functional.pad(ratios.log(), (0, t.mask.shape[2] - 3))
    moved = dataclasses.replace(t, log_prob=t.log_prob - shift)
    found = drift(outputs.model.on(moved), theta)
    ess = ratios.sum() ** 2 / (3 * ratios.square().sum())
    torch.testing.assert_close(found["ratio_ess"][0], ess)
    torch.testing.assert_close(found["kl_behaviour"][0], (ratios - 1 - ratios.log()).mean())


def test_quantiles_are_of_real_steps_only():
    agent = of_eight("reinforce")
    outputs = outputs_for(agent)
    t = outputs.trajectories
    psi = agent.psi(t, outputs)[0][t.mask[0]]
    found = diagnose(agent, outputs)
    assert found["psi_q50"][0].item() == pytest.approx(psi.quantile(0.5).item())
    weight = psi / 8 * len(psi)  # sum over steps, mean over eight trajectories
    assert found["weight_q95"][0].item() == pytest.approx(weight.quantile(0.95).item())


def test_worth_of_a_baseline_by_hand():
    """Ψ that is nothing, the return, or twice that: all, none, and minus three of its variance."""

    class Multiple(AGENTS["reinforce"].agent):
        def psi(self, t, outputs):
            return self.learning_rate * self.credited_return(t, outputs)

    for factor, worth in ((1e-9, 1.0), (1.0, 0.0), (2.0, -3.0)):
        found = diagnose(Multiple(learning_rate=factor), outputs_for(of_eight("reinforce")))
        want = torch.full((2,), worth).double()
        torch.testing.assert_close(found["baseline_explained_variance"], want)
    none = of_eight("reinforce++")
    assert diagnose(none, outputs_for(none))["baseline_explained_variance"].isnan().all()


@pytest.mark.parametrize("name", [n for n in AGENTS if AGENTS[n].agent.training])
def test_what_training_rescales_is_diagnosed_as_the_method_is_defined(name):
    """So that dividing Ψ by its root mean square does not make a method look precise."""
    plain = of_eight(name)
    known = options_of(type(plain))
    options = {"episodes": 8} if "episodes" in known and "sampling" not in known else {}
    options |= {"group_size": 2} if name in GROUPED else {}
    trained = type(plain).for_env("SomeOther-v0", **options)
    assert trained.psi_scale == "rms"
    outputs = outputs_for(plain)
    found = Diagnostician(trained, 20, False, 2).figures(outputs, outputs.model.theta, [0])
    want = diagnose(plain, outputs)
    there = found["gradient_variance"].isfinite()
    assert there.any()
    wanted, got = (x["gradient_variance"][there].double() for x in (want, found))
    torch.testing.assert_close(got, wanted)
    rescaled = diagnose(trained, outputs)["gradient_variance"]
    assert not torch.allclose(rescaled, want["gradient_variance"], rtol=0.05)


def diagnosed(times, iterations, replicas=2):
    """Which replicas a run of so many equal iterations diagnoses in each."""
    watch = Diagnostician(of_eight("reinforce", steps=1000), times, False, replicas)
    ends = np.linspace(0, 1000, iterations + 1).astype(int).tolist()
    return [
        [position for position in range(replicas) if watch.is_due(position, before, after)]
        for before, after in pairwise(ends)
    ]


@pytest.mark.parametrize(("iterations", "least"), [(5, 5), (20, 20), (33, 20), (200, 20)])
def test_a_diagnosis_is_due_by_share_of_the_run(iterations, least):
    found = diagnosed(20, iterations)
    assert found[0], "at the first iteration"
    assert found[-1], "and at the last"
    there = [i for i, replicas in enumerate(found) if replicas]
    assert least <= len(there) <= least + 1
    gaps = np.diff(there)
    assert gaps.max() - gaps.min() <= 1 + iterations // 20, "evenly"
    assert diagnosed(0, 3) == [[], [], []]


@pytest.mark.parametrize("name", ["reinforce", "rloo", "ppo"])
def test_replicas_that_are_diagnosed_have_four_blocks_between_them(name):
    """Two groups are too few: then it takes two replicas."""
    agent = AGENTS[name].agent.for_env("SomeOther-v0")
    units = agent.plan.num_rows // agent.plan.group_size
    assert Diagnostician(agent, 20, False, 10).at_once == max(1, 4 // units)


@pytest.mark.parametrize("iterations", [10, 20, 60])
def test_each_replica_has_its_turn(iterations):
    replicas = 4
    found = diagnosed(20, iterations, replicas)
    turns = np.bincount(np.concatenate(found).astype(int), minlength=replicas)
    assert turns.min() >= 4
    assert turns.max() - turns.min() <= 1 + turns.min() // 2


def test_a_turn_does_not_depend_on_how_far_the_others_are():
    """The same diagnoses, in whatever strides a replica comes by them."""
    watch = Diagnostician(of_eight("rloo", steps=1000), 20, False, 5)
    assert watch.at_once == 1
    for position in range(5):
        by_one = [n for n in range(1000) if watch.is_due(position, n, n + 1)]
        assert by_one == [max(50 * n - 1, 0) for n in range(21) if n % 5 == position]
        strides = [0, 3, 49, 50, 51, 260, 500, 999, 1003]
        due = [watch.is_due(position, a, b) for a, b in pairwise(strides)]
        assert due == [any(a <= n < b for n in by_one) for a, b in pairwise([*strides[:-1], 1000])]


def test_figures_of_a_replica_are_its_own():
    agent = of_eight("reinforce")
    outputs = outputs_for(agent, make_trajectories([[3, 4, 5, 6, 7, 1, 2, 3]] * 5), 5)
    theta = outputs.model.theta + 0.1
    want = diagnose(agent, outputs) | drift(outputs, theta)
    watch = Diagnostician(agent, 20, False, 5)
    found = watch.figures(outputs, theta, [1, 4])
    there = found["gradient_variance"].isfinite()
    assert there.tolist() == [False, True, False, False, True]
    assert all((v.isfinite() <= there).all() for v in found.values())
    assert watch.figures(outputs, theta, []) == {}
    for key in FIGURES:
        torch.testing.assert_close(
            found[key][there].to(want[key]), want[key][there], equal_nan=True
        )
    assert watch.columns == list(DIAGNOSED)
    assert Diagnostician(agent, 0, True, 5).columns == []


@pytest.mark.parametrize("name", AGENTS)
def test_other_estimators_on_the_same_batches(name):
    """Those that fit its plan and its critic, as they are defined, with its γ."""
    agent = of_eight(name, gamma=0.9)
    others = comparable(agent)
    outputs = outputs_for(agent)
    assert others
    watch = Diagnostician(agent, 20, True, 2)
    found = watch.figures(outputs, outputs.model.theta, [0, 1])
    wanted = {c(label) for label in others for c in (variance_column, signal_column)}
    assert set(watch.columns) == set(found) == FIGURES | wanted
    for label, other in others.items():
        assert other.gamma == 0.9
        assert other.plan.complete == agent.plan.complete
        want, _ = variance_and_signal(other, outputs)
        got = found[variance_column(label)]
        there = got.isfinite()
        assert there.any()
        torch.testing.assert_close(got[there].double(), want[there].double())


def test_who_can_be_compared_with_whom():
    rloo, reinforce = comparable(of_eight("rloo")), comparable(of_eight("reinforce"))
    assert {"rloo", "rloo reward-to-go", "grpo", "reinforce whole-return"} <= set(rloo)
    assert not {"rloo", "grpo", "reinforce-baseline value", "ppo"} & set(reinforce)
    learned = comparable(of_eight("reinforce-baseline", baseline="value"))
    assert "reinforce-baseline value" in learned
    segments = comparable(of_eight("all-actions"))
    assert {"all-actions", "actor-critic", "actor-critic 0.0", "ppo"} <= set(segments)
    assert "all-actions" not in comparable(of_eight("ppo")), "it needs a q̂ for every action"
