import dataclasses

import numpy as np
import pytest
import torch

from pgzoo.agents import AGENTS, agent_class
from pgzoo.learning.diagnostics import (
    COMPARED,
    FIGURES,
    comparable,
    compare_estimators,
    diagnose,
    drift,
    unit_of_independence,
)
from pgzoo.learning.gradients import policy_gradient, weigh
from pgzoo.policies.model import Model, of_actions
from tests.helpers import make_trajectories
from tests.learning.test_gradients import make_models

LENGTHS = [[3, 7, 1, 5, 2, 6, 4, 4], [6, 2, 4, 4, 8, 1, 3, 5]]
PLAIN = {"aggregation": "sum", "psi_scale": "none", "episodes": 8}


def on_policy(model, group_size=1):
    t = dataclasses.replace(make_trajectories(LENGTHS), group_size=group_size)
    log_probs = model.log_probs(t)
    return dataclasses.replace(t, log_prob=of_actions(log_probs, t.action))


def single_gradients(agent, model, trajectories):
    """The estimate from every trajectory alone, ``[S, N, P]``."""
    rows = []
    for n in range(trajectories.mask.shape[1]):
        one = trajectories.rows(torch.full((2, 1), n))
        rows.append(policy_gradient(agent, model, weigh(agent, model, one)[0])[0])
    return torch.stack(rows, dim=1)


def test_variance_of_a_mean_is_the_sample_variance_over_n():
    """For REINFORCE the jackknife is the textbook formula, and so are its relatives."""
    model = make_models()["none"]
    agent = agent_class("reinforce")(**PLAIN)
    trajectories = on_policy(model)
    found = diagnose(agent, model, trajectories)
    singles = single_gradients(agent, model, trajectories)
    n = singles.shape[1]
    variance = singles.var(1, correction=1).sum(-1) / n
    torch.testing.assert_close(found["gradient_variance"], variance)
    signal = singles.mean(1).square().sum(-1) - variance
    torch.testing.assert_close(found["snr"], signal / variance)
    first, second = singles[:, : n // 2].mean(1), singles[:, n // 2 :].mean(1)
    cosine = torch.cosine_similarity(first, second, dim=-1)
    torch.testing.assert_close(found["split_half_cosine"], cosine)


def test_variance_of_groups_is_that_of_independent_groups():
    model = make_models()["none"]
    agent = agent_class("rloo")(**PLAIN, group_size=2)
    trajectories = on_policy(model, group_size=2)
    found = diagnose(agent, model, trajectories)
    groups = []
    for n in range(0, 8, 2):
        pair = trajectories.rows(torch.tensor([[n, n + 1]] * 2))
        groups.append(policy_gradient(agent, model, weigh(agent, model, pair)[0])[0])
    variance = torch.stack(groups, dim=1).var(1, correction=1).sum(-1) / 4
    torch.testing.assert_close(found["gradient_variance"], variance)


def test_jackknife_agrees_with_independent_batches_where_units_are_tied():
    """Whitening ties a batch together; the spread over fresh batches is the truth."""
    generator = torch.Generator().manual_seed(0)
    model = make_models()["none"]
    one = Model(model.policy, model.theta[:1])
    agent = agent_class("reinforce++")(episodes=64)
    pool = dataclasses.replace(make_trajectories([[5] * 4096]))
    log_probs = one.log_probs(pool)
    pool = dataclasses.replace(pool, log_prob=of_actions(log_probs, pool.action))
    draws = [torch.randperm(4096, generator=generator)[:64].unsqueeze(0) for _ in range(300)]
    batches = [pool.rows(index) for index in draws]
    gradients = [policy_gradient(agent, one, weigh(agent, one, b)[0])[0][0] for b in batches]
    truth = torch.stack(gradients).var(0).sum().item()
    said = np.mean([diagnose(agent, one, b)["gradient_variance"].item() for b in batches[:60]])
    assert said == pytest.approx(truth, rel=0.15)


def test_noise_scale_does_not_depend_on_the_batch_size():
    """It belongs to one trajectory: rewards of mean 2·a, in batches of 64 and of 512."""
    model = make_models()["none"]
    one = Model(model.policy, model.theta[:1])
    t = make_trajectories([[3] * 4096])
    t = dataclasses.replace(t, reward=t.reward + 2 * t.action)
    log_probs = one.log_probs(t)
    t = dataclasses.replace(t, log_prob=of_actions(log_probs, t.action))

    def mean_scale(size):
        agent = agent_class("reinforce")(**PLAIN | {"episodes": size})
        pieces = torch.arange(4096).view(-1, 1, size)
        return np.mean([diagnose(agent, one, t.rows(p))["noise_scale"].item() for p in pieces])

    assert mean_scale(256) == pytest.approx(mean_scale(1024), rel=0.5)


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_has_every_figure(name):
    agent = agent_class(name)()
    changed = {k: v for k, v in {"group_size": 2, "episodes": 8}.items() if hasattr(agent, k)}
    agent = dataclasses.replace(agent, **changed)
    model = make_models()[agent.critic]
    trajectories = on_policy(model, agent.rollouts_per_start)
    found = diagnose(agent, model, trajectories) | drift(model, model.theta, trajectories)
    assert set(found) == set(FIGURES)
    assert all(v.shape == (2,) for v in found.values())
    assert found["gradient_variance"].isfinite().all()
    compared = compare_estimators(agent, model, trajectories)
    assert set(compared) == {COMPARED + label for label in comparable(agent)}


def test_one_unit_has_no_variance():
    agent = agent_class("rloo")(**PLAIN, group_size=8)
    model = make_models()["none"]
    found = diagnose(agent, model, on_policy(model, 8))
    assert found["gradient_variance"].isnan().all()
    assert found["psi_q50"].isfinite().all()


def test_units_are_named():
    names = ("reinforce", "rloo", "ppo")
    assert [unit_of_independence(agent_class(n)()) for n in names] == [
        "trajectory",
        "group",
        "segment",
    ]


def test_drift_by_hand():
    """Nowhere to go: no divergence, and all of the sample; ratios 2 and ½ leave 0.735."""
    model = make_models()["none"]
    trajectories = on_policy(model)
    still = drift(model, model.theta, trajectories)
    torch.testing.assert_close(still["kl_behaviour"], torch.zeros(2).double())
    torch.testing.assert_close(still["ratio_ess"], torch.ones(2).double())
    t = trajectories.rows(torch.tensor([[0], [0]]))
    shift = torch.tensor([2.0, 0.5, 0.5]).log().double()
    moved = dataclasses.replace(t, log_prob=t.log_prob - torch.nn.functional.pad(shift, (0, 5)))
    found = drift(model, model.theta, moved)
    ratios = torch.tensor([2.0, 0.5, 0.5])
    assert found["ratio_ess"][0].item() == pytest.approx(
        (ratios.sum() ** 2 / (3 * ratios.square().sum())).item()
    )
    k3 = (ratios - 1 - ratios.log()).mean()
    assert found["kl_behaviour"][0].item() == pytest.approx(k3.item())


def test_quantiles_are_of_real_steps_only():
    model = make_models()["none"]
    agent = agent_class("reinforce")(**PLAIN)
    t = on_policy(model)
    psi = agent.psi(t, model)
    found = diagnose(agent, model, t)
    assert found["psi_q50"][0].item() == pytest.approx(psi[0][t.mask[0]].quantile(0.5).item())
    steps = t.mask[0].sum()
    weight = psi[0][t.mask[0]] / 8 * steps  # sum over steps, mean over eight trajectories
    assert found["weight_q95"][0].item() == pytest.approx(weight.quantile(0.95).item())
