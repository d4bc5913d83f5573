"""Diagnostics of the gradient while training, from the batch that was just sampled.

The variance of the estimate is found by the jackknife: a block of independent units is left out,
Ψ and the surrogate are computed anew from the others, as if only they had been sampled, and the
spread of the resulting gradients says how much the estimate would vary. So baselines and
standardisations that tie the units of a batch together are accounted for. The unit of independence
is a trajectory, a group, or a segment; see ``unit_of_independence``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pgzoo.agents import agent_class
from pgzoo.agents.base import Agent
from pgzoo.errors import UsageError
from pgzoo.estimators import aggregation_weights, kl_estimate
from pgzoo.estimators import explained_variance as explained_variance
from pgzoo.learning.gradients import effective_weights, weigh
from pgzoo.policies.model import Model, of_actions
from pgzoo.policies.score_functions import ScoreFunctions
from pgzoo.sampling.batch import Batch
from pgzoo.sampling.collect import Trajectories

Metrics = dict[str, Tensor]
"""Figures of one iteration, ``[S]`` each."""

MOST_BLOCKS = 8
MOST_OF_QUANTILE = 2**23
"""Of more numbers than torch.quantile takes, evenly spaced ones stand for all."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FIGURES = (
    "gradient_variance",
    "relative_variance",
    "snr",
    "split_half_cosine",
    "noise_scale",
    *(f"psi_q{100 * q:02.0f}" for q in QUANTILES),
    *(f"weight_q{100 * q:02.0f}" for q in QUANTILES),
    "baseline_explained_variance",
    "kl_behaviour",
    "ratio_ess",
)
COMPARED = "relative_variance_of_"
UNIT = "unit_of_independence"


def unit_of_independence(agent: Agent) -> str:
    """What the parts of a batch are that do not depend on each other."""
    if agent.plan == "segments":
        return "segment"
    return "group" if agent.rollouts_per_start > 1 else "trajectory"


def diagnose(agent: Agent, model: Model, trajectories: Trajectories) -> Metrics:
    """Figures of the agent's estimate on a batch, ``[S]`` each; NaN where it cannot be said.

    Where noise hides the signal, relative variance and noise scale are infinite.

    - ``gradient_variance``: trace of the estimate's covariance; ``relative_variance``: divided by
      the squared length of its mean; ``snr``: the inverse.
    - ``split_half_cosine``: between the estimates from both halves of the batch.
    - ``noise_scale``: units in the batch in which noise and signal would be equally large
      (McCandlish et al. 2018, appendix A.1; the two batch sizes are all blocks, and all but one).
    - ``psi_q…``, ``weight_q…``: quantiles of Ψ, and of the effective weight of a step relative to
      an average one, N·T times what is put before its ∇log π.
    - ``baseline_explained_variance``: 1 − Var(Ψ) / Var(return), where Ψ is return − baseline.
      Negative where the baseline adds more variance to Ψ than it takes away.
    """
    scores = model.scores(trajectories)
    batch, rms = weigh(agent, model, trajectories)
    weights = effective_weights(agent, scores.log_probs, batch)
    figures = _distributions(agent, model, batch, rms, weights)
    blocks = _blocks(trajectories.mask.shape[1], agent.rollouts_per_start)
    if len(blocks) < 2:
        return figures
    half = len(blocks) // 2
    halves = [torch.cat(blocks[:half]), torch.cat(blocks[half:])]
    try:
        parts = [
            _weights_of_rows(agent, model, trajectories, scores, rows)
            for rows in (*halves, *_without_each(blocks))
        ]
    except UsageError:  # a user's Ψ may need more than a part of the batch
        return figures
    whole, first, second, *left_out = _sums(scores, trajectories, batch.psi, [weights, *parts])
    variance = _jackknife(left_out)
    signal = whole.square().sum(-1) - variance
    units = trajectories.mask.shape[1] / agent.rollouts_per_start
    return figures | {
        "gradient_variance": variance,
        "relative_variance": _ratio(variance, signal),
        "snr": signal / variance.clamp(min=1e-30),
        "split_half_cosine": torch.cosine_similarity(first, second, dim=-1),
        "noise_scale": units * _ratio(variance, signal),
    }


