import pytest
import torch

from pgzoo.agents.reinforce import Reinforce
from pgzoo.agents.reinforce_baseline import ReinforceBaseline
from pgzoo.errors import UsageError
from pgzoo.estimators import episode_return, returns_to_go
from pgzoo.learning.gradients import policy_gradient
from pgzoo.policies.model import Model, of_actions
from pgzoo.policies.networks import MLP
from pgzoo.sampling.batch import Batch
from tests.helpers import make_trajectories

POLICY, CRITIC = MLP((3, 5, 2)), MLP((3, 4, 1))
BATCH = make_trajectories([[3, 1, 5], [2, 2, 4]])


def make_model():
    g = torch.Generator().manual_seed(1)
    theta = torch.randn(2, POLICY.num_params, generator=g, dtype=torch.float64)
    phi = torch.randn(2, CRITIC.num_params, generator=g, dtype=torch.float64)
    return Model(POLICY, theta, CRITIC, phi)


def gradients_of(model, weight):
    return model.scores(BATCH).trajectory_sums(weight.unsqueeze(1))[:, 0]


def gradient_by_loop(model, weight):
    """Σ_{i,t} w ∇log π for each replica, one step at a time."""
    rows = []
    for s in range(2):
        theta = model.theta[s : s + 1].clone().requires_grad_()
        for n, t in BATCH.mask[s].nonzero().tolist():
            log_probs = POLICY.apply(theta, BATCH.obs[s, n, t].view(1, 1, -1)).log_softmax(-1)
            step = of_actions(log_probs, BATCH.action[s, n, t].view(1, 1))
            (weight[s, n, t] * step.sum()).backward()
        rows.append(theta.grad[0])
    return torch.stack(rows)


@pytest.mark.parametrize("whole_return", [False, True])
def test_psi_is_the_return(whole_return):
    agent = Reinforce(gamma=0.9, whole_return=whole_return)
    got = agent.psi(BATCH, make_model())
    if whole_return:
        want = episode_return(BATCH.reward, BATCH.mask, 0.9)[..., None] * BATCH.mask
    else:
        want = returns_to_go(BATCH.reward, BATCH.mask, 0.9)
    torch.testing.assert_close(got, want)


def test_gradient_is_the_weighted_sum_of_scores():
    model = make_model()
    agent = Reinforce(gamma=0.9, gamma_t=True, aggregation="sum")
    psi = agent.psi(BATCH, model)
    got, _ = policy_gradient(agent, model, Batch(BATCH, psi))
    weight = psi / 3 * 0.9 ** torch.arange(5)
    torch.testing.assert_close(got, gradient_by_loop(model, weight))


def test_gamma_t_with_the_whole_return_is_refused():
    with pytest.raises(UsageError, match="discount it twice"):
        Reinforce(whole_return=True, gamma_t=True)


@pytest.mark.parametrize("baseline", ["batch-mean", "time-step-mean", "value", "optimal"])
def test_psi_is_the_return_minus_the_baseline(baseline):
    model = make_model()
    agent = ReinforceBaseline(gamma=0.9, baseline=baseline)
    returns = returns_to_go(BATCH.reward, BATCH.mask, 0.9)
    b = (returns - agent.psi(BATCH, model)) * BATCH.mask
    if baseline == "value":
        want = CRITIC.apply(model.phi, BATCH.obs)[..., 0] * BATCH.mask
    elif baseline == "batch-mean":
        n = BATCH.mask.sum((1, 2), keepdim=True)
        want = returns.sum((1, 2), keepdim=True) / n * BATCH.mask
    elif baseline == "time-step-mean":
        n = BATCH.mask.sum(1, keepdim=True).clamp(min=1)
        want = returns.sum(1, keepdim=True) / n * BATCH.mask
    else:
        weight = agent.step_weights(BATCH)
        a, c = (gradients_of(model, w) for w in (weight * returns, weight))
        want = (a * c).sum((1, 2), keepdim=True) / c.square().sum((1, 2), keepdim=True)
        want = want * BATCH.mask
    torch.testing.assert_close(b, want)


def test_optimal_baseline_with_the_whole_return_is_greensmiths_formula():
    model = make_model()
    agent = ReinforceBaseline(gamma=0.9, baseline="optimal", whole_return=True, aggregation="sum")
    total = episode_return(BATCH.reward, BATCH.mask, 0.9)
    score = gradients_of(model, BATCH.mask.double()).square().sum(-1)
    b = (total * score).sum(1) / score.sum(1)
    want = (total[..., None] - b[:, None, None]) * BATCH.mask
    torch.testing.assert_close(agent.psi(BATCH, model), want)


def test_only_the_learned_baseline_needs_a_critic():
    assert ReinforceBaseline(baseline="value").critic == "state"
    assert ReinforceBaseline(baseline="optimal").critic == "none"
    assert Reinforce().critic == "none"
