"""Command lines, made of the real options: every command, every parameter, by its type."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import click

from pgzoo.agents import AGENTS, agent_class
from pgzoo.cli import main
from pgzoo.options import options_of
from tests.fuzz import folders, values

WEIGHTS = {
    "run": 44,
    "lab": 12,
    "check": 7,
    "eval": 8,
    "watch": 4,
    "plot": 3,
    "compare": 2,
    "tensorboard": 4,
    "course": 2,
    "list": 1,
}
"""How often a command is drawn; those not named here have 6."""
OWN = ("right.py:reward_to_go", *(f"wrong.py:{name}" for name in (
    "short", "raising", "late", "nan", "whole", "nothing", "leaving", "of_two", "in_place",
    "random", "unprintable", "recursive", "not_a_function", "missing")),
    "broken.py:broken", "raising.py:psi", "missing.py:psi", "file.txt:psi", "right.py",
    "right.py:", ":psi", "folder:psi", "fifo:psi")  # fmt: skip
RUNS = ("plain", "plain", "other", "critic", "segments", "reference", "tabular", "groups", "own",
        *folders.ALIASES)  # fmt: skip
NO_RUNS = (*folders.PLACES, "missing", "comparison", "plain/config.json", "", "/dev/null",
           "/proc/self/status", "a" * 300, ".", "plain/../plain", "wrong.py")  # fmt: skip
NEW = ("new", "new", "new/deep/er", "ünï", "out.gif", "out.csv", "$(touch X)new", "new\x1b[31m",
       "[b]new[/b]", "-new", "new new")  # fmt: skip
TAKEN = ("plain", "file.txt", "file.txt/x", "dangling", "loop", "fifo", "/dev/null", "/dev/full",
         "/proc/new", "", "a" * 300, "b/" * 3000 + "c", "\udcff", "folder", "link/new")  # fmt: skip
PLAIN, EDGE, CHAOS = "plain", "edge", "chaos"
MOST, MANY = 5000, 100
"""A number above that, or more seeds, may make a command run for long, which is no fault."""


@dataclass(frozen=True)
class Line:
    """A command line.

    Attributes:
        words: after ``pgzoo``.
        encoding: of the terminal.
    """

    words: tuple[str, ...]
    encoding: str = "utf-8"

    @property
    def may_be_long(self) -> bool:
        """Whether one of its numbers may ask for more than a case has time for."""
        numbers = re.findall(r"\d{4,}|\d[eE]\d", "\n".join(self.words).replace("_", ""))
        if any(word.count(",") > MANY for word in self.words):  # so many seeds, one by one
            return True
        return any(not n.isdigit() or int(n[:20]) > MOST for n in numbers)


@cache
def leaves() -> dict[tuple[str, ...], click.Command]:
    """Every command that does something, by the words that name it."""
    return dict(_leaves(main, ()))


def _leaves(
    command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _leaves(found, (*words, name))


def line(choose: random.Random) -> Line:
    """A command line; most are good enough to get far."""
    first = choose.choices([name for name, _ in _firsts()], [weight for _, weight in _firsts()])[0]
    words, command = choose.choice([leaf for leaf in leaves().items() if leaf[0][0] == first])
    if first == "run" and choose.random() < 0.2:
        own = choose.choice(OWN)
        words = ("run", own)
        command = _command_of(own) or command
    mode = choose.choices((PLAIN, EDGE, CHAOS), (0.66, 0.24, 0.1))[0]
    given = _Words(choose, first, command, mode)
    made = [*words, *given.make()]
    if mode == CHAOS:
        made = _chaos(made, choose)
    made = [word.replace("\0", "") for word in made]
    encoding = choose.choices(("utf-8", "cp1252", "ascii"), (0.9, 0.05, 0.05))[0]
    return Line(tuple(made), encoding)


@cache
def _firsts() -> list[tuple[str, int]]:
    return [(name, WEIGHTS.get(name, 6)) for name in dict.fromkeys(w[0] for w in leaves())]


def _command_of(own: str) -> click.Command | None:
    """The options of an estimator of one's own, which are those of any other such."""
    from pgzoo.agents.custom import Custom
    from pgzoo.cli.run import _run_command

    return _run_command(own, Custom)