def compare_estimators(agent: Agent, model: Model, trajectories: Trajectories) -> Metrics:
    """Relative variance ``[S]`` that every estimator that fits the sampling plan would have had."""
    scores = model.scores(trajectories)
    blocks = _blocks(trajectories.mask.shape[1], agent.rollouts_per_start)
    figures = {}
    for name, other in comparable(agent).items():
        figure = trajectories.reward.new_full((len(model.theta),), torch.nan)
        if len(blocks) > 1:
            batch, _ = weigh(other, model, trajectories)
            parts = [
                effective_weights(other, scores.log_probs, batch),
                *(
                    _weights_of_rows(other, model, trajectories, scores, rows)
                    for rows in _without_each(blocks)
                ),
            ]
            whole, *left_out = _sums(scores, trajectories, batch.psi, parts)
            variance = _jackknife(left_out)
            figure = _ratio(variance, whole.square().sum(-1) - variance)
        figures[COMPARED + name] = figure
    return figures


def comparable(agent: Agent) -> dict[str, Agent]:
    """The estimators that could have used an agent's batches and critic, by name."""
    found: dict[str, Agent] = {}

    def add(label: str, name: str, **options: Any) -> None:
        found[label] = agent_class(name).as_defined(gamma=agent.gamma, **options)

    if agent.plan == "episodes":
        rows: dict[str, Any] = {"episodes": agent.num_rows}
        add("reinforce", "reinforce", **rows)
        add("reinforce_whole_return", "reinforce", whole_return=True, **rows)
        for baseline in ("batch-mean", "time-step-mean", "optimal"):
            name = f"reinforce_{baseline.replace('-', '_')}"
            add(name, "reinforce-baseline", baseline=baseline, **rows)
        add("reinforce_pp", "reinforce++", **rows)
        if (k := agent.rollouts_per_start) > 1:
            groups = rows | {"group_size": k}
            add("rloo", "rloo", **groups)
            add("rloo_reward_to_go", "rloo", reward_to_go=True, **groups)
            add("grpo", "grpo", **groups)
            add("dr_grpo", "dr-grpo", **groups)
            add("reinforce_pp_baseline", "reinforce++-baseline", **groups)
        if agent.critic == "state":
            add("reinforce_value", "reinforce-baseline", baseline="value", **rows)
    if agent.critic != "none":
        for lam in (0.0, 0.95, 1.0):
            add(f"actor_critic_lam_{lam:g}", "actor-critic", lam=lam)
        add("ppo", "ppo")
    if agent.critic == "action":
        add("all_actions", "all-actions", sampling=agent.plan)
    return found


def drift(model: Model, theta: Tensor, trajectories: Trajectories) -> Metrics:
    """How far an update went: KL(π_old ‖ π) in nats per step, and what the ratios leave.

    ``ratio_ess`` is (Σρ)² / (n Σρ²), the share of the batch that importance weighting would keep.

    Args:
        model: that collected the batch.
        theta: parameters after the update, ``[S, P]``.
        trajectories: the batch.
    """
    mask = trajectories.mask
    moved = Model(model.policy, theta).log_probs(trajectories)
    log_prob = of_actions(moved, trajectories.action)
    weight = aggregation_weights(mask, "step-mean")
    kl = torch.where(mask, kl_estimate(trajectories.log_prob, log_prob, "k3"), 0)
    ratio = torch.where(mask, (log_prob - trajectories.log_prob).exp(), 0)
    steps = mask.sum((1, 2))
    share = ratio.sum((1, 2)).square() / (steps * ratio.square().sum((1, 2)))
    return {"kl_behaviour": (weight * kl).sum((1, 2)), "ratio_ess": share}


