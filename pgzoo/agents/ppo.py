"""PPO-clip (Schulman et al. 2017): several epochs of minibatches within a trust region.

    Ψ_t = Â_t (GAE), standardised over each minibatch;  maximise min(ρΨ, clip(ρ, 1−ε, 1+ε)Ψ)

Sampling plan: segments of fixed length from environments that keep running.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pgzoo.agents.base import ClipOptions, SegmentOptions, option
from pgzoo.estimators import whiten
from pgzoo.policies.model import Model
from pgzoo.sampling.batch import Batch
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class PPO(ClipOptions, SegmentOptions):
    """Proximal policy optimisation with the clipped surrogate."""

    standardize: bool = option(True, "subtract Ψ's mean over the minibatch, divide by its std")
    value_clip: float = option(
        0.0, "the critic moves at most this far from its old prediction; 0: freely", minimum=0
    )
    epochs: int = option(6, "passes of the policy over each batch", minimum=1)
    minibatches: int = option(8, "minibatches of one such pass", minimum=1)

    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "CartPole-v1": {
            "steps": 100_000,
            "segment_steps": 128,
            "epochs": 4,
            "minibatches": 4,
            "learning_rate": 3e-3,
            "lr_schedule": "linear",
            "critic_learning_rate": 3e-3,
            "critic_minibatches": 4,
            "reward_scale": 0.1,
        },
        "LunarLander-v3": {
            "steps": 1_000_000,
            "envs": 16,
            "segment_steps": 64,
            "epochs": 2,
            "minibatches": 4,
            "learning_rate": 1e-3,
            "lr_schedule": "linear",
            "entropy_coef": 0.01,
            "gamma": 0.995,
            "critic_learning_rate": 2e-3,
            "reward_scale": 0.05,
        },
    }

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """Â_t ``[S, N, T]``."""
        return self.advantage(trajectories, model)

    def surrogate(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """The clipped surrogate of the standardised advantage."""
        return super().surrogate(log_probs, self._standardized(batch))

    def update_metrics(self, log_probs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Where clipping bites depends on the sign of the standardised advantage."""
        return super().update_metrics(log_probs, self._standardized(batch))

    def _standardized(self, batch: Batch) -> Batch:
        if not self.standardize:
            return batch
        return dataclasses.replace(batch, psi=whiten(batch.psi, batch.mask))

    def critic_loss(self, value: Tensor, old_value: Tensor, target: Tensor) -> Tensor:
        """Squared error, of the clipped prediction if that is the larger."""
        loss = (value - target).square()
        if self.value_clip == 0:
            return loss
        near = old_value + (value - old_value).clamp(-self.value_clip, self.value_clip)
        return torch.maximum(loss, (near - target).square())
