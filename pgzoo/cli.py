"""The command line: parse, call, print."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from pgzoo import __version__
from pgzoo.agents import AGENTS, agent_class, entry_of
from pgzoo.errors import UsageError

if TYPE_CHECKING:
    import dataclasses

    from pgzoo.agents.base import Agent

DEFAULT_SEEDS = "0-9"
DEFAULT_DIAGNOSTICS = 10
MOST_SEEDS = 10_000
POLICIES = {
    "mlp": "tanh network with the widths of --hidden",
    "linear": "one matrix from observation to action preferences",
    "tabular": "a table over states; over bins of CartPole's and LunarLander's observations",
}
ENVIRONMENTS = {
    "CartPole-v1": "balance a pole; solved at 475 of 500",
    "LunarLander-v3": "land softly between the flags; solved at 200",
    "Acrobot-v1": "swing two links up; solved at -100",
    "MountainCar-v0": "rock a car up a hill; rewards say nothing until it is there",
    "FrozenLake-v1": "16 states, slippery; solved at 0.7",
    "CliffWalking-v1": "48 states; endless, so give --max-episode-steps",
    "Taxi-v4": "500 states; pick up and deliver",
}


class ClearErrors(click.Group):
    """A group whose wrong input ends with status 2 and a message, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Turn what a user can put right into click's usage errors."""
        try:
            return super().invoke(ctx)
        except ValueError as error:
            from pgzoo_envs.errors import EnvError

            if isinstance(error, (UsageError, EnvError)):
                raise click.UsageError(str(error)) from error
            raise


@click.group(cls=ClearErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pgzoo")
def main() -> None:
    """A laboratory for policy-gradient methods: train, evaluate and compare.

    \b
    pgzoo run reinforce --env CartPole-v1     ten seeds at once, with error bars
    pgzoo list                                agents, environments, policies
    """  # noqa: D301


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


@main.group(cls=AgentCommands, subcommand_metavar="AGENT [OPTIONS]")
def run() -> None:
    """Train an agent: many seeds side by side.

    `pgzoo run AGENT --help` shows the agent's options with their defaults per environment.
    AGENT may also be FILE.py:FUNCTION, a function of yours from trajectories to Ψ.
    """


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as in ``0-9`` or ``0,3,5-7``.

    Raises:
        UsageError: for anything malformed, empty, negative or repeated.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise UsageError(
                "Expected --seeds as non-negative whole numbers and ranges, such as 0-9 or "
                f"0,3,5-7; got {text!r}."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"Expected --seeds ranges to rise, got {part.strip()!r}.")
        if last - first >= MOST_SEEDS:
            raise UsageError(f"Expected at most {MOST_SEEDS:,} --seeds, got {part.strip()!r}.")
        seeds += range(first, last + 1)
    repeated = sorted({s for s in seeds if seeds.count(s) > 1})
    if repeated:
        raise UsageError(f"Expected --seeds without repetition, got {repeated[0]} more than once.")
    return tuple(seeds)


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
        [_show(field.default), *(f"{env}: {_show(value)}" for env, value in special.items())]
    )
    text = f"{field.metadata['description']}.  [default: {shown}]"
    if not text.split()[0].endswith(":"):  # that would be a symbol or a value
        text = text[0].upper() + text[1:]
    if declared is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    if (values := choices(declared)) is not None:
        return click.Option([flag], type=click.Choice(values), help=text)
    special_kinds = {"hidden": _Widths(), "reference": str}
    kind = special_kinds.get(field.name, declared)
    return click.Option([flag], type=kind, help=text)


