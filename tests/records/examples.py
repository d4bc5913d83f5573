"""A run, small and made by hand, that the tests of its folder use."""

import dataclasses
import hashlib

import torch

from pgzoo.records.config import RunConfig

HYPERPARAMETERS = {
    "steps": 1000,
    "learning_rate": 0.01,
    "hidden": (8, 8),
    "reference": None,
    "reward_to_go": True,
    "baseline": "batch-mean",
}
CONFIG = RunConfig(
    agent="rloo",
    env="CartPole-v1",
    policy_kind="mlp",
    seeds=(3, 5),
    device="cpu",
    max_episode_steps=None,
    stop_when_solved=False,
    hyperparameters=HYPERPARAMETERS,
    estimator_sha256="0123456789abcdef" * 4,
)
METRICS = "iteration,seed,env_steps,episodes,return_mean,return_last_100,length_mean\r\n" + "".join(
    f"{i},{seed},{steps},{episodes},{mean},25.0,25.0\r\n"
    for i, steps, episodes, mean in ((0, 200, 8, "20.0"), (1, 350, 14, ""), (2, 500, 20, "-1.5"))
    for seed in (3, 5)
)
"""What ``metrics.csv`` held when the state was saved."""


def parameters(values, count=1.0):
    """A matrix of parameters after some updates, as a checkpoint holds it."""
    moments = {"mean": -values, "square": values.square()}
    return {"values": values, **moments, "count": torch.full((len(values), 1), count)}


def named(part, tensors):
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


TENSORS = named("policy", parameters(torch.arange(6.0).view(2, 3))) | {
    **named("critic", parameters(torch.ones(2, 4))),
    "pending.60": torch.zeros(2, 3),
}
UNDER_WAY = {
    "episode": torch.tensor([[3, 0], [2, 1]]),
    "length": torch.tensor([[2, 0], [1, 0]]),
    "returns": torch.tensor([[2.0, 0.0], [1.0, 0.0]], dtype=torch.float64),
    "ended": torch.tensor([[True, False], [False, False]]),
    "actions": torch.tensor([1, 0, 1], dtype=torch.uint8),
}
"""Episodes of two rows of each seed, as a checkpoint holds them."""
SUMMARY = {
    "agent": "rloo",
    "env": "CartPole-v1",
    "policy_kind": "mlp",
    "seeds": [3, 5],
    "iterations": 7,
    "env_steps_per_seed": [1000, 1010],
    "wall_seconds": 2.5,
    "steps_per_second": 804.0,
    "threshold": 475.0,
    "eval_episodes": 100,
    "eval_mean": [480.5, None],
    "eval_std": [10.0, None],
    "eval_standard_error": [1.0, None],
    "solved": [True, False],
    "solved_interval": [0.01, 0.99],
    "steps_to_threshold": [900, None],
    "failed": [None, "numbers became non-finite in iteration 3"],
}


def config(**changes):
    return dataclasses.replace(CONFIG, **changes)


def replica(seed, **changes):
    return {
        "seed": seed,
        "env_steps": 500,
        "episodes": 20,
        "recent": [25.0] * 20,
        "looked": None,
        "steps_to_threshold": None,
        "failed": None,
        "finished": False,
    } | changes


def state(**changes):
    content = METRICS.encode()
    return {
        "iteration": 3,
        "replicas": [replica(3), replica(5)],
        "metrics_size": len(content),
        "metrics_digest": hashlib.sha256(content).hexdigest(),
    } | changes
