"""What is measured: a frozen policy on an environment, and the estimators to compare."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import pgzoo_envs
import safetensors
import safetensors.torch
from gymnasium import spaces
from torch import Tensor

from pgzoo.agents import agent_class
from pgzoo.agents.base import Agent, choices, hyperparameters, option_type
from pgzoo.errors import UsageError
from pgzoo.lab.exact import FiniteMDP
from pgzoo.learning.loop import POLICY_OUTPUT_GAIN, policy_network
from pgzoo.policies.networks import Network, make_network
from pgzoo.records.run_folder import RunFolder
from pgzoo.sampling.plan import Episodes, Groups
from pgzoo.sampling.seeding import Purpose, generators

MOST_EXACT_STATES = 2_000
LIMITS = ("ends", "continues")
NEGLIGIBLE = 1e-3
"""γ^n of the steps beyond a time limit after which an episode is no longer followed."""
OPTIONS_OF_ESTIMATES = {
    "aggregation",
    "baseline",
    "clip",
    "gamma",
    "gamma_t",
    "group_size",
    "lam",
    "psi_scale",
    "ratio",
    "reward_to_go",
    "standardize",
    "whole_return",
}
"""Those that enter Ψ, the surrogate or the sampling plan; the others are about training."""


@dataclass(frozen=True)
class Problem:
    """A policy that stays as it is, and the objective whose gradient is estimated.

    Attributes:
        env: Gymnasium environment.
        info: its spaces and time limit.
        policy: kind of policy: mlp, linear or tabular.
        network: from observations to action preferences.
        theta: the policy's parameters ``[P]``.
        hidden: widths of its hidden layers; critics get the same.
        label: where the parameters are from.
        gamma: discount factor of the objective, from the first state on.
        limit: what an episode that the time limit T cuts off is still worth. ends: nothing.
            continues: what the policy would earn by going on,

                J(θ) = E[Σ_{t<T} γ^t r_t + γ^T V(s_T)],

            with the frozen policy's own V, that of no limit, held fixed, so that the gradient is
            E[Σ_{t<T} γ^t ∇log π(a_t|s_t) Q(s_t, a_t)]: the objective of methods that bootstrap
            where an episode is cut off. With γ^T near zero, it is that of no limit at all.
        behaviour: parameters of the policy that acts, ``[P]``; None: the same policy.
        source: run folder or file that the parameters are from, if any.
    """

    env: str
    info: pgzoo_envs.EnvInfo
    policy: str
    network: Network
    theta: Tensor
    hidden: tuple[int, ...]
    label: str
    gamma: float = 1.0
    limit: str = "ends"
    behaviour: Tensor | None = None
    source: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise UsageError(f"Expected `gamma` between 0 and 1, got {self.gamma:g}.")
        if self.limit not in LIMITS:
            raise UsageError(f"Expected `limit` among {', '.join(LIMITS)}; got {self.limit!r}.")
        if self.limit == "continues" and self.gamma == 1:
            raise UsageError(
                "Expected `gamma` below 1 with `limit=continues`, got 1: what follows the time "
                "limit need not have an end. Try `gamma=0.99`."
            )
        if self.info.max_episode_steps is None:
            raise UsageError(
                f"The laboratory samples complete episodes, but {self.env} has no time limit, so "
                "an episode may never end. Set one, such as `max_episode_steps=200`."
            )
        if self.theta.shape != (self.network.num_params,):
            raise UsageError(
                f"Expected parameters [{self.network.num_params}] for this network, got "
                f"{list(self.theta.shape)}."
            )
        if not bool(self.theta.isfinite().all()):
            raise UsageError("Expected finite parameters of the policy, got some that are not.")

    @classmethod
    def initial(
        cls,
        env: str,
        *,
        policy: str = "mlp",
        hidden: Sequence[int] = (64, 64),
        seed: int = 0,
        max_episode_steps: int | None = None,
        theta: Tensor | None = None,
        **options: Any,
    ) -> Problem:
        """A policy as training starts with, or with parameters ``theta [P]`` of one's own."""
        if not all(width > 0 for width in hidden):
            raise UsageError(
                f"Expected `hidden` to be positive whole numbers, got {tuple(hidden)}."
            )
        info = pgzoo_envs.describe(env, max_episode_steps, discretise=policy == "tabular")
        network = make_network(
            policy, info.observation_space, info.num_actions, hidden, POLICY_OUTPUT_GAIN
        )
        label = "given parameters"
        if theta is None:
            theta = network.init(generators([seed], Purpose.POLICY_INIT))[0]
            label = f"initial {policy}, seed {seed}"
        return cls(env, info, policy, network, theta, tuple(hidden), label, **options)

    @classmethod
    def of_run(
        cls, run: Path, *, seed: int | None = None, at: int | None = None, **options: Any
    ) -> Problem:
        """A policy of a training run.

        Args:
            run: folder.
            seed: which replica; by default the first.
            at: percent of the run after which the policy is taken, to the nearest snapshot; by
                default the last checkpoint.
            options: further fields.

        Raises:
            UsageError: if there is no such run, seed or checkpoint.
        """
        folder = RunFolder.open(run)
        config = folder.config()
        info, network = policy_network(config)
        seed = config.seeds[0] if seed is None else seed
        if seed not in config.seeds:
            known = ", ".join(map(str, config.seeds))
            raise UsageError(f"Expected a seed of {run} ({known}), got {seed}.")
        if at is None:
            checkpoint = folder.load_checkpoint()
            if checkpoint is None:
                raise UsageError(f"{run} has no checkpoint yet; go on with its training first.")
            thetas, moment = checkpoint[0]["policy.values"], "end"
        else:
            nearest = min(folder.snapshots() or [at], key=lambda percent: abs(percent - at))
            thetas, moment = folder.load_snapshot(nearest), f"{nearest} %"
        return cls(
            config.env,
            info,
            config.policy,
            network,
            thetas[config.seeds.index(seed)],
            tuple(config.hyperparameters["hidden"]),
            f"{config.agent}, seed {seed}, {moment} of training",
            source=run,
            **options,
        )

    @property
    def objective(self) -> str:
        """What is to be increased, in a few words."""
        beyond = ", going on beyond the time limit" if self.limit == "continues" else ""
        return f"γ = {self.gamma:g}{beyond}"

    @property
    def time_limit(self) -> int:
        """T: steps after which an episode is cut off."""
        assert self.info.max_episode_steps is not None
        return self.info.max_episode_steps

    @property
    def steps_beyond(self) -> int:
        """How far to go beyond the time limit until what follows no longer counts."""
        if self.limit == "ends" or self.gamma == 0:
            return 0
        return math.ceil(math.log(NEGLIGIBLE) / math.log(self.gamma))

    @property
    def acting(self) -> Tensor:
        """Parameters of the policy that acts, ``[P]``."""
        return self.theta if self.behaviour is None else self.behaviour

    @cached_property
    def exact_mdp(self) -> FiniteMDP | None:
        """The environment's transition table, where it publishes one over these observations."""
        env = gym.make(self.env)
        try:
            if not isinstance(env.observation_space, spaces.Discrete):
                return None
            if env.observation_space.n > MOST_EXACT_STATES:
                return None
            return FiniteMDP.from_env(env)
        except UsageError:
            return None
        finally:
            env.close()


