"""The one training loop: S replicas of an agent side by side, iteration by iteration.

Everything random is a function of a replica's seed and the iteration (``seeding``), and the state
between iterations is an immutable value. So a checkpoint is that value, resuming is going on from
it, and an interruption at any moment falls back on the last one.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pgzoo_envs
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgzoo.agents import agent_class
from pgzoo.agents.base import Agent, CriticOptions, SegmentOptions
from pgzoo.errors import UsageError
from pgzoo.learning.diagnostics import (
    COMPARED,
    FIGURES,
    UNIT,
    Metrics,
    comparable,
    compare_estimators,
    diagnose,
    drift,
    unit_of_independence,
)
from pgzoo.learning.evaluate import EPISODES, evaluate
from pgzoo.learning.update import Parameters, learn
from pgzoo.policies.model import Model
from pgzoo.policies.networks import Network, make_network
from pgzoo.records.run_folder import MetricsFile, RunConfig, RunFolder
from pgzoo.records.tensorboard import Dashboard
from pgzoo.sampling.collect import (
    Episodes,
    SegmentCollector,
    Trajectories,
    collect_episodes,
    finished_episodes,
)
from pgzoo.sampling.seeding import Purpose, generators, start_seeds

SECONDS_BETWEEN_CHECKPOINTS = 2.0
ITERATIONS_BETWEEN_RESETS = 16
PERCENT_BETWEEN_SNAPSHOTS = 10
POLICY_OUTPUT_GAIN, CRITIC_OUTPUT_GAIN = 0.01, 1.0


@dataclass(frozen=True)
class Replica:
    """What is known of one learner besides its parameters.

    Attributes:
        seed: names the replica and all its random numbers.
        env_steps: environment steps taken so far.
        episodes: episodes finished so far.
        recent: returns of the last ``EPISODES`` of them.
        steps_to_threshold: environment steps when the mean of ``recent`` first reached the
            environment's threshold.
        failed: why the replica was stopped, if it was.
        finished: used up its steps, solved the environment (``--stop-when-solved``), or failed.
    """

    seed: int
    env_steps: int = 0
    episodes: int = 0
    recent: tuple[float, ...] = ()
    steps_to_threshold: int | None = None
    failed: str | None = None
    finished: bool = False

    @property
    def recent_mean(self) -> float | None:
        """Mean return of the last episodes."""
        return sum(self.recent) / len(self.recent) if self.recent else None

    def after(self, steps: int, episodes: Episodes, threshold: float | None) -> Replica:
        """The replica after an iteration."""
        recent = (*self.recent, *episodes.returns)[-EPISODES:]
        env_steps = self.env_steps + steps
        reached = self.steps_to_threshold
        if reached is None and threshold is not None and len(recent) == EPISODES:
            reached = env_steps if sum(recent) / EPISODES >= threshold else None
        return dataclasses.replace(
            self,
            env_steps=env_steps,
            episodes=self.episodes + len(episodes.returns),
            recent=recent,
            steps_to_threshold=reached,
        )


@dataclass(frozen=True)
class TrainState:
    """Everything between two iterations."""

    iteration: int
    replicas: tuple[Replica, ...]
    policy: Parameters
    critic: Parameters | None
    reference: Tensor | None = None
    seconds: float = 0.0
    metrics_size: int = 0

    @property
    def running(self) -> list[int]:
        """Positions of the replicas that go on."""
        return [i for i, replica in enumerate(self.replicas) if not replica.finished]

    def to_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON state."""
        tensors = {f"policy.{k}": v for k, v in self.policy.tensors().items()}
        if self.critic is not None:
            tensors |= {f"critic.{k}": v for k, v in self.critic.tensors().items()}
        if self.reference is not None:
            tensors["reference.values"] = self.reference
        state = {
            "iteration": self.iteration,
            "replicas": [dataclasses.asdict(r) for r in self.replicas],
            "seconds": self.seconds,
            "metrics_size": self.metrics_size,
        }
        return tensors, state

    @classmethod
    def from_checkpoint(
        cls, tensors: dict[str, Tensor], state: dict[str, Any], device: str
    ) -> TrainState:
        """The inverse of ``to_checkpoint``."""

        def part(name: str) -> dict[str, Tensor]:
            prefix = name + "."
            return {
                k.removeprefix(prefix): v.to(device)
                for k, v in tensors.items()
                if k.startswith(prefix)
            }

        critic = part("critic")
        return cls(
            iteration=state["iteration"],
            replicas=tuple(
                Replica(**r | {"recent": tuple(r["recent"])}) for r in state["replicas"]
            ),
            policy=Parameters.from_tensors(part("policy")),
            critic=Parameters.from_tensors(critic) if critic else None,
            reference=part("reference").get("values"),
            seconds=state["seconds"],
            metrics_size=state["metrics_size"],
        )


