"""`pgzoo lab STUDY`: measure gradient estimators on a frozen policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from pgzoo.cli.flags import flag
from pgzoo.cli.streams import interrupted, only_display
from pgzoo.cli.values import PLACE, POLICIES, WIDTHS
from pgzoo.errors import UsageError
from pgzoo.options import checked
from pgzoo.records.terminal import Terminal

LAB_STUDIES = {
    "measure": "Bias, variance and direction of estimators on a frozen policy.",
    "batch-size": "Variance against the number of trajectories.",
    "group-size": "Variance against the group size K.",
    "gae": "Bias and variance of GAE along λ.",
    "discount": "With and without c_t = γ^t.",
    "starts": "Groups of shared against independent starts.",
    "aggregation": "Sum, step mean and trajectory mean.",
    "rescaling": "Raw variance beside relative variance.",
    "training": "The same estimators along a training run.",
    "drift": "Clipping as the policy moves away from the one that acted.",
}


class LabCommands(click.Group):
    """One command for every study; nothing heavy is imported before one is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Measure, then the studies."""
        return list(LAB_STUDIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A study with the laboratory's options."""
        if cmd_name not in LAB_STUDIES:
            return None

        def callback(**values: Any) -> None:
            _lab(cmd_name, **values)

        text = LAB_STUDIES[cmd_name]
        return click.Command(cmd_name, params=_lab_options(), callback=callback, help=text)


@click.group(cls=LabCommands, subcommand_metavar="STUDY [OPTIONS]")
def lab() -> None:
    """Measure gradient estimators on a frozen policy.

    \b
    pgzoo lab measure --env CartPole-v1           all estimators, on a policy as training starts
    pgzoo lab measure --run RUN --at 50           on a run's policy after half of its training
    pgzoo lab gae --run RUN                       a ready study, with its figure
    """  # noqa: D301


def _lab_options() -> list[click.Parameter]:
    number = int
    return [
        click.Option(["--env"], metavar="ENV", help="Environment, if there is no --run."),
        click.Option(
            ["--run"],
            type=PLACE,
            metavar="RUN",
            help="Take the policy of this training run.",
        ),
        click.Option(
            ["--at"],
            type=int,
            metavar="PERCENT",
            help="… as it was after this share of the training.  [default: its end]",
        ),
        click.Option(
            ["--replica"],
            type=int,
            metavar="SEED",
            help="… of this seed; without --run, initialise with it.  [default: the first; 0]",
        ),
        click.Option(
            ["--theta"],
            type=PLACE,
            metavar="FILE",
            help="Take the policy's parameters from this safetensors file.",
        ),
        click.Option(
            ["--policy"], metavar="|".join(POLICIES), help="Kind of policy.  [default: mlp]"
        ),
        click.Option(["--hidden"], type=WIDTHS, help="Widths of hidden layers.  [default: 64,64]"),
        click.Option(["--max-episode-steps"], type=number, help="Time limit of episodes."),
        click.Option(
            ["--estimator", "estimators"],
            multiple=True,
            metavar="SPEC",
            help="AGENT, AGENT:OPTION=VALUE,… or FILE.py:FUNCTION; may be repeated.  "
            "[default: the whole zoo, or the study's own]",
        ),
        click.Option(
            ["--trajectories"],
            type=number,
            default=32,
            show_default=True,
            help="Trajectories N of one estimate, the same for all estimators.",
        ),
        click.Option(
            ["--estimates"],
            type=int,
            help="Independent estimates of each estimator.  [default: 400, or the study's own]",
        ),
        click.Option(
            ["--group-size"],
            type=number,
            default=8,
            show_default=True,
            help="Rollouts K from each start, of agents that sample in groups.",
        ),
        click.Option(
            ["--gamma"],
            type=float,
            help="Discount factor of the objective.  [default: 1, or the study's own]",
        ),
        click.Option(
            ["--limit"],
            type=click.Choice(["ends", "continues"]),
            help="Whether an episode cut off by its time limit is worth nothing more, or what "
            "would follow.  [default: ends, or the study's own]",
        ),
        click.Option(
            ["--reference-estimates"],
            type=number,
            help="Estimates that g* is the mean of, where it is not known exactly.  "
            "[default: 4 × --estimates]",
        ),
        click.Option(
            ["--critic"],
            type=click.Choice(["separate", "same"]),
            default="separate",
            show_default=True,
            help="Fit critics once on trajectories of their own, or on those of each estimate.",
        ),
        click.Option(
            ["--critic-trajectories"],
            type=number,
            default=512,
            show_default=True,
            help="Trajectories that the separate critic is fitted on.",
        ),
        click.Option(
            ["--seed"],
            type=int,
            default=0,
            show_default=True,
            help="Of the laboratory's random numbers.",
        ),
        click.Option(
            ["--out"],
            type=PLACE,
            help="Folder for the results.  [default: lab/STUDY-ENV-NUMBER]",
        ),
    ]


