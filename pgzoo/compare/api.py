"""``pgzoo.compare``: many agents, many seeds, and what can be said of them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pgzoo_envs

from pgzoo.agents import agent_class
from pgzoo.compare import question as asking
from pgzoo.compare.contenders import Contender, Source, contenders_of
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.progress import Display, display
from pgzoo.compare.question import Question
from pgzoo.compare.result import Comparison, check_folders
from pgzoo.compare.runs import (
    Holdings,
    Library,
    check_named,
    holdings,
    open_library,
    outcome,
    skipped_in_words,
)
from pgzoo.compare.sequential import Decisions, decide
from pgzoo.compare.training import RUNS, UNFINISHED, Train, jobs_of, place_to_train, train_jobs
from pgzoo.errors import UsageError
from pgzoo.learning.arguments import check_env_id, seeds_of
from pgzoo.learning.common import DEFAULT_DIAGNOSES
from pgzoo.learning.loop import TrainingInterrupted
from pgzoo.learning.progress import Manner
from pgzoo.learning.trainer import Trainer
from pgzoo.options import MOST_SEEDS, build, checked, checked_path, several
from pgzoo.records import files

REUSED = ("runs", "comparisons")
"""Folders in which runs are looked for, where they are, if nothing is said."""


def compare(
    agents: Sequence[Source],
    *,
    env: str,
    seeds: int | Iterable[int] = 10,
    policy: str = "mlp",
    grid: str | None = None,
    out: str | Path | None = None,
    among: str | Path | None = None,
    reuse: Iterable[str | Path] | None = None,
    any_version: bool = False,
    any_budget: bool = False,
    on: str = "local",
    workers: int | None = None,
    until_decided: int | None = None,
    difference: float | None = None,
    device: str = "auto",
    max_episode_steps: int | None = None,
    stop_when_solved: bool = False,
    diagnostics: int = DEFAULT_DIAGNOSES,
    compare_estimators: bool = False,
    films: bool = False,
    progress: bool | Manner = True,
    command: str | None = None,
    **options: Any,
) -> Comparison:
    """Train what is missing of several agents, and compare them over seeds.

    Args:
        agents: names of the zoo, ``AGENT:OPTION=VALUE,…``, ``FILE.py:FUNCTION``, functions from
            trajectories to Ψ, or pairs of one of them and a mapping of options.
        env: id of a Gymnasium environment with discrete actions.
        seeds: how many, from 0 on, or which.
        policy: mlp, linear or tabular.
        grid: ``AGENT:OPTION=VALUE,VALUE,…``, further contenders along one option.
        out: folder for runs, tables, figures and report, in which the same call goes on; None: a
            temporary one, which goes with the result.
        among: in place of ``out``, a folder of comparisons: the one of the same question and seeds
            there, or a new one.
        reuse: runs, and folders that hold runs, whose seeds need not be trained again; None: the
            folders ``runs`` and ``comparisons``, where they are.
        any_version: reuse runs of other versions of pgzoo, too.
        any_budget: reuse runs that trained for more or fewer steps where there are no others.
        on: where to train: local, ray, or a Ray cluster's ``ray://HOST:PORT``.
        workers: processes at once; None: as many as there are processors.
        until_decided: go on with further seeds, as many at a time as ``seeds``, until every pair is
            decided or a contender has so many.
        difference: in return, that would matter: how many more seeds would tell it is said of
            pairs that are undecided; None: about a twentieth of the environment's threshold.
        device: as for ``train``, like the next four.
        max_episode_steps: time limit in place of the environment's own.
        stop_when_solved: a seed stops when it has reached the threshold.
        diagnostics: how often in a run the gradient is diagnosed; 0: never.
        compare_estimators: diagnose the other estimators that fit on the same batches, too.
        films: show in the report what every contender does, untrained beside trained.
        progress: whether a table shows it, or in which manner: rich, tqdm, lines, none.
        command: that the report says repeats it; None: this call.
        options: of all agents, in place of their defaults for the environment.

    Raises:
        UsageError: for what cannot be trained or compared.
        TrainingInterrupted: on Ctrl-C, after saving.
    """
    chosen = seeds_of(seeds)
    check_env_id(env)
    agents = several("agents", agents)
    out = None if out is None else checked_path("out", out)
    workers = checked("workers", workers, int | None, minimum=1)
    until_decided = checked("until_decided", until_decided, int | None, maximum=MOST_SEEDS)
    if difference is not None:
        difference = checked("difference", difference, float, above=0)
    max_episode_steps = checked("max_episode_steps", max_episode_steps, int | None, minimum=1)
    among = None if among is None else checked_path("among", among)
    places = _places(reuse)
    truths = {"any_version": any_version, "any_budget": any_budget, "films": films}
    any_version, any_budget, films = (checked(k, v, bool) for k, v in truths.items())
    grid, command = (
        checked(k, v, str | None) for k, v in {"grid": grid, "command": command}.items()
    )
    if reuse is not None and not places:
        for name, given in {"any_version": any_version, "any_budget": any_budget}.items():
            if given:
                raise UsageError(
                    f"Expected something to `reuse` with `{name}`, got nothing: it says which "
                    f"runs may be. Leave `{name}` out."
                )
    common = {
        "env": env,
        "policy": policy,
        "device": device,
        "max_episode_steps": max_episode_steps,
        "stop_when_solved": stop_when_solved,
        "diagnostics": diagnostics,
        "compare_estimators": compare_estimators,
        **options,
    }
    contenders, _ = contenders_of(agents, grid, seeds=chosen, **common)
    _check_place(on, contenders)
    if films and not pgzoo_envs.renders(env):
        raise UsageError(f"Expected an environment that can be drawn with `films`, got {env}.")
    most_batches = _most_batches(until_decided, len(chosen))
    train = place_to_train(on, workers)
    question = Question.of(contenders, chosen, until_decided)
    with _own_folder(out, among, question) as own:
        terms = _Terms(
            out=own.path,
            reuse=places,
            version=version("pgzoo"),
            any_version=any_version,
            any_budget=any_budget,
            train=train,
            num_workers=workers or os.cpu_count() or 1,
        )
        library = open_library(own.path / RUNS, terms.reuse, env=env)
        check_named(library, contenders)
        notes = [*own.notes, *skipped_in_words(library)]
        found = _Found(terms, contenders, library, notes)
        found.check_what_is_missing(chosen)
        threshold = pgzoo_envs.describe(env, max_episode_steps).reward_threshold
        with display(progress, threshold) as show:
            for note in found.notes:
                show.say(note)
            outcomes, decisions = _obtain(found, chosen, most_batches, show)
        shutil.rmtree(own.path / UNFINISHED, ignore_errors=True)
    result = Comparison(
        outcomes=outcomes,
        question=question,
        notes=found.notes,
        decisions=decisions,
        difference=difference,
        command=command or _call(agents, env, chosen, grid, until_decided, common),
        folder=own.path,
        films=films,
        temporary=own.temporary,
    )
    if own.temporary is None:
        result.save(own.path)
    return result


@dataclass(frozen=True)
class _Terms:
    """Where things are, what may be used, and who trains."""

    out: Path
    reuse: tuple[Path, ...]
    version: str
    any_version: bool
    any_budget: bool
    train: Train
    num_workers: int


class _Found:
    """What there is of every contender, and what is said of it once."""

    def __init__(
        self,
        terms: _Terms,
        contenders: Sequence[Contender],
        library: Library,
        notes: Sequence[str],
    ) -> None:
        self.terms, self.contenders, self.library = terms, contenders, library
        self.notes = list(notes)

    def of(self, contender: Contender, seeds: Sequence[int]) -> Holdings:
        """A contender's seeds that some run has."""
        found = holdings(
            contender,
            seeds,
            self.library,
            version=self.terms.version,
            any_version=self.terms.any_version,
            any_budget=self.terms.any_budget,
        )
        self.notes += [note for note in found.notes if note not in self.notes]
        return found

    def check_what_is_missing(self, seeds: Sequence[int]) -> None:
        """Whatever is wrong with training shows before anything is trained or written.

        Raises:
            UsageError: for what cannot be trained.
        """
        for contender in self.contenders:
            if self.of(contender, seeds).missing:
                agent = build(agent_class(contender.agent), contender.config.hyperparameters)
                try:
                    trainer = Trainer(contender.config, agent, contender.config.device)
                    trainer.initial_state()
                    trainer.close()
                except UsageError as error:
                    raise UsageError(f"{contender.label}: {error}") from error

    def complete(self, seeds: Mapping[str, Sequence[int]], show: Display) -> list[Outcome]:
        """Train what is missing of these seeds, and read them all.

        Args:
            seeds: of every contender, by label.
            show: shown where everything stands.
        """
        out = self.terms.out
        before = {c.label: self.of(c, seeds[c.label]) for c in self.contenders}
        missing = [
            (c, dataclasses.replace(before[c.label].config, seeds=before[c.label].missing))
            for c in self.contenders
            if before[c.label].missing
        ]
        for contender in self.contenders:
            reused = [p for p in before[contender.label].parts if out not in p.stored.path.parents]
            if reused:
                count = sum(len(p.seeds) for p in reused)
                paths = ", ".join(str(p.stored.path) for p in reused)
                note = f"{contender.label}: {count} seeds reused from {paths}"
                if note not in self.notes:
                    self.notes.append(note)
                    show.say(note)
        if missing:
            jobs = jobs_of(missing, out, self.terms.num_workers)
            train_jobs(jobs, out, self.terms.train, show)
            self.library = open_library(
                out / RUNS, self.terms.reuse, env=self.contenders[0].config.env
            )
        parts = {c.label: self.of(c, seeds[c.label]) for c in self.contenders}
        return [outcome(c, parts[c.label].parts) for c in self.contenders]


