"""`pgzoo compare AGENT…`: many agents, many seeds, verdicts with their intervals."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.table import Table

from pgzoo.agents import AGENTS, Agent
from pgzoo.cli.commands import NO_COMMAND, command
from pgzoo.cli.flags import flag, with_flags
from pgzoo.cli.run import DEFAULT_SEEDS, click_type, running_options
from pgzoo.cli.streams import interrupted, only_display
from pgzoo.cli.values import PLACE, POLICIES, parse_seeds
from pgzoo.errors import UsageError
from pgzoo.options import Option, options_of, own_options, written
from pgzoo.records.terminal import Terminal

if TYPE_CHECKING:
    import pandas as pd

    from pgzoo.compare.result import Comparison

PARENT = Path("comparisons")
MOST_VERDICTS = 12
IN_THE_REPORT = ["mean", "worst tenth", "next run", "seconds"]
"""What columns begin with for which a terminal has no room."""


def _options_of_all() -> list[click.Parameter]:
    """What every agent can be told."""
    return [_option_of_all(known) for known in own_options(Agent).values()]


def _option_of_all(known: Option) -> click.Option:
    text = f"{with_flags(known.description)}.  [default: each agent's own]"
    return click.Option([flag(known.name)], type=click_type(known), help=f"For all: {text}")


def _text(name: str, about: str, **options: Any) -> click.Option:
    return click.Option([name], help=about, **options)


PARAMETERS: list[click.Parameter] = [
    click.Argument(["agents"], nargs=-1, metavar="AGENT…"),
    _text("--env", "Gymnasium environment, such as CartPole-v1.", metavar="ENV"),
    _text("--seeds", f"As in 0-9 or 0,3,5-7.  [default: {DEFAULT_SEEDS}]", metavar="SEEDS"),
    _text("--policy", "Kind of policy.  [default: mlp]", metavar="|".join(POLICIES)),
    _text(
        "--grid",
        "Further contenders along one option, as in ppo:lam=0.5,0.9,1.",
        metavar="AGENT:OPTION=VALUE,…",
    ),
    _text(
        "--out",
        "Folder for everything.  [default: comparisons/ENV-NUMBER]",
        type=PLACE,
    ),
    _text(
        "--reuse",
        "Runs, or folders of runs, whose seeds are not trained again; may be repeated.  "
        "[default: runs and comparisons]",
        type=PLACE,
        multiple=True,
        default=None,
        metavar="FOLDER",
    ),
    _text("--no-reuse", "Train all that --out does not hold yet.", is_flag=True, default=None),
    _text(
        "--any-version",
        "Reuse runs of other versions of pgzoo, too.",
        is_flag=True,
        default=None,
    ),
    _text(
        "--any-budget",
        "Reuse runs of more or fewer steps where there are no others.",
        is_flag=True,
        default=None,
    ),
    _text("--on", "Where to train.  [default: local]", metavar="local|ray|ray://HOST:PORT"),
    _text(
        "--workers",
        "Processes at once.  [default: one for each processor]",
        type=int,
    ),
    _text(
        "--until-decided",
        "Add seeds, as many at a time as --seeds says, until every pair is decided or a contender "
        "has so many.",
        type=int,
        metavar="MOST",
    ),
    _text(
        "--difference",
        "In return, that matters: how many more seeds would tell it is said of undecided pairs.  "
        "[default: about a twentieth of the threshold]",
        type=float,
    ),
    _text("--films", "What each does, as films in the report.", is_flag=True, default=None),
    *running_options(),
    *_options_of_all(),
]


class CompareCommand(click.Command):
    """The command, which knows where options of single agents belong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say how an option that some agents have is given."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            has = [agent for agent, e in AGENTS.items() if name in options_of(e.agent)]
            if not has:
                raise
            raise UsageError(
                f"Expected {flag(name)} as part of an agent's name, as in {has[0]}:{name}=…: not "
                "every agent has it."
            ) from error


@click.command(
    cls=CompareCommand,
    params=PARAMETERS,
    context_settings={"max_content_width": 100},
    epilog="Options of single agents are part of their names: ppo:lam=0.9,clip=0.1.",
)
@click.pass_context
def compare(
    ctx: click.Context, /, agents: tuple[str, ...], quiet: bool = False, **given: Any
) -> None:
    """Train what is missing of several agents, and compare them over seeds.

    AGENT is a name of the zoo, with options if you like (ppo:lam=0.9), or FILE.py:FUNCTION. Seeds
    of complete runs of the same setting are not trained again, and the same command goes on with
    what was interrupted.
    """
    from pgzoo.compare.api import compare as run_comparison

    only_display()
    typed = _typed(ctx)
    asked = {k: v for k, v in given.items() if v not in (None, ())}
    if "env" not in asked:
        raise UsageError(
            "Expected --env, such as `pgzoo compare ppo rloo --env CartPole-v1`; `pgzoo list` "
            "names more."
        )
    asked["seeds"] = parse_seeds(asked.get("seeds", DEFAULT_SEEDS))
    if asked.pop("no_reuse", False):
        if asked.get("reuse"):
            raise UsageError("Expected --reuse or --no-reuse, got both.")
        asked["reuse"] = []
    if "out" not in asked:
        asked["among"] = PARENT
    try:
        found = run_comparison(agents, progress=not quiet, command=shlex.join(typed), **asked)
    except KeyboardInterrupt as error:
        where = str(error) or "What is trained is saved; the same command goes on."
        interrupted(f"Interrupted. {where} It was:\n  {command(*typed) or NO_COMMAND}")
    if not quiet:
        print_comparison(Terminal(), found)


def _typed(ctx: click.Context) -> list[str]:
    """What was typed, to be typed again."""
    words = ["pgzoo", "compare", *ctx.params["agents"]]
    for parameter in ctx.command.params:
        name = str(parameter.name)
        if name == "agents" or ctx.get_parameter_source(name) != ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[name]
        for one in value if name == "reuse" else [value]:
            words += [flag(name)] if one is True else [flag(name), written(one)]
    return words


def print_comparison(console: Terminal, found: Comparison) -> None:
    """Tables, verdicts, what has to be known beside, and where everything is."""
    from pgzoo.compare.tables import contenders_in_words

    table = contenders_in_words(found.table.reset_index())
    narrow = [c for c in table.columns if not c.startswith(tuple(IN_THE_REPORT))]
    shown = table[narrow].rename(columns={"interquartile mean": "IQM"})
    title = f"{found.title}, best first; IQM: interquartile mean of the final returns"
    _print_table(console, title, shown)
    for line in found.verdicts[:MOST_VERDICTS]:
        console.print(f"• {line}", highlight=False, soft_wrap=True)
    if len(found.verdicts) > MOST_VERDICTS:
        console.print(f"… and {len(found.verdicts) - MOST_VERDICTS} more in the report")
    for line in found.remarks:
        console.print(f"Note: {line}", style="dim", highlight=False, soft_wrap=True)
    curves = command("pgzoo", "tensorboard", found.folder) or NO_COMMAND
    console.print(
        f"\nReport: {found.folder / 'report.html'}\nCurves: {curves}",
        highlight=False,
        soft_wrap=True,
    )


def _print_table(console: Terminal, title: str, table: pd.DataFrame) -> None:
    shown = Table(title=title, title_justify="left")
    for i, name in enumerate(table.columns):
        shown.add_column(str(name), justify="left" if i == 0 else "right", no_wrap=i == 0)
    for line in table.astype(str).to_numpy().tolist():
        shown.add_row(*(cell.replace(" [", "\n[") for cell in line))
    console.print(shown)
