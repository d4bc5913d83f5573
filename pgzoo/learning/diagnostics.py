"""Diagnostics of the gradient while training, from the batch that was just sampled.

The variance of the estimate is found by the jackknife: a block of independent units is left out,
Ψ and the surrogate are computed anew from the others, as if only they had been sampled, and the
spread of the resulting gradients says how much the estimate would vary. So baselines and
standardisations that tie the units of a batch together are accounted for. The unit of independence
is a trajectory, a group, or a segment, as the sampling plan says.

One batch has few units, and a ratio of two of its figures says little. So variance and signal are
recorded apart, and whoever reads them pools them over seeds and diagnoses (``records.pooling``).
All figures are of the method as its paper defines it, without the rescaling that training adds; of
a method that learns from minibatches they are those of one minibatch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pgzoo.agents import AGENTS, Agent
from pgzoo.errors import UsageError
from pgzoo.estimators import explained_variance, kl_estimate, step_mean
from pgzoo.estimators.order import sum_in_order
from pgzoo.learning.gradients import effective_weights, weigh
from pgzoo.learning.update import Metrics
from pgzoo.policies.model import Model, Outputs
from pgzoo.policies.score_functions import ScoreFunctions
from pgzoo.records.columns import (
    DIAGNOSED,
    QUANTILES,
    signal_column,
    variance_column,
)
from pgzoo.records.pooling import LEAST_BLOCKS
from pgzoo.sampling.batch import Batch, of_actions
from pgzoo.sampling.plan import Groups, Segments

MOST_BLOCKS = 8
MOST_OF_QUANTILE = 2**23
"""Of more numbers than torch.quantile takes, evenly spaced ones stand for all."""


class Diagnostician:
    """Says when the gradient is due to be diagnosed, and of whom, and what is found.

    A diagnosis costs several times what learning from the same batch does. So each is of one
    replica, or of as many as have four blocks between them, in turn; what is shown is pooled over
    all of them anyway. When it is a replica's turn depends on its own steps and its place in the
    run alone, not on how far the others are.

    Args:
        agent: whose training is watched.
        times: diagnoses in a run, spread evenly over its steps; 0: none.
        compare: whether the other estimators that fit are diagnosed on the same batches.
        replicas: of the whole run, who take turns.
    """

    def __init__(self, agent: Agent, times: int, compare: bool, replicas: int) -> None:
        self._times, self._replicas = times, replicas
        self._agent = agent.as_defined()
        units = agent.plan.num_rows // agent.plan.group_size
        self.at_once = -(-LEAST_BLOCKS // min(units, MOST_BLOCKS))
        self._others = comparable(agent) if compare and times else {}

    @property
    def columns(self) -> list[str]:
        """Of ``metrics.csv``, those that not every iteration fills."""
        if not self._times:
            return []
        compared = [c(name) for name in self._others for c in (variance_column, signal_column)]
        return [*DIAGNOSED, *compared]

    def is_due(self, position: int, before: int, after: int) -> bool:
        """Whether an iteration takes a replica past a diagnosis that it has a turn in.

        There is one at the start of its training, and one after every part of it.

        Args:
            position: of the replica in the run.
            before: environment steps that it had taken before the iteration.
            after: and after it.
        """
        if not self._times:
            return False
        budget, k = self._agent.steps, self.at_once
        first, last = (self._times * min(n, budget) // budget for n in (before, after))
        due = range(first + (before > 0), last + 1)
        return any((position - n * k) % self._replicas < k for n in due)

    def figures(self, outputs: Outputs, theta: Tensor, turn: Sequence[int]) -> Metrics:
        """What there is to say of an iteration, ``[S]`` each; NaN of replicas whose turn it is not.

        Args:
            outputs: of the batch, under the policies that collected it.
            theta: parameters after the update, ``[S, P]``.
            turn: the replicas, of these S, whose turn it is.
        """
        replicas = len(theta)
        if not turn:
            return {}
        index = torch.tensor(turn, device=theta.device)
        if len(turn) < replicas:
            outputs, theta = _of_replicas(outputs, index), theta[index]
        found = diagnose(self._agent, outputs) | drift(outputs, theta)
        for name, other in self._others.items():
            variance, signal = variance_and_signal(other, outputs)
            found |= {variance_column(name): variance, signal_column(name): signal}
        nothing = theta.new_full((replicas,), torch.nan)
        return {k: nothing.index_copy(0, index, v.to(nothing)) for k, v in found.items()}


def _of_replicas(outputs: Outputs, index: Tensor) -> Outputs:
    m, t = outputs.model, outputs.trajectories
    phi, reference = (None if x is None else x[index] for x in (m.phi, m.reference))
    model = Model(m.policy, m.theta[index], m.critic_network, phi, reference)
    return model.on(t.replicas(index))


def diagnose(agent: Agent, outputs: Outputs) -> Metrics:
    """Figures of the agent's estimate on a batch, ``[S]`` each; NaN where it cannot be said.

    - ``gradient_variance``: trace of the estimate's covariance; ``gradient_signal``: ‖ĝ‖² less
      that, an unbiased figure of ‖E ĝ‖² that may be negative.
    - ``gradient_blocks``: of how many independent parts the variance is found.
    - ``split_half_cosine``: between the estimates from both halves of the batch.
    - ``psi_q…``, ``weight_q…``: quantiles of Ψ, and of the effective weight of a step relative to
      an average one, n times what is put before its ∇log π, of n steps.
    - ``baseline_explained_variance``: 1 − Var(Ψ) / Var(return), where Ψ is return − baseline.
      Negative where the baseline adds more variance to Ψ than it takes away.
    """
    keep = _of_one_minibatch(agent, outputs.trajectories.mask)
    batch, weights = _weighted(agent, outputs, outputs.scores.log_probs, keep)
    figures = _distributions(agent, outputs, batch, weights)
    blocks = _blocks(agent, outputs.trajectories.mask)
    figures["gradient_blocks"] = batch.weight.new_full((len(batch.mask),), len(blocks))
    if len(blocks) < 2:
        return figures
    half = len(blocks) // 2
    halves = [torch.cat(blocks[:half]), torch.cat(blocks[half:])]
    choices = halves if len(blocks) == 2 else [*halves, *_without_each(blocks)]
    try:
        whole, first, second, *others = _estimates(agent, outputs, [None, *choices], keep)
    except UsageError:  # a user's Ψ may need more than a part of the batch
        return figures
    variance = jackknife_variance(others or [first, second])
    return figures | {
        "gradient_variance": variance,
        "gradient_signal": whole.square().sum(-1) - variance,
        "split_half_cosine": torch.cosine_similarity(first, second, dim=-1),
    }


def variance_and_signal(agent: Agent, outputs: Outputs) -> tuple[Tensor, Tensor]:
    """Variance, and ‖ĝ‖² less it, ``[S]`` each, that an agent would have on a batch."""
    mask = outputs.trajectories.mask
    keep, blocks = _of_one_minibatch(agent, mask), _blocks(agent, mask)
    if len(blocks) < 2:
        nothing = outputs.trajectories.reward.new_full((len(outputs.model.theta),), torch.nan)
        return nothing, nothing
    whole, *left_out = _estimates(agent, outputs, [None, *_without_each(blocks)], keep)
    variance = jackknife_variance(left_out)
    return variance, whole.square().sum(-1) - variance


def comparable(agent: Agent) -> dict[str, Agent]:
    """The estimators of the zoo that could have used an agent's batches and critic, by name."""
    found: dict[str, Agent] = {}
    for name, entry in AGENTS.items():
        for options in entry.agent.in_zoo:
            other = entry.agent.with_options(**options, **_like(entry.agent, agent))
            if _fits(other, agent):
                words = [name, *(_word(k, v) for k, v in options.items())]
                found[" ".join(words)] = other
    return found