def _obtain(
    found: _Found, seeds: Sequence[int], most_batches: int | None, show: Display
) -> tuple[list[Outcome], Decisions | None]:
    """Outcomes of these seeds, or of batches of them until every pair is decided."""
    labels = [c.label for c in found.contenders]
    held = {label: tuple(seeds) for label in labels}
    outcomes = found.complete(held, show)
    if most_batches is None:
        return outcomes, None
    size = len(seeds)
    while True:
        batches = {o.label: _batches(o, held[o.label], size) for o in outcomes}
        decisions = decide(batches, most_batches)
        show.say(_look_in_words(decisions, held))
        if not decisions.go_on:
            return outcomes, decisions
        for label in decisions.go_on:
            first = max(held[label]) + 1
            held[label] = (*held[label], *range(first, first + size))
        outcomes = found.complete(held, show)


def _batches(outcome: Outcome, seeds: Sequence[int], size: int) -> list[Any]:
    """Final returns in the order in which they were asked for."""
    by_seed = dict(zip(outcome.seeds, outcome.returns.tolist(), strict=True))
    return [[by_seed[s] for s in seeds[i : i + size]] for i in range(0, len(seeds), size)]


def _look_in_words(decisions: Decisions, held: Mapping[str, Sequence[int]]) -> str:
    most = max(map(len, held.values()))
    text = f"{len(decisions.better)} pairs decided with up to {most} seeds"
    if decisions.go_on:
        return f"{text}; further seeds for {', '.join(decisions.go_on)}"
    return f"{text}; {len(decisions.undecided)} undecided"