@dataclass(frozen=True)
class Report:
    """What a display may show after an iteration.

    Attributes:
        iteration: iterations done.
        share: of the whole step budget, in [0, 1].
        returns: each replica's mean return over its last episodes, NaN before the first.
        steps_per_second: environment steps of all replicas in this session, per second.
        seconds_left: estimate.
        failed: newly stopped replicas' seeds, with the reason.
    """

    iteration: int
    share: float
    returns: NDArray[np.float64]
    steps_per_second: float
    seconds_left: float
    failed: dict[int, str]


class TrainingInterrupted(Exception):  # noqa: N818 (it is no error)
    """Ctrl-C: the state is saved and the run can be resumed."""


def prepare(config: RunConfig) -> Trainer:
    """Check a configuration and make what it names.

    Raises:
        UsageError, pgzoo_envs.EnvError: for what cannot be trained.
    """
    agent = agent_class(config.agent)(**config.hyperparameters)
    info, policy = policy_network(config)
    if agent.plan == "episodes" and info.max_episode_steps is None:
        raise UsageError(
            f"{config.agent} learns from complete episodes, but {config.env} has no time limit, so "
            "an episode may never end. Set one with --max-episode-steps, such as 200."
        )
    critic = None
    if agent.critic != "none":
        critic = critic_network(config.policy, info, agent.critic, agent.hidden)
    return Trainer(config, agent, info, policy, critic)


def policy_network(config: RunConfig) -> tuple[pgzoo_envs.EnvInfo, Network]:
    """A run's environment and policy. Its agent, who may be a user's program, is not needed."""
    discretise = config.policy == "tabular"
    info = pgzoo_envs.describe(config.env, config.max_episode_steps, discretise=discretise)
    hidden = config.hyperparameters["hidden"]
    space = info.observation_space
    return info, make_network(config.policy, space, info.num_actions, hidden, POLICY_OUTPUT_GAIN)


def critic_network(
    policy: str, info: pgzoo_envs.EnvInfo, kind: str, hidden: Sequence[int]
) -> Network:
    """A critic like the policy: V(s) for ``kind`` state, q(s, a) of all actions for action."""
    outputs = 1 if kind == "state" else info.num_actions
    return make_network(policy, info.observation_space, outputs, hidden, CRITIC_OUTPUT_GAIN)


def load_reference(config: RunConfig, agent: Agent, policy: Network) -> Tensor | None:
    """Parameters ``[S, P]`` of the reference policies, each from the same seed of another run.

    Raises:
        UsageError: if that run has another environment, another network, or lacks a seed.
    """
    if agent.reference_run is None:
        return None
    folder = RunFolder.open(Path(agent.reference_run))
    other = folder.config()
    if (other.env, other.policy) != (config.env, config.policy):
        raise UsageError(
            f"Expected --reference to be a run of --env {config.env} --policy {config.policy}, got "
            f"one of --env {other.env} --policy {other.policy}."
        )
    missing = [s for s in config.seeds if s not in other.seeds]
    if missing:
        raise UsageError(
            f"Expected --reference to hold every seed of this run, but {folder.path} has no seed "
            f"{missing[0]}. Choose --seeds among {', '.join(map(str, other.seeds))}."
        )
    checkpoint = folder.load_checkpoint()
    if checkpoint is None:
        raise UsageError(f"Expected --reference to be a trained run; {folder.path} is not yet.")
    values = TrainState.from_checkpoint(*checkpoint, config.device).policy.values
    if values.shape[1] != policy.num_params:
        raise UsageError(
            f"Expected --reference to have this run's network ({policy.num_params} parameters), "
            f"got one with {values.shape[1]}. Give the same --hidden as that run."
        )
    return values[[other.seeds.index(s) for s in config.seeds]]


