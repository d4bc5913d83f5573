"""What every agent has: hyperparameters as dataclass fields, Ψ, and a surrogate."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.estimators import aggregation_weights, score_function_surrogate
from pgzoo.model import Model
from pgzoo.rollout import Trajectories


def option(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A hyperparameter: its default, what it means, and its range.

    The command line derives an option from it, and every agent checks it.
    """
    bounds = {"minimum": minimum, "above": above, "maximum": maximum}
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
    aggregation: Literal["sum", "step-mean", "trajectory-mean"] = option(
        "step-mean", "how the steps' terms are added up; sum is the unbiased one"
    )
    psi_scale: Literal["none", "rms"] = option(
        "rms",
        "rms: divide Ψ by its root mean square over the batch, which sets the gradient's "
        "length and leaves its direction",
    )

    sampling: ClassVar[Literal["episodes", "segments"]] = "episodes"
    group_size: ClassVar[int] = 1
    defaults: ClassVar[dict[str, dict[str, Any]]] = {}
    """Per environment, what differs from the fields' defaults."""

    def __post_init__(self) -> None:
        for field in hyperparameters(type(self)):
            check_value(field.name, getattr(self, field.name), field)

    @classmethod
    def for_env(cls, env_id: str, **chosen: Any) -> Self:
        """The documented defaults for an environment, with the given values in their place."""
        return cls(**(cls.defaults.get(env_id, {}) | chosen))

    @property
    def uses_critic(self) -> bool:
        """Whether a value function is learned beside the policy."""
        return False

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """The weight Ψ ``[S, N, T]`` of every step's score function."""
        raise NotImplementedError

    def surrogate(self, log_prob: Tensor, trajectories: Trajectories, psi: Tensor) -> Tensor:
        """Per-step objective ``[S, N, T]`` to be maximised."""
        return score_function_surrogate(log_prob, psi)

    def step_weights(self, trajectories: Trajectories) -> Tensor:
        """Factor of every step in the objective ``[S, N, T]``."""
        return aggregation_weights(trajectories.mask, self.aggregation)


@dataclass(frozen=True, kw_only=True)
class CriticOptions:
    """Hyperparameters of agents that learn a value function."""

    critic_learning_rate: float = option(1e-2, "Adam's step size for the critic", above=0)
    critic_epochs: int = option(4, "passes over each batch to fit the critic", minimum=1)
    critic_minibatches: int = option(8, "minibatches of one such pass", minimum=1)
    reward_scale: float = option(
        1.0, "rewards are multiplied by this so that the critic can follow", above=0
    )


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
    metadata = field.metadata
    low, above, high = (metadata.get(k) for k in ("minimum", "above", "maximum"))
    wrong = (
        not math.isfinite(value)
        or (low is not None and value < low)
        or (above is not None and value <= above)
        or (high is not None and value > high)
    )
    if wrong:
        flag = "--" + name.replace("_", "-")
        raise UsageError(f"Expected {flag} {describe_range(metadata)}, got {value:g}.")


def describe_range(metadata: Any) -> str:
    """An option's range in words."""
    low, above, high = (metadata.get(k) for k in ("minimum", "above", "maximum"))
    if low is not None and high is not None:
        return f"between {low:g} and {high:g}"
    if above is not None:
        return f"above {above:g}"
    return f"of at least {low:g}" if low is not None else "to be a finite number"


def choices(annotation: Any) -> tuple[str, ...] | None:
    """The values of a ``Literal`` type, else None."""
    return get_args(annotation) if get_origin(annotation) is Literal else None