def _most_batches(until_decided: int | None, size: int) -> int | None:
    if until_decided is None:
        return None
    if until_decided < 2 * size:
        raise UsageError(
            f"Expected `until_decided` of at least twice the seeds of a batch, {2 * size}; got "
            f"{until_decided}. Give fewer `seeds`, or a greater number."
        )
    return until_decided // size


def _check_place(on: str, contenders: Sequence[Contender]) -> None:
    """Functions of this process cannot be sent to another machine.

    Raises:
        UsageError: if there is one, and it would have to be.
    """
    here = [c.label for c in contenders if callable(c.agent)]
    if here and on != "local":
        raise UsageError(
            f"Expected {here[0]} as FILE.py:FUNCTION with `on={on}`: a function of this process "
            "cannot be sent to other machines. Put it into a file, or use `on=local`."
        )


def _places(reuse: Iterable[str | Path] | None) -> tuple[Path, ...]:
    if reuse is None:
        return tuple(Path(place) for place in REUSED if Path(place).is_dir())
    named = [reuse] if isinstance(reuse, (str, Path)) else several("reuse", reuse)
    return tuple(checked_path("reuse", place) for place in named)


def _earlier_look(out: Path, question: Question) -> list[str]:
    """That p-values take no account of an earlier look at fewer seeds.

    Raises:
        UsageError: if the number of batches was fixed, and would now be another.
    """
    if not (out / asking.QUESTION).exists() or not (out / asking.RESULT).exists():
        return []
    there = Question.read(out)
    if not question.is_about_the_same(there) or question.is_the_same(there):
        return []
    if there.until_decided is not None or question.until_decided is not None:
        raise UsageError(
            f"Expected `seeds` and `until_decided` as in {out}, which has its result: how many "
            "seeds there may be is fixed before the first look. Choose another `out`."
        )
    if set(question.seeds) > set(there.seeds):
        return [
            f"{len(question.seeds)} seeds, after a look at {len(there.seeds)} of them: where seeds "
            "are added because of what was seen, p-values are too small; `until_decided` allows "
            "for that"
        ]
    return []


