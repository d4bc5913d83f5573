"""A finite MDP with a known gradient, to measure the bias of estimators against."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import stats

from pgzoo.learning.gradients import policy_gradient, weigh
from pgzoo.policies.model import Model
from pgzoo.policies.networks import Table
from pgzoo.sampling.trajectories import Trajectories

HORIZON, GAMMA = 5, 0.8


@dataclass(frozen=True, eq=False)
class FiniteMDP:
    """Random transitions over states, the last of which is terminal; a time limit at HORIZON."""

    transition: np.ndarray  # [S, A, S']
    reward: np.ndarray  # [S, A, S']
    start: np.ndarray  # [S]

    @property
    def shape(self):
        return self.transition.shape[:2]

    def exact_gradient(self, theta):
        """∇J(θ) by backward recursion through the horizon, differentiated by autograd."""
        theta = theta.clone().requires_grad_()
        pi = theta.view(self.shape).softmax(-1)
        p, r = torch.from_numpy(self.transition), torch.from_numpy(self.reward)
        alive = torch.ones(self.shape[0], dtype=torch.float64)
        alive[-1] = 0
        value = torch.zeros(self.shape[0], dtype=torch.float64)
        for _ in range(HORIZON):
            q = (p * (r + GAMMA * value)).sum(-1)
            value = alive * (pi * q).sum(-1)
        (torch.from_numpy(self.start) * value).sum().backward()
        return theta.grad

    @lru_cache(maxsize=2)  # noqa: B019  (many estimators are tried on the same batches)
    def sample(self, theta, estimates, rows, group_size, seed):
        """Independent batches, one for each estimate: trajectories [estimates, rows, HORIZON]."""
        rng = np.random.default_rng(seed)
        pi = theta.view(self.shape).softmax(-1).numpy()
        starts = rng.choice(len(self.start), (estimates, rows // group_size), p=self.start)
        state = np.repeat(starts, group_size, axis=1)
        alive = np.ones(state.shape, bool)
        columns = []
        for t in range(HORIZON):
            action = _draw(pi[state], rng)
            following = _draw(self.transition[state, action], rng)
            reward = self.reward[state, action, following]
            terminated = following == self.shape[0] - 1
            truncated = np.full(state.shape, t == HORIZON - 1)
            log_prob = np.log(pi[state, action])
            columns.append(
                (state, following, action, reward, terminated, truncated, alive, log_prob)
            )
            alive, state = alive & ~terminated, following
        stacked = (torch.from_numpy(np.stack(c, axis=-1)) for c in zip(*columns, strict=True))
        return Trajectories(*stacked, group_size=group_size)


def _draw(probabilities, rng):
    u = rng.random(probabilities.shape[:-1])[..., None]
    return (u >= probabilities.cumsum(-1)[..., :-1]).sum(-1)


def make_mdp(seed=0, states=4, actions=2):
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.full(states, 0.7), (states, actions))
    transition[-1] = np.eye(states)[-1]
    start = np.append(rng.dirichlet(np.ones(states - 1)), 0.0)
    return FiniteMDP(transition, rng.normal(1.0, 2.0, (states, actions, states)), start)


def estimates_of(agent, mdp, theta, count, seed=0, critic=None):
    """Independent gradient estimates [count, P] of an agent at its own batch size."""
    plan = agent.plan
    trajectories = mdp.sample(theta, count, plan.num_rows, plan.group_size, seed)
    states, actions = mdp.shape
    model = Model(
        Table(states, actions),
        theta.expand(count, -1),
        None if critic is None else Table(states, critic.shape[-1] // states),
        None if critic is None else critic.expand(count, -1),
    )
    batch, _ = weigh(agent, model.on(trajectories))
    return policy_gradient(agent, model, batch)[0]


def unbiasedness_p_value(estimates, exact):
    """Hotelling's test of mean = exact, in the space the estimates span."""
    x = (estimates - exact).numpy()
    m = len(x)
    covariance = np.cov(x.T)
    values, vectors = np.linalg.eigh(covariance)
    keep = values > 1e-10 * values.max()
    scores = x.mean(0) @ vectors[:, keep]
    t2 = m * (scores**2 / values[keep]).sum()
    p = keep.sum()
    return stats.f.sf(t2 * (m - p) / (p * (m - 1)), p, m - p)