def _blocks(num_rows: int, per_unit: int) -> list[Tensor]:
    """Rows ``[n]`` of each of at most ``MOST_BLOCKS`` blocks of whole units."""
    units = torch.arange(num_rows).view(-1, per_unit)
    return [block.flatten() for block in units.tensor_split(min(len(units), MOST_BLOCKS))]


def _without_each(blocks: Sequence[Tensor]) -> list[Tensor]:
    """Rows of all blocks but one, for each."""
    return [torch.cat([*blocks[:i], *blocks[i + 1 :]]) for i in range(len(blocks))]


def _weights_of_rows(
    agent: Agent, model: Model, trajectories: Trajectories, scores: ScoreFunctions, rows: Tensor
) -> Tensor:
    """Effective weights ``[S, N, T, A]`` if only these rows had been sampled; others have 0."""
    mask = trajectories.mask
    model = dataclasses.replace(model, known={})  # nobody will ask for these rows again
    batch, _ = weigh(agent, model, trajectories.rows(rows.expand(len(mask), -1)))
    weights = effective_weights(agent, scores.log_probs[:, rows], batch)
    full = weights.new_zeros((*mask.shape, weights.shape[-1]))
    full[:, rows] = weights
    return full


def _sums(
    scores: ScoreFunctions, trajectories: Trajectories, psi: Tensor, weights: Sequence[Tensor]
) -> list[Tensor]:
    """The estimate ``[S, P]`` that each of the effective weights ``[S, N, T, A]`` makes."""
    if psi.ndim > trajectories.mask.ndim:
        return [scores.weighted_sums_over_actions(w) for w in weights]
    taken = [of_actions(w, trajectories.action) for w in weights]
    return list(scores.weighted_sums(torch.stack(taken, dim=1)).unbind(1))


def _jackknife(left_out: Sequence[Tensor]) -> Tensor:
    """Trace of the covariance ``[S]`` from the estimates ``[S, P]`` without each of L blocks."""
    estimates = torch.stack(list(left_out), dim=1)
    spread = estimates - estimates.mean(1, keepdim=True)
    return (len(left_out) - 1) / len(left_out) * spread.square().sum((1, 2))


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Infinite where noise hides the denominator."""
    return torch.where(denominator > 0, numerator / denominator, torch.inf)


def _distributions(
    agent: Agent, model: Model, batch: Batch, rms: Tensor, weights: Tensor
) -> Metrics:
    """Quantiles of Ψ and of effective weights; explained variance of the baseline."""
    mask, trajectories = batch.mask, batch.trajectories
    psi = batch.psi.unsqueeze(-1) if batch.psi.ndim == mask.ndim else batch.psi
    relative = of_actions(weights, batch.action) * trajectories.num_steps[:, None, None]
    figures = _quantiles("psi", psi, mask)
    figures |= _quantiles("weight", relative.unsqueeze(-1), mask)
    unknown = psi.new_full((len(mask),), torch.nan)
    missing = {k: unknown for k in FIGURES if k not in figures}
    returns = agent.returns(trajectories, model)
    if returns is not None:
        unscaled = batch.psi * (rms[:, None, None] if agent.psi_scale == "rms" else 1)
        explained = explained_variance(returns - unscaled, returns, mask)
        missing["baseline_explained_variance"] = explained
    return missing | figures


def _quantiles(name: str, values: Tensor, mask: Tensor) -> Metrics:
    """Of ``[S, N, T, A]`` over the real steps."""
    levels = torch.tensor(QUANTILES, dtype=values.dtype, device=values.device)
    real = [v[m].flatten() for v, m in zip(values, mask, strict=True)]
    rows = [torch.quantile(x[:: 1 + len(x) // MOST_OF_QUANTILE], levels) for x in real]
    table = torch.stack(rows, dim=1)
    return {f"{name}_q{100 * q:02.0f}": row for q, row in zip(QUANTILES, table, strict=True)}