def _lab(
    name: str,
    *,
    estimators: tuple[str, ...],
    group_size: int,
    run: Path | None,
    replica: int | None,
    out: Path | None,
    gamma: float | None,
    limit: str | None,
    env: str | None,
    at: int | None,
    theta: Path | None,
    policy: str | None,
    hidden: tuple[int, ...] | None,
    max_episode_steps: int | None,
    **budget: Any,
) -> None:
    from pgzoo.cli.display import LabDisplay
    from pgzoo.lab.api import make_problem
    from pgzoo.lab.measurement import Settings
    from pgzoo.lab.studies import STUDIES, Setup, with_defaults
    from pgzoo.records.files import alone_in, free_folder

    only_display()
    if name in STUDIES:
        _check_left_alone(STUDIES[name].changes)
    given = {"gamma": gamma, "limit": limit, **budget}
    chosen = with_defaults(name, {k: v for k, v in given.items() if v is not None})
    objective = {k: chosen.pop(k) for k in ("gamma", "limit") if k in chosen}
    problem = make_problem(
        run=run,
        at=at,
        replica=replica,
        env=env,
        policy=policy,
        hidden=hidden,
        theta=theta,
        max_episode_steps=max_episode_steps,
        **objective,
    )
    settings = Settings(**chosen)
    path = out or free_folder(Path("lab"), f"{name}-{problem.env}")
    folder, created = _make_folder(path, is_new=out is None)
    source = click.get_current_context().get_parameter_source
    given_here = frozenset(
        k for k in ("group_size", *budget) if source(k) is click.core.ParameterSource.COMMANDLINE
    )
    group_size = checked("group_size", group_size, minimum=1)
    setup = Setup(problem, settings, group_size, run, replica, estimators, given_here)
    console = Terminal()
    try:
        with alone_in(folder), LabDisplay(console) as display:
            stopped = _lab_results(name, setup, folder, display, console)
    except KeyboardInterrupt:
        _remove_if_empty(created)
        any_results = (folder / "lab.json").exists()
        kept = f"what was complete is in {folder}" if any_results else "nothing was complete"
        interrupted(f"Interrupted; {kept}.")
    except UsageError as error:
        _remove_if_empty(created)
        if (folder / "lab.json").exists():
            raise UsageError(f"{error} What was complete before is in {folder}.") from error
        raise
    console.print(f"\nResults: {folder}", highlight=False, soft_wrap=True)
    if stopped:
        interrupted("Interrupted; what was complete is kept.")


def _check_left_alone(option: str) -> None:
    """What a study changes itself cannot be chosen."""
    source = click.get_current_context().get_parameter_source(option)
    if source is click.core.ParameterSource.COMMANDLINE:
        raise UsageError(
            f"Expected no {flag(option)}: that is what this study changes. Leave it out."
        )


def _make_folder(folder: Path, *, is_new: bool) -> tuple[Path, list[Path]]:
    """Make sure that results can be written before anything is measured.

    Returns:
        the folder, and which folders were made for it, inner ones first.
    """
    if (folder / "lab.json").exists():
        raise UsageError(
            f"Expected {folder} to be free, but it holds results. Choose another --out."
        )
    created = [f for f in (folder, *folder.parents) if not f.exists()]
    if is_new:
        created = [folder, folder.parent]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(
            f"Cannot write to {folder}: {error.strerror}. Choose a writable --out."
        ) from error
    return folder, created


def _remove_if_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


def _lab_results(name: str, setup: Any, folder: Path, progress: Any, console: Terminal) -> bool:
    """Measure, write and show; whether it was interrupted."""
    from pgzoo.cli.lab_tables import print_measurement, print_study
    from pgzoo.lab import zoo
    from pgzoo.lab.report import write_measurement
    from pgzoo.lab.studies import run_study

    if name == "measure":
        result = setup.measure(zoo(), progress)
        if result.interrupted and not result.rows:
            raise KeyboardInterrupt
        write_measurement(folder, result)
        progress.stop()
        print_measurement(console, result)
        return result.interrupted
    found = run_study(name, setup, folder, progress)
    progress.stop()
    print_study(console, found)
    return found.interrupted