@dataclass
class Trainer:
    """An agent, its environment and its networks, ready to train."""

    config: RunConfig
    agent: Agent
    env: pgzoo_envs.EnvInfo
    policy: Network
    critic: Network | None

    def __post_init__(self) -> None:
        self._envs: pgzoo_envs.ReplicatedVectorEnv | None = None
        self._segments: tuple[SegmentCollector, list[int]] | None = None

    def initial_state(self) -> TrainState:
        """Fresh replicas."""
        seeds, device = self.config.seeds, self.config.device
        theta = self.policy.init(generators(seeds, Purpose.POLICY_INIT)).to(device)
        critic = None
        if self.critic is not None:
            phi = self.critic.init(generators(seeds, Purpose.CRITIC_INIT)).to(device)
            critic = Parameters.start(phi)
        return TrainState(
            iteration=0,
            replicas=tuple(Replica(s) for s in seeds),
            policy=Parameters.start(theta),
            critic=critic,
            reference=load_reference(self.config, self.agent, self.policy),
        )

    def close(self) -> None:
        """Give the environments back."""
        if self._envs is not None:
            self._envs.close()
            self._envs = None

    def resumable(self, state: TrainState) -> bool:
        """Whether the next iteration starts from seeded environments, so that it can be repeated.

        Always so for complete episodes; segments run on between iterations, and are reset from
        time to time for this purpose.
        """
        return self.agent.plan == "episodes" or state.iteration % ITERATIONS_BETWEEN_RESETS == 0

    def _make_envs(self, num_envs: int) -> pgzoo_envs.ReplicatedVectorEnv:
        if self._envs is None or self._envs.num_envs != num_envs:
            self.close()
            self._envs = pgzoo_envs.make(
                self.config.env,
                num_envs,
                max_episode_steps=self.config.max_episode_steps,
                discretise=self.config.policy == "tabular",
            )
        return self._envs

    def _collect(
        self, model: Model, running: list[int], iteration: int
    ) -> tuple[Trajectories, list[Episodes]]:
        policy = model.policy.bind(model.theta)
        agent, device = self.agent, self.config.device
        seeds = [self.config.seeds[i] for i in running]
        noise = generators(seeds, Purpose.ACTIONS, iteration)
        if agent.plan == "episodes":
            trajectories = collect_episodes(
                self._make_envs(len(seeds) * agent.num_rows),
                policy,
                start_seeds(seeds, agent.num_rows, iteration, group_size=agent.rollouts_per_start),
                noise,
                group_size=agent.rollouts_per_start,
                device=device,
            )
            return trajectories, finished_episodes(trajectories)
        assert isinstance(agent, SegmentOptions)
        collector = self._segment_collector(running, iteration)
        return collector.collect(policy, noise, agent.segment_steps, device=device)

    def _segment_collector(self, running: list[int], iteration: int) -> SegmentCollector:
        """Environments of the running replicas: freshly reset, or where the last segment ended."""
        if iteration % ITERATIONS_BETWEEN_RESETS == 0:
            seeds = [self.config.seeds[i] for i in running]
            envs = self._make_envs(len(running) * self.agent.num_rows)
            collector = SegmentCollector(envs, len(running))
            collector.reset(start_seeds(seeds, self.agent.num_rows, iteration))
        else:
            assert self._segments is not None
            collector, before = self._segments
            if before != running:
                collector.keep(np.isin(before, running))
        self._segments = collector, running
        return collector

    def iterate(self, state: TrainState) -> tuple[TrainState, list[dict[str, Any]]]:
        """One iteration of the running replicas, and their rows for ``metrics.csv``."""
        running = state.running
        index = torch.tensor(running, device=state.policy.values.device)
        replicas = [state.replicas[i] for i in running]
        seeds = [r.seed for r in replicas]
        policy = state.policy.rows(index)
        critic = state.critic.rows(index) if state.critic is not None else None
        phi = critic.values if critic is not None else None
        reference = state.reference[index] if state.reference is not None else None
        model = Model(self.policy, policy.values, self.critic, phi, reference)

        trajectories, episodes = self._collect(model, running, state.iteration)
        progress = torch.tensor([r.env_steps / self.agent.steps for r in replicas])
        policy, critic, metrics = learn(
            self.agent,
            model,
            policy,
            critic,
            trajectories,
            progress.to(index.device),
            generators(seeds, Purpose.MINIBATCHES, state.iteration),
        )

        healthy = _all_finite(policy, critic, metrics)
        metrics |= self._diagnostics(model, policy.values, trajectories, state.iteration)
        steps = trajectories.num_steps.tolist()
        after = [
            self._advance(r, n, e, ok, state.iteration)
            for r, n, e, ok in zip(replicas, steps, episodes, healthy.tolist(), strict=True)
        ]
        everyone = list(state.replicas)
        for i, replica in zip(running, after, strict=True):
            everyone[i] = replica
        kept = index[healthy]
        new_state = dataclasses.replace(
            state,
            iteration=state.iteration + 1,
            replicas=tuple(everyone),
            policy=state.policy.with_rows(kept, policy.rows(healthy)),
            critic=state.critic.with_rows(kept, critic.rows(healthy))
            if state.critic is not None and critic is not None
            else None,
        )
        rows = _metrics_rows(state.iteration, after, episodes, metrics)
        if self._is_diagnosed(state.iteration):
            rows = [row | {UNIT: unit_of_independence(self.agent)} for row in rows]
        sparse = self.columns
        return new_state, [
            {k: v for k, v in row.items() if k not in sparse} | {k: row.get(k) for k in sparse}
            for row in rows
        ]

    @property
    def columns(self) -> list[str]:
        """Of ``metrics.csv``, those that not every iteration fills."""
        if self.config.diagnostics == 0:
            return []
        names = [UNIT, *FIGURES]
        if self.config.compare_estimators:
            names += [COMPARED + name for name in comparable(self.agent)]
        return names

    def _is_diagnosed(self, iteration: int) -> bool:
        every = self.config.diagnostics
        return every > 0 and iteration % every == 0

    def _diagnostics(
        self, model: Model, theta: Tensor, trajectories: Trajectories, iteration: int
    ) -> Metrics:
        """Figures of the gradient, every so many iterations."""
        if not self._is_diagnosed(iteration):
            return {}
        if isinstance(self.agent, CriticOptions):
            trajectories = trajectories.scale_rewards(self.agent.reward_scale)
        figures = diagnose(self.agent, model, trajectories) | drift(model, theta, trajectories)
        if self.config.compare_estimators:
            figures |= compare_estimators(self.agent, model, trajectories)
        return figures

    def _advance(
        self, replica: Replica, steps: int, episodes: Episodes, healthy: bool, iteration: int
    ) -> Replica:
        if not healthy:
            reason = f"numbers became non-finite in iteration {iteration}"
            return dataclasses.replace(replica, failed=reason, finished=True)
        replica = replica.after(steps, episodes, self.env.reward_threshold)
        solved = self.config.stop_when_solved and replica.steps_to_threshold is not None
        return dataclasses.replace(
            replica, finished=solved or replica.env_steps >= self.agent.steps
        )

    def summary(self, state: TrainState) -> dict[str, Any]:
        """Evaluate the trained policies and put the run's results together."""
        config, threshold = self.config, self.env.reward_threshold
        alive = [i for i, r in enumerate(state.replicas) if r.failed is None]
        mean: list[float | None] = [None] * len(config.seeds)
        std: list[float | None] = [None] * len(config.seeds)
        if alive:
            returns = evaluate(
                self.policy,
                state.policy.values[alive],
                config.env,
                [config.seeds[i] for i in alive],
                max_episode_steps=config.max_episode_steps,
                discretise=config.policy == "tabular",
            )
            for i, row in zip(alive, returns, strict=True):
                mean[i], std[i] = float(row.mean()), float(row.std(ddof=1))
        steps = [r.env_steps for r in state.replicas]
        return {
            "agent": config.agent,
            "env": config.env,
            "policy": config.policy,
            "seeds": list(config.seeds),
            "iterations": state.iteration,
            "env_steps_per_seed": steps,
            "wall_seconds": state.seconds,
            "steps_per_second": sum(steps) / state.seconds,
            "threshold": threshold,
            "eval_episodes": EPISODES,
            "eval_mean": mean,
            "eval_std": std,
            "solved": [
                None if threshold is None else m is not None and m >= threshold for m in mean
            ],
            "steps_to_threshold": [r.steps_to_threshold for r in state.replicas],
            "failed": [r.failed for r in state.replicas],
        }


