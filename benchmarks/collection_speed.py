"""How fast trajectories are collected, beside stable-baselines3 doing the same in the same run.

Every measurement alternates with its peer and is repeated; the table shows the median environment
steps per second and, where a peer exists, the median of the pairwise ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import click
import gymnasium as gym
import numpy as np
import pgzoo_envs
import torch
from rich.console import Console
from rich.table import Table

from pgzoo.policies.networks import MLP
from pgzoo.sampling.collect import Collector
from pgzoo.sampling.plan import Episodes, Segments
from pgzoo.sampling.seeding import Purpose, Streams, generators

HIDDEN = (64, 64)
Measure = Callable[[], int]
"""Collects once and returns the number of environment steps."""


@dataclass(frozen=True)
class Workload:
    """An environment and how much of it to collect."""

    env_id: str
    replicas: int
    rows: int
    steps: int

    @property
    def num_envs(self) -> int:
        """S·N."""
        return self.replicas * self.rows


def pgzoo_policy(load: Workload) -> Callable[[torch.Tensor], torch.Tensor]:
    info = pgzoo_envs.describe(load.env_id)
    network = MLP((info.observation_space.shape[0], *HIDDEN, info.num_actions), output_gain=0.01)
    theta = network.init(generators(range(load.replicas), Purpose.POLICY_INIT))
    return network.bind(theta)


def pgzoo_segments(load: Workload) -> Measure:
    """Segment after segment of episodes that run on."""
    policy, streams = pgzoo_policy(load), Streams(range(load.replicas))
    collector = Collector(partial(pgzoo_envs.make, load.env_id))
    plan, ongoing = Segments(envs=load.rows, segment_steps=load.steps), None

    def measure() -> int:
        nonlocal ongoing
        batch, _, ongoing = collector.collect(plan, policy, streams, ongoing)
        return int(batch.mask.sum())

    return measure


def pgzoo_episodes(load: Workload) -> Measure:
    policy, streams = pgzoo_policy(load), Streams(range(load.replicas))
    collector, plan = Collector(partial(pgzoo_envs.make, load.env_id)), Episodes(episodes=load.rows)

    def measure() -> int:
        batch, *_ = collector.collect(plan, policy, streams)
        return int(batch.mask.sum())

    return measure


def stepping_alone(load: Workload, processes: int | None = None) -> Measure:
    """The same environments, random actions drawn beforehand: what no policy can be faster than."""
    envs = pgzoo_envs.make(load.env_id, load.num_envs, processes=processes)
    num_actions = pgzoo_envs.describe(load.env_id).num_actions
    actions = np.random.default_rng(0).integers(num_actions, size=(load.steps, load.num_envs))
    envs.reset(seed=list(range(load.num_envs)))
    done = np.zeros(load.num_envs, dtype=bool)

    def measure() -> int:
        nonlocal done
        real = 0
        for action in actions:
            real += int((~done).sum())
            _, _, terminated, truncated, _ = envs.step(action)
            done = terminated | truncated
        return real

    return measure


def stable_baselines3(load: Workload) -> Measure:
    """PPO's own ``collect_rollouts`` on its default ``DummyVecEnv``, the same network."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import CallbackList
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env(load.env_id, n_envs=load.num_envs, seed=0)
    options = {"net_arch": {"pi": list(HIDDEN), "vf": list(HIDDEN)}}
    steps = load.steps // 5  # it is slow, and its speed does not depend on the number of steps
    model = PPO("MlpPolicy", envs, n_steps=steps, policy_kwargs=options, device="cpu", seed=0)
    total, callback = model._setup_learn(total_timesteps=10**9, callback=CallbackList([]))
    assert total

    def measure() -> int:
        model.collect_rollouts(envs, callback, model.rollout_buffer, n_rollout_steps=steps)
        return steps * load.num_envs

    return measure


def speeds(measures: list[Measure], repetitions: int) -> list[list[float]]:
    """Steps per second of every measure, taken in turn, after a warm-up."""
    results: list[list[float]] = [[] for _ in measures]
    for repetition in range(repetitions + 1):
        for measure, result in zip(measures, results, strict=True):
            start = time.perf_counter()
            steps = measure()
            if repetition:
                result.append(steps / (time.perf_counter() - start))
    return results


@click.command()
@click.option("--repetitions", default=15, show_default=True, help="Measurements of each.")
def main(repetitions: int) -> None:
    """Print the table of collection speeds."""
    cartpole = Workload("CartPole-v1", 8, 128, 250)
    lander = Workload("LunarLander-v3", 4, 32, 100)
    table = Table(title=f"Environment steps per second while collecting, MLP {HIDDEN}, CPU")
    for name in ("what", "steps/s", "least … greatest", "ratio to reference"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for load in (cartpole, lander):
        rows = {
            "stepping with fixed actions, no policy (reference)": stepping_alone(load),
            "pgzoo, segments": pgzoo_segments(load),
            "pgzoo, complete episodes": pgzoo_episodes(load),
            "stable-baselines3, PPO.collect_rollouts": stable_baselines3(load),
        }
        if load is lander:
            rows["stepping with fixed actions, one process"] = stepping_alone(load, processes=1)
        size = f"{load.replicas} seeds × {load.rows} = {load.num_envs} environments"
        table.add_row(f"[bold]{load.env_id}[/bold], {size}")
        measured = speeds(list(rows.values()), repetitions)
        for what, values in zip(rows, measured, strict=True):
            ratios = [v / r for v, r in zip(values, measured[0], strict=True)]
            table.add_row(
                "  " + what,
                f"{statistics.median(values):,.0f}",
                f"{min(values):,.0f} … {max(values):,.0f}",
                f"{statistics.median(ratios):.2f}",
            )
        table.add_section()
    Console(width=120).print(table)
    gym_version, torch_version = gym.__version__, torch.__version__
    print(f"gymnasium {gym_version}, torch {torch_version}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
