import dataclasses
from itertools import product

import torch

from pgzoo.policies.networks import Table
from pgzoo.policies.score_functions import ScoreFunctions, _span
from pgzoo.sampling.batch import of_actions
from tests.helpers import POLICY, make_trajectories, random_parameters

THETA = random_parameters(POLICY)


def test_sums_of_trajectories_equal_one_backward_pass_each():
    batch = make_trajectories([[3, 1], [2, 4]])
    weights = [torch.randn(2, 2, 4, dtype=torch.float64) * batch.mask for _ in range(3)]
    got = ScoreFunctions(POLICY, THETA, batch).trajectory_sums(weights)
    assert len(got) == 3
    for s, e, n in product(range(2), range(3), range(2)):
        leaf = THETA[s : s + 1].clone().requires_grad_()
        log_probs = POLICY.apply(leaf, batch.obs[s : s + 1, n]).log_softmax(-1)
        log_prob = of_actions(log_probs, batch.action[s : s + 1, n])
        (log_prob * weights[e][s, n]).sum().backward()
        torch.testing.assert_close(got[e][s, n], leaf.grad[0])


def test_sums_of_trajectories_add_up_to_those_of_the_batch():
    batch = make_trajectories([[3, 1], [2, 4]])
    weights = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    scores = ScoreFunctions(POLICY, THETA, batch)
    parts = scores.trajectory_sums(list(weights.unbind(1)))
    want = torch.stack([p.sum(1) for p in parts], dim=1)
    torch.testing.assert_close(scores.weighted_sums(weights), want)


def test_sums_over_actions_weigh_every_action():
    """Of weights on one action alone they are the sums over the actions taken."""
    batch = make_trajectories([[3, 1], [2, 4]])
    scores = ScoreFunctions(POLICY, THETA, batch)
    weight = torch.randn(2, 2, 4, dtype=torch.float64) * batch.mask
    taken = torch.nn.functional.one_hot(batch.action, 2) * weight.unsqueeze(-1)
    want = scores.weighted_sums(weight.unsqueeze(1))[:, 0]
    torch.testing.assert_close(scores.weighted_sums_over_actions(taken), want)
    both = torch.randn(2, 2, 4, 2, dtype=torch.float64)
    leaf = THETA.clone().requires_grad_()
    log_probs = POLICY.apply(leaf, batch.obs).log_softmax(-1)
    (log_probs * both * batch.mask.unsqueeze(-1)).sum().backward()
    torch.testing.assert_close(scores.weighted_sums_over_actions(both), leaf.grad)


def test_scores_of_a_table_are_indicator_minus_probability():
    policy = Table(2, 2)
    theta = torch.tensor([[0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    t = make_trajectories([[2]])
    t = dataclasses.replace(
        t, obs=torch.tensor([[[0, 1]]]), action=torch.tensor([[[1, 0]]]), mask=t.mask
    )
    scores = ScoreFunctions(policy, theta, t)
    weights = torch.tensor([[[[2.0, 0.0]], [[0.0, 3.0]]]], dtype=torch.float64)
    p = 1 / (1 + torch.e**-1)
    torch.testing.assert_close(
        scores.weighted_sums(weights)[0],
        torch.tensor([[-1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 3 * (1 - p), -3 * (1 - p)]]).double(),
    )


def test_padding_never_reaches_a_weighted_sum():
    t = make_trajectories([[3, 7, 1, 5], [6, 2, 4, 4]])
    garbage = dataclasses.replace(
        t, obs=torch.where(t.mask.unsqueeze(-1), t.obs, float("nan")), action=t.action * t.mask
    )
    weights = torch.randn(2, 3, *t.mask.shape[1:], dtype=torch.float64)
    a = ScoreFunctions(POLICY, THETA, t).weighted_sums(weights)
    b = ScoreFunctions(POLICY, THETA, garbage).weighted_sums(weights)
    assert torch.equal(a, b)


def test_weightings_that_depend_on_others_cost_and_change_nothing():
    t = make_trajectories([[3, 7], [2, 4]])
    scores = ScoreFunctions(POLICY, THETA, t)
    a, b = torch.randn(2, 2, *t.mask.shape[1:], dtype=torch.float64).unbind(1)
    nothing = torch.zeros_like(a)
    weights = torch.stack([nothing, a, 3 * a, 1e6 * b, a - 2 * b, b + 1e-3 * a.square()], dim=1)
    together = scores.weighted_sums(weights)
    alone = torch.cat([scores.weighted_sums(w) for w in weights.split(1, dim=1)], dim=1)
    torch.testing.assert_close(together, alone)
    assert len(_span(weights[0].flatten(1))[0]) == 3


def test_no_weight_at_all_and_weights_that_are_not_finite():
    t = make_trajectories([[3, 2]])
    scores = ScoreFunctions(POLICY, THETA[:1], t)
    weights = torch.zeros(1, 2, *t.mask.shape[1:], dtype=torch.float64)
    assert not scores.weighted_sums(weights).any()
    assert scores.weighted_sums(weights + torch.nan).isnan().all()
