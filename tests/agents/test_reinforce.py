"""REINFORCE and its baselines, against sums over steps."""

import pytest
import torch

from pgzoo.agents.reinforce import Reinforce
from pgzoo.agents.reinforce_baseline import ReinforceBaseline
from pgzoo.errors import UsageError
from pgzoo.estimators import episode_return, returns_to_go
from pgzoo.learning.gradients import policy_gradient, weigh
from pgzoo.sampling.batch import of_actions
from tests.helpers import CRITICS, POLICY, make_model, make_trajectories

BATCH = make_trajectories([[3, 1, 5], [2, 2, 4]])
MASK = BATCH.mask
MODEL = make_model(ReinforceBaseline(baseline="value"))
OUTPUTS = MODEL.on(BATCH)


def gradient_by_loop(weight):
    """Σ_{i,t} w ∇log π for each replica, one step at a time."""
    rows = []
    for s in range(2):
        theta = MODEL.theta[s : s + 1].clone().requires_grad_()
        for n, t in MASK[s].nonzero().tolist():
            log_probs = POLICY.apply(theta, BATCH.obs[s, n, t].view(1, 1, -1)).log_softmax(-1)
            step = of_actions(log_probs, BATCH.action[s, n, t].view(1, 1))
            (weight[s, n, t] * step.sum()).backward()
        rows.append(theta.grad[0])
    return torch.stack(rows)


@pytest.mark.parametrize("whole_return", [False, True])
def test_psi_is_the_return(whole_return):
    agent = Reinforce(gamma=0.9, whole_return=whole_return)
    got = agent.psi(BATCH, OUTPUTS)
    if whole_return:
        want = episode_return(BATCH.reward, MASK, 0.9)[..., None] * MASK
    else:
        want = returns_to_go(BATCH.reward, MASK, 0.9)
    torch.testing.assert_close(got, want)


def test_gradient_is_the_weighted_sum_of_scores():
    agent = Reinforce(gamma=0.9, gamma_t=True)
    batch, rms = weigh(agent, OUTPUTS)
    got, _ = policy_gradient(agent, MODEL, batch)
    psi = agent.psi(BATCH, OUTPUTS)
    want = gradient_by_loop(psi / 3 * 0.9 ** torch.arange(5))
    torch.testing.assert_close(got, want)
    mean_square = torch.stack([psi[s][MASK[s]].square().mean() for s in range(2)])
    torch.testing.assert_close(rms, (mean_square + 1e-8).sqrt())


def test_a_gradient_scaled_by_the_root_mean_square_has_the_same_direction():
    plain, scaled = Reinforce(), Reinforce(psi_scale="rms")
    batch, rms = weigh(plain, OUTPUTS)
    want = policy_gradient(plain, MODEL, batch)[0] / rms[:, None]
    batch, same = weigh(scaled, OUTPUTS)
    torch.testing.assert_close(policy_gradient(scaled, MODEL, batch)[0], want)
    torch.testing.assert_close(same, rms)


def test_gamma_t_with_the_whole_return_is_refused():
    with pytest.raises(UsageError, match="discount it twice"):
        Reinforce(whole_return=True, gamma_t=True)


@pytest.mark.parametrize("baseline", ["batch-mean", "time-step-mean", "value", "optimal"])
@pytest.mark.parametrize("gamma_t", [False, True])
def test_psi_is_the_return_minus_the_baseline(baseline, gamma_t):
    agent = ReinforceBaseline(gamma=0.9, baseline=baseline, gamma_t=gamma_t)
    returns = returns_to_go(BATCH.reward, MASK, 0.9)
    b = (returns - agent.psi(BATCH, OUTPUTS)) * MASK
    if baseline == "value":
        want = CRITICS["state"].apply(MODEL.phi, BATCH.obs)[..., 0]
    elif baseline == "batch-mean":
        want = returns.sum((1, 2), keepdim=True) / MASK.sum((1, 2), keepdim=True)
    elif baseline == "time-step-mean":
        want = returns.sum(1, keepdim=True) / MASK.sum(1, keepdim=True).clamp(min=1)
    else:
        weight = MASK * (0.9 ** torch.arange(5) if gamma_t else 1.0)
        a, c = OUTPUTS.scores.trajectory_sums([weight * returns, weight])
        want = (a * c).sum((1, 2), keepdim=True) / c.square().sum((1, 2), keepdim=True)
    torch.testing.assert_close(b, want * MASK)


def test_optimal_baseline_with_the_whole_return_is_greensmiths_formula():
    agent = ReinforceBaseline(gamma=0.9, baseline="optimal", whole_return=True)
    total = episode_return(BATCH.reward, MASK, 0.9)
    (score,) = OUTPUTS.scores.trajectory_sums([MASK.double()])
    size = score.square().sum(-1)
    b = (total * size).sum(1) / size.sum(1)
    want = (total[..., None] - b[:, None, None]) * MASK
    torch.testing.assert_close(agent.psi(BATCH, OUTPUTS), want)


def test_only_the_learned_baseline_needs_a_critic():
    assert ReinforceBaseline(baseline="value").critic.of == "state"
    assert ReinforceBaseline(baseline="optimal").critic is None
    assert Reinforce().critic is None
