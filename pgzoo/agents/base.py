"""What every agent has: hyperparameters as dataclass fields, Ψ, and a surrogate."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.estimators import (
    aggregation_weights,
    clipped_surrogate,
    episode_return,
    gae,
    importance_ratio,
    is_clipped,
    kl_estimate,
    returns_to_go,
    score_function_surrogate,
    trajectory_ratio,
)
from pgzoo.policies.model import Model, of_actions
from pgzoo.sampling.batch import Batch
from pgzoo.sampling.collect import Trajectories

PSI_SCALE = (
    "rms: divide Ψ by its root mean square over the batch, which sets the gradient's length and "
    "leaves its direction"
)
Aggregation = Literal["sum", "step-mean", "trajectory-mean"]


def option(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Any:
    """A hyperparameter: its default, what it means, and its range.

    The command line derives an option from it, and every agent checks it.
    """
    bounds = {"minimum": minimum, "above": above, "maximum": maximum, "below": below}
    metadata = {"description": description} | {k: v for k, v in bounds.items() if v is not None}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Agent:
    """Hyperparameters of every agent, and the parts an algorithm may define.

    An algorithm is a subclass that names its sampling plan and writes ``psi``; where its surrogate
    is not the score function, ``surrogate`` too.
    """

    steps: int = option(200_000, "environment steps of each seed", minimum=1)
    learning_rate: float = option(5e-3, "Adam's step size for the policy", above=0)
    lr_schedule: Literal["constant", "linear"] = option(
        "constant", "linear: the step sizes fall to zero over the run"
    )
    gamma: float = option(0.99, "discount factor", minimum=0, maximum=1)
    max_grad_norm: float = option(
        0.5, "each seed's policy gradient is clipped to this norm; 0: never", minimum=0
    )
    entropy_coef: float = option(0.0, "weight of the entropy bonus", minimum=0)
    hidden: tuple[int, ...] = option((64, 64), "widths of the hidden layers, as in 64,64")
    aggregation: Aggregation = option(
        "step-mean", "how the steps' terms are added up; sum is the unbiased one"
    )
    psi_scale: Literal["none", "rms"] = option("none", PSI_SCALE)

    defaults: ClassVar[dict[str, dict[str, Any]]] = {}
    """What differs from the fields' defaults: by environment, policy, or both (``ENV POLICY``)."""

    def __post_init__(self) -> None:
        for field in hyperparameters(type(self)):
            check_value(field.name, getattr(self, field.name), field)
        self.check()

    def check(self) -> None:
        """Raise a ``UsageError`` for options that do not go together."""

    @classmethod
    def for_env(cls, env_id: str, policy: str = "mlp", **chosen: Any) -> Self:
        """The documented defaults for an environment, with the given values in their place."""
        values: dict[str, Any] = {}
        for case in (env_id, policy, f"{env_id} {policy}"):
            values |= cls.defaults.get(case, {})
        return cls(**values | chosen)

    @classmethod
    def as_defined(cls, **chosen: Any) -> Self:
        """The estimator as its paper defines it, without what training adds for convenience.

        Ψ is not rescaled beyond the method's own formula, and steps are summed over a trajectory,
        except where the method says otherwise: GRPO takes the mean over each trajectory,
        REINFORCE++ and PPO the mean over all steps.
        """
        own = {} if issubclass(cls, ClipOptions) else {"aggregation": "sum"}
        return cls(**{"psi_scale": "none", **own} | chosen)

    @property
    def plan(self) -> Literal["episodes", "segments"]:
        """What a row of the batch is: a complete episode, or a segment of fixed length."""
        return "episodes"

    @property
    def num_rows(self) -> int:
        """Rows N of a batch, for each replica."""
        raise NotImplementedError

    @property
    def rollouts_per_start(self) -> int:
        """Group size K; 1 means independent starts."""
        return 1

    @property
    def passes(self) -> tuple[int, int]:
        """How often a batch is gone through, and in how many minibatches each time."""
        return 1, 1

    @property
    def critic(self) -> Literal["none", "state", "action"]:
        """What is learned beside the policy: nothing, V(s), or q(s, a) for every action."""
        return "none"

    @property
    def reference_run(self) -> str | None:
        """Run folder of the policy that the KL penalty refers to."""
        return None

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """The weight Ψ ``[S, N, T]`` of every step's score function."""
        raise NotImplementedError

    def surrogate(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """Per-step objective ``[S, N, T]`` to be maximised.

        Args:
            log_probs: of all actions under the differentiated policy, ``[S, N, T, A]``.
            batch: what was sampled, with Ψ.
        """
        return score_function_surrogate(of_actions(log_probs, batch.action), batch.psi)

    def update_metrics(self, log_probs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Figures ``[S]`` to log of an update, beside those all agents have."""
        return {}

    def step_weights(self, trajectories: Trajectories) -> Tensor:
        """Factor of every step in the objective ``[S, N, T]``."""
        return aggregation_weights(trajectories.mask, self.aggregation)

    def returns(self, trajectories: Trajectories, model: Model) -> Tensor | None:
        """Where Ψ is a return less a baseline, that return ``[S, N, T]``."""
        return None

    def critic_target(self, trajectories: Trajectories, model: Model) -> Tensor:
        """What the critic is fitted to ``[S, N, T]``: the return, if nothing else is said."""
        return returns_to_go(trajectories.reward, trajectories.mask, self.gamma)

    def critic_loss(self, value: Tensor, old_value: Tensor, target: Tensor) -> Tensor:
        """Loss of every prediction; ``old_value`` is the one before this iteration's updates."""
        return (value - target).square()


@dataclass(frozen=True, kw_only=True)
class CriticOptions:
    """Hyperparameters of agents that learn a value function."""

    critic_learning_rate: float = option(1e-2, "Adam's step size for the critic", above=0)
    critic_epochs: int = option(4, "passes over each batch to fit the critic", minimum=1)
    critic_minibatches: int = option(8, "minibatches of one such pass", minimum=1)
    reward_scale: float = option(
        1.0, "rewards are multiplied by this so that the critic can follow", above=0
    )


@dataclass(frozen=True, kw_only=True)
class SegmentOptions(CriticOptions, Agent):
    """Agents that learn from segments by bootstrapping: GAE(γ, λ) and its λ-returns."""

    envs: int = option(8, "environments N of each seed", minimum=1)
    segment_steps: int = option(32, "steps T of each environment in an iteration", minimum=1)
    lam: float = option(0.95, "λ of GAE; 0: one-step TD error, 1: return − V", minimum=0, maximum=1)

    @property
    def plan(self) -> Literal["episodes", "segments"]:
        """Segments of fixed length."""
        return "segments"

    @property
    def num_rows(self) -> int:
        """A row for every environment."""
        return self.envs

    @property
    def critic(self) -> Literal["none", "state", "action"]:
        """V(s)."""
        return "state"

    def advantage(self, trajectories: Trajectories, model: Model) -> Tensor:
        """Generalised advantage estimates ``[S, N, T]``."""
        t = trajectories
        return gae(
            t.reward,
            model.values(t),
            model.next_values(t),
            t.terminated,
            t.truncated,
            t.mask,
            self.gamma,
            self.lam,
        )

    def critic_target(self, trajectories: Trajectories, model: Model) -> Tensor:
        """λ-returns, that is advantage + V."""
        return self.advantage(trajectories, model) + model.values(trajectories)


@dataclass(frozen=True, kw_only=True)
class GroupOptions(Agent):
    """Agents that compare K rollouts from the same start."""

    episodes: int = option(16, "complete episodes N of each seed in an iteration", minimum=1)
    group_size: int = option(8, "rollouts K from each start; divides --episodes", minimum=1)

    least_group_size: ClassVar[int] = 1

    def check(self) -> None:
        """Groups must fill the batch, and be large enough for the formula."""
        super().check()
        if self.group_size < self.least_group_size:
            raise UsageError(
                f"Expected --group-size of at least {self.least_group_size}, for a member is "
                f"compared with the others of its group; got {self.group_size}."
            )
        if self.episodes % self.group_size:
            raise UsageError(
                f"Expected --group-size to divide --episodes {self.episodes}, got "
                f"{self.group_size}. Try --episodes {self.group_size * 2}."
            )

    @property
    def num_rows(self) -> int:
        """A row for every episode."""
        return self.episodes

    @property
    def rollouts_per_start(self) -> int:
        """K."""
        return self.group_size


@dataclass(frozen=True, kw_only=True)
class ClipOptions(Agent):
    """Agents that go through a batch several times within a trust region."""

    clip: float = option(0.2, "ε of the clipped ratio", above=0, below=1)
    ratio: Literal["step", "trajectory"] = option(
        "step", "importance ratio of each step, or the geometric mean over the trajectory"
    )
    epochs: int = option(4, "passes of the policy over each batch", minimum=1)
    minibatches: int = option(1, "minibatches of one such pass", minimum=1)

    @property
    def passes(self) -> tuple[int, int]:
        """Epochs and minibatches."""
        return self.epochs, self.minibatches

    def importance_ratio(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """ρ ``[S, N, T]``."""
        ratio = trajectory_ratio if self.ratio == "trajectory" else importance_ratio
        log_prob = of_actions(log_probs, batch.action)
        return ratio(log_prob, batch.old_log_prob, batch.mask)

    def surrogate(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """min(ρΨ, clip(ρ, 1−ε, 1+ε)Ψ)."""
        return clipped_surrogate(self.importance_ratio(log_probs, batch), batch.psi, self.clip)

    def update_metrics(self, log_probs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Share of the steps where clipping bites, and KL(π_old ‖ π)."""
        ratio = self.importance_ratio(log_probs, batch)
        log_prob = of_actions(log_probs, batch.action)
        kl = kl_estimate(batch.old_log_prob, log_prob, "k3")
        weight = aggregation_weights(batch.mask, "step-mean")
        figures = {
            "clip_fraction": is_clipped(ratio, batch.psi, self.clip).float(),
            "kl_old_policy": kl,
        }
        return {k: (weight * torch.where(batch.mask, v, 0)).sum((1, 2)) for k, v in figures.items()}


@dataclass(frozen=True, kw_only=True)
class ReferenceOptions(Agent):
    """Agents that can be kept near a reference policy π_ref by a KL penalty."""

    reference: str | None = option(
        None, "run folder whose trained policies are π_ref, seed by seed"
    )
    kl_coef: float = option(0.0, "weight β of the KL penalty to --reference", minimum=0)
    kl_placement: Literal["reward", "loss"] = option(
        "loss", "subtract β·KL from each step's reward, or from the objective"
    )
    kl_estimator: Literal["k1", "k2", "k3"] = option(
        "k3", "estimator of the KL in the objective; the reward always takes k1"
    )

    def check(self) -> None:
        """A weight needs a reference, and a reference a weight."""
        super().check()
        if self.kl_coef > 0 and self.reference is None:
            raise UsageError(
                f"Expected --reference RUN with --kl-coef {self.kl_coef:g}, got none. Give the "
                "folder of a trained run, or leave --kl-coef out."
            )
        if self.reference is not None and self.kl_coef == 0:
            raise UsageError(
                "Expected --kl-coef above 0 with --reference, got 0: the reference would do "
                "nothing. Try --kl-coef 0.05, or leave --reference out."
            )

    @property
    def reference_run(self) -> str | None:
        """The run folder given as --reference."""
        return self.reference

    def penalized_reward(self, trajectories: Trajectories, model: Model) -> Tensor:
        """r_t − β (log π_old − log π_ref) where the penalty is in the reward, else r_t."""
        reward = trajectories.reward
        if self.kl_coef == 0 or self.kl_placement == "loss":
            return reward
        kl = kl_estimate(trajectories.log_prob, model.reference_log_prob(trajectories), "k1")
        return torch.where(trajectories.mask, reward - self.kl_coef * kl, 0)

    def penalized_return(self, trajectories: Trajectories, model: Model) -> Tensor:
        """R of every episode ``[S, N]``, from penalised rewards."""
        reward = self.penalized_reward(trajectories, model)
        return episode_return(reward, trajectories.mask, self.gamma)

    def surrogate(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """The algorithm's own surrogate, less β·KL where the penalty is in the objective."""
        objective = super().surrogate(log_probs, batch)
        if batch.reference_log_prob is None or self.kl_placement == "reward":
            return objective
        log_prob = of_actions(log_probs, batch.action)
        penalty = kl_estimate(log_prob, batch.reference_log_prob, self.kl_estimator)
        return objective - self.kl_coef * penalty


def hyperparameters(agent: type[Agent]) -> list[dataclasses.Field]:
    """The options of an agent, its own before those all agents have."""
    common = {f.name for f in dataclasses.fields(Agent)}
    return sorted(dataclasses.fields(agent), key=lambda f: f.name in common)


def option_type(agent: type[Agent], name: str) -> Any:
    """Declared type of a hyperparameter."""
    return get_type_hints(agent)[name]


def check_value(name: str, value: Any, field: dataclasses.Field) -> None:
    """Raise a ``UsageError`` unless the value lies in the option's range."""
    if field.name == "hidden":
        if not all(isinstance(n, int) and n > 0 for n in value):
            raise UsageError(f"Expected {name} to be positive whole numbers, got {value}.")
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    inside = {
        "minimum": lambda bound: value >= bound,
        "above": lambda bound: value > bound,
        "maximum": lambda bound: value <= bound,
        "below": lambda bound: value < bound,
    }
    bounds = {k: bound for k, bound in field.metadata.items() if k in inside}
    if not math.isfinite(value) or not all(inside[k](bound) for k, bound in bounds.items()):
        flag = "--" + name.replace("_", "-")
        raise UsageError(f"Expected {flag} {describe_range(bounds)}, got {value:g}.")


def describe_range(bounds: dict[str, float]) -> str:
    """An option's range in words."""
    words = {
        "minimum": "of at least {:g}",
        "above": "above {:g}",
        "maximum": "at most {:g}",
        "below": "below {:g}",
    }
    if {"minimum", "maximum"} <= bounds.keys():
        return f"between {bounds['minimum']:g} and {bounds['maximum']:g}"
    texts = [words[k].format(bound) for k, bound in bounds.items()]
    return " and ".join(texts) or "to be a finite number"


def choices(annotation: Any) -> tuple[str, ...] | None:
    """The values of a ``Literal`` type, else None."""
    return get_args(annotation) if get_origin(annotation) is Literal else None