class _Widths(click.ParamType):
    name = "widths"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(n) for n in value.split(","))
        except ValueError:
            self.fail(f"expected widths such as 64,64; got {value!r}.", param, ctx)


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


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
    from pgzoo.display import TrainingDisplay, print_next_commands, print_summary
    from pgzoo.runs import RunFolder
    from pgzoo.train import TrainingInterrupted, prepare, train

    console = Console()
    options = {k: v for k, v in given.items() if v is not None}
    if resume is not None:
        if out is not None:
            raise UsageError("Expected --out or --resume, got both: a resumed run stays in place.")
        folder = RunFolder.open(resume)
        config = folder.config()
        _check_same_options(config, name, options, chosen)
        prepare(config)
        if folder.summary() is not None and not quiet:
            console.print(f"{resume} is complete; nothing is left to train.")
    else:
        config = _new_config(name, agent, options, chosen)
        prepare(config).initial_state()
        folder = RunFolder.create(out or _free_folder(name, config.env), config)
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
    if not quiet:
        print_summary(console, summary)
        print_next_commands(console, folder.path, summary)
    if all(reason is not None for reason in summary["failed"]):
        sys.exit(1)


def _new_config(
    name: str, agent: type[Agent], options: dict[str, Any], chosen: dict[str, Any]
) -> Any:
    import dataclasses

    from pgzoo.runs import RunConfig

    if "env" not in options:
        raise UsageError(
            f"Expected --env, such as `pgzoo run {name} --env CartPole-v1`; `pgzoo list` names "
            "more."
        )
    policy = _check_policy(options.get("policy", "mlp"))
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


def _check_policy(policy: str) -> str:
    if policy not in POLICIES:
        import difflib

        near = difflib.get_close_matches(policy, POLICIES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"Expected --policy among {', '.join(POLICIES)}; got {policy!r}.{hint}")
    return policy


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
            flag = "AGENT" if key == "agent" else "--" + key.replace("_", "-")
            raise UsageError(
                f"Expected {flag} {_show(had[key])} as the run was started, got {_show(value)}. "
                "Leave the option out to go on with it, or start a new run without --resume."
            )


def _free_folder(name: str, env: str, parent: str = "runs") -> Path:
    """The first of PARENT/NAME-ENV-1, -2, … that does not exist."""
    short = name.rpartition(":")[2]  # of FILE.py:FUNCTION the function
    stem = f"{short}-{env}".replace("/", "_").replace(":", "_")
    number = 1
    while (path := Path(parent) / f"{stem}-{number}").exists():
        number += 1
    return path


@main.command(name="eval")
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--episodes",
    type=click.IntRange(min=2),
    default=100,
    show_default=True,
    help="Fresh episodes per seed.",
)
@click.option("--greedy", is_flag=True, help="Take the most probable action instead of sampling.")
def evaluate_run(run_folder: Path, episodes: int, greedy: bool) -> None:
    """Evaluate the policies of a RUN's last checkpoint; the run is left as it is."""
    from pgzoo.display import print_evaluation
    from pgzoo.runs import RunFolder
    from pgzoo.train import evaluate_checkpoint

    folder = RunFolder.open(run_folder)
    config = folder.config()
    returns = evaluate_checkpoint(config, folder, episodes=episodes, greedy=greedy)
    print_evaluation(Console(), config, returns, greedy)


