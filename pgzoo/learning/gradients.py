"""From trajectories to gradient estimates: Ψ, the surrogate, and the weights it puts on ∇log π."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pgzoo.agents.base import Agent
from pgzoo.estimators import root_mean_square, step_mean
from pgzoo.policies.model import Model, Outputs, apply_where, entropy
from pgzoo.sampling.batch import Batch, of_actions


def weigh(agent: Agent, outputs: Outputs) -> tuple[Batch, Tensor]:
    """Put the agent's Ψ on the trajectories that the outputs are of.

    Returns:
        the batch, and the root mean square of Ψ before any scaling, ``[S]``.
    """
    trajectories = outputs.trajectories
    psi = agent.psi(trajectories, outputs)
    size = psi if psi.ndim == trajectories.mask.ndim else psi.norm(dim=-1)
    rms = root_mean_square(size, trajectories.mask)
    if agent.psi_scale == "rms":
        psi = psi / rms.view(-1, *[1] * (psi.ndim - 1))
    reference = None if outputs.model.reference is None else outputs.reference_log_prob
    return Batch(trajectories, psi, agent.step_weights(trajectories), reference), rms.flatten()


def objective(agent: Agent, log_probs: Tensor, batch: Batch) -> Tensor:
    """The surrogate less the penalty, added up: what each estimate is the gradient of.

    Args:
        agent: the algorithm.
        log_probs: of all actions under the differentiated policy, ``[S, N, T, A]``.
        batch: what was sampled, with Ψ and every step's weight.

    Returns:
        ``[S]``.
    """
    terms = agent.surrogate.per_step(log_probs, batch)
    if agent.penalty is not None:
        terms = terms - agent.penalty.of_objective(log_probs, batch)
    return (batch.weight * torch.where(batch.mask, terms, 0)).sum((1, 2))


def policy_gradient(agent: Agent, model: Model, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradient estimate of each replica, entropy bonus included.

    Returns:
        ascent direction ``[S, P]``, and the policy's mean entropy (nats per step) with what else
        the surrogate has to tell.
    """
    theta = model.theta.detach().requires_grad_()
    logits = apply_where(model.policy, theta, batch.trajectories.obs, batch.mask)
    log_probs = logits.log_softmax(-1)
    mean_entropy = step_mean(entropy(log_probs), batch.mask)
    total = objective(agent, log_probs, batch) + agent.entropy_coef * mean_entropy
    (gradient,) = torch.autograd.grad(total.sum(), theta)
    figures = agent.surrogate.figures(log_probs.detach(), batch)
    return gradient, {"entropy": mean_entropy.detach()} | figures


def effective_weights(agent: Agent, log_probs: Tensor, batch: Batch) -> Tensor:
    """What the estimate puts before every ∇log π(a|s): ∂ objective / ∂ log π(a|s).

    For surrogates of the action taken it is zero elsewhere; for all-actions it is π(a|s) Ψ(a).

    Returns:
        ``[S, N, T, A]``; arguments as for ``objective``.
    """
    leaf = log_probs.detach().requires_grad_()
    (weights,) = torch.autograd.grad(objective(agent, leaf, batch).sum(), leaf)
    return weights


def gradient_estimates(estimators: Sequence[tuple[Agent, Outputs]]) -> Tensor:
    """What each of several estimators makes of the same trajectories.

    Args:
        estimators: agents, each with the outputs it asks for; all of the same policies on the same
            trajectories ``[S, N, T]``.

    Returns:
        ``[S, E, P]``.
    """
    scores = estimators[0][1].scores
    sampled: dict[int, Tensor] = {}
    estimates: dict[int, Tensor] = {}
    for i, (agent, outputs) in enumerate(estimators):
        batch, _ = weigh(agent, outputs)
        weights = effective_weights(agent, scores.log_probs, batch)
        if batch.psi.ndim == batch.mask.ndim:
            sampled[i] = of_actions(weights, batch.action)
        else:
            estimates[i] = scores.weighted_sums_over_actions(weights)
    if sampled:
        sums = scores.weighted_sums(torch.stack(list(sampled.values()), dim=1))
        estimates |= dict(zip(sampled, sums.unbind(1), strict=True))
    return torch.stack([estimates[i] for i in range(len(estimators))], dim=1)
