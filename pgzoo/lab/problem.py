"""What is measured: a frozen policy on an environment, and the estimators to compare."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
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

from pgzoo.agents import AGENTS, agent_class
from pgzoo.agents.base import Agent
from pgzoo.agents.text import split_text
from pgzoo.errors import UsageError
from pgzoo.lab.exact import FiniteMDP
from pgzoo.learning.stored import policies, stored_config
from pgzoo.learning.trainer import describe_env
from pgzoo.options import build, check_needs, checked, flat, options_of, shown, written
from pgzoo.policies.networks import Network, make_policy
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.words import ranges
from pgzoo.sampling.seeding import Purpose, generators

MOST_EXACT_STATES = 2_000
LIMITS = ("ends", "continues")
NEGLIGIBLE = 1e-3
"""γ^n of the steps beyond a time limit after which an episode is no longer followed."""


@dataclass(frozen=True)
class Problem:
    """A policy that stays as it is, and the objective whose gradient is estimated.

    Attributes:
        env: Gymnasium environment.
        info: its spaces and time limit.
        policy_kind: mlp, linear or tabular.
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
    policy_kind: str
    network: Network
    theta: Tensor
    hidden: tuple[int, ...]
    label: str
    gamma: float = 1.0
    limit: str = "ends"
    behaviour: Tensor | None = None
    source: Path | None = None

    def __post_init__(self) -> None:
        gamma = checked("gamma", self.gamma, float, minimum=0, maximum=1)
        object.__setattr__(self, "gamma", gamma)
        if not isinstance(self.limit, str) or self.limit not in LIMITS:
            raise UsageError(
                f"Expected `limit` among {', '.join(LIMITS)}; got {shown(self.limit)}."
            )
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
        policy_kind: str = "mlp",
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
        info = pgzoo_envs.describe(env, max_episode_steps, discretise=policy_kind == "tabular")
        network = make_policy(policy_kind, info, hidden)
        label = "given parameters"
        if theta is None:
            theta = network.init(generators([seed], Purpose.POLICY_INIT))[0]
            label = f"initial {policy_kind}, seed {seed}"
        return cls(env, info, policy_kind, network, theta, tuple(hidden), label, **options)

    @classmethod
    def of_run(
        cls, run: Path, *, seed: int | None = None, at: int | None = None, **options: Any
    ) -> Problem:
        """A policy of a training run.

        Args:
            run: folder.
            seed: which replica; by default the first.
            at: percent of the run after which the policy is taken, one of its snapshots; by
                default the last checkpoint.
            options: further fields.

        Raises:
            UsageError: if there is no such run, seed, snapshot or checkpoint.
        """
        folder = RunFolder.open(run)
        config = stored_config(folder)
        info, hidden = describe_env(config), config.hyperparameters["hidden"]
        network = make_policy(config.policy_kind, info, hidden)
        seed = config.seeds[0] if seed is None else seed
        if seed not in config.seeds:
            known = ranges(config.seeds)
            raise UsageError(f"Expected a seed of {run} ({known}), got {seed}.")
        thetas, moment = policies(folder, network, at), "end" if at is None else f"{at} %"
        return cls(
            config.env,
            info,
            config.policy_kind,
            network,
            thetas[config.seeds.index(seed)],
            tuple(hidden),
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
        agent: its hyperparameters; of segments, complete episodes take the place.
        given: names of the options that the user wrote.
    """

    label: str
    agent: Agent
    given: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Short, for tables and figures."""
        return short_label(self.label)

    @property
    def group_size(self) -> int:
        """K of its sampling plan."""
        return self.agent.plan.group_size


def zoo() -> tuple[str, ...]:
    """The estimators that agents register, as ``parse_estimator`` reads them."""
    return tuple(
        name + ":" * bool(options) + ",".join(f"{k}={written(v)}" for k, v in options.items())
        for name, entry in AGENTS.items()
        for options in entry.agent.in_zoo
    )


def short_label(estimator: str) -> str:
    """Without the names of options whose values say enough, or the file of one's own."""
    if ".py:" in estimator:
        estimator = estimator.rpartition(".py:")[2]
    name, _, options = estimator.partition(":")
    words = [o.removeprefix("baseline=").removesuffix("=yes") for o in options.split(",") if o]
    return " ".join([name, *(w.replace("_", "-") for w in words)])


def parse_estimator(
    source: str | Callable[..., Any],
    *,
    trajectories: int,
    group_size: int,
    gamma: float,
    varied: str = "",
) -> Estimator:
    """An estimator from a function, ``AGENT``, ``AGENT:OPTION=VALUE,…`` or ``FILE.py:FUNCTION``.

    Estimators are taken as their papers define them. Options may change that; another ``gamma``
    changes the estimator, not the objective it is compared with.

    Args:
        source: what the user gave.
        trajectories: N of an estimate.
        group_size: K of agents that sample in groups, unless the text says otherwise.
        gamma: discount factor.
        varied: an option that a study goes through; what depends on it is not judged by one value.

    Raises:
        UsageError: for an unknown agent or option, a value outside its range, or one that changes
            nothing.
    """
    if callable(source):
        agent, given = agent_class(source), list[tuple[str, str]]()
        label = agent.name
    else:
        name, given = split_text(source)
        agent, label = agent_class(name), source
    options: dict[str, Any] = {}
    known = {name: o for name, o in options_of(agent).items() if o.estimate}
    for key, value in given:
        if key not in known:
            raise UsageError(
                f"Expected options of {agent.name} that change an estimate, as in "
                f"{agent.name}:OPTION=VALUE,…; got {f'{key}={value}'!r}. Options: "
                f"{', '.join(sorted(known))}."
            )
        options[key] = known[key].parse(value)
    batch: dict[str, Any] = {"episodes": trajectories, "gamma": gamma}
    if "group_size" in known and known["group_size"].default > 1:
        batch["group_size"] = group_size
    k = options.get("group_size", batch.get("group_size", 1))
    if k >= 1 and trajectories % k:
        raise UsageError(
            f"Expected groups of {k} for {label} to fill the {trajectories} trajectories of an "
            f"estimate. Choose a group size that divides them, or another number of trajectories."
        )
    made = build(agent, options, batch)
    check_needs(agent, options, {k: v for k, v in flat(made).items() if k != varied})
    return Estimator(label, made, frozenset(options))


def parse_estimators(sources: Sequence[str | Callable[..., Any]], **batch: Any) -> list[Estimator]:
    """Several estimators, each once; of batches as for ``parse_estimator``.

    Raises:
        UsageError: as ``parse_estimator``; for a repetition; for an empty list.
    """
    if not sources:
        raise UsageError("Expected at least one estimator, got none.")
    parsed = [parse_estimator(s, **batch) for s in sources]
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