def _all_finite(policy: Parameters, critic: Parameters | None, metrics: Metrics) -> Tensor:
    """Which replicas' parameters and figures are all finite, ``[S]``."""
    healthy = policy.values.isfinite().all(1)
    if critic is not None:
        healthy = healthy & critic.values.isfinite().all(1)
    for figure in metrics.values():
        healthy = healthy & figure.isfinite()
    return healthy


def _metrics_rows(
    iteration: int, replicas: Sequence[Replica], episodes: Sequence[Episodes], metrics: Metrics
) -> list[dict[str, Any]]:
    columns = {name: values.tolist() for name, values in metrics.items()}
    rows = []
    for i, (replica, finished) in enumerate(zip(replicas, episodes, strict=True)):
        if replica.failed is not None:
            continue
        n = len(finished.returns)
        row = {
            "iteration": iteration,
            "seed": replica.seed,
            "env_steps": replica.env_steps,
            "episodes": replica.episodes,
            "return_mean": sum(finished.returns) / n if n else None,
            "return_last_100": replica.recent_mean,
            "length_mean": sum(finished.lengths) / n if n else None,
        }
        figures = {name: values[i] for name, values in columns.items()}
        rows.append(row | {k: None if np.isnan(v) else v for k, v in figures.items()})
    return rows


