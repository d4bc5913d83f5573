"""Who takes part in a comparison: agents with their options, each once, each with a label."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgzoo.agents import AGENTS, agent_class
from pgzoo.agents.text import split_text
from pgzoo.compare.setting import setting_of
from pgzoo.errors import UsageError
from pgzoo.learning.arguments import AgentName, configure
from pgzoo.options import flat, options_of, shown, written
from pgzoo.records.config import RunConfig

Source = AgentName | tuple[AgentName, Mapping[str, Any]]
"""How a user names a contender: text, a function, or either of them with options."""


@dataclass(frozen=True)
class Contender:
    """An agent with its options.

    Attributes:
        label: unique in its comparison, such as ``ppo`` or ``ppo:lam=0.9``.
        agent: a name of the zoo, ``FILE.py:FUNCTION``, or a function.
        options: those by which it differs from the agent's defaults and what is common to all.
        config: of its run, with all seeds.
    """

    label: str
    agent: AgentName
    options: Mapping[str, Any]
    config: RunConfig

    @property
    def budget(self) -> int:
        """Environment steps of each seed."""
        return int(self.config.hyperparameters["steps"])


@dataclass(frozen=True)
class Grid:
    """A sweep along one option.

    Attributes:
        option: that it goes along.
        values: label of the contender to its value, in the order given.
    """

    option: str
    values: Mapping[str, Any]


def contenders_of(
    agents: Sequence[Source], grid: str | None = None, **common: Any
) -> tuple[list[Contender], Grid | None]:
    """Every contender, in the order in which they are named; those of a grid come last.

    Args:
        agents: each as ``AGENT``, ``AGENT:OPTION=VALUE,…``, ``FILE.py:FUNCTION[:OPTION=VALUE,…]``,
            a function from trajectories to Ψ, or a pair of one of them and a mapping of options.
        grid: ``AGENT:OPTION=VALUE,VALUE,…``; a value that is a contender already is that one.
        common: arguments of ``learning.arguments.configure`` and options, for all.

    Raises:
        UsageError: for what cannot be trained, a contender that is named twice, or fewer than two.
    """
    named = [_read(source) for source in agents]
    option, swept = _read_grid(grid) if grid is not None else (None, [])
    found: list[Contender] = []
    for agent, options in named:
        contender = _contender(agent, options, common)
        if (same := _same(contender, found)) is not None:
            raise UsageError(
                f"Expected every contender once, got {_named(agent, options)}, which is the same "
                f"as {same.label}: an option at its default changes nothing. Leave one out."
            )
        found.append(contender)
    along: list[Contender] = []
    for agent, options in swept:
        contender = _contender(agent, options, common, keep=option)
        if _same(contender, along) is not None:
            raise UsageError(
                f"Expected every value of the grid once, got {_named(agent, options)} more than "
                "once. Leave one out."
            )
        same = _same(contender, found)
        along.append(contender if same is None else same)
    everyone = _with_unique_labels([*found, *(c for c in along if c not in found)])
    if len(everyone) < 2:
        raise UsageError(
            f"Expected at least two contenders to compare, got {len(everyone)}. Name another agent "
            f"({', '.join(AGENTS)}), or the same one with another option, as in ppo:lam=0.9."
        )
    if option is None:
        return everyone, None
    keys = {setting_of(c.config, budget=True): c for c in everyone}
    of_grid = [keys[setting_of(c.config, budget=True)] for c in along]
    return everyone, Grid(option, {c.label: c.config.hyperparameters[option] for c in of_grid})


def _read(source: Source) -> tuple[AgentName, dict[str, Any]]:
    """An agent, and its options as values."""
    extra: Mapping[str, Any] = {}
    if isinstance(source, tuple):
        if len(source) != 2 or not isinstance(source[1], Mapping):
            raise UsageError(
                f"Expected a contender's pair to be an agent and a mapping of options, got "
                f"{shown(source)}."
            )
        source, extra = source
    if callable(source):
        return source, dict(extra)
    if not isinstance(source, str):
        raise UsageError(
            "Expected every agent as text, a function, or a pair of one of them and its options; "
            f"got {shown(source)}."
        )
    name, texts = split_text(source)
    return name, {k: _parsed(name, k, text) for k, text in texts} | dict(extra)


def _parsed(agent: AgentName, option: str, text: str) -> Any:
    known = options_of(agent_class(agent))
    return known[option].parse(text) if option in known else text  # unknown: `build` says more


def _read_grid(text: str) -> tuple[str, list[tuple[AgentName, dict[str, Any]]]]:
    """The option of a grid, and its contenders."""
    name, options = split_text(text)
    known = options_of(agent_class(name))
    several = [k for k, values in options if "," in values]
    if len(several) != 1:
        raise UsageError(
            "Expected `grid` with several values of one option, as in ppo:lam=0.5,0.9,1; got "
            f"{text!r}, with several values of {len(several)}."
        )
    (option,) = several
    if option in known and known[option].kind == tuple[int, ...]:
        raise UsageError(
            f"Expected `grid` along an option that is one number or word; {option} is a list "
            "itself. Name its contenders one by one."
        )
    fixed = {k: _parsed(name, k, v) for k, v in options if k != option}
    values = [_parsed(name, option, v.strip()) for v in dict(options)[option].split(",")]
    return option, [(name, fixed | {option: value}) for value in values]


def _contender(
    agent: AgentName, options: dict[str, Any], common: Mapping[str, Any], keep: str | None = None
) -> Contender:
    kind = agent_class(agent)
    try:
        if any(k not in options_of(kind) for k in options):
            kind.for_env(common["env"], **options)  # says which there are
        config, _ = configure(agent, **(dict(common) | options))
    except UsageError as error:
        raise UsageError(f"{_named(agent, options)}: {error}") from error
    shared = {k: v for k, v in common.items() if k in options_of(kind)}
    usual = flat(kind.for_env(config.env, config.policy_kind)) | shared
    own = {
        k: config.hyperparameters[k]
        for k in options
        if k == keep or k not in usual or usual[k] != config.hyperparameters[k]
    }
    return Contender(_named(_short(agent), own), agent, own, config)


def _short(agent: AgentName) -> str:
    """A user's function without its file."""
    return agent_class(agent).name.rpartition(".py:")[2]


def _named(agent: AgentName, options: Mapping[str, Any]) -> str:
    name = agent_class(agent).name if callable(agent) else agent
    return name + ":" * bool(options) + ",".join(f"{k}={written(v)}" for k, v in options.items())


def _same(contender: Contender, others: Iterable[Contender]) -> Contender | None:
    mine = setting_of(contender.config, budget=True)
    return next((c for c in others if setting_of(c.config, budget=True) == mine), None)


def _with_unique_labels(contenders: Sequence[Contender]) -> list[Contender]:
    """Functions of one name, or of an agent's, are told apart by their files."""
    labels = [c.label for c in contenders]
    names = [_short(c.agent) for c in contenders]

    def ambiguous(contender: Contender) -> bool:
        if callable(contender.agent) or ".py:" not in contender.agent:
            return False
        return labels.count(contender.label) > 1 or _short(contender.agent) in AGENTS

    named = [
        dataclasses.replace(c, label=_named(c.agent, c.options)) if ambiguous(c) else c
        for c in contenders
    ]
    labels = [c.label for c in named]
    for contender, name in zip(named, names, strict=True):
        if labels.count(contender.label) > 1:
            raise UsageError(
                f"Expected contenders of different names, but several are called {name}. Rename "
                "one of the functions."
            )
    return named