def _like(kind: type[Agent], agent: Agent) -> dict[str, Any]:
    """Options of a batch that is an agent's."""
    options: dict[str, Any] = {"gamma": agent.gamma}
    if isinstance(kind.plan, Groups) and agent.plan.group_size > 1:
        options |= {"episodes": agent.plan.num_rows, "group_size": agent.plan.group_size}
    return options


def _fits(other: Agent, agent: Agent) -> bool:
    """Whether an estimator can be computed on an agent's batches, with its critic."""
    if isinstance(other.plan, Groups) and agent.plan.group_size == 1:
        return False
    if not agent.plan.complete and not isinstance(other.plan, Segments):
        return False
    if other.critic is None:
        return True
    has = None if agent.critic is None else agent.critic.of
    return other.critic.of == has or (other.critic.of == "state" and has == "action")


def _word(option: str, value: Any) -> str:
    return option.replace("_", "-") if value is True else f"{value}"


def drift(outputs: Outputs, theta: Tensor) -> Metrics:
    """How far an update went: KL(π_old ‖ π) in nats per step, and what the ratios leave.

    ``ratio_ess`` is (Σρ)² / (n Σρ²), the share of the batch that importance weighting would keep.

    Args:
        outputs: of the batch, under the policies that collected it.
        theta: parameters after the update, ``[S, P]``.
    """
    t = outputs.trajectories
    moved = Model(outputs.model.policy, theta).on(t).log_probs
    log_prob = of_actions(moved, t.action)
    ratio = torch.where(t.mask, (log_prob - t.log_prob).exp(), 0)
    squares = sum_in_order(ratio.square(), 2)
    return {
        "kl_behaviour": step_mean(kl_estimate(t.log_prob, log_prob, "k3"), t.mask),
        "ratio_ess": sum_in_order(ratio, 2).square() / (t.num_steps * squares),
    }


