"""Ready studies: what happens to bias, variance and direction when one thing is changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from pgzoo.agents.actor_critic import ActorCritic
from pgzoo.errors import UsageError
from pgzoo.estimators import discount_weights
from pgzoo.lab.measurement import (
    REFERENCE,
    Measurement,
    Progress,
    Row,
    Sampler,
    Settings,
    check_used,
    measure,
)
from pgzoo.lab.problem import Estimator, Problem, parse_estimators, short_label
from pgzoo.lab.report import (
    Point,
    as_json,
    explained_writing,
    finite,
    flat,
    of_panel,
    panel,
    write_events,
    write_tables,
)
from pgzoo.lab.statistics import RATIOS, VERDICTS, Comparison
from pgzoo.policies.score_functions import ScoreFunctions
from pgzoo.records.run_folder import RunFolder
from pgzoo.sampling.trajectories import Trajectories

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH_SIZES = (8, 16, 32, 64, 128)
GROUP_SIZES = (2, 4, 8, 16, 32)
LAMBDAS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0)
GAMMAS = (0.95, 0.98, 0.99, 0.995, 0.998, 1.0)
DIVERGENCES = (0.0, 0.0003, 0.001, 0.003, 0.01, 0.03)


@dataclass(frozen=True)
class Setup:
    """What the user chose; a study changes one thing of it.

    Attributes:
        problem: policy and environment.
        settings: budget and seed.
        group_size: K of agents that sample in groups.
        run: the training run that the policy is from, if any.
        seed: which of its replicas; None: the first.
        estimators: in place of the study's own.
        given: names of the settings that the user chose, which must change something.
        varied: the option of estimators that the study goes through, if it is one.
    """

    problem: Problem
    settings: Settings
    group_size: int = 8
    run: Path | None = None
    seed: int | None = None
    estimators: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    varied: str = ""

    def parsed(self, estimators: Sequence[str]) -> list[Estimator]:
        """The setup's own estimators, else these."""
        parsed = parse_estimators(
            self.estimators or estimators,
            trajectories=self.settings.trajectories,
            group_size=self.group_size,
            gamma=self.problem.gamma,
            varied=self.varied,
        )
        check_used(self.given, self.problem, parsed, self.settings)
        return parsed

    def measure(self, estimators: Sequence[str], progress: Progress) -> Measurement:
        """The setup's own estimators, else these, on its policy."""
        return measure(self.problem, self.parsed(estimators), self.settings, progress)

    def with_trajectories(self, count: int) -> Setup:
        """The same with another number of trajectories per estimate."""
        return dataclasses.replace(
            self, settings=dataclasses.replace(self.settings, trajectories=count)
        )


Part = tuple[Measurement, list[Point]]
Runner = Callable[[Setup, Progress], Iterator[Part]]


@dataclass(frozen=True)
class Study:
    """A question, how it is answered, and what its figure shows.

    Attributes:
        question: one sentence.
        run: yields a measurement and its points at a time.
        panels: quantities of the figure.
        x_title: of the horizontal axis; empty where the points are estimators side by side.
        log_x: logarithmic horizontal axis.
        changes: the option that is not the user's to choose, for the study goes through it.
        contrast: endings of labels: each estimator with the one is compared with the same with the
            other, by the panels' quantities.
        defaults: of ``Settings``, ``Problem`` and ``Setup``, where this study has its own.
    """

    question: str
    run: Runner
    panels: tuple[str, ...]
    x_title: str = ""
    log_x: bool = False
    changes: Literal["", "trajectories", "group_size", "gamma", "at"] = ""
    contrast: tuple[str, str] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def title(self, setup: Setup) -> str:
        """The question, and what was the same in all measurements."""
        p = setup.problem
        facts = {
            "gamma": p.objective,
            "trajectories": f"{setup.settings.trajectories} trajectories per estimate",
        }
        policy = p.label.rpartition(", ")[0] if self.changes == "at" else p.label
        same = [p.env, policy, *(v for k, v in facts.items() if k != self.changes)]
        return f"{self.question}\n{', '.join(same)}"


@dataclass(frozen=True)
class Contrast:
    """How one estimator differs from another, of the study's own choice.

    Attributes:
        a: label of the one.
        b: label of the other.
        quantity: in which they are compared.
        found: a relative to b.
    """

    a: str
    b: str
    quantity: str
    found: Comparison


@dataclass(frozen=True)
class StudyResult:
    """What ``run_study`` found.

    Attributes:
        study: what was asked.
        setup: of what.
        points: the answers.
        contrasts: between estimators.
        interrupted: whether it was ended early.
    """

    study: Study
    setup: Setup
    points: tuple[Point, ...]
    contrasts: tuple[Contrast, ...]
    interrupted: bool

    @property
    def title(self) -> str:
        """The question, and what was the same in all measurements."""
        return self.study.title(self.setup)


