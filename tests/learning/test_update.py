import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.agents.reinforce_baseline import ReinforceBaseline
from pgzoo.learning.update import Parameters, learn
from pgzoo.policies.model import Model
from pgzoo.policies.networks import MLP
from tests.helpers import make_trajectories

POLICY, CRITIC = MLP((3, 5, 2)), MLP((3, 16, 1))


def start(num_replicas, dtype=torch.float32):
    g = torch.Generator().manual_seed(1)
    theta = torch.randn(num_replicas, POLICY.num_params, generator=g, dtype=dtype)
    phi = torch.randn(num_replicas, CRITIC.num_params, generator=g, dtype=dtype)
    return Parameters.start(theta), Parameters.start(phi)


def one_step(agent, batch, policy, critic, seeds, progress=0.0):
    model = Model(POLICY, policy.values, CRITIC, critic.values)
    share = torch.full((len(seeds),), progress)
    return learn(
        agent, model, policy, critic, batch, share, [np.random.default_rng(s) for s in seeds]
    )


def take(batch, s):
    fields = {k: v[s : s + 1] for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    return type(batch)(**fields)


@pytest.mark.parametrize("baseline", ["batch-mean", "time-step-mean", "value", "optimal"])
def test_replicas_learn_as_if_alone(baseline):
    agent = ReinforceBaseline(baseline=baseline, entropy_coef=0.1, critic_minibatches=2)
    batch = make_trajectories([[3, 1, 5], [7, 2, 4]], dtype=torch.float32)
    policy, critic = start(2)
    together, critic_together, metrics = one_step(agent, batch, policy, critic, [0, 1])
    for s in range(2):
        index = torch.tensor([s])
        alone, critic_alone, own = one_step(
            agent, take(batch, s), policy.rows(index), critic.rows(index), [s]
        )
        torch.testing.assert_close(together.values[s], alone.values[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            critic_together.values[s], critic_alone.values[0], rtol=1e-4, atol=1e-5
        )
        for name, value in own.items():
            torch.testing.assert_close(metrics[name][s], value[0], rtol=1e-4, atol=1e-5)


@given(st.integers(0, 100), st.sampled_from(["batch-mean", "time-step-mean", "value", "optimal"]))
def test_what_the_padding_holds_changes_nothing(seed, baseline):
    agent = ReinforceBaseline(baseline=baseline, critic_epochs=1, critic_minibatches=2)
    rng = np.random.default_rng(seed)
    batch = make_trajectories(rng.integers(1, 6, (2, 3)).tolist(), seed=seed)
    policy, critic = start(2, torch.float64)

    def spoil(x):
        mask = batch.mask.view(*batch.mask.shape, *[1] * (x.ndim - 3))
        return torch.where(mask, x, torch.nan)

    spoiled = type(batch)(
        **vars(batch)
        | {k: spoil(getattr(batch, k)) for k in ("obs", "next_obs", "reward", "log_prob")}
    )
    clean = one_step(agent, batch, policy, critic, [0, 1])
    dirty = one_step(agent, spoiled, policy, critic, [0, 1])
    for a, b in zip(clean[:2], dirty[:2], strict=True):
        torch.testing.assert_close(a.values, b.values)
    for name in clean[2]:
        torch.testing.assert_close(clean[2][name], dirty[2][name])


def test_linear_schedule_scales_the_step():
    batch = make_trajectories([[3, 4]], dtype=torch.float32)
    policy, critic = start(1)
    rates = [
        one_step(ReinforceBaseline(lr_schedule=s), batch, policy, critic, [0], p)[2][
            "learning_rate"
        ].item()
        for s, p in (("constant", 0.75), ("linear", 0.0), ("linear", 0.75))
    ]
    assert rates == pytest.approx([5e-3, 5e-3, 1.25e-3])


def test_the_critic_learns_its_targets():
    agent = ReinforceBaseline(baseline="value", gamma=1.0, critic_epochs=300, critic_minibatches=1)
    batch = make_trajectories([[4, 4, 4]], dtype=torch.float32)
    policy, critic = start(1)
    _, critic, first = one_step(agent, batch, policy, critic, [0])
    _, _, second = one_step(agent, batch, policy, critic, [0])
    assert first["explained_variance"] < 0.5
    assert second["critic_loss"] < 0.05
    assert second["explained_variance"] > 0.9
