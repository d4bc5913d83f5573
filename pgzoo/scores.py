"""Score functions ∇log π(a|s), and their weighted sums."""

from __future__ import annotations

import torch
from torch import Tensor

from pgzoo.networks import Network, Pullback
from pgzoo.rollout import Trajectories


class ScoreFunctions:
    """∇log π of all steps of a batch, ready to be summed with any weights.

    Many estimates are different weighted sums of the same score functions. One pass forward and
    one backward serve them all.

    Args:
        policy: the policy's network.
        theta: parameters at which scores are taken, ``[S, P]``.
        trajectories: ``[S, N, T]``.

    Attributes:
        log_probs: of all actions, ``[S, N, T, A]``; zero where the mask is false.
    """

    def __init__(self, policy: Network, theta: Tensor, trajectories: Trajectories) -> None:
        mask = trajectories.mask
        # Whole numbers index several times as fast as truth values.
        self._steps = [m.flatten().nonzero().squeeze(1) for m in mask]
        self._pullbacks: list[Pullback] = []
        self._probabilities: list[Tensor] = []
        self._scores: list[Tensor] = []
        padded = []
        for s, steps in enumerate(self._steps):
            obs = trajectories.obs[s].flatten(0, 1).index_select(0, steps)
            logits, pullback = policy.linearize(theta[s].detach(), obs)
            log_probs = logits.log_softmax(-1)
            action = trajectories.action[s].flatten().index_select(0, steps)
            probabilities = log_probs.exp()
            score = probabilities.neg()
            score.scatter_add_(1, action.unsqueeze(1), torch.ones_like(score[:, :1]))
            row = log_probs.new_zeros(mask[s].numel(), log_probs.shape[1])
            padded.append(row.index_copy_(0, steps, log_probs).view(*mask[s].shape, -1))
            self._pullbacks.append(pullback)
            self._probabilities.append(probabilities)
            self._scores.append(score)
        self.log_probs = torch.stack(padded)

    def weighted_sums(self, weights: Tensor) -> Tensor:
        """Σ w ∇log π(a|s) over the actions taken: ``[S, E, N, T]`` → ``[S, E, P]``."""
        flat = weights.flatten(2).to(self.log_probs.dtype)
        rows = zip(flat, self._steps, self._scores, self._pullbacks, strict=True)
        return torch.stack(
            [pullback(score, w.index_select(1, steps)) for w, steps, score, pullback in rows]
        )

    def weighted_sums_over_actions(self, weights: Tensor) -> Tensor:
        """Σ w_a ∇log π(a|s) over all actions of all steps: ``[S, N, T, A]`` → ``[S, P]``."""
        sums = []
        flat = weights.flatten(1, 2)
        for s, pullback in enumerate(self._pullbacks):
            w = flat[s].index_select(0, self._steps[s])
            direction = w - self._probabilities[s] * w.sum(1, keepdim=True)
            sums.append(pullback(direction, torch.ones_like(w[:, :1]).T)[0])
        return torch.stack(sums)


def trajectory_gradients(
    policy: Network, theta: Tensor, trajectories: Trajectories, weights: Tensor
) -> Tensor:
    """Σ_t w_t ∇log π(a_t|s_t) of every trajectory, with several weightings at once.

    Args:
        policy: the policy's network.
        theta: ``[S, P]``.
        trajectories: ``[S, N, T]``.
        weights: ``[S, E, N, T]``, zero where the mask is false.

    Returns:
        ``[S, E, N, P]``.
    """
    num_replicas, num_rows, _ = trajectories.mask.shape
    alone = trajectories.map(lambda x: x.flatten(0, 1).unsqueeze(1))  # each a replica of its own
    scores = ScoreFunctions(policy, theta.repeat_interleave(num_rows, dim=0), alone)
    each = weights.transpose(1, 2).flatten(0, 1).unsqueeze(2)  # [S·N, E, 1, T]
    sums = scores.weighted_sums(each)  # [S·N, E, P]
    return sums.unflatten(0, (num_replicas, num_rows)).transpose(1, 2)
