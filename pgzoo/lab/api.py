"""``pgzoo.measure``: the laboratory as a Python function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pgzoo.agents.base import Agent
from pgzoo.errors import UsageError
from pgzoo.lab.measurement import Measurement, Settings, check_used
from pgzoo.lab.measurement import measure as measure_problem
from pgzoo.lab.problem import Problem, load_theta, parse_estimators, zoo
from pgzoo.lab.report import figure, flat, write_measurement
from pgzoo.learning.arguments import check_env_id, check_policy_kind
from pgzoo.learning.run import Run
from pgzoo.options import (
    LARGEST_SEED,
    check_needs,
    checked,
    checked_path,
    own_options,
    several,
    shown,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def measure(
    estimators: Sequence[str | Callable[..., Any]] | None = None,
    *,
    run: Run | str | Path | None = None,
    at: int | None = None,
    replica: int | None = None,
    env: str | None = None,
    policy: str | None = None,
    hidden: Sequence[int] | None = None,
    theta: Tensor | str | Path | None = None,
    max_episode_steps: int | None = None,
    trajectories: int = 32,
    group_size: int | None = None,
    gamma: float = 1.0,
    limit: str = "ends",
    out: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> LabResult:
    """Bias, variance and direction of gradient estimators on a frozen policy.

    Args:
        estimators: agents, ``AGENT:OPTION=VALUE,…``, ``FILE.py:FUNCTION`` or functions from
            trajectories to Ψ; None: the whole zoo.
        run: take the policy of this run, or of the run in this folder …
        at: … as it was after this percentage of the training; None: at its end.
        replica: … of this seed; without ``run``, initialise with it.
        env: environment, if there is no ``run``.
        policy: mlp, linear or tabular, if there is no ``run``.
        hidden: widths of hidden layers, if there is no ``run``.
        theta: the policy's parameters ``[P]``, or a safetensors file of them, without ``run``.
        max_episode_steps: time limit, if there is no ``run``.
        trajectories: N of one estimate, the same for all estimators.
        group_size: K of agents that sample in groups; None: 8.
        gamma: discount factor of the objective.
        limit: ends or continues, what an episode that a time limit cuts off is worth: nothing more,
            or what would follow.
        out: folder for tables and figures; None: nothing is written.
        progress: whether a bar shows it.
        settings: ``estimates``, ``reference_estimates``, ``critic``, ``critic_trajectories``,
            ``seed``, as in ``Settings``.

    Raises:
        UsageError: for what cannot be measured.
    """
    out = None if out is None else checked_path("out", out)
    progress = checked("progress", progress, bool)
    if estimators is not None:
        estimators = several("estimators", estimators)
    problem = make_problem(
        run=run.path if isinstance(run, Run) else run,
        at=at,
        replica=replica,
        env=env,
        policy=policy,
        hidden=hidden,
        theta=theta,
        max_episode_steps=max_episode_steps,
        gamma=gamma,
        limit=limit,
    )
    known = Settings.__dataclass_fields__.keys() - {"trajectories", "blocks"}
    for name in settings:
        if name not in known:
            raise UsageError(f"Unknown option `{name}`. There are: {', '.join(sorted(known))}.")
    chosen = Settings(trajectories=trajectories, **settings)
    parsed = parse_estimators(
        zoo() if estimators is None else estimators,
        trajectories=trajectories,
        group_size=8 if group_size is None else checked("group_size", group_size, minimum=1),
        gamma=problem.gamma,
    )
    given = [*settings, *(["group_size"] if group_size is not None else [])]
    check_used(given, problem, parsed, chosen)
    with _Bar(progress) as bar:
        found = measure_problem(problem, parsed, chosen, bar)
    if found.interrupted and not found.rows:
        raise KeyboardInterrupt("Nothing was complete.")
    if out is not None:
        write_measurement(out, found)
    return LabResult(found)


def make_problem(
    *,
    run: str | Path | None,
    at: int | None,
    replica: int | None,
    env: str | None,
    policy: str | None,
    hidden: Sequence[int] | None,
    theta: Tensor | str | Path | None,
    max_episode_steps: int | None,
    **options: Any,
) -> Problem:
    """The frozen policy that is asked for; arguments as for ``measure``.

    Raises:
        UsageError: for what does not go together.
    """
    at = checked("at", at, int | None, minimum=0, maximum=100)
    replica = checked("replica", replica, int | None, minimum=0, maximum=LARGEST_SEED)
    if (env is None) == (run is None):
        raise UsageError(
            "Expected either `env` or `run`, to say whose policy; got "
            f"{'none' if run is None else 'both'}."
        )
    if run is not None:
        given = {"theta": theta, "policy": policy, "hidden": hidden}
        for name, value in (given | {"max_episode_steps": max_episode_steps}).items():
            if value is not None:
                raise UsageError(f"Expected no `{name}` with `run`: the run says what it is.")
        return Problem.of_run(checked_path("run", run), seed=replica, at=at, **options)
    if at is not None:
        raise UsageError("Expected `run` with `at`: it is a share of a run's training.")
    if theta is not None and replica is not None:
        raise UsageError("Expected `theta` or `replica`, got both: each says which policy.")
    policy = "mlp" if policy is None else policy
    check_policy_kind(policy)
    if hidden is None:
        hidden = (64, 64)
    else:
        check_needs(Agent, ["hidden"], {"policy": policy})
        known = own_options(Agent)["hidden"]
        hidden = known.plain(hidden)
        known.check(hidden)
    assert env is not None
    check_env_id(env)
    max_episode_steps = checked("max_episode_steps", max_episode_steps, int | None, minimum=1)
    source = None
    if isinstance(theta, (str, Path)):
        source = checked_path("theta", theta)
        theta = load_theta(source)
    elif not (theta is None or isinstance(theta, Tensor)):
        raise UsageError(f"Expected `theta` to be a tensor or a file, got {shown(theta)}.")
    return Problem.initial(
        env,
        policy_kind=policy,
        hidden=hidden,
        seed=replica or 0,
        max_episode_steps=max_episode_steps,
        theta=theta,
        source=source,
        **options,
    )


@dataclass(frozen=True)
class LabResult:
    """What the laboratory found.

    Attributes:
        measurement: everything.
    """

    measurement: Measurement

    @property
    def table(self) -> pd.DataFrame:
        """One line per estimator: every figure with the ends of its 95% interval, and verdicts."""
        import pandas as pd

        return pd.DataFrame([flat(row) for row in self.measurement.rows]).set_index("estimator")

    def plot(self) -> Figure:
        """Relative variance, direction, scale and raw variance of all estimators."""
        return figure(self.measurement)

    def _repr_html_(self) -> str:
        m = self.measurement
        head = f"{m.problem.env}, {m.problem.label}, {m.problem.objective}: g* is {m.reference}"
        columns = ["relative_variance", "direction", "scale", "variance", "verdict"]
        table = self.table
        shown = table[[c for c in columns if c in table]]
        return f"<p>{escape(head)}</p>{shown.to_html(float_format='{:.3g}'.format)}"


class _Bar:
    """A bar that follows a measurement."""

    def __init__(self, shown: bool) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(
            total=100, disable=not shown, bar_format="{desc}: {percentage:3.0f}%|{bar}|"
        )

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, share: float, what: str) -> None:
        self._bar.set_description(what)
        self._bar.n = round(100 * share)
        self._bar.refresh()
