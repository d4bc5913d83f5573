"""The command line: parse, call, print."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import click
from rich.table import Table

from pgzoo import __version__
from pgzoo.agents import AGENTS
from pgzoo.cli.check import check
from pgzoo.cli.commands import say
from pgzoo.cli.compare import compare
from pgzoo.cli.course import course
from pgzoo.cli.doctor import doctor
from pgzoo.cli.flags import with_flags
from pgzoo.cli.lab import lab
from pgzoo.cli.plot import plot
from pgzoo.cli.run import run
from pgzoo.cli.streams import around_a_command, interrupted
from pgzoo.cli.tensorboard import tensorboard
from pgzoo.cli.values import PLACE, POLICIES
from pgzoo.cli.watch import watch
from pgzoo.errors import UsageError
from pgzoo.options import LARGEST_WHOLE, parts_of
from pgzoo.records.printable import printable
from pgzoo.records.terminal import Terminal

ENVIRONMENTS = {
    "CartPole-v1": "balance a pole; solved at 475 of 500",
    "LunarLander-v3": "land softly between the flags; solved at 200",
    "Acrobot-v1": "swing two links up; solved at -100",
    "MountainCar-v0": "rock a car up a hill; rewards say nothing until it is there",
    "FrozenLake-v1": "16 states, slippery; solved at 0.7",
    "CliffWalking-v1": "48 states; endless, so give --max-episode-steps",
    "Taxi-v4": "500 states; pick up and deliver",
}

AGGREGATED = {
    "sum": "summed",
    "step-mean": "averaged over the batch",
    "trajectory-mean": "averaged over each trajectory",
}


class ShownError(click.ClickException):
    """An error of click's, of which everything that is shown is printable."""

    def __init__(self, error: click.ClickException) -> None:
        super().__init__(error.message)
        self._error = error
        self.exit_code = error.exit_code  # type: ignore[misc]  # click asks the error itself

    def show(self, file: IO[Any] | None = None) -> None:
        """As click shows it."""
        text = io.StringIO()
        self._error.show(text)
        click.echo(printable(text.getvalue()), file=file, err=True, nl=False)


def machine_refused(error: OSError) -> str:
    """What the operating system would not do, in words."""
    where = "" if error.filename is None else f" for {error.filename}"
    return f"The operating system refused{where}: {error.strerror or error}."


def check_current_folder() -> None:
    """Raise a ``UsageError`` where nothing can be found: torch could not even be loaded."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            "Expected a folder to work in, but the current one is gone. Change to another one."
        ) from error


class ClearErrors(click.Group):
    """A group whose wrong input ends with status 2 and a message, never a traceback."""

    def main(self, *args: Any, **given: Any) -> Any:
        """Be the program, whatever becomes of the terminal; a traceback, too, is printable."""
        sys.excepthook = print_traceback
        with around_a_command():
            return super().main(*args, **given)

    def make_context(self, *args: Any, **given: Any) -> click.Context:
        """Read the command line."""
        with clear_errors():
            return super().make_context(*args, **given)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with clear_errors():
            check_current_folder()
            return super().invoke(ctx)


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """As Python does, but printable."""
    say("".join(traceback.format_exception(kind, error, trace)).rstrip(), err=True)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what a user can put right into click's errors, and show nothing of them raw."""
    try:
        yield
    except click.ClickException as error:
        raise ShownError(error) from error
    except KeyboardInterrupt:
        interrupted("Interrupted.")
    except OSError as error:
        raise ShownError(click.UsageError(machine_refused(error))) from error
    except ValueError as error:
        from pgzoo_envs.errors import EnvError

        if isinstance(error, (UsageError, EnvError)):
            raise ShownError(click.UsageError(with_flags(str(error)))) from error
        raise


@click.group(cls=ClearErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pgzoo")
def main() -> None:
    """A laboratory for policy-gradient methods: train, evaluate and measure.

    \b
    pgzoo run reinforce --env CartPole-v1     ten seeds at once, with error bars
    pgzoo compare ppo rloo --env CartPole-v1  who is better, and is that sure
    pgzoo tensorboard                         curves of all runs, side by side
    pgzoo watch runs/reinforce-CartPole-v1-1  a film: untrained beside trained
    pgzoo lab measure --env CartPole-v1       bias and variance of every estimator
    pgzoo check my_file.py:my_psi             is an estimator of your own right?
    pgzoo plot RUN RUN                        figures that compare runs
    pgzoo doctor RUN                          what is damaged, and what can still be done
    pgzoo course student OUT                  the course's notebooks, to be filled in
    pgzoo course grade SUBMISSIONS            grade a class
    pgzoo list                                agents, environments, policies
    """  # noqa: D301


main.add_command(run)
main.add_command(compare)
main.add_command(course)
main.add_command(doctor)
main.add_command(lab)
main.add_command(check)
main.add_command(plot)
main.add_command(tensorboard)
main.add_command(watch)


@main.command(name="eval")
@click.argument("run_folder", metavar="RUN", type=PLACE)
@click.option(
    "--episodes",
    type=click.IntRange(2, LARGEST_WHOLE),
    default=100,
    show_default=True,
    help="Fresh episodes per seed.",
)
@click.option("--greedy", is_flag=True, help="Take the most probable action instead of sampling.")
def evaluate_run(run_folder: Path, episodes: int, greedy: bool) -> None:
    """Evaluate the policies of a RUN's last checkpoint; the run is left as it is."""
    from pgzoo.cli.display import print_evaluation
    from pgzoo.learning.run import load

    run = load(run_folder)
    print_evaluation(Terminal(), run, run.evaluate(episodes, greedy=greedy), greedy)


@main.command(name="list")
@click.option("--markdown", is_flag=True, help="The agents alone, as the README's table.")
def list_everything(markdown: bool) -> None:
    """List agents with formula and paper, environments and policies."""
    if markdown:
        say(zoo_as_markdown())
        return
    console = Terminal()
    agents = Table(title="Agents: pgzoo run AGENT", title_justify="left")
    for column in ("agent", "weight of ∇log π(a|s)", "what it is", "source"):
        agents.add_column(column, no_wrap=column == "agent")
    for name, entry in AGENTS.items():
        agents.add_row(name, entry.formula, entry.summary, entry.source)
    console.print(agents)
    _print_pairs(console, "Environments: --env (any with discrete actions)", ENVIRONMENTS)
    _print_pairs(console, "Policies: --policy", POLICIES)


def zoo_as_markdown() -> str:
    """The table of the zoo: every agent's five values, from its own file."""
    head = ("agent", "samples", "Ψ", "surrogate", "steps are", "critic", "source")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, entry in AGENTS.items():
        agent = entry.agent()
        file = entry.agent.__module__.replace(".", "/") + ".py"
        critics = {part.of for part in parts_of(entry.agent, "critic") if part is not None}
        cells = (
            f"[`{name}`]({file})",
            " or ".join(plan.title for plan in parts_of(entry.agent, "plan")),
            entry.formula.removeprefix("Ψ = "),
            agent.surrogate.title,
            AGGREGATED[agent.aggregation],
            ", ".join({"state": "V(s)", "action": "q(s, a)"}[of] for of in critics) or "–",
            entry.source,
        )
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines)


def _print_pairs(console: Terminal, title: str, pairs: dict[str, str]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, text in pairs.items():
        table.add_row(name, text)
    console.print(table)
