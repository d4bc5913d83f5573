"""`pgzoo run AGENT`: one command for every agent, with the options it has."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgzoo.agents import AGENTS, Agent, agent_class, options_in_order, training_default
from pgzoo.agents.custom import FunctionError
from pgzoo.cli.commands import NO_COMMAND, agent_words, command
from pgzoo.cli.flags import flag, with_flags
from pgzoo.cli.streams import interrupted, only_display
from pgzoo.cli.values import PLACE, POLICIES, WIDTHS, parse_seeds
from pgzoo.errors import UsageError
from pgzoo.options import written
from pgzoo.records.printable import printable
from pgzoo.records.terminal import Terminal

if TYPE_CHECKING:
    from pgzoo.learning.run import Run
    from pgzoo.options import Option

DEFAULT_SEEDS = "0-9"
LONGEST_LABEL = 80


class AgentCommands(click.Group):
    """One command for every agent, its options derived from the agent's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The zoo, in its own order."""
        return list(AGENTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command of an agent, or of a user's estimator."""
        return _run_command(cmd_name, agent_class(cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of an agent; help and errors call it by a name that shows as it is."""
        name, found, rest = super().resolve_command(ctx, args)
        return None if name is None else shlex.quote(printable(name)), found, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and summaries."""
        with formatter.section("Agents"):
            formatter.write_dl([(name, entry.summary) for name, entry in AGENTS.items()])


@click.group(cls=AgentCommands, subcommand_metavar="AGENT [OPTIONS]")
def run() -> None:
    """Train an agent: many seeds side by side.

    `pgzoo run AGENT --help` shows the agent's options with their defaults per environment.
    AGENT may also be FILE.py:FUNCTION, a function of yours from trajectories to Ψ.
    """


def _run_command(name: str, agent: type[Agent]) -> click.Command:
    options = options_in_order(agent)

    def callback(**values: Any) -> None:
        chosen = {o.name: values.pop(o.name) for o in options}
        given = {k: v for k, v in (values | chosen).items() if v is not None}
        _run(name, **given)

    about = f"{printable(name)}: an estimator of yours."
    if name in AGENTS:
        entry = AGENTS[name]
        about = f"{entry.summary}: {entry.formula} ({entry.source})."
    return click.Command(
        name,
        params=[*_common_options(), *(_agent_option(agent, o) for o in options)],
        callback=callback,
        help=about,
        context_settings={"max_content_width": 100},
    )


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(["--env"], metavar="ENV", help="Gymnasium environment, such as CartPole-v1."),
        click.Option(
            ["--seeds"], metavar="SEEDS", help=f"As in 0-9 or 0,3,5-7.  [default: {DEFAULT_SEEDS}]"
        ),
        click.Option(
            ["--policy"], metavar="|".join(POLICIES), help="Kind of policy.  [default: mlp]"
        ),
        click.Option(
            ["--out"],
            type=PLACE,
            help="Folder for the results.  [default: runs/AGENT:OPTIONS-ENV-NUMBER]",
        ),
        click.Option(
            ["--resume"],
            type=PLACE,
            metavar="RUN",
            help="Go on with an interrupted run; its options are kept.",
        ),
        *running_options(),
    ]


def running_options() -> list[click.Parameter]:
    """Options of every command that trains."""
    return [
        click.Option(
            ["--device"],
            type=click.Choice(["auto", "cpu", "cuda"]),
            help="Where networks run.  [default: auto, cuda if there is one]",
        ),
        click.Option(
            ["--max-episode-steps"],
            type=int,
            help="Time limit in place of the environment's own.",
        ),
        click.Option(
            ["--stop-when-solved"],
            is_flag=True,
            default=None,
            help="A seed stops when it has reached the environment's threshold.",
        ),
        click.Option(
            ["--diagnostics"],
            type=int,
            metavar="TIMES",
            help="How often in a run to find the gradient's variance and direction; 0: never.  "
            "[default: 20]",
        ),
        click.Option(
            ["--compare-estimators"],
            is_flag=True,
            default=None,
            help="With the diagnostics, the relative variance of all estimators that fit.",
        ),
        click.Option(
            ["--tensorboard-seeds"],
            is_flag=True,
            default=None,
            help="In TensorBoard, a run for every seed, too, beside the one of all of them.",
        ),
        click.Option(["--quiet"], is_flag=True, default=None, help="No progress, no table."),
    ]


def click_type(known: Option) -> Any:
    """How an option's value is read from the command line."""
    if known.choices is not None:
        return click.Choice(known.choices)
    kinds = {tuple[int, ...]: WIDTHS, str | None: str}
    return kinds.get(known.kind, known.kind)


def _agent_option(agent: type[Agent], known: Option) -> click.Option:
    usual = training_default(agent, known)
    special = {case: training_default(agent, known, case) for case in agent.defaults}
    shown = "; ".join(
        [written(usual), *(f"{case}: {written(v)}" for case, v in special.items() if v != usual)]
    )
    text = f"{with_flags(known.description)}.  [default: {shown}]"
    with_others = [need.words for need in known.needs]
    if known.part_of is not None:
        with_others.insert(0, "`{}={}`".format(*known.part_of))
    if with_others:
        text = f"With {with_flags(' and '.join(with_others))}: {text}"
    if not text.split()[0].endswith(":"):  # that would be a symbol or a value
        text = text[0].upper() + text[1:]
    name = flag(known.name)
    if known.kind is bool:
        return click.Option([f"{name}/--no-{name[2:]}"], default=None, help=text)
    return click.Option([name], type=click_type(known), help=text)


def _run(
    name: str,
    *,
    out: Path | None = None,
    resume: Path | None = None,
    quiet: bool = False,
    seeds: str | None = None,
    **given: Any,
) -> None:
    from pgzoo.cli.display import print_next_commands, print_summary
    from pgzoo.learning.loop import TrainingInterrupted, TrainingStoppedError
    from pgzoo.learning.run import MENDED

    if seeds is not None:
        given["seeds"] = parse_seeds(seeds)
    only_display()
    progress = not quiet
    console = Terminal()
    made: list[Path] = []
    try:
        if resume is not None:
            if out is not None:
                raise UsageError("Expected `out` or `resume`, got both: a resumed run stays put.")
            trained = _resume(name, resume, given, progress, console)
        else:
            trained = _train(name, out, given, progress, made)
    except TrainingInterrupted:
        interrupted(
            "Interrupted; everything so far is saved. Go on with:\n"
            f"  {_resuming(name, resume or made[0])}"
        )
    except TrainingStoppedError as error:
        advice = "Go on with" if name in AGENTS else MENDED
        how = _resuming(name, resume or made[0])
        raise UsageError(f"{error.what} {advice}:\n  {how}") from error
    summary = trained.summary
    assert summary is not None
    if not quiet:
        print_summary(console, summary)
        print_next_commands(console, trained.path, summary)
    if all(reason is not None for reason in summary["failed"]):
        sys.exit(1)


def _resuming(name: str, path: Path) -> str:
    """The command that goes on with a run."""
    return command("pgzoo", "run", *agent_words(name), "--resume", path) or NO_COMMAND


def _train(
    name: str, out: Path | None, given: dict[str, Any], progress: bool, made: list[Path]
) -> Run:
    from pgzoo.learning.loop import TrainingInterrupted
    from pgzoo.learning.run import train
    from pgzoo.records.files import free_folder
    from pgzoo.records.run_folder import FolderTakenError

    if "env" not in given:
        example = command("pgzoo", "run", *agent_words(name), "--env", "CartPole-v1")
        such = f", such as `{example}`" if example is not None else ""
        raise UsageError(f"Expected --env{such}; `pgzoo list` names more.")
    given.setdefault("seeds", parse_seeds(DEFAULT_SEEDS))
    new = out is None or not out.exists()
    path = out or free_folder(Path("runs"), _folder_name(name, given))
    made.append(path)
    try:
        return train(name, out=path, progress=progress, **given)
    except (FolderTakenError, TrainingInterrupted):
        raise  # what is there is another's, or is gone on with
    except BaseException as error:
        started = (path / "metrics.csv").exists() and (path / "metrics.csv").stat().st_size > 0
        of_disk = isinstance(error.__cause__, OSError) and not isinstance(error, FunctionError)
        if new and not started and not of_disk:
            shutil.rmtree(path, ignore_errors=True)  # what failed at once leaves nothing of use
            if out is None and not any(path.parent.iterdir()):
                path.parent.rmdir()
        raise


def _folder_name(name: str, given: dict[str, Any]) -> str:
    """Agent, the options by which it differs, and environment."""
    from pgzoo.options import options_of, written

    known = options_of(agent_class(name))
    own = ",".join(f"{k}={written(v)}" for k, v in given.items() if k in known)
    label = name.rpartition(":")[2] + ":" * bool(own) + own
    return f"{label[:LONGEST_LABEL]}-{given['env']}"


def _resume(
    name: str, folder: Path, given: dict[str, Any], progress: bool, console: Terminal
) -> Run:
    from pgzoo.learning.run import load

    run = load(folder)
    _check_same_options(run, name, given)
    if run.summary is not None and progress:
        console.print(f"{folder} is complete; nothing is left to train.")
    return run.resume(name, progress=progress)


def _how_to_resume(run: Run) -> str:
    """Whose agent is a program of somebody's own, is told so, and not to run it."""
    if run.config.agent not in AGENTS:
        return (
            "That is an estimator of the run's owner, a program: read it, then give it in place of "
            "the agent's name"
        )
    resuming = command("pgzoo", "run", run.config.agent, "--resume", run.path)
    return "Give that one" if resuming is None else f"Try `{resuming}`"


def _check_same_options(run: Run, name: str, given: dict[str, Any]) -> None:
    """Resuming keeps a run's options; giving the same ones again is fine."""
    config = run.config
    if name != config.agent:
        raise UsageError(
            f"Expected the agent that the run was started with, {config.agent}, got {name}. "
            f"{_how_to_resume(run)}, or start a new run without --resume."
        )
    had = vars(config) | {"policy": config.policy_kind} | config.hyperparameters
    had["tensorboard_seeds"] = run.has_seed_curves
    for key, value in given.items():
        if key not in had or (had[key] != value and (key, value) != ("device", "auto")):
            was = f" {written(had[key])}" if key in had else "'s absence"
            raise UsageError(
                f"Expected {flag(key)}{was} as the run was started, got {written(value)}. "
                "Leave the option out to go on with it, or start a new run without --resume."
            )
