"""From run folders to what each contender has come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pgzoo.agents import AGENTS
from pgzoo.agents.custom import Custom
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.setting import setting_of
from pgzoo.errors import UsageError
from pgzoo.options import flat, written

if TYPE_CHECKING:
    import pandas as pd

    from pgzoo.learning.run import Run
    from pgzoo.records.config import RunConfig


def outcomes_of(runs: Sequence[Run]) -> list[Outcome]:
    """What each contender has come to, in the order in which their first runs are given.

    Runs that differ in their seeds alone are one contender. Contenders of one agent are labelled by
    the options in which they differ; one that has the agent's defaults there, by the agent's name
    alone.

    Raises:
        UsageError: without runs, for runs of different environments or time limits, runs that are
            not complete, or a seed that one contender has twice.
    """
    _check(runs)
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(setting_of(run.config, budget=True), []).append(run)
    contenders = list(groups.values())
    labels = labels_of([members[0].config for members in contenders])
    return [outcome_of(members, label) for members, label in zip(contenders, labels, strict=True)]


def outcome_of(runs: Sequence[Run], label: str) -> Outcome:
    """What one contender has come to.

    Args:
        runs: complete ones that differ in their seeds alone.
        label: how it is called.

    Raises:
        UsageError: if two of them have a seed in common.
    """
    config = runs[0].config
    lines = sorted(
        (line for run in runs for line in _per_seed(run)), key=lambda line: int(line["seed"])
    )
    seeds = tuple(int(line["seed"]) for line in lines)
    if len(set(seeds)) < len(seeds):
        again = max(seeds, key=seeds.count)
        raise UsageError(
            f"Expected every seed of {label} once, got seed {again} from several of "
            f"{', '.join(str(run.path) for run in runs)}. Give one of them."
        )
    metrics = _timed_metrics(runs)
    reached = tuple(line["steps_to_threshold"] for line in lines)
    return Outcome(
        label=label,
        agent=config.agent,
        options=changed_options(config),
        config=config,
        seeds=seeds,
        returns=_numbers(lines, "eval_mean"),
        standard_errors=_numbers(lines, "eval_standard_error"),
        failed=tuple(line["failed"] for line in lines),
        threshold=_summary(runs[0])["threshold"],
        budget=int(config.hyperparameters["steps"]),
        trained=np.array([line["env_steps_per_seed"] for line in lines], dtype=np.int64),
        steps_to_threshold=reached,
        seconds_to_threshold=tuple(
            None if steps is None else _seconds_at(metrics, seed, steps)
            for seed, steps in zip(seeds, reached, strict=True)
        ),
        metrics=metrics,
        runs=tuple(run.path for run in runs),
    )


def changed_options(config: RunConfig) -> dict[str, Any]:
    """The options that are not the agent's defaults for the run's environment and policy."""
    agent = AGENTS[config.agent].agent if config.agent in AGENTS else Custom
    usual = flat(agent.for_env(config.env, config.policy_kind))
    return {k: v for k, v in config.hyperparameters.items() if k not in usual or usual[k] != v}


def labels_of(configs: Sequence[RunConfig]) -> list[str]:
    """A label for each contender: the agent, and what sets it apart from its other contenders."""
    return [_label(config, configs) for config in configs]


def _label(config: RunConfig, all_configs: Sequence[RunConfig]) -> str:
    siblings = [_described(c) for c in all_configs if c.agent == config.agent]
    mine, changed = _described(config), changed_options(config)
    differing = [k for k in mine if any(other.get(k) != mine[k] for other in siblings)]
    said = [
        f"{name}={written(mine[name])}"
        for name in differing
        if name in changed or name not in config.hyperparameters
    ]
    return _name(config.agent, all_configs) + (":" + ",".join(said) if said else "")


def _name(agent: str, all_configs: Sequence[RunConfig]) -> str:
    """A user's function without its file, unless another agent is called the same."""
    short = agent.rpartition(".py:")[2]
    others = {c.agent for c in all_configs} - {agent}
    alone = short not in AGENTS and short not in {o.rpartition(".py:")[2] for o in others}
    return short if alone else agent


def _described(config: RunConfig) -> Mapping[str, Any]:
    """Options, and what of the rest of a configuration sets contenders apart."""
    digest = config.estimator_sha256
    rest = {"policy": config.policy_kind, "stop_when_solved": config.stop_when_solved}
    return config.hyperparameters | rest | {"source": digest[:8] if digest else ""}


def _check(runs: Sequence[Run]) -> None:
    if not runs:
        raise UsageError("Expected at least one run, got none. Give the folders of runs.")
    paths = [run.path.resolve() for run in runs]
    for i, run in enumerate(runs):
        if paths[i] in paths[:i]:
            raise UsageError(f"Expected every run once, got {run.path} twice. Leave one out.")
        if run.summary is None:
            raise UsageError(
                f"Expected complete runs, but {run.path} was interrupted: it has no results yet. "
                "Resume it, or leave it out."
            )
    for name, meaning in (("env", "environment"), ("max_episode_steps", "time limit")):
        first, *others = runs
        for other in others:
            a, b = getattr(first.config, name), getattr(other.config, name)
            if a != b:
                raise UsageError(
                    f"Expected runs of one {meaning}, got {written(a)} in {first.path} and "
                    f"{written(b)} in {other.path}. Their returns are not comparable."
                )


def _summary(run: Run) -> dict[str, Any]:
    summary = run.summary
    assert summary is not None
    return summary


PER_SEED = (
    "eval_mean",
    "eval_standard_error",
    "failed",
    "env_steps_per_seed",
    "steps_to_threshold",
)
"""Fields of a summary with an entry for each seed that an outcome is made of."""


def _per_seed(run: Run) -> list[dict[str, Any]]:
    summary = _summary(run)
    columns = ("seeds", *PER_SEED)
    return [
        dict(zip(("seed", *PER_SEED), values, strict=True))
        for values in zip(*(summary[name] for name in columns), strict=True)
    ]


def _numbers(lines: Sequence[Mapping[str, Any]], name: str) -> Any:
    return np.array([np.nan if line[name] is None else line[name] for line in lines])


def _timed_metrics(runs: Sequence[Run]) -> pd.DataFrame:
    """Lines of all runs, with the seconds since each began; NaN where they were not recorded."""
    import pandas as pd

    tables = []
    for run in runs:
        metrics, seconds = run.metrics, run.times.set_index("iteration").seconds
        tables.append(metrics.assign(seconds=metrics.iteration.map(seconds).astype(float)))
    return pd.concat(tables, ignore_index=True)


def _seconds_at(metrics: pd.DataFrame, seed: int, steps: int) -> float:
    """Seconds into its run at which a seed had trained that many steps; NaN if unknown."""
    rows = metrics[(metrics.seed == seed) & (metrics.env_steps >= steps)]
    known = rows.seconds.dropna()
    return float(known.iloc[0]) if len(known) else np.nan
