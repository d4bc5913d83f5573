"""Measure estimators of the policy gradient on a frozen policy.

Trajectories are complete episodes, for segment methods too: PPO, actor-critic and all-actions are
measured as estimators of the same ∇J as all others. They bootstrap from V where a time limit ends
an episode. If J counts nothing after it (the problem's ``limit`` is ends), that is their bias; if J
goes on (continues), counting nothing is a bias of the others.

Every estimator gets the same number of trajectories per estimate under its own sampling plan;
estimators with the same plan share their trajectories. Estimates are computed a chunk at a time
and kept as block means, so memory is bounded whatever the number of estimates.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pgzoo_envs
from numpy.typing import NDArray
from torch import Tensor

from pgzoo.agents.base import Agent
from pgzoo.agents.reinforce_baseline import ReinforceBaseline
from pgzoo.errors import UsageError
from pgzoo.estimators import episode_return
from pgzoo.lab import critics
from pgzoo.lab.exact import exact_gradient
from pgzoo.lab.problem import Estimator, Problem, policy_number, short_label
from pgzoo.lab.statistics import (
    Blocks,
    BlockSums,
    Comparison,
    Properties,
    Quantities,
    Reference,
    compare,
    nested_holm,
    properties,
    quantities,
    same_number,
    verdict,
)
from pgzoo.learning.gradients import gradient_estimates
from pgzoo.options import checked, shown
from pgzoo.policies.model import Model, Outputs
from pgzoo.policies.networks import Network
from pgzoo.sampling.collect import Collector
from pgzoo.sampling.memory import ROWS_AT_ONCE, check_batch, numbers_per_step
from pgzoo.sampling.plan import Episodes, Groups, Plan
from pgzoo.sampling.seeding import Purpose, Seed, Streams
from pgzoo.sampling.trajectories import Trajectories, joined_rows

LEAST_BLOCKS, MOST_BLOCKS = 20, 100
NUMBERS_IN_MEMORY, NUMBERS_IN_BLOCKS = 2**26, 2**27
REFERENCE_FACTOR = 4
SAMPLE, REFERENCE, CRITIC, HELD_OUT = range(4)
Progress = Callable[[float, str], None]
Critics = dict[critics.Kind, tuple[Network, Tensor]]
"""By kind: the network and its parameters ``[1, Q]``."""


@dataclass(frozen=True)
class Settings:
    """How much is sampled, and how.

    Attributes:
        trajectories: N of one estimate.
        estimates: independent estimates of every estimator; rounded up to fill blocks.
        reference_estimates: estimates that g* is the mean of where it is not known exactly;
            None: ``REFERENCE_FACTOR`` times as many as above.
        critic: separate: fitted once on trajectories of its own and frozen; same: fitted anew on
            the very trajectories of each estimate.
        critic_trajectories: how many the separate critic is fitted on.
        seed: of all random numbers, with the policy that acts: two policies never have starts or
            noise in common, while settings that are measured on one policy may.
        blocks: most blocks of estimates, whose means are what is kept.
    """

    trajectories: int = 32
    estimates: int = 400
    reference_estimates: int | None = None
    critic: str = "separate"
    critic_trajectories: int = 512
    seed: int = 0
    blocks: int = MOST_BLOCKS

    def __post_init__(self) -> None:
        if not isinstance(self.critic, str) or self.critic not in ("separate", "same"):
            raise UsageError(f"Expected `critic` to be separate or same, got {shown(self.critic)}.")
        least = {"trajectories": 1, "estimates": 2, "critic_trajectories": 1, "seed": 0}
        for name, bound in least.items():
            value = checked(name, getattr(self, name), minimum=bound)
            object.__setattr__(self, name, value)
        wanted = checked("reference_estimates", self.reference_estimates, int | None, minimum=1)
        object.__setattr__(self, "reference_estimates", wanted)

    @property
    def plan(self) -> Episodes:
        """Independent episodes, of what is sampled beside the estimates."""
        return Episodes(episodes=self.trajectories)

    @property
    def block_size(self) -> int:
        """Estimates in a block."""
        return -(-self.estimates // self.blocks)

    @property
    def num_blocks(self) -> int:
        """Blocks of estimates."""
        return -(-self.estimates // self.block_size)

    @property
    def reference_block_size(self) -> int:
        """Reference estimates in a block; there are as many blocks as of the estimates."""
        wanted = self.reference_estimates or REFERENCE_FACTOR * self.estimates
        return -(-wanted // self.num_blocks)


@dataclass(frozen=True)
class Row:
    """One estimator's results.

    Attributes:
        estimator: its label.
        agent: its hyperparameters.
        plan: how its trajectories were sampled.
        estimates: how many independent estimates there are.
        steps: environment steps of one, on average.
        properties: bias, variance, direction.
        p_unbiased: p-value of E ĝ = g*, corrected for the number of estimators (``nested_holm``).
        p_direction: of E ĝ = c · g*, c > 0; the same.
        quantities: what it is compared with others by.
    """

    estimator: str
    agent: Agent
    plan: str
    estimates: int
    steps: float
    properties: Properties
    p_unbiased: float
    p_direction: float
    quantities: Quantities = field(repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """Which of ``statistics.VERDICTS``."""
        return verdict(self.properties, self.p_unbiased, self.p_direction)


@dataclass(frozen=True)
class Measurement:
    """Results of ``measure``.

    Attributes:
        problem: policy and environment.
        settings: budget and seed.
        rows: one per estimator.
        reference: where g* is from.
        gradient: g* ``[P]``.
        explained_variance: of each separate critic, on fresh trajectories.
        seconds: spent on environments, and in all.
        interrupted: whether it was ended early; what was complete is kept.
    """

    problem: Problem
    settings: Settings
    rows: tuple[Row, ...]
    reference: str
    gradient: NDArray[np.float64]
    explained_variance: dict[str, float]
    seconds: dict[str, float]
    interrupted: bool = False

    def row(self, estimator: str) -> Row:
        """Of an estimator, by its label or its short name.

        Raises:
            UsageError: if there is none.
        """
        for row in self.rows:
            if estimator in (row.estimator, short_label(row.estimator)):
                return row
        known = ", ".join(row.estimator for row in self.rows)
        raise UsageError(f"Expected one of the estimators measured ({known}), got {estimator!r}.")

    def compare(self, a: str, b: str, quantity: str = "relative_variance") -> Comparison:
        """How an estimator differs from another one, with a test of the difference.

        Args:
            a: its label or short name.
            b: that of the other one.
            quantity: of ``statistics.RATIOS`` or ``statistics.DIFFERENCES``.
        """
        return compare(self.row(a).quantities, self.row(b).quantities, quantity)


@dataclass
class _Steps:
    """Environment steps of estimates."""

    total: int = 0
    estimates: int = 0

    def add(self, batch: Trajectories) -> None:
        self.total += int(batch.num_steps.sum())
        self.estimates += len(batch.mask)

    @property
    def mean(self) -> float:
        return self.total / self.estimates


@dataclass
class Sampler:
    """Trajectories of a problem, many estimates at a time."""

    problem: Problem
    settings: Settings
    seconds: float = 0.0
    _collectors: dict[int, Collector] = field(default_factory=dict, repr=False)

    def estimates_at_once(self, num_estimators: int, beyond: int = 0) -> int:
        """How many estimates fit into memory together, with their trajectories.

        Args:
            num_estimators: of the same trajectories.
            beyond: steps that episodes may go on for after the time limit.
        """
        p = self.problem
        # The variance-optimal baseline takes two gradients of every trajectory.
        per_row = self.numbers_per_step * (p.time_limit + beyond) + 2 * p.network.num_params
        rows = self.settings.trajectories
        # Every estimate once in single and once in double precision.
        per_estimate = per_row * rows + 3 * num_estimators * p.network.num_params
        return max(1, min(NUMBERS_IN_MEMORY // per_estimate, ROWS_AT_ONCE // rows))

    @property
    def numbers_per_step(self) -> int:
        """For ``sampling.memory``."""
        return numbers_per_step(self.problem.network.width, self.problem.info.num_actions)

    def sample(
        self,
        role: int,
        indices: range,
        plan: Episodes | Groups,
        *,
        act: Tensor,
        beyond: int = 0,
    ) -> Trajectories:
        """Trajectories ``[S, N, T]`` of the estimates with these numbers.

        Groups of independent starts are the very trajectories of independent episodes.

        Args:
            role: what they are for; different roles have nothing in common.
            indices: numbers of the estimates.
            plan: how many trajectories, and which of them start alike.
            act: parameters of the policy, ``[P]``.
            beyond: steps that episodes may go on for after the time limit. What they bring counts
                as reward of the last step within it.
        """
        start = time.perf_counter()
        policy, sharing = policy_number(act), starts_shared_by(plan)
        seeds: list[Seed] = [(self.settings.seed, policy, role, sharing, m) for m in indices]
        limit = self.problem.time_limit
        trajectories, _, _ = self._collector(limit + beyond).collect(
            plan,
            self.problem.network.bind(act.expand(len(seeds), -1)),
            Streams(seeds, starts=Purpose.LAB_STARTS, actions=Purpose.LAB_ACTIONS),
        )
        self.seconds += time.perf_counter() - start
        return fold(trajectories, limit, self.problem.gamma)

    def _collector(self, limit: int) -> Collector:
        """Of environments with a time limit."""
        if limit not in self._collectors:
            make = partial(
                pgzoo_envs.make,
                self.problem.env,
                max_episode_steps=limit,
                discretise=self.problem.policy_kind == "tabular",
            )
            self._collectors[limit] = Collector(make, numbers_per_step=self.numbers_per_step)
        return self._collectors[limit]

    def close(self) -> None:
        """Give the environments back."""
        for collector in self._collectors.values():
            collector.close()


def fold(trajectories: Trajectories, limit: int, gamma: float) -> Trajectories:
    """Episodes cut off at a time limit, with what they went on to earn as reward of the last step.

    Returns from every step on stay what they were.

    Args:
        trajectories: complete episodes ``[S, N, T]``.
        limit: steps that remain, at most.
        gamma: discount factor.
    """
    if trajectories.mask.shape[2] <= limit:
        return trajectories
    beyond = trajectories.mask[:, :, limit:]
    follows = gamma * episode_return(trajectories.reward[:, :, limit:], beyond, gamma)
    kept = trajectories.map(lambda x: x[:, :, :limit].clone(), trajectories.group_size)
    kept.reward[:, :, -1] += follows
    kept.truncated[:, :, -1] |= beyond[:, :, 0]
    return kept


def starts_shared_by(plan: Plan) -> int:
    """How many adjacent trajectories start from one state."""
    return plan.group_size if getattr(plan, "starts", "shared") == "shared" else 1


def check_used(
    given: Collection[str],
    problem: Problem,
    estimators: Sequence[Estimator],
    settings: Settings,
) -> None:
    """Raise a ``UsageError`` for a setting that would change nothing.

    Args:
        given: names of the settings that a user chose.
        problem: that is measured.
        estimators: that are measured on it.
        settings: with what was chosen.
    """
    exact = problem.exact_mdp is not None
    fits = bool(_critics_of(estimators))
    separate = fits and settings.critic == "separate"
    void = {
        "group_size": (
            all(e.group_size == 1 for e in estimators),
            "an estimator that samples in groups",
        ),
        "critic": (not fits, "an estimator that has a critic"),
        "critic_trajectories": (exact and not separate, "an estimator with a separate critic"),
        "reference_estimates": (exact, "an environment whose gradient is not known exactly"),
    }
    for name, (is_void, needed) in void.items():
        if name in given and is_void:
            raise UsageError(
                f"Expected {needed} with `{name}`, got none: there is nothing that `{name}` would "
                "change. Leave it out."
            )
    for estimator in estimators:
        if problem.behaviour is None and "clip" in estimator.given:
            raise UsageError(
                f"Expected no `clip`, got {estimator.label}: on the batches of the policy itself "
                "every ratio is 1, and nothing is clipped. The study drift measures what "
                "clipping does."
            )


def measure(
    problem: Problem,
    estimators: Sequence[Estimator],
    settings: Settings | None = None,
    progress: Progress = lambda share, what: None,
) -> Measurement:
    """Bias, variance and direction of estimators, at equal budget.

    Ctrl-C ends the sampling and keeps what is complete.

    Args:
        problem: frozen policy, environment and objective.
        estimators: what to compare, as from ``parse_estimators``.
        settings: budget and seed.
        progress: called with the share that is done and what is being done.

    Raises:
        UsageError: if an estimator's Ψ is not what it should be.
    """
    settings = settings or Settings()
    for estimator in estimators:
        if settings.trajectories % estimator.group_size:
            raise UsageError(
                f"Expected groups of {estimator.group_size} for {estimator.label} to fill the "
                f"{settings.trajectories} trajectories of an estimate."
            )
    of_a_block = 2 * max(len(estimators), 1) * problem.network.num_params
    most = max(LEAST_BLOCKS, NUMBERS_IN_BLOCKS // of_a_block)
    settings = dataclasses.replace(settings, blocks=min(settings.blocks, most))
    started = time.perf_counter()
    sampler = Sampler(problem, settings)
    interrupted = False
    try:
        frozen, explained = _fit_critics(problem, estimators, sampler, progress)
        reference = _reference(problem, settings, sampler, frozen, progress)
        sums = [BlockSums(settings.block_size) for _ in estimators]
        steps = [_Steps() for _ in estimators]
        try:
            for done in _sample_all(problem, estimators, settings, sampler, frozen, sums, steps):
                progress(done / (settings.num_blocks * settings.block_size), "sampling")
        except KeyboardInterrupt:
            interrupted = True
    finally:
        sampler.close()
    found = [s.blocks() for s in sums]
    complete = same_number([b for b in found if b is not None])
    if complete:
        reference = reference.regrouped(len(complete[0].mean))
    return Measurement(
        problem=problem,
        settings=dataclasses.replace(settings, reference_estimates=reference.estimates),
        rows=_rows(estimators, complete, steps, reference, settings.seed),
        reference=_origin(reference),
        gradient=reference.gradient,
        explained_variance=explained,
        seconds={"environment": sampler.seconds, "total": time.perf_counter() - started},
        interrupted=interrupted,
    )


def _sample_all(
    problem: Problem,
    estimators: Sequence[Estimator],
    settings: Settings,
    sampler: Sampler,
    frozen: Critics,
    sums: list[BlockSums],
    steps: list[_Steps],
) -> Iterator[int]:
    """Fill the sums, plan by plan and chunk by chunk; yields how many estimates are done."""
    total = settings.num_blocks * settings.block_size
    plans = [e.agent.plan.of_episodes(settings.trajectories) for e in estimators]
    for indices in _chunks(total, sampler.estimates_at_once(len(estimators))):
        for plan in dict.fromkeys(plans):
            members = [i for i, mine in enumerate(plans) if mine == plan]
            batch = sampler.sample(SAMPLE, indices, plan, act=problem.acting)
            chosen = [estimators[i] for i in members]
            pairs = _with_outputs(problem, chosen, settings, frozen, batch, indices)
            estimates = gradient_estimates(pairs).double().numpy()
            for i, mine in zip(members, estimates.swapaxes(0, 1), strict=True):
                sums[i].add(mine)
                steps[i].add(batch)
        yield indices.stop


def _chunks(total: int, size: int) -> Iterator[range]:
    for first in range(0, total, size):
        yield range(first, min(first + size, total))


def _with_outputs(
    problem: Problem,
    estimators: Sequence[Estimator],
    settings: Settings,
    frozen: Critics,
    batch: Trajectories,
    indices: range,
) -> list[tuple[Agent, Outputs]]:
    """Each agent with what the policy, and the critic that it asks for, say of the batch."""
    theta = problem.theta.expand(len(indices), -1)
    outputs: dict[critics.Kind | None, Outputs] = {None: Model(problem.network, theta).on(batch)}
    for kind in _critics_of(estimators):
        if settings.critic == "same":
            policy = policy_number(problem.acting)
            seeds: list[Seed] = [(settings.seed, policy, CRITIC, m) for m in indices]
            network, phi = critics.fit(problem, kind, batch, seeds)
        else:
            network, phi = frozen[kind]
            phi = phi.expand(len(indices), -1)
        outputs[kind] = outputs[None].with_critic(network, phi)
    return [
        (e.agent, outputs[None if e.agent.critic is None else e.agent.critic.of])
        for e in estimators
    ]


def _critics_of(estimators: Sequence[Estimator]) -> list[critics.Kind]:
    """The kinds of critics that estimators ask for."""
    return sorted({e.agent.critic.of for e in estimators if e.agent.critic is not None})


def _fit_critics(
    problem: Problem,
    estimators: Sequence[Estimator],
    sampler: Sampler,
    progress: Progress,
) -> tuple[Critics, dict[str, float]]:
    """Critics on separate data, and the variance they explain of yet other data."""
    kinds = set(_critics_of(estimators))
    if sampler.settings.critic == "same":
        kinds.clear()  # they are fitted on each estimate's own trajectories
    if problem.exact_mdp is None:
        kinds |= {"state"}  # the sampled reference needs it
    if not kinds:
        return {}, {}
    progress(0.0, "fitting critics")
    settings, policy = sampler.settings, policy_number(problem.acting)
    check_batch(settings.critic_trajectories, 1, sampler.numbers_per_step)
    fitting, fresh = (
        joined_rows(
            [
                sampler.sample(
                    role, indices, settings.plan, act=problem.acting, beyond=problem.steps_beyond
                )
                for indices in _chunks(-(-rows // settings.trajectories), 8)
            ]
        )
        for role, rows in (
            (CRITIC, settings.critic_trajectories),
            (HELD_OUT, -(-settings.critic_trajectories // 4)),
        )
    )
    rows, steps = fitting.mask.shape[1:]
    check_batch(rows, steps, sampler.numbers_per_step)
    fitted = {
        kind: critics.fit(problem, kind, fitting, [(settings.seed, policy, CRITIC, 0)])
        for kind in sorted(kinds)
    }
    return fitted, {
        kind: critics.quality(problem, *critic, fresh) for kind, critic in fitted.items()
    }


def _reference(
    problem: Problem,
    settings: Settings,
    sampler: Sampler,
    frozen: Critics,
    progress: Progress,
) -> Reference:
    """g*: exact on a finite MDP, else the mean of an independent sample of unbiased estimates."""
    if problem.exact_mdp is not None:
        exact = exact_gradient(
            problem.exact_mdp,
            problem.network,
            problem.theta.unsqueeze(0),
            horizon=problem.time_limit,
            gamma=problem.gamma,
            continues=problem.limit == "continues",
        )
        return Reference(exact[0].numpy())
    agent = ReinforceBaseline(baseline="value", gamma=problem.gamma, gamma_t=True)
    network, phi = frozen["state"]
    sums = BlockSums(settings.reference_block_size)
    total = settings.num_blocks * settings.reference_block_size
    beyond = problem.steps_beyond
    for indices in _chunks(total, sampler.estimates_at_once(1, beyond)):
        progress(indices.start / total, "reference gradient")
        batch = sampler.sample(REFERENCE, indices, settings.plan, act=problem.theta, beyond=beyond)
        count = len(indices)
        theta = problem.theta.expand(count, -1)
        outputs = Model(problem.network, theta, network, phi.expand(count, -1)).on(batch)
        sums.add(gradient_estimates([(agent, outputs)])[:, 0].double().numpy())
    blocks = sums.blocks()
    assert blocks is not None
    return Reference(blocks.mean.mean(0), blocks)


def _origin(reference: Reference) -> str:
    """Where g* is from."""
    if reference.estimates is None:
        return "exact"
    count = f"{reference.estimates:,}"
    return f"mean of {count} independent estimates of REINFORCE with a learned baseline"


def plan_in_words(plan: Plan) -> str:
    """As in ``lab.csv``."""
    if plan.group_size == 1:
        return "independent"
    words = f"groups of {plan.group_size}"
    return words if starts_shared_by(plan) > 1 else f"{words}, independent starts"


def _rows(
    estimators: Sequence[Estimator],
    blocks: Sequence[Blocks],
    steps: Sequence[_Steps],
    reference: Reference,
    seed: int,
) -> tuple[Row, ...]:
    """What the complete blocks say; nothing, if an estimator has too few."""
    if len(blocks) < len(estimators):
        return ()
    results = [properties(b, reference, seed) for b in blocks]
    corrected = nested_holm([r.p_unbiased for r in results], [r.p_direction for r in results])
    return tuple(
        Row(
            estimator=e.label,
            agent=e.agent,
            plan=plan_in_words(e.agent.plan),
            estimates=b.estimates,
            steps=n.mean,
            properties=r,
            p_unbiased=float(unbiased),
            p_direction=float(direction),
            quantities=quantities(b, reference),
        )
        for e, b, n, r, unbiased, direction in zip(
            estimators, blocks, steps, results, *corrected, strict=True
        )
    )