@dataclass(frozen=True)
class Estimator:
    """An agent as an estimator of the gradient.

    Attributes:
        label: as the user wrote it.
        agent: its hyperparameters.
        plan: how its trajectories are sampled; how many is the experiment's.
    """

    label: str
    agent: Agent
    plan: Episodes | Groups

    @property
    def name(self) -> str:
        """Short, for tables and figures."""
        return short_label(self.label)

    @property
    def group_size(self) -> int:
        """K of its sampling plan."""
        return self.plan.group_size


ZOO = (
    "reinforce:whole_return=yes",
    "reinforce",
    "reinforce-baseline:baseline=batch-mean",
    "reinforce-baseline:baseline=time-step-mean",
    "reinforce-baseline:baseline=optimal",
    "reinforce-baseline:baseline=value",
    "actor-critic",
    "actor-critic:lam=0",
    "all-actions",
    "ppo",
    "reinforce++",
    "rloo",
    "rloo:reward_to_go=yes",
    "grpo",
    "dr-grpo",
    "reinforce++-baseline",
)


def short_label(estimator: str) -> str:
    """Without the names of options whose values say enough, or the file of one's own."""
    if ".py:" in estimator:
        estimator = estimator.rpartition(".py:")[2]
    name, _, options = estimator.partition(":")
    words = [o.removeprefix("baseline=").removesuffix("=yes") for o in options.split(",") if o]
    return " ".join([name, *(w.replace("_", "-") for w in words)])