class _Words:
    """The words of one command line, in the making."""

    def __init__(
        self, choose: random.Random, first: str, command: click.Command, mode: str
    ) -> None:
        self.choose, self.first, self.command, self.mode = choose, first, command, mode
        self.options = {
            str(p.name): p for p in command.params if isinstance(p, click.Option) and p.opts
        }
        self.arguments = [p for p in command.params if isinstance(p, click.Argument)]
        self.agent = {
            o.name: o for o in options_of(_class_of(str(command.name))).values()
        } if first == "run" else {}  # fmt: skip

    def make(self) -> list[str]:
        """Arguments and options, with a small budget."""
        base = dict(BASES.get(self.first, _no_options)(self))
        named = self._extras(base)
        odd = self.choose.choice(list(named)) if named and self.mode == EDGE else None
        words = [word for name in named for word in self._option(name, base.get(name), name == odd)]
        positional = [word for argument in self.arguments for word in self._argument(argument)]
        if any(word.startswith("-") for word in positional):
            return [*words, "--", *positional]
        return [*positional, *words] if self.choose.random() < 0.7 else [*words, *positional]

    def _extras(self, base: dict[str, str]) -> list[str]:
        count = self.choose.choices((0, 1, 2, 3, 5), (0.25, 0.3, 0.25, 0.15, 0.05))[0]
        rest = [name for name in self.options if name not in base and name != "resume"]
        return [*base, *self.choose.sample(rest, min(count, len(rest)))]

    def _option(self, name: str, value: str | None, odd: bool) -> list[str]:
        option = self.options.get(name)
        if option is None:
            return []
        if option.is_flag:
            return [self.choose.choice([*option.opts, *option.secondary_opts])]
        if value is None or odd:
            value = self._value(option, odd)
        if value.startswith("-") or self.choose.random() < 0.05:
            return [f"{option.opts[0]}={value}"]
        return [option.opts[0], value]

    def _value(self, option: click.Option, odd: bool) -> str:
        known = self.agent.get(str(option.name))
        if isinstance(option.type, click.Path) or option.name in ("reference", "reuse"):
            return self._path(str(option.name), odd)
        if known is not None:
            if not odd:
                return values.telling(known, self.choose)
            if known.bounds and self.choose.random() < 0.4:
                return values.at_the_edge(known, self.choose)
        return values.absurd(option, self.choose) if odd else values.plain(option, self.choose)

    def _path(self, name: str, odd: bool) -> str:
        if name == "out":
            fitting = {"watch": "out.gif", "course": "out.csv"}.get(self.first)
            usual = [fitting] if fitting else NEW
            return self.choose.choice(TAKEN + NEW if odd else usual)
        if name == "theta":
            pool = ("plain/checkpoint.safetensors", *NO_RUNS)
            return self.choose.choice(pool if odd else pool[:1])
        return self.choose.choice(NO_RUNS if odd else RUNS)

    def _argument(self, argument: click.Argument) -> list[str]:
        choose, name = self.choose, str(argument.name)
        odd = self.mode != PLAIN and choose.random() < 0.3
        if name == "estimator":
            return [spec(choose, odd)]
        if name == "agents":
            return [spec(choose, odd) for _ in range(choose.choice((1, 2, 2, 3)))]
        if name == "submissions":
            return [choose.choice(NO_RUNS) if odd else "class"]
        if name == "out":
            return [choose.choice(TAKEN if odd else NEW)]
        count = choose.choice((1, 1, 2, 3)) if argument.nargs == -1 else 1
        if argument.required is False and choose.random() < 0.1:
            count = 0
        pool = NO_RUNS if odd else (folders.COMPLETE if self.first == "plot" else RUNS)
        return [choose.choice(pool) for _ in range(count)]


def _class_of(name: str) -> type:
    if name in AGENTS:
        return agent_class(name)
    from pgzoo.agents.custom import Custom

    return Custom


def spec(choose: random.Random, odd: bool = False) -> str:
    """An agent with options, as in ``ppo:lam=0.9``, or a file and a function."""
    if choose.random() < 0.2:
        return choose.choice(OWN)
    name = choose.choice(list(AGENTS))
    known = list(options_of(agent_class(name)).values())
    if "group_size" in {o.name for o in known} or choose.random() < 0.5:
        chosen = choose.sample(known, choose.choice((0, 1, 2)))
        texts = [
            f"{o.name}={choose.choice(values.NUMERALS) if odd else values.telling(o, choose)}"
            for o in chosen
        ]
        return name + ":" * bool(texts) + ",".join(texts)
    return choose.choice(values.TEXTS) if odd else name


def _no_options(_: _Words) -> dict[str, str]:
    return {}


