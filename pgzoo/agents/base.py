"""What every agent has: five values, options of training, and how it enters the laboratory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pgzoo import estimators
from pgzoo.agents.critics import Critic
from pgzoo.agents.penalties import ReferenceKL
from pgzoo.agents.surrogates import ScoreFunction, Surrogate
from pgzoo.errors import UsageError
from pgzoo.estimators.names import Aggregation
from pgzoo.options import (
    Option,
    build,
    check_needs,
    check_options,
    equal_to,
    flat,
    option,
    options_of,
    own_options,
    parts_as_chosen,
)
from pgzoo.sampling.plan import Episodes, Plan

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories

RESCALED: dict[str, Any] = {"aggregation": "step-mean", "psi_scale": "rms"}
"""What training adds to plain estimators: the gradient's length depends neither on the size of
returns nor on the length of episodes, so one step size fits all environments."""

MOST_STEPS = 10**12
LARGEST_STEP = 100
"""Of a policy's parameters: preferences that far apart are probabilities 0 and 1 in float32, from
which nothing is ever learned again."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """An algorithm: a sampling plan, Ψ, a surrogate, and maybe a critic and a penalty.

    A subclass names its five. An agent with the fields' own defaults is the estimator as its paper
    defines it; ``training`` and ``defaults`` say what training changes.

    Attributes:
        plan: what a batch is made of.
        surrogate: whose gradient puts Ψ on the score function.
        critic: what is learned beside the policy, if anything.
        penalty: what keeps the policy near a reference, if anything.
    """

    plan: Plan = Episodes()
    surrogate: Surrogate = ScoreFunction()
    critic: Critic | None = None
    penalty: ReferenceKL | None = None

    steps: int = option(200_000, "environment steps of each seed", minimum=1, maximum=MOST_STEPS)
    learning_rate: float = option(
        5e-3, "Adam's step size for the policy", above=0, maximum=LARGEST_STEP
    )
    lr_schedule: Literal["constant", "linear"] = option(
        "constant", "linear: the step sizes fall to zero over the run"
    )
    gamma: float = option(0.99, "discount factor", minimum=0, maximum=1, estimate=True)
    max_grad_norm: float = option(
        0.5, "each seed's policy gradient is clipped to this norm; 0: never", minimum=0
    )
    entropy_coef: float = option(0.0, "weight of the entropy bonus", minimum=0)
    hidden: tuple[int, ...] = option(
        (64, 64), "widths of the hidden layers, as in 64,64", needs=equal_to("policy", "mlp")
    )
    aggregation: Aggregation = option(
        "sum", "how the steps' terms are added up; sum is the unbiased one", estimate=True
    )
    psi_scale: Literal["none", "rms"] = option(
        "none",
        "rms: divide Ψ by its root mean square over the batch, which sets the gradient's length "
        "and leaves its direction",
        estimate=True,
        needs=equal_to("standardize", False),
    )

    name: ClassVar[str]
    training: ClassVar[dict[str, Any]] = {}
    """Options in which training differs from the method's definition, on every environment."""
    defaults: ClassVar[dict[str, dict[str, Any]]] = {}
    """… and further ones by environment, kind of policy, or both (``ENV POLICY``)."""
    in_zoo: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    """Options with which the agent is among the laboratory's estimators."""

    def __post_init__(self) -> None:
        check_options(self)
        for name, part in parts_as_chosen(self).items():
            object.__setattr__(self, name, part)
        if getattr(self.surrogate, "ratio", "step") == "trajectory" and not self.plan.complete:
            raise UsageError(
                "Expected `ratio=step` with segments, got trajectory: a segment is no trajectory."
            )
        most = self.plan.num_rows * getattr(self.plan, "segment_steps", 1)
        if self.surrogate.minibatches > most:
            raise UsageError(
                f"Expected at most as many `minibatches` as the batch has parts to deal out, "
                f"{most}; got {self.surrogate.minibatches}."
            )
        self.check()

    def _check_sizes(self, chosen: Collection[str]) -> None:
        """Raise a ``UsageError`` for chosen options that batches are too large or small for."""
        least = self.plan.least_steps
        if "lr_schedule" in chosen and self.steps <= least:
            raise UsageError(
                f"Expected `steps` above {least:,} with `lr_schedule`, got {self.steps:,}: that is "
                "one iteration, in which the step sizes are what they start with."
            )
        most = self.plan.num_rows * getattr(self.plan, "segment_steps", 1)
        parts = 1 if self.critic is None or self.plan.complete else self.critic.critic_minibatches
        if "critic_minibatches" in chosen and parts > most:
            raise UsageError(
                f"Expected at most as many `critic_minibatches` as the batch has steps, {most:,}; "
                f"got {parts:,}."
            )

    def check(self) -> None:
        """Raise a ``UsageError`` for options that do not go together."""

    @classmethod
    def for_env(cls, env_id: str, policy_kind: str = "mlp", **chosen: Any) -> Self:
        """The documented defaults for an environment, with the given options in their place.

        Raises:
            UsageError: for options that are unknown, out of range, do not go together, or change
                nothing with the others and this kind of policy.
        """
        values = dict(cls.training)
        for case in (env_id, policy_kind, f"{env_id} {policy_kind}"):
            values |= cls.defaults.get(case, {})
        made = build(cls, chosen, values)
        check_needs(cls, chosen, flat(made) | {"policy": policy_kind})
        made._check_sizes(chosen)
        return made

    @classmethod
    def with_options(cls, **chosen: Any) -> Self:
        """The estimator as its paper defines it, but for the given options."""
        return build(cls, chosen)

    def as_defined(self) -> Self:
        """The same without what training changes everywhere, ``training``."""
        options = {k: v for k, v in flat(self).items() if k not in self.training}
        return build(type(self), options)

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """The weight Ψ of every step's score function, ``[S, N, T]``."""
        raise NotImplementedError

    def credited_return(self, t: Trajectories, outputs: Outputs) -> Tensor | None:
        """Where Ψ is a return less a baseline, that return ``[S, N, T]``."""
        return None

    def step_weights(self, t: Trajectories) -> Tensor:
        """Factor of every step in the objective ``[S, N, T]``."""
        return estimators.aggregation_weights(t.mask, self.aggregation)

    def reward(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """What is to be earned ``[S, N, T]``: rewards, less a penalty that is placed there."""
        if self.penalty is None:
            return t.reward
        return self.penalty.reward(t, outputs)

    def returns_to_go(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """G_t ``[S, N, T]``."""
        reward = self.reward(t, outputs)
        return estimators.returns_to_go(reward, t.mask, self.gamma)

    def episode_return(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """R of every episode ``[S, N]``."""
        reward = self.reward(t, outputs)
        return estimators.episode_return(reward, t.mask, self.gamma)


def options_in_order(agent: type[Agent]) -> list[Option]:
    """An agent's options, its own before those all agents have."""
    common = own_options(Agent)
    return sorted(options_of(agent).values(), key=lambda o: o.name in common)


def training_default(agent: type[Agent], known: Option, case: str = "") -> Any:
    """What an option is in training if nothing is said, in one case of ``defaults``."""
    values: Mapping[str, Any] = agent.training | agent.defaults.get(case, {})
    return values.get(known.name, known.default)


def at_every_step(figure: Tensor, trajectories: Trajectories) -> Tensor:
    """A figure of every trajectory ``[S, N]`` at all its real steps, ``[S, N, T]``."""
    return figure.unsqueeze(-1) * trajectories.mask