def parse_estimator(text: str, *, trajectories: int, group_size: int, gamma: float) -> Estimator:
    """``AGENT``, ``AGENT:OPTION=VALUE,…`` or ``FILE.py:FUNCTION`` as an estimator.

    Estimators are taken as their papers define them (``Agent.as_defined``). Options may change
    that; another ``gamma`` changes the estimator, not the objective it is compared with.

    Args:
        text: what the user wrote.
        trajectories: N of an estimate.
        group_size: K of agents that sample in groups, unless the text says otherwise.
        gamma: discount factor.

    Raises:
        UsageError: for an unknown agent or option, or a value outside its range.
    """
    name, _, rest = text.partition(":") if ".py:" not in text else _split_file(text)
    agent = agent_class(name)
    fields = {f.name: f for f in hyperparameters(agent)}
    options: dict[str, Any] = {
        key: value
        for key, value in {"episodes": trajectories, "group_size": group_size}.items()
        if key in fields and (key != "group_size" or fields[key].default != 1)
    }
    options["gamma"] = gamma
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        key = key.strip().replace("-", "_")
        known = sorted(OPTIONS_OF_ESTIMATES & fields.keys())
        if not equals or key not in known:
            raise UsageError(
                f"Expected options of {name} that change an estimate, as in "
                f"{name}:OPTION=VALUE,…; got {part!r}. Options: {', '.join(known)}."
            )
        options[key] = _convert(name, key, value.strip(), option_type(agent, key))
    k = options.get("group_size", 1)
    if k >= 1 and trajectories % k:
        raise UsageError(
            f"Expected groups of {k} for {text} to fill the {trajectories} trajectories of an "
            f"estimate. Choose a group size that divides them, or another number of trajectories."
        )
    chosen = agent.as_defined(**options)
    plan: Episodes | Groups = Episodes(episodes=trajectories)
    if chosen.rollouts_per_start > 1:
        plan = Groups(episodes=trajectories, group_size=chosen.rollouts_per_start)
    return Estimator(text, chosen, plan)


def _split_file(text: str) -> tuple[str, str, str]:
    """FILE.py:FUNCTION:OPTIONS."""
    path, _, rest = text.partition(".py:")
    function, colon, options = rest.partition(":")
    return f"{path}.py:{function}", colon, options


def _convert(agent: str, key: str, value: str, declared: Any) -> Any:
    values = choices(declared)
    words = {"yes": True, "true": True, "no": False, "false": False}
    try:
        if values is not None:
            if value not in values:
                raise ValueError
            return value
        if declared is bool:
            return words[value.lower()]
        if declared in (int, float):
            return declared(value)
    except (ValueError, KeyError):
        pass
    kind = ", ".join(values) if values else {bool: "yes or no"}.get(declared, declared.__name__)
    raise UsageError(f"Expected {agent}:{key} to be {kind}, got {value!r}.")


def parse_estimators(
    texts: Sequence[str], *, trajectories: int, group_size: int, gamma: float
) -> list[Estimator]:
    """Several estimators, each once.

    Raises:
        UsageError: as ``parse_estimator``; for a repetition; for an empty list.
    """
    if not texts:
        raise UsageError("Expected at least one estimator, got none.")
    parsed = [
        parse_estimator(t, trajectories=trajectories, group_size=group_size, gamma=gamma)
        for t in texts
    ]
    for i, estimator in enumerate(parsed):
        if same := [e.label for e in parsed[:i] if e.agent == estimator.agent]:
            raise UsageError(
                f"Expected every `estimator` once, but {estimator.label} and {same[0]} are the "
                "same."
            )
        if same := [e.label for e in parsed[:i] if e.name == estimator.name]:
            raise UsageError(
                f"Expected estimators of different names, but {estimator.label} and {same[0]} are "
                f"both called {estimator.name}. Rename one of the functions."
            )
    return parsed


def digest(theta: Tensor) -> str:
    """SHA-256 of a policy's parameters ``[P]``."""
    return hashlib.sha256(theta.cpu().numpy().tobytes()).hexdigest()


def policy_number(theta: Tensor) -> int:
    """A number for the random streams of a policy ``[P]``, so that no two share them."""
    return int(digest(theta)[:16], base=16)


def load_theta(path: Path) -> Tensor:
    """Parameters ``[P]`` from a safetensors file with one tensor.

    Raises:
        UsageError: if it is not one.
    """
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise UsageError(f"Expected {path} to be a safetensors file: {error}") from error
    if len(tensors) != 1:
        raise UsageError(f"Expected one tensor in {path}, found {', '.join(tensors) or 'none'}.")
    theta: Tensor = next(iter(tensors.values()))
    if not theta.is_floating_point():
        raise UsageError(f"Expected floating-point parameters in {path}, got {theta.dtype}.")
    return theta.flatten().float()
