"""`pgzoo run AGENT`: one command for every agent, with the options it has."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from pgzoo.agents import AGENTS, agent_class, entry_of
from pgzoo.cli.values import POLICIES, Widths, check_policy, free_folder, parse_seeds, show
from pgzoo.errors import UsageError

if TYPE_CHECKING:
    import dataclasses

    from pgzoo.agents.base import Agent

DEFAULT_SEEDS = "0-9"
DEFAULT_DIAGNOSTICS = 20


class AgentCommands(click.Group):
    """One command for every agent, its options derived from the agent's hyperparameters."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The zoo, in its own order."""
        return list(AGENTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import the agent only now."""
        return _run_command(cmd_name, agent_class(cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and summaries from the registry, without importing any agent."""
        with formatter.section("Agents"):
            formatter.write_dl([(name, entry.summary) for name, entry in AGENTS.items()])


@click.group(cls=AgentCommands, subcommand_metavar="AGENT [OPTIONS]")
def run() -> None:
    """Train an agent: many seeds side by side.

    `pgzoo run AGENT --help` shows the agent's options with their defaults per environment.
    AGENT may also be FILE.py:FUNCTION, a function of yours from trajectories to Ψ.
    """


def _run_command(name: str, agent: type[Agent]) -> click.Command:
    from pgzoo.agents.base import hyperparameters

    fields = hyperparameters(agent)
    options = [_agent_option(agent, field) for field in fields]
    entry = entry_of(name)

    def callback(**values: Any) -> None:
        chosen = {f.name: values.pop(f.name) for f in fields}
        _run(name, agent, {k: v for k, v in chosen.items() if v is not None}, **values)

    return click.Command(
        name,
        params=[*_common_options(), *options],
        callback=callback,
        help=f"{entry.summary}: {entry.formula} ({entry.source}).",
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
            type=click.Path(path_type=Path),
            help="Folder for the results.  [default: runs/AGENT-ENV-NUMBER]",
        ),
        click.Option(
            ["--resume"],
            type=click.Path(path_type=Path),
            metavar="RUN",
            help="Go on with an interrupted run; its options are kept.",
        ),
        click.Option(
            ["--device"],
            type=click.Choice(["auto", "cpu", "cuda"]),
            help="Where networks run.  [default: auto, cuda if there is one]",
        ),
        click.Option(
            ["--max-episode-steps"],
            type=click.IntRange(min=1),
            help="Time limit in place of the environment's own.",
        ),
        click.Option(
            ["--stop-when-solved"],
            is_flag=True,
            default=None,
            help="A seed stops when its last 100 episodes reach the environment's threshold.",
        ),
        click.Option(
            ["--diagnostics"],
            type=click.IntRange(min=0),
            metavar="EVERY",
            help="Variance and direction of the gradient every so many iterations; 0: never.  "
            f"[default: {DEFAULT_DIAGNOSTICS}]",
        ),
        click.Option(
            ["--compare-estimators"],
            is_flag=True,
            default=None,
            help="With the diagnostics, the relative variance of all estimators that fit.",
        ),
        click.Option(["--quiet"], is_flag=True, help="No progress, no table."),
    ]


def _agent_option(agent: type[Agent], field: dataclasses.Field) -> click.Option:
    from pgzoo.agents.base import choices, option_type

    flag = "--" + field.name.replace("_", "-")
    declared = option_type(agent, field.name)
    special = {
        env: values[field.name]
        for env, values in agent.defaults.items()
        if values.get(field.name, field.default) != field.default
    }
    shown = "; ".join(
        [show(field.default), *(f"{env}: {show(value)}" for env, value in special.items())]
    )
    text = f"{field.metadata['description']}.  [default: {shown}]"
    if not text.split()[0].endswith(":"):  # that would be a symbol or a value
        text = text[0].upper() + text[1:]
    if declared is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    if (values := choices(declared)) is not None:
        return click.Option([flag], type=click.Choice(values), help=text)
    special_kinds = {"hidden": Widths(), "reference": str}
    kind = special_kinds.get(field.name, declared)
    return click.Option([flag], type=kind, help=text)


