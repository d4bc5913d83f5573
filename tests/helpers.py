"""Small batches and runs that several test files use."""

import dataclasses

import torch

from pgzoo.agents import agent_class
from pgzoo.records.run_folder import RunConfig
from pgzoo.sampling.collect import Trajectories


def make_trajectories(lengths, num_actions=2, obs_dim=3, seed=0, dtype=torch.float64):
    """Random complete episodes; lengths is nested [S][N]. Padding holds garbage on purpose."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    s, n = lengths.shape
    t = int(lengths.max())
    mask = torch.arange(t) < lengths[..., None]
    last = torch.arange(t) == lengths[..., None] - 1

    def noise(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    obs = noise(s, n, t + 1, obs_dim)
    return Trajectories(
        obs=obs[:, :, :-1],
        next_obs=obs[:, :, 1:],
        action=torch.randint(num_actions, (s, n, t), generator=g),
        reward=noise(s, n, t),
        terminated=last,
        truncated=torch.zeros_like(last),
        mask=mask,
        log_prob=-noise(s, n, t).abs(),
    )


def make_config(agent="reinforce-baseline", env="CartPole-v1", seeds=(0, 1), **options):
    run = {
        "policy": options.pop("policy", "mlp"),
        "stop_when_solved": options.pop("stop_when_solved", False),
        "max_episode_steps": options.pop("max_episode_steps", None),
    }
    small = {"steps": 2_000, "hidden": (8,), "episodes": 4} | options
    small = {k: v for k, v in small.items() if v is not None}
    chosen = dataclasses.asdict(agent_class(agent).for_env(env, run["policy"], **small))
    return RunConfig(agent, env, seeds=tuple(seeds), device="cpu", hyperparameters=chosen, **run)