def _at(x: float | str, result: Measurement) -> Part:
    return result, [Point(x, row) for row in result.rows]


def _renamed(row: Row, label: str) -> Row:
    return dataclasses.replace(row, estimator=label)


def _batch_size(setup: Setup, progress: Progress) -> Iterator[Part]:
    names = ("reinforce", "reinforce-baseline:baseline=value", "reinforce++", "rloo", "grpo")
    for n in BATCH_SIZES:
        yield _at(n, setup.with_trajectories(n).measure(names, progress))


def _group_size(setup: Setup, progress: Progress) -> Iterator[Part]:
    names = ("rloo", "dr-grpo", "grpo", "reinforce++-baseline")
    n = setup.settings.trajectories
    if n % GROUP_SIZES[-1]:
        raise UsageError(
            f"Expected `trajectories` to be a multiple of {GROUP_SIZES[-1]}, the largest group of "
            f"this study; got {n}."
        )
    for k in GROUP_SIZES:
        changed = dataclasses.replace(setup, group_size=k)
        parsed = changed.parsed(names)
        for estimator in parsed:
            if estimator.group_size != k:
                raise UsageError(
                    f"Expected estimators whose groups this study can choose, got "
                    f"{estimator.label} with K = {estimator.group_size}."
                )
        yield _at(k, measure(changed.problem, parsed, changed.settings, progress))


def _gae(setup: Setup, progress: Progress) -> Iterator[Part]:
    """With c_t = γ^t, without which even λ = 1 is biased where γ is below 1 (see ``discount``)."""
    if setup.estimators:
        raise UsageError("Expected no `estimator`: this study is of GAE along λ.")
    gamma = setup.problem.gamma
    estimators = [
        Estimator(
            f"actor-critic:lam={lam:g},gamma_t=yes",
            _DiscountedActorCritic.with_options(lam=lam, gamma=gamma),
        )
        for lam in LAMBDAS
    ]
    check_used(setup.given, setup.problem, estimators, setup.settings)
    result = measure(setup.problem, estimators, setup.settings, progress)
    label = "GAE, frozen critic" if setup.settings.critic == "separate" else "GAE, same data"
    rows = zip(LAMBDAS, result.rows, strict=True) if result.rows else ()
    yield result, [Point(lam, _renamed(row, label)) for lam, row in rows]


@dataclass(frozen=True, kw_only=True)
class _DiscountedActorCritic(ActorCritic):
    """Actor-critic on complete episodes with c_t = γ^t before every step."""

    def step_weights(self, t: Trajectories) -> Tensor:
        """Aggregation, times c_t."""
        return super().step_weights(t) * discount_weights(t.mask, self.gamma)


def _discount(setup: Setup, progress: Progress) -> Iterator[Part]:
    base = "reinforce-baseline:baseline=value"
    names = (f"{base},gamma_t=yes", base)
    for gamma in GAMMAS:
        changed = dataclasses.replace(
            setup, problem=dataclasses.replace(setup.problem, gamma=gamma), varied="gamma"
        )
        yield _at(gamma, changed.measure(names, progress))


def _aggregation(setup: Setup, progress: Progress) -> Iterator[Part]:
    kinds = ("sum", "step-mean", "trajectory-mean")
    agents = ("reinforce", "rloo", "grpo")
    names = [f"{agent}:aggregation={kind}" for agent in agents for kind in kinds]
    yield _at("", setup.measure(names, progress))


def _rescaling(setup: Setup, progress: Progress) -> Iterator[Part]:
    names = (
        "reinforce",
        "reinforce:psi_scale=rms",
        "reinforce++",
        "ppo",
        "rloo",
        "dr-grpo",
        "grpo",
        "reinforce++-baseline",
    )
    yield _at("", setup.measure(names, progress))


def _training(setup: Setup, progress: Progress) -> Iterator[Part]:
    if setup.run is None:
        raise UsageError("Expected `run`: this study follows the policy of a training run.")
    names = ("reinforce", "reinforce-baseline:baseline=value", "reinforce++", "rloo", "grpo")
    snapshots = RunFolder.open(setup.run).snapshots()
    if not snapshots:
        raise UsageError(
            f"Expected {setup.run} to have snapshots of its policies; there are none. Train again."
        )
    for percent in snapshots:
        problem = Problem.of_run(
            setup.run,
            seed=setup.seed,
            at=percent,
            gamma=setup.problem.gamma,
            limit=setup.problem.limit,
        )
        changed = dataclasses.replace(setup, problem=problem)
        yield _at(percent, changed.measure(names, progress))