def _run(
    name: str,
    agent: type[Agent],
    chosen: dict[str, Any],
    *,
    out: Path | None,
    resume: Path | None,
    quiet: bool,
    **given: Any,
) -> None:
    from pgzoo.cli.display import TrainingDisplay, print_next_commands, print_summary
    from pgzoo.learning.loop import TrainingInterrupted, prepare, train
    from pgzoo.records.run_folder import RunFolder

    console = Console()
    options = {k: v for k, v in given.items() if v is not None}
    is_new = False
    if resume is not None:
        if out is not None:
            raise UsageError("Expected --out or --resume, got both: a resumed run stays in place.")
        folder = RunFolder.open(resume)
        config = folder.config()
        _check_same_options(config, name, options, chosen)
        prepare(config)
        if folder.summary() is not None and not quiet:
            console.print(f"{resume} is complete; nothing is left to train.", markup=False)
    else:
        config = _new_config(name, agent, options, chosen)
        prepare(config).initial_state()
        path = out or free_folder(name, config.env)
        is_new = not path.exists()
        folder = RunFolder.create(path, config)
    try:
        with TrainingDisplay(console, quiet) as display:
            summary = train(config, folder, display)
    except TrainingInterrupted:
        click.echo(
            f"Interrupted; everything so far is saved. Go on with:\n"
            f"  pgzoo run {name} --resume {folder.path}",
            err=True,
        )
        sys.exit(130)
    except UsageError as error:
        if is_new and not folder.has_metrics and not isinstance(error.__cause__, OSError):
            shutil.rmtree(folder.path)  # an estimator that failed at once leaves nothing of use
        raise
    if not quiet:
        print_summary(console, summary)
        print_next_commands(console, folder.path, summary)
    if all(reason is not None for reason in summary["failed"]):
        sys.exit(1)


def _new_config(
    name: str, agent: type[Agent], options: dict[str, Any], chosen: dict[str, Any]
) -> Any:
    import dataclasses

    from pgzoo.records.run_folder import RunConfig

    if "env" not in options:
        raise UsageError(
            f"Expected --env, such as `pgzoo run {name} --env CartPole-v1`; `pgzoo list` names "
            "more."
        )
    if options.get("compare_estimators") and options.get("diagnostics") == 0:
        raise UsageError(
            "Expected --diagnostics above 0 with --compare-estimators, got 0: they are compared "
            "when there are diagnostics. Leave --diagnostics out for the default."
        )
    policy = check_policy(options.get("policy", "mlp"))
    settings = agent.for_env(options["env"], policy, **chosen)
    return RunConfig(
        agent=name,
        env=options["env"],
        policy=policy,
        seeds=parse_seeds(options.get("seeds", DEFAULT_SEEDS)),
        device=_device(options.get("device", "auto")),
        max_episode_steps=options.get("max_episode_steps"),
        stop_when_solved=options.get("stop_when_solved", False),
        hyperparameters=dataclasses.asdict(settings),
        diagnostics=options.get("diagnostics", DEFAULT_DIAGNOSTICS),
        compare_estimators=options.get("compare_estimators", False),
    )


def _device(name: str) -> str:
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("Expected a CUDA device for --device cuda, found none. Use --device cpu.")
    return "cuda" if available and name != "cpu" else "cpu"


def _check_same_options(
    config: Any, name: str, options: dict[str, Any], chosen: dict[str, Any]
) -> None:
    """Resuming keeps a run's options; giving the same ones again is fine."""
    given = options | chosen
    if "seeds" in given:
        given["seeds"] = parse_seeds(given["seeds"])
    if "device" in given:
        given["device"] = _device(given["device"])
    had = vars(config) | config.hyperparameters
    for key, value in {"agent": name, **given}.items():
        if had[key] != value:
            if key == "agent":
                raise UsageError(
                    f"Expected the agent that the run was started with, {had[key]}, got {name}. "
                    f"Try `pgzoo run {had[key]} --resume …`, or start a new run without --resume."
                )
            flag = "--" + key.replace("_", "-")
            raise UsageError(
                f"Expected {flag} {show(had[key])} as the run was started, got {show(value)}. "
                "Leave the option out to go on with it, or start a new run without --resume."
            )