def _blocks(agent: Agent, mask: Tensor) -> list[Tensor]:
    """Rows ``[n]`` of each of at most ``MOST_BLOCKS`` blocks of whole units.

    Each has a part in the minibatch, if the agent learns from such.
    """
    units = torch.arange(mask.shape[1]).view(-1, agent.plan.group_size)
    dealt = mask.shape[1] if agent.plan.complete else mask[0].numel()
    most = max(1, dealt // agent.surrogate.minibatches)
    return [b.flatten() for b in units.tensor_split(min(len(units), MOST_BLOCKS, most))]


def _without_each(blocks: Sequence[Tensor]) -> list[Tensor]:
    """Rows of all blocks but one, for each."""
    return [torch.cat([*blocks[:i], *blocks[i + 1 :]]) for i in range(len(blocks))]


def _of_one_minibatch(agent: Agent, mask: Tensor) -> Tensor | None:
    """Rows ``[N, 1]`` or steps ``[N, T]`` that one minibatch has, if the agent learns from such.

    The choice is a fixed one: no other replica has a part in it.
    """
    parts, (rows, steps) = agent.surrogate.minibatches, mask.shape[1:]
    if parts == 1:
        return None
    if agent.plan.complete:
        return (torch.arange(rows, device=mask.device) % parts == 0).unsqueeze(1)
    shuffled = np.random.default_rng(0).permutation(rows * steps)
    return torch.from_numpy(shuffled % parts == 0).view(rows, steps).to(mask.device)


def _weighted(
    agent: Agent, outputs: Outputs, log_probs: Tensor, keep: Tensor | None
) -> tuple[Batch, Tensor]:
    """The batch with Ψ, and its effective weights ``[S, N, T, A]``."""
    batch, _ = weigh(agent, outputs)
    if keep is not None:
        mask = batch.mask & keep
        dealt, kept = (
            (m.any(-1) if agent.plan.complete else m.flatten(1)).sum(1) for m in (batch.mask, mask)
        )
        share = dealt / kept.clamp(min=1)
        batch = dataclasses.replace(
            batch,
            trajectories=dataclasses.replace(batch.trajectories, mask=mask),
            weight=batch.weight * mask * share[:, None, None],
        )
    return batch, effective_weights(agent, log_probs, batch)


def _estimates(
    agent: Agent,
    outputs: Outputs,
    choices: Sequence[Tensor | None],
    keep: Tensor | None,
) -> list[Tensor]:
    """The estimate ``[S, P]`` if only some rows had been sampled, for each choice of rows."""
    scores, trajectories = outputs.scores, outputs.trajectories
    weights = []
    for rows in choices:
        if rows is None:
            weights.append(_weighted(agent, outputs, scores.log_probs, keep)[1])
            continue
        part = outputs.model.on(trajectories.rows(rows.expand(len(trajectories.mask), -1)))
        kept = keep if keep is None else keep[rows]
        found = _weighted(agent, part, scores.log_probs[:, rows], kept)[1]
        full = found.new_zeros((*trajectories.mask.shape, found.shape[-1]))
        full[:, rows] = found
        weights.append(full)
    return _sums(agent, scores, trajectories.action, weights)


def _sums(
    agent: Agent, scores: ScoreFunctions, action: Tensor, weights: Sequence[Tensor]
) -> list[Tensor]:
    """Σ w ∇log π ``[S, P]`` for each of the weights ``[S, N, T, A]``."""
    if agent.surrogate.every_action:
        return [scores.weighted_sums_over_actions(w) for w in weights]
    taken = [of_actions(w, action) for w in weights]
    return list(scores.weighted_sums(torch.stack(taken, dim=1)).unbind(1))


def jackknife_variance(left_out: Sequence[Tensor]) -> Tensor:
    """Trace of the covariance ``[S]`` from the estimates ``[S, P]`` without each of L blocks.

    On average it is the truth where blocks add up independently, and never less (Efron & Stein
    1981). Where they share a baseline or a scale it is more, by the order of 1/N: measured on 16
    (8) trajectories, 6 to 11% (8) with the batch's mean, 13 to 16% (21) with that of each time
    step, 18 to 20% (28 to 36) with whitening.
    """
    estimates = torch.stack(list(left_out), dim=1)
    spread = estimates - estimates.mean(1, keepdim=True)
    return (len(left_out) - 1) / len(left_out) * spread.square().sum((1, 2))


def _distributions(agent: Agent, outputs: Outputs, batch: Batch, weights: Tensor) -> Metrics:
    """Quantiles of Ψ and of effective weights; explained variance of the baseline."""
    mask = batch.mask
    psi = batch.psi if agent.surrogate.every_action else batch.psi.unsqueeze(-1)
    steps = mask.sum((1, 2))
    relative = of_actions(weights, batch.action) * steps[:, None, None]
    figures = _quantiles("psi", psi, mask) | _quantiles("weight", relative.unsqueeze(-1), mask)
    unknown = batch.weight.new_full((len(mask),), torch.nan)
    missing = {k: unknown for k in DIAGNOSED if k not in (*figures, "kl_behaviour", "ratio_ess")}
    returns = agent.credited_return(outputs.trajectories, outputs)
    if returns is not None:
        explained = explained_variance(returns - batch.psi, returns, mask)
        missing["baseline_explained_variance"] = explained
    return missing | figures


def _quantiles(name: str, values: Tensor, mask: Tensor) -> Metrics:
    """Of ``[S, N, T, A]`` over the real steps."""
    levels = torch.tensor(QUANTILES, dtype=values.dtype, device=values.device)
    real = [v[m].flatten() for v, m in zip(values, mask, strict=True)]
    rows = [
        torch.quantile(x[:: 1 + len(x) // MOST_OF_QUANTILE], levels)
        if len(x)
        else torch.full_like(levels, torch.nan)
        for x in real
    ]
    table = torch.stack(rows, dim=1)
    return {f"{name}_q{100 * q:02.0f}": row for q, row in zip(QUANTILES, table, strict=True)}