def evaluate_checkpoint(
    config: RunConfig, folder: RunFolder, *, episodes: int, greedy: bool
) -> dict[int, NDArray[np.float64]]:
    """Returns of fresh episodes, ``[episodes]`` by seed, of a run's last checkpoint.

    Raises:
        UsageError: if there is none, or it is damaged.
    """
    _, policy = policy_network(config)
    checkpoint = folder.load_checkpoint()
    if checkpoint is None:
        raise UsageError(
            f"{folder.path} has no checkpoint yet. Go on with "
            f"`pgzoo run {config.agent} --resume {folder.path}` first."
        )
    state = TrainState.from_checkpoint(*checkpoint, config.device)
    returns = evaluate(
        policy,
        state.policy.values,
        config.env,
        config.seeds,
        episodes=episodes,
        greedy=greedy,
        max_episode_steps=config.max_episode_steps,
        discretise=config.policy == "tabular",
    )
    return dict(zip(config.seeds, returns, strict=True))


def train(
    config: RunConfig, folder: RunFolder, report: Callable[[Report], None] = lambda _: None
) -> dict[str, Any]:
    """Train all replicas, evaluate them, and leave a complete run folder.

    Goes on from the folder's checkpoint if there is one.

    Args:
        config: what to run.
        folder: where; made by ``RunFolder.create`` or opened by ``RunFolder.open``.
        report: called after every iteration.

    Returns:
        the summary, as in ``summary.json``.

    Raises:
        TrainingInterrupted: on Ctrl-C, after saving.
        UsageError: for a damaged run folder, or a full disk.
    """
    finished = folder.summary()
    if finished is not None:
        return finished
    trainer = prepare(config)
    checkpoint = folder.load_checkpoint()
    state = (
        trainer.initial_state()
        if checkpoint is None
        else TrainState.from_checkpoint(*checkpoint, config.device)
    )
    try:
        state = _train_loop(trainer, folder, state, report)
        summary = trainer.summary(state)
        folder.write_summary(summary)
    except KeyboardInterrupt as error:
        raise TrainingInterrupted from error
    except OSError as error:
        raise UsageError(
            f"Cannot write to {folder.path}: {error.strerror}. The last checkpoint is intact: make "
            f"room, then go on with `pgzoo run {config.agent} --resume {folder.path}`."
        ) from error
    finally:
        trainer.close()
    return summary


