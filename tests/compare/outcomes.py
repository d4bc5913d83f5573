"""What contenders have come to, made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd

from pgzoo.compare.outcome import Outcome
from pgzoo.records.config import RunConfig

BUDGET = 1000
POINTS = 10


def made(
    label="ppo",
    *,
    returns=(10.0, 12.0, 14.0, 16.0, 18.0, 20.0),
    agent=None,
    threshold=15.0,
    reached=None,
    failed=(),
    diagnosed=True,
    signal=1.0,
    timed=True,
    budget=BUDGET,
    **options,
):
    """An outcome whose seeds learn in a straight line from 0 to their final returns.

    Args:
        label: of the contender; what is before a colon is its agent.
        returns: of each seed.
        agent: if it is another.
        threshold: of the environment.
        reached: steps to it; half of the budget where the return is enough by default.
        failed: seeds that have no return.
        diagnosed: whether there are figures of the gradient.
        signal: of each diagnosis; where it is negative, noise hides it.
        timed: whether seconds were recorded.
        budget: environment steps of each seed.
        options: in place of the agent's defaults.
    """
    returns = np.array(returns, dtype=float)
    returns[list(failed)] = np.nan
    seeds = tuple(range(len(returns)))
    if reached is None:
        enough = [threshold is not None and x >= threshold for x in returns]
        reached = [budget // 2 if e else None for e in enough]
    lines = [
        {
            "iteration": i,
            "seed": seed,
            "env_steps": (i + 1) * budget // POINTS,
            "return_mean": (i + 1) / POINTS * np.nan_to_num(returns[seed]),
            "return_last_100": (i + 1) / POINTS * np.nan_to_num(returns[seed]),
            "seconds": (i + 1) * 0.5 if timed else np.nan,
            "gradient_variance": 2.0 if diagnosed else np.nan,
            "gradient_signal": signal if diagnosed else np.nan,
            "gradient_blocks": 8.0 if diagnosed else np.nan,
            "split_half_cosine": 0.5 if diagnosed else np.nan,
        }
        for seed in seeds
        for i in range(POINTS)
    ]
    agent = label.partition(":")[0] if agent is None else agent
    config = RunConfig(
        agent=agent,
        env="CartPole-v1",
        policy_kind="mlp",
        seeds=seeds,
        device="cpu",
        max_episode_steps=None,
        stop_when_solved=False,
        hyperparameters={"steps": budget, "lam": 0.95} | options,
    )
    return Outcome(
        label=label,
        agent=agent,
        options=options,
        config=config,
        seeds=seeds,
        returns=returns,
        standard_errors=np.ones(len(seeds)),
        failed=tuple("numbers became non-finite" if s in failed else None for s in seeds),
        threshold=threshold,
        budget=budget,
        trained=np.full(len(seeds), budget),
        steps_to_threshold=tuple(reached),
        seconds_to_threshold=tuple(None if n is None else n / 200 for n in reached),
        metrics=pd.DataFrame(lines),
        runs=(Path("runs") / label,),
    )
