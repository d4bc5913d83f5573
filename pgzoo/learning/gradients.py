"""From trajectories to gradient estimates: Ψ, the surrogate, and the weights it puts on ∇log π."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pgzoo.agents.base import Agent
from pgzoo.estimators import aggregation_weights, root_mean_square
from pgzoo.policies.model import Model, apply_where, entropy, of_actions
from pgzoo.sampling.batch import Batch
from pgzoo.sampling.collect import Trajectories


def weigh(agent: Agent, model: Model, trajectories: Trajectories) -> tuple[Batch, Tensor]:
    """Put the agent's Ψ on the trajectories.

    Returns:
        the batch, and the root mean square of Ψ before any scaling, ``[S]``.
    """
    psi = agent.psi(trajectories, model)
    size = psi if psi.ndim == trajectories.mask.ndim else psi.norm(dim=-1)
    rms = root_mean_square(size, trajectories.mask)
    if agent.psi_scale == "rms":
        psi = psi / rms.view(-1, *[1] * (psi.ndim - 1))
    reference = None if model.reference is None else model.reference_log_prob(trajectories)
    return Batch(trajectories, psi, reference), rms.flatten()


def objective(agent: Agent, log_probs: Tensor, batch: Batch) -> Tensor:
    """The surrogate, aggregated: what each replica's estimate is the gradient of.

    Args:
        agent: the algorithm.
        log_probs: of all actions under the differentiated policy, ``[S, N, T, A]``.
        batch: what was sampled, with Ψ.

    Returns:
        ``[S]``.
    """
    terms = torch.where(batch.mask, agent.surrogate(log_probs, batch), 0)
    return (agent.step_weights(batch.trajectories) * terms).sum((1, 2))


def policy_gradient(agent: Agent, model: Model, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradient estimate of each replica, entropy bonus included.

    Returns:
        ascent direction ``[S, P]``, and the policy's mean entropy (nats per step) with what else
        the agent has to tell.
    """
    theta = model.theta.detach().requires_grad_()
    mask = batch.mask
    logits = apply_where(model.policy, theta, batch.trajectories.obs, mask)
    log_probs = logits.log_softmax(-1)
    mean_entropy = (aggregation_weights(mask, "step-mean") * entropy(log_probs)).sum((1, 2))
    total = objective(agent, log_probs, batch) + agent.entropy_coef * mean_entropy
    (gradient,) = torch.autograd.grad(total.sum(), theta)
    metrics = agent.update_metrics(log_probs.detach(), batch)
    return gradient, {"entropy": mean_entropy.detach()} | metrics


def effective_weights(agent: Agent, log_probs: Tensor, batch: Batch) -> Tensor:
    """What the estimate puts before every ∇log π(a|s): ∂ objective / ∂ log π(a|s).

    For surrogates of the action taken it is zero elsewhere; for all-actions it is π(a|s) Ψ(a).

    Returns:
        ``[S, N, T, A]``; arguments as for ``objective``.
    """
    leaf = log_probs.detach().requires_grad_()
    (weights,) = torch.autograd.grad(objective(agent, leaf, batch).sum(), leaf)
    return weights


def gradient_estimates(
    estimators: Sequence[tuple[Agent, Model]], trajectories: Trajectories
) -> Tensor:
    """What each of several estimators makes of the same trajectories.

    Args:
        estimators: agents, each with the model it asks for values; all of the same policy, and
            best with shared ``known``.
        trajectories: ``[S, N, T]``.

    Returns:
        ``[S, E, P]``.
    """
    scores = estimators[0][1].scores(trajectories)
    sampled: dict[int, Tensor] = {}
    estimates: dict[int, Tensor] = {}
    for i, (agent, model) in enumerate(estimators):
        batch, _ = weigh(agent, model, trajectories)
        weights = effective_weights(agent, scores.log_probs, batch)
        if batch.psi.ndim == trajectories.mask.ndim:
            sampled[i] = of_actions(weights, trajectories.action)
        else:
            estimates[i] = scores.weighted_sums_over_actions(weights)
    if sampled:
        sums = scores.weighted_sums(torch.stack(list(sampled.values()), dim=1))
        estimates |= dict(zip(sampled, sums.unbind(1), strict=True))
    return torch.stack([estimates[i] for i in range(len(estimators))], dim=1)
