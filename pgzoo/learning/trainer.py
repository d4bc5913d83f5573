"""An agent, its environment and its networks, ready to train: one iteration at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pgzoo_envs
import torch
from torch import Tensor

from pgzoo.agents import Agent
from pgzoo.errors import UsageError
from pgzoo.learning.diagnostics import Diagnostician
from pgzoo.learning.evaluate import evaluate
from pgzoo.learning.state import Replica, TrainState
from pgzoo.learning.stored import policies, stored_config
from pgzoo.learning.update import Learners, Metrics, Networks, Parameters, learn
from pgzoo.policies.networks import Network, make_critic, make_policy
from pgzoo.records.config import RunConfig
from pgzoo.records.intervals import CONFIRMING_EPISODES, confirms
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.words import ranges
from pgzoo.sampling.collect import Collector
from pgzoo.sampling.memory import (
    LEAST_NUMBERS,
    check_run,
    numbers_per_step,
    replicas_at_once,
)
from pgzoo.sampling.ongoing import Ongoing
from pgzoo.sampling.seeding import Purpose, Streams, generators
from pgzoo.sampling.trajectories import FinishedEpisodes


@dataclass(frozen=True)
class Iteration:
    """What happened to the replicas that took part in an iteration.

    Attributes:
        number: of the iteration, from 0.
        replicas: as they are after it.
        finished: each one's episodes that ended in it.
        metrics: figures ``[S]``; NaN where there is nothing to say.
    """

    number: int
    replicas: list[Replica]
    finished: list[FinishedEpisodes]
    metrics: Metrics


@dataclass(frozen=True)
class _Learned:
    """What an iteration has made of some replicas.

    Attributes:
        replicas: as they are after it.
        learners: what they have learned, those that failed included.
        finished: each one's episodes.
        metrics: figures ``[S]``.
        ongoing: where segments stand now.
    """

    replicas: list[Replica]
    learners: Learners
    finished: list[FinishedEpisodes]
    metrics: Metrics
    ongoing: Ongoing | None


class Trainer:
    """An agent, its environment and its networks.

    Args:
        config: what to run.
        agent: made of its hyperparameters.
        device: where networks run.
        run: seeds of the run that these are a part of; None: these are all.

    Raises:
        UsageError, pgzoo_envs.EnvError: for what cannot be trained.
    """

    def __init__(
        self, config: RunConfig, agent: Agent, device: str, run: Sequence[int] | None = None
    ) -> None:
        self.config, self.agent, self.device = config, agent, device
        self.env = describe_env(config)
        if agent.plan.complete and self.env.max_episode_steps is None:
            raise UsageError(
                f"{config.agent} learns from complete episodes, but {config.env} has no time "
                "limit, so an episode may never end. Set one with `max_episode_steps`, such as 200."
            )
        if config.stop_when_solved and self.env.reward_threshold is None:
            raise UsageError(
                f"Expected an environment with a threshold with `stop_when_solved`, but "
                f"{config.env} has none: no seed would ever stop."
            )
        critic = None
        if agent.critic is not None:
            critic = make_critic(config.policy_kind, self.env, agent.hidden, agent.critic.of)
        policy = make_policy(config.policy_kind, self.env, agent.hidden)
        self.networks = Networks(policy, critic)
        width = max(policy.width, 0 if critic is None else critic.width)
        numbers = numbers_per_step(width, self.env.num_actions)
        self._collector = make_collector(config, device, numbers)
        self._confirming = make_collector(config, device)
        run = config.seeds if run is None else run
        self._positions = {seed: i for i, seed in enumerate(run)}
        self._diagnostician = Diagnostician(
            agent, config.diagnostics, config.compare_estimators, len(run)
        )

    def initial_state(self) -> TrainState:
        """Fresh replicas.

        Raises:
            UsageError: if they do not fit into memory, or the reference cannot be used.
        """
        policy, critic = self.networks.policy, self.networks.critic
        learned = policy.num_params + (0 if critic is None else critic.num_params)
        check_run(self.agent.plan, self.env, learned, len(self.config.seeds), self.device)

        def start(network: Network, purpose: Purpose) -> Parameters:
            theta = network.init(generators(self.config.seeds, purpose))
            return Parameters.start(theta.to(self.device))

        learners = Learners(
            start(policy, Purpose.POLICY_INIT),
            None if critic is None else start(critic, Purpose.CRITIC_INIT),
            self._load_reference(),
        )
        return TrainState(0, tuple(Replica(s) for s in self.config.seeds), learners)

    def _load_reference(self) -> Tensor | None:
        """Parameters ``[S, P]`` of the reference policies, each from the same seed of another run.

        Raises:
            UsageError: if that run has another environment, another network, or lacks a seed.
        """
        penalty, config = self.agent.penalty, self.config
        if penalty is None or penalty.reference is None:
            return None
        folder = RunFolder.open(Path(penalty.reference))
        other = stored_config(folder)
        if (other.env, other.policy_kind) != (config.env, config.policy_kind):
            raise UsageError(
                f"Expected `reference` to be a run of `env={config.env}` "
                f"`policy={config.policy_kind}`, got one of `env={other.env}` "
                f"`policy={other.policy_kind}`."
            )
        missing = [s for s in config.seeds if s not in other.seeds]
        if missing:
            raise UsageError(
                f"Expected `reference` to hold every seed of this run, but {folder.path} has no "
                f"seed {missing[0]}. Choose `seeds` among {ranges(other.seeds)}."
            )
        values = policies(folder).to(self.device)
        if values.shape[1] != self.networks.policy.num_params:
            raise UsageError(
                f"Expected `reference` to have this run's network "
                f"({self.networks.policy.num_params} parameters), got one with {values.shape[1]}. "
                "Give the same `hidden` as that run."
            )
        return values[[other.seeds.index(s) for s in config.seeds]]

    @property
    def sparse_columns(self) -> list[str]:
        """Of ``metrics.csv``, those that not every iteration fills."""
        return self._diagnostician.columns

    def close(self) -> None:
        """Give the environments back."""
        self._collector.close()
        self._confirming.close()

    def iterate(self, state: TrainState) -> tuple[TrainState, Iteration]:
        """One iteration of the running replicas.

        Of a batch of complete episodes some replicas have theirs at a time, and the others learn
        from theirs when that memory is free again.
        """
        count = len(state.running)
        parts = [slice(0, count)]
        if self.agent.plan.complete:
            parts = replicas_at_once(count, self.agent.plan.num_rows)
        replicas, learners = list(state.replicas), state.learners.copy()
        after: list[Replica] = []
        finished: list[FinishedEpisodes] = []
        figures: list[tuple[Metrics, int]] = []
        ongoing = None
        for part in parts:
            chosen = state.running[part]
            new = self._learn(state, chosen)
            index = torch.tensor(chosen, device=self.device)
            kept = torch.tensor([r.failed is None for r in new.replicas], device=self.device)
            learners.put(index[kept], new.learners.rows(kept.nonzero().squeeze(1)))
            for i, replica in zip(chosen, new.replicas, strict=True):
                replicas[i] = replica
            after += new.replicas
            finished += new.finished
            figures.append((new.metrics, len(chosen)))
            ongoing = new.ongoing
        new_state = dataclasses.replace(
            state, iteration=state.iteration + 1, replicas=tuple(replicas), learners=learners
        )
        new_state = dataclasses.replace(new_state, ongoing=ongoing if new_state.running else None)
        return new_state, Iteration(state.iteration, after, finished, _joined(figures))

    def _learn(self, state: TrainState, chosen: Sequence[int]) -> _Learned:
        """What an iteration makes of some of the running replicas."""
        index = torch.tensor(chosen, device=self.device)
        replicas = [state.replicas[i] for i in chosen]
        seeds = [r.seed for r in replicas]
        learners = state.learners.rows(index)
        model = self.networks.model(learners)
        taking_part = np.zeros(len(state.replicas), dtype=bool)
        taking_part[list(chosen)] = True

        trajectories, finished, ongoing = self._collector.collect(
            self.agent.plan,
            model.policy.bind(model.theta),
            Streams(self.config.seeds, state.iteration),
            state.ongoing,
            taking_part,
        )
        if self.agent.critic is not None:
            trajectories = trajectories.scale_rewards(self.agent.critic.reward_scale)
        outputs = model.on(trajectories)
        progress = torch.tensor([r.env_steps / self.agent.steps for r in replicas])
        shuffling = generators(seeds, Purpose.MINIBATCHES, state.iteration)
        learners, metrics = learn(
            self.agent, learners, outputs, progress.to(self.device), shuffling
        )
        healthy = learners.finite() & _all_finite(metrics, trajectories.num_steps > 0)
        steps = trajectories.num_steps.tolist()
        after = [
            self._advance(r, n, f, ok, state.iteration)
            for r, n, f, ok in zip(replicas, steps, finished, healthy.tolist(), strict=True)
        ]
        after = self._confirm(after, learners.policy.values, state.iteration)
        turn = [
            i
            for i, (b, a) in enumerate(zip(replicas, after, strict=True))
            if a.failed is None and self._is_due(b, a)
        ]
        metrics |= self._diagnostician.figures(outputs, learners.policy.values, turn)
        return _Learned(after, learners, finished, metrics, ongoing)

    def _is_due(self, before: Replica, after: Replica) -> bool:
        position = self._positions[after.seed]
        return self._diagnostician.is_due(position, before.env_steps, after.env_steps)

    def _advance(
        self, replica: Replica, steps: int, finished: FinishedEpisodes, healthy: bool, number: int
    ) -> Replica:
        if not healthy:
            reason = f"numbers became non-finite in iteration {number}"
            return dataclasses.replace(replica, failed=reason, finished=True)
        replica = replica.after(steps, finished)
        return dataclasses.replace(replica, finished=replica.env_steps >= self.agent.steps)

    def _confirm(self, replicas: list[Replica], theta: Tensor, iteration: int) -> list[Replica]:
        """Fresh episodes for those whose training seems to have reached the threshold.

        They are no part of training and do not count as its steps.
        """
        result = list(replicas)
        for i, replica in enumerate(replicas):
            if not replica.seems_to_have_reached(self.env.reward_threshold):
                continue
            streams = Streams(
                [replica.seed],
                iteration,
                starts=Purpose.CONFIRMATION_STARTS,
                actions=Purpose.CONFIRMATION_ACTIONS,
            )
            returns = evaluate(
                self._confirming,
                self.networks.policy,
                theta[i : i + 1],
                [replica.seed],
                episodes=CONFIRMING_EPISODES,
                streams=streams,
            )
            assert self.env.reward_threshold is not None
            reached = bool(confirms(returns[0], self.env.reward_threshold))
            replica = replica.confirmed(reached)
            stops = reached and self.config.stop_when_solved
            result[i] = dataclasses.replace(replica, finished=replica.finished or stops)
        return result


def describe_env(config: RunConfig) -> pgzoo_envs.EnvInfo:
    """A run's environment."""
    return pgzoo_envs.describe(
        config.env, config.max_episode_steps, discretise=config.policy_kind == "tabular"
    )


def make_collector(config: RunConfig, device: str, numbers: int = LEAST_NUMBERS) -> Collector:
    """A collector of a run's environment; for the numbers see ``numbers_per_step``."""
    make = partial(
        pgzoo_envs.make,
        config.env,
        max_episode_steps=config.max_episode_steps,
        discretise=config.policy_kind == "tabular",
    )
    return Collector(make, device=device, numbers_per_step=numbers)


def _joined(parts: Sequence[tuple[Metrics, int]]) -> Metrics:
    """The figures of all parts, each of so many replicas; NaN where a part has nothing to say."""
    names = dict.fromkeys(name for metrics, _ in parts for name in metrics)
    return {
        name: torch.cat([m.get(name, torch.full((count,), torch.nan)).cpu() for m, count in parts])
        for name in names
    }


def _all_finite(metrics: Metrics, taking_part: Tensor) -> Tensor:
    """Whose figures are all finite, ``[S]``; without a step there is nothing to say."""
    finite = torch.ones_like(taking_part)
    for figure in metrics.values():
        finite = finite & figure.isfinite()
    return finite | ~taking_part