LAB_STUDIES = {
    "measure": "Bias, variance and direction of estimators on a frozen policy.",
    "batch-size": "Variance against the number of trajectories.",
    "group-size": "Variance against the group size K.",
    "gae": "Bias and variance of GAE along λ.",
    "discount": "With and without c_t = γ^t.",
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


@main.group(cls=LabCommands, subcommand_metavar="STUDY [OPTIONS]")
def lab() -> None:
    """Measure gradient estimators on a frozen policy.

    \b
    pgzoo lab measure --env CartPole-v1           all estimators, on a policy as training starts
    pgzoo lab measure --run RUN --at 50           on a run's policy after half of its training
    pgzoo lab gae --run RUN                       a ready study, with its figure
    """  # noqa: D301


def _lab_options() -> list[click.Parameter]:
    number = click.IntRange(min=1)
    return [
        click.Option(["--env"], metavar="ENV", help="Environment, if there is no --run."),
        click.Option(
            ["--run"],
            type=click.Path(path_type=Path),
            metavar="RUN",
            help="Take the policy of this training run.",
        ),
        click.Option(
            ["--at"],
            type=click.IntRange(0, 100),
            metavar="PERCENT",
            help="… as it was after this share of the training.  [default: its end]",
        ),
        click.Option(
            ["--replica"],
            type=click.IntRange(min=0),
            metavar="SEED",
            help="… of this seed; without --run, initialise with it.  [default: the first; 0]",
        ),
        click.Option(
            ["--theta"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Take the policy's parameters from this safetensors file.",
        ),
        click.Option(
            ["--policy"], metavar="|".join(POLICIES), help="Kind of policy.  [default: mlp]"
        ),
        click.Option(
            ["--hidden"], type=_Widths(), help="Widths of hidden layers.  [default: 64,64]"
        ),
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
            type=click.IntRange(min=2),
            default=400,
            show_default=True,
            help="Independent estimates of each estimator.",
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
            default=1.0,
            show_default=True,
            help="Discount factor of the objective.",
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
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Of the laboratory's random numbers.",
        ),
        click.Option(
            ["--out"],
            type=click.Path(path_type=Path),
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
    gamma: float,
    env: str | None,
    at: int | None,
    theta: Path | None,
    policy: str | None,
    hidden: tuple[int, ...] | None,
    max_episode_steps: int | None,
    **budget: Any,
) -> None:
    from pgzoo.display import LabDisplay
    from pgzoo.lab.measurement import Settings
    from pgzoo.lab.problem import Problem, load_theta
    from pgzoo.lab.studies import Setup

    if (env is None) == (run is None):
        raise UsageError("Expected --env ENV or --run RUN, to say whose policy; got both or none.")
    if run is not None:
        given = {"--theta": theta, "--policy": policy, "--hidden": hidden}
        for flag, value in (given | {"--max-episode-steps": max_episode_steps}).items():
            if value is not None:
                raise UsageError(f"Expected no {flag} with --run: the run says what it is.")
        problem = Problem.of_run(run, seed=replica, at=at, gamma=gamma)
    else:
        if at is not None:
            raise UsageError("Expected --run RUN with --at: it is a share of a run's training.")
        assert env is not None
        problem = Problem.initial(
            env,
            policy=_check_policy(policy or "mlp"),
            hidden=hidden or (64, 64),
            seed=replica or 0,
            max_episode_steps=max_episode_steps,
            theta=load_theta(theta) if theta is not None else None,
            gamma=gamma,
        )
    folder = out or _free_folder(name, problem.env, "lab")
    if (folder / "lab.json").exists():
        raise UsageError(
            f"Expected {folder} to be free, but it holds results. Choose another --out."
        )
    setup = Setup(problem, Settings(**budget), group_size, run, replica, estimators)
    console = Console()
    with LabDisplay(console) as display:
        interrupted = _lab_results(name, setup, folder, display, console)
    console.print(f"\nResults: {folder}", highlight=False)
    if interrupted:
        click.echo("Interrupted; what was complete is kept.", err=True)
        sys.exit(130)


def _lab_results(name: str, setup: Any, folder: Path, progress: Any, console: Console) -> bool:
    """Measure, write and show; whether it was interrupted."""
    from pgzoo.lab import ZOO
    from pgzoo.lab.report import print_measurement, print_points, write_measurement
    from pgzoo.lab.studies import STUDIES, run_study

    if name == "measure":
        result = setup.measure(ZOO, progress)
        write_measurement(folder, result)
        progress.stop()
        print_measurement(console, result)
        return result.interrupted
    points, interrupted = run_study(name, setup, folder, progress)
    progress.stop()
    study = STUDIES[name]
    print_points(console, study.question, study.x_title, study.panels, points)
    return interrupted


@main.command(name="list")
def list_everything() -> None:
    """List agents with formula and paper, environments and policies."""
    console = Console()
    agents = Table(title="Agents: pgzoo run AGENT", title_justify="left")
    for column in ("agent", "weight of ∇log π(a|s)", "what it is", "source"):
        agents.add_column(column, no_wrap=column == "agent")
    for name, entry in AGENTS.items():
        agents.add_row(name, entry.formula, entry.summary, entry.source)
    console.print(agents)
    _print_pairs(console, "Environments: --env (any with discrete actions)", ENVIRONMENTS)
    _print_pairs(console, "Policies: --policy", POLICIES)


def _print_pairs(console: Console, title: str, pairs: dict[str, str]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, text in pairs.items():
        table.add_row(name, text)
    console.print(table)