def _train_loop(
    trainer: Trainer, folder: RunFolder, state: TrainState, report: Callable[[Report], None]
) -> TrainState:
    metrics_file = MetricsFile(folder, state.metrics_size)
    steps = {r.seed: r.env_steps for r in state.replicas}
    dashboard = Dashboard(folder.path, steps, metrics_file.latest())
    if trainer.config.diagnostics:
        agent = trainer.agent
        units = agent.num_rows // agent.rollouts_per_start
        dashboard.explain("gradient/unit", f"{unit_of_independence(agent)}, {units} in a batch")
    clock = _Clock(state, trainer.agent.steps)

    def save(state: TrainState) -> None:
        metrics_file.sync()
        dashboard.flush()
        folder.save_checkpoint(*state.to_checkpoint())

    def snapshot(percentages: range) -> None:
        if percentages:
            folder.save_snapshot(percentages[-1], state.policy.values)

    try:
        save(state)  # a reference policy, too, is safe from here on
        if state.iteration == 0:
            snapshot(range(1))
        resumable, saved = state, time.monotonic()
        while state.running:
            before = state
            after, rows = trainer.iterate(state)
            metrics_file.append(rows)
            dashboard.add(rows, _mean_steps(after))
            state = dataclasses.replace(
                after, seconds=clock.seconds(), metrics_size=metrics_file.size
            )
            report(clock.report(before, state))
            snapshot(_snapshots_due(*(_share(s, trainer.agent.steps) for s in (before, state))))
            if trainer.resumable(state):
                resumable = state
                if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    save(state)
                    saved = time.monotonic()
        save(state)
    except KeyboardInterrupt:
        save(resumable)
        raise
    finally:
        dashboard.close()
        metrics_file.close()
    return state


def _share(state: TrainState, budget: int) -> float:
    """How much of the run is done, in [0, 1]; a replica that has finished needs no more steps."""
    done = sum(min(r.env_steps, budget) for r in state.replicas)
    left = sum(max(budget - r.env_steps, 0) for r in state.replicas if not r.finished)
    return done / (done + left) if left else 1.0


def _snapshots_due(before: float, after: float) -> range:
    """Percentages, in steps of ``PERCENT_BETWEEN_SNAPSHOTS``, that an iteration has passed."""
    step = PERCENT_BETWEEN_SNAPSHOTS
    first, last = (int(100 * share + 1e-9) // step * step for share in (before, after))
    return range(first + step, last + step, step)


def _mean_steps(state: TrainState) -> int:
    """Environment steps per replica, the horizontal axis of all curves."""
    return sum(r.env_steps for r in state.replicas) // len(state.replicas)


class _Clock:
    """Time spent on a run over all its sessions, and what it says of the rest."""

    def __init__(self, state: TrainState, budget: int) -> None:
        self._started, self._before, self._budget = time.monotonic(), state.seconds, budget
        self._steps_before = sum(r.env_steps for r in state.replicas)

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._started

    def report(self, before: TrainState, state: TrainState) -> Report:
        elapsed = time.monotonic() - self._started
        steps = sum(r.env_steps for r in state.replicas) - self._steps_before
        left = sum(max(self._budget - r.env_steps, 0) for r in state.replicas if not r.finished)
        rate = steps / elapsed
        means = [r.recent_mean for r in state.replicas]
        newly = zip(before.replicas, state.replicas, strict=True)
        return Report(
            iteration=state.iteration,
            share=_share(state, self._budget),
            returns=np.array([np.nan if m is None else m for m in means]),
            steps_per_second=rate,
            seconds_left=left / rate if rate else float("inf"),
            failed={b.seed: b.failed for a, b in newly if b.failed and not a.failed},
        )
