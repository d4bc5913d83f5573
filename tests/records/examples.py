"""A run, small and made by hand, that the tests of its folder use."""

import dataclasses

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
TENSORS = {
    "policy.values": torch.arange(6.0).view(2, 3),
    "policy.count": torch.tensor([1, 1]),
    "critic.values": torch.ones(2, 4),
    "other": torch.tensor([1.0, torch.nan, 2.0]),
}
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
        "recent": [20.0, 30.0],
        "looked": None,
        "steps_to_threshold": None,
        "failed": None,
        "finished": False,
    } | changes


def state(**changes):
    return {"iteration": 3, "replicas": [replica(3), replica(5)], "metrics_size": 10} | changes