def _base_of_run(words: _Words) -> dict[str, str]:
    choose = words.choose
    if choose.random() < 0.12:
        fitting = [n for n, agent in folders.AGENTS.items() if agent == words.command.name]
        return {"resume": choose.choice(fitting or list(RUNS)), "quiet": ""}
    base = {
        "env": choose.choice(values.SMALL_ENVS),
        "seeds": choose.choice(values.BY_NAME["seeds"]),
        "steps": str(choose.randint(50, 250)),
    }
    if choose.random() < 0.8:
        base["quiet"] = ""
    if choose.random() < 0.5:
        base["hidden"] = "4"
    if "episodes" in words.options and choose.random() < 0.7:
        base["episodes"] = "4"
        if "group_size" in words.options:
            base["group_size"] = "2"
    if choose.random() < 0.9:
        base["out"] = choose.choice(NEW)
    return base


def _base_of_lab(words: _Words) -> dict[str, str]:
    choose = words.choose
    base = {"run": choose.choice(RUNS)}
    if choose.random() < 0.6:
        base = {"env": choose.choice(("CartPole-v1", "FrozenLake-v1"))}
        base["policy"] = choose.choice(("tabular", "linear"))
        base["max_episode_steps"] = str(choose.randint(2, 10))
    base |= {"estimates": "2", "critic_trajectories": "4", "reference_estimates": "2"}
    base["trajectories"] = "32" if words.command.name == "group-size" else "8"
    base["group_size"] = choose.choice(("2", "4"))
    if words.command.name in ("measure", "training", "drift", "batch-size"):
        base["estimators"] = choose.choice(values.ESTIMATORS)
    return base


def _base_of_compare(words: _Words) -> dict[str, str]:
    base = {"env": "CartPole-v1", "seeds": "0-1", "steps": "100", "hidden": "4", "quiet": ""}
    return base | {"out": "new", "diagnostics": "0", "reuse": "comparison"}


def _base_of_check(words: _Words) -> dict[str, str]:
    return {"group_size": "2", "episodes": "4"} if words.choose.random() < 0.7 else {}


def _base_of_watch(words: _Words) -> dict[str, str]:
    return {"seconds": "0.1", "out": "out.gif"}


def _base_of_plot(words: _Words) -> dict[str, str]:
    return {"formats": "svg", "out": "figures"}


def _base_of_course(words: _Words) -> dict[str, str]:
    if words.command.name != "grade":
        return {}
    return {"out": "out.csv", "exercise": "1.1", "seconds": "1", "jobs": "1"}


def _base_of_eval(words: _Words) -> dict[str, str]:
    return {"episodes": "3"} if words.choose.random() < 0.8 else {}


BASES: dict[str, Callable[[_Words], dict[str, str]]] = {
    "run": _base_of_run,
    "lab": _base_of_lab,
    "compare": _base_of_compare,
    "check": _base_of_check,
    "watch": _base_of_watch,
    "plot": _base_of_plot,
    "course": _base_of_course,
    "eval": _base_of_eval,
}
"""Options that a command is mostly given, so that it ends soon."""


def _chaos(words: list[str], choose: random.Random) -> list[str]:
    """Words as a hasty hand, or a hostile one, leaves them."""
    words = list(words)
    for _ in range(choose.choice((1, 1, 2, 3))):
        at = choose.randrange(len(words) + 1)
        what = choose.randrange(11)
        if what == 0:
            words.insert(at, choose.choice(values.TEXTS))
        elif what == 1 and words:
            del words[min(at, len(words) - 1)]
        elif what == 2:
            words.insert(at, "--")
        elif what == 3:
            words += [_any_option(choose), choose.choice(("1", "0.5", "plain", *values.TEXTS))]
        elif what == 4:
            words.insert(at, choose.choice(("-h", "--help", "--version", "-x", "-hh", "--=")))
        elif what == 5 and words:
            at = min(at, len(words) - 1)
            words[at] = choose.choice(values.TEXTS + values.NUMERALS)
        elif what == 6 and words:
            at = min(at, len(words) - 1)
            words[at] = words[at][: max(len(words[at]) - choose.randint(1, 3), 1)]
        elif what == 7 and len(words) > 2:
            i = choose.randrange(len(words) - 1)
            words += words[i : i + 2]
        elif what == 8:
            words.append(_any_option(choose))
        elif what == 9:
            choose.shuffle(words)
        elif what == 10 and words:
            at = min(at, len(words) - 1)
            words[at] = words[at].swapcase()
    return words


def _any_option(choose: random.Random) -> str:
    command = choose.choice(list(leaves().values()))
    options = [p for p in command.params if isinstance(p, click.Option)]
    return choose.choice(choose.choice(options).opts) if options else "--nothing"