@dataclass(frozen=True)
class _Own:
    """The folder of a comparison.

    Attributes:
        path: where.
        temporary: what keeps it, if it goes with the result.
        notes: what is to be said of it.
    """

    path: Path
    temporary: tempfile.TemporaryDirectory[str] | None
    notes: list[str]


@contextmanager
def _own_folder(
    out: str | Path | None, among: str | Path | None, question: Question
) -> Iterator[_Own]:
    """The folder in which a question is answered; one that is new and of no use goes again.

    Raises:
        UsageError: if another question is there.
        TrainingInterrupted: with a message that says where everything is.
    """
    if out is not None and among is not None:
        raise UsageError("Expected `out` or `among`, got both.")
    if out is None and among is None:
        temporary = tempfile.TemporaryDirectory(prefix="pgzoo-", ignore_cleanup_errors=True)
        try:
            yield _Own(Path(temporary.name), temporary, [])
        except TrainingInterrupted:
            raise TrainingInterrupted("Nothing is kept of a comparison without `out`.") from None
        return
    path = asking.folder_for(Path(among), question) if among is not None else Path(str(out))
    fresh = not path.exists() or (among is not None and not any(path.iterdir()))
    own = _Own(path, None, _earlier_look(path, question))
    asking.begin(path, question)
    check_folders(path)
    with files.alone_in(path):
        try:
            yield own
        except TrainingInterrupted:
            raise TrainingInterrupted(
                f"Everything up to here is saved in {path}; the same comparison goes on from there."
            ) from None
        except Exception:
            if fresh and not any(file.stat().st_size for file in path.glob("**/metrics.csv")):
                shutil.rmtree(path, ignore_errors=True)
                if among is not None and not any(path.parent.iterdir()):
                    path.parent.rmdir()
            raise


def _call(
    agents: Sequence[Source],
    env: str,
    seeds: tuple[int, ...],
    grid: str | None,
    until_decided: int | None,
    common: Mapping[str, Any],
) -> str:
    """The call in Python that asks the same; functions by their names."""

    def shown(source: Any) -> str:
        if callable(source):
            return str(getattr(source, "__name__", source))
        if isinstance(source, tuple):
            return f"({shown(source[0])}, {source[1]!r})"
        return repr(source)

    usual = {
        "policy": "mlp",
        "device": "auto",
        "max_episode_steps": None,
        "stop_when_solved": False,
        "diagnostics": DEFAULT_DIAGNOSES,
        "compare_estimators": False,
    }
    first = seeds == tuple(range(len(seeds)))
    given: dict[str, Any] = {"env": env, "seeds": len(seeds) if first else list(seeds)}
    if grid is not None:
        given["grid"] = grid
    if until_decided is not None:
        given["until_decided"] = until_decided
    given |= {k: v for k, v in common.items() if k != "env" and (k not in usual or usual[k] != v)}
    arguments = ", ".join(f"{k}={v!r}" for k, v in given.items())
    return f"pgzoo.compare([{', '.join(map(shown, agents))}], {arguments})"