def _drift(setup: Setup, progress: Progress) -> Iterator[Part]:
    names = ("rloo", "dr-grpo:clip=0.99", "dr-grpo:clip=0.2", "dr-grpo:clip=0.05")
    old = setup.problem.theta
    direction, curvature = _ascent(setup, progress)
    for divergence in DIVERGENCES:
        step = float(np.sqrt(2 * divergence / curvature))
        moved = dataclasses.replace(setup.problem, theta=old + step * direction, behaviour=old)
        result = dataclasses.replace(setup, problem=moved).measure(names, progress)
        yield _at(divergence, result)


def _ascent(setup: Setup, progress: Progress) -> tuple[Tensor, float]:
    """Unit vector of improvement, and the mean squared score along it.

    A small step δ along it changes the policy by ½ δ² times that, in nats per step (KL).
    """
    problem, settings = setup.problem, setup.settings
    result = measure(
        problem,
        parse_estimators(
            ["rloo:reward_to_go=yes"],
            trajectories=settings.trajectories,
            group_size=setup.group_size,
            gamma=problem.gamma,
        ),
        dataclasses.replace(settings, estimates=min(settings.estimates, 50)),
        progress,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    direction = torch.as_tensor(result.gradient, dtype=problem.theta.dtype)
    length = float(direction.norm())
    if length == 0:
        raise UsageError(
            "Expected a policy with a gradient that is not zero, to drift along it; here no "
            "trajectory had a return unlike the others. Take another policy, or a longer limit."
        )
    direction = direction / length
    sampler = Sampler(problem, settings)
    try:
        batch = sampler.sample(REFERENCE, range(1), settings.plan, act=problem.theta)
    finally:
        sampler.close()
    scores = ScoreFunctions(problem.network, problem.theta.unsqueeze(0), batch)
    steps = batch.mask[0].nonzero()
    chosen = steps[torch.randperm(len(steps), generator=torch.Generator().manual_seed(0))[:500]]
    weights = torch.zeros(1, len(chosen), *batch.mask.shape[1:], dtype=problem.theta.dtype)
    weights[0, torch.arange(len(chosen)), chosen[:, 0], chosen[:, 1]] = 1.0
    along = scores.weighted_sums(weights)[0] @ direction
    return direction, float(along.square().mean())


SHARED, INDEPENDENT = "starts=shared", "starts=independent"


def _starts(setup: Setup, progress: Progress) -> Iterator[Part]:
    estimators = setup.parsed(("rloo", "rloo:reward_to_go=yes", "grpo"))
    for estimator in estimators:
        if estimator.group_size == 1:
            raise UsageError(
                f"Expected estimators that sample in groups, got {estimator.label}: alone, every "
                "trajectory has a start of its own."
            )
    both = [_with(e.label, ending) for e in estimators for ending in (SHARED, INDEPENDENT)]
    changed = dataclasses.replace(setup, estimators=tuple(both))
    yield _at("", changed.measure((), progress))


def _with(estimator: str, option: str) -> str:
    """An estimator as it is written, with a further option."""
    has_options = ":" in estimator.rpartition(".py:")[2]
    return f"{estimator}{',' if has_options else ':'}{option}"


STUDIES = {
    "batch-size": Study(
        "How does variance fall with the number of trajectories?",
        _batch_size,
        ("variance", "relative_variance"),
        "trajectories per estimate, N",
        log_x=True,
        changes="trajectories",
    ),
    "group-size": Study(
        "What does the group size K do, at the same number of trajectories?",
        _group_size,
        ("relative_variance", "direction", "scale"),
        "rollouts per start, K",
        log_x=True,
        changes="group_size",
    ),
    "gae": Study(
        "How does λ trade the bias of GAE for its variance?",
        _gae,
        ("bias_squared", "variance", "mse"),
        "λ of GAE",
        defaults={"gamma": 0.99, "limit": "continues"},
    ),
    "discount": Study(
        "What is lost by leaving out the factor γᵗ?",
        _discount,
        ("direction", "scale", "relative_variance"),
        "discount factor γ",
        changes="gamma",
    ),
    "starts": Study(
        "Does a shared start lower the variance, at the same number of trajectories?",
        _starts,
        ("relative_variance", "variance", "cosine"),
        contrast=(SHARED, INDEPENDENT),
        defaults={"estimates": 2_000, "reference_estimates": 400},
    ),
    "aggregation": Study(
        "What do sum, step mean and trajectory mean do where return is length?",
        _aggregation,
        ("direction", "relative_variance", "scale"),
    ),
    "rescaling": Study(
        "Is a smaller variance a better gradient, or only a shorter one?",
        _rescaling,
        ("variance", "relative_variance", "scale", "direction"),
    ),
    "training": Study(
        "How do estimators compare along a training run?",
        _training,
        ("relative_variance", "cosine", "direction"),
        "share of training done, %",
        changes="at",
    ),
    "drift": Study(
        "What does clipping do as the policy moves away from the one that acted?",
        _drift,
        ("bias_squared", "variance", "direction"),
        "nominal KL(π_old ‖ π), nats per step",
        log_x=True,
    ),
}


def with_defaults(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, and the study's own defaults beside it.

    Args:
        name: of a study; others have no defaults of their own.
        given: fields of ``Settings``, ``Problem`` and ``Setup``.
    """
    own = dict(STUDIES[name].defaults) if name in STUDIES else {}
    if given.get("gamma") == 1:  # going on beyond a time limit needs a γ below 1
        own.pop("limit", None)
    return own | dict(given)


def run_study(name: str, setup: Setup, folder: Path, progress: Progress) -> StudyResult:
    """Run a study and write ``lab.json``, ``lab.csv`` and its figure.

    Files are written anew after every measurement, so that an interruption, or an estimator of
    one's own that fails, keeps what is done.

    Args:
        name: of ``STUDIES``.
        setup: policy, environment and budget.
        folder: for the results.
        progress: called as by ``measure``.
    """
    study = STUDIES[name]
    points: list[Point] = []
    contrasts: list[Contrast] = []
    parts: list[dict[str, Any]] = []

    def found(*, interrupted: bool = False) -> StudyResult:
        return StudyResult(study, setup, tuple(points), tuple(contrasts), interrupted)

    def write(*, interrupted: bool = False) -> None:
        rows = [{"x": p.x, **flat(p.row)} for p in points]
        about = {"study": name, "question": study.question, "interrupted": interrupted}
        said = {"contrasts": [_contrast_as_json(c) for c in contrasts]} if study.contrast else {}
        write_tables(folder, about | said | {"parts": parts}, rows)

    def draw() -> None:
        from pgzoo.records.style import save

        with explained_writing(folder):
            save(figure(found()), folder / name)
            write_events(folder, [(_event_step(p.x), p.row) for p in points])

    try:
        for result, new in study.run(setup, progress):
            points += new
            contrasts += _contrasts(study, result)
            parts.append({"x": sorted({p.x for p in new})} | as_json(result))
            if result.interrupted:
                raise KeyboardInterrupt
            write()
    except (KeyboardInterrupt, UsageError) as stop:
        if not points:
            raise
        write(interrupted=True)
        draw()
        if isinstance(stop, UsageError):
            raise
        return found(interrupted=True)
    draw()
    return found()


def _contrasts(study: Study, result: Measurement) -> list[Contrast]:
    if study.contrast is None:
        return []
    one, other = study.contrast
    labels = [row.estimator for row in result.rows if row.estimator.endswith(one)]
    return [
        Contrast(a, b, quantity, result.compare(a, b, quantity))
        for a in labels
        for b in [a.removesuffix(one) + other]
        for quantity in study.panels
    ]


def _contrast_as_json(contrast: Contrast) -> dict[str, Any]:
    low, high = contrast.found.interval.low, contrast.found.interval.high
    return {
        "a": contrast.a,
        "b": contrast.b,
        "quantity": contrast.quantity,
        "kind": "ratio" if contrast.quantity in RATIOS else "difference",
        "point": finite(contrast.found.interval.point),
        "low": finite(low),
        "high": finite(high),
        "p_value": finite(contrast.found.p_value),
    }


def _event_step(x: float | str) -> int:
    """TensorBoard's axis holds whole numbers: thousandths for fractions."""
    return 0 if isinstance(x, str) else round(x if x == round(x) and x > 1 else 1000 * x)


def figure(result: StudyResult) -> Figure:
    """Curves along what the study changes, or estimators side by side."""
    from pgzoo.records.plots import Line, curves, dots

    study, points, title = result.study, result.points, result.title
    if not study.x_title:
        rows = [p.row for p in points]
        panels = [of_panel(k, [getattr(r.properties, k) for r in rows]) for k in study.panels]
        labels = [short_label(r.estimator) for r in rows]
        return dots(labels, panels, title, [r.verdict for r in rows], VERDICTS)
    labels = list(dict.fromkeys(p.row.estimator for p in points))
    lines = [(label, [p for p in points if p.row.estimator == label]) for label in labels]
    return curves(
        [
            (
                panel(k, [getattr(p.row.properties, k).point for p in points]),
                [
                    Line(
                        short_label(label),
                        [float(p.x) for p in mine],
                        [getattr(p.row.properties, k) for p in mine],
                    )
                    for label, mine in lines
                ],
            )
            for k in study.panels
        ],
        study.x_title,
        title,
        log_x=study.log_x,
    )
