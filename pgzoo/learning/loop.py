"""The one training loop: S replicas of an agent side by side, iteration by iteration.

Everything random is a function of a replica's seed and the iteration (``sampling.seeding``), and
the state between iterations is an immutable value. So a checkpoint is that value, resuming is going
on from it, and an interruption at any moment falls back on the last one.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from pgzoo_envs.errors import EnvError

from pgzoo.errors import UsageError
from pgzoo.learning.evaluate import EPISODES, evaluate
from pgzoo.learning.interrupts import once_is_enough
from pgzoo.learning.progress import Clock, Report
from pgzoo.learning.snapshots import take_snapshots
from pgzoo.learning.state import TrainState
from pgzoo.learning.stored import load_state
from pgzoo.learning.trainer import Iteration, Trainer, make_collector
from pgzoo.records import columns
from pgzoo.records.config import RunConfig
from pgzoo.records.intervals import share_interval
from pgzoo.records.metrics_file import MetricsFile, read_lines
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.tensorboard import Dashboard, Results, write_results
from pgzoo.records.times_file import TimesFile
from pgzoo.records.words import ranges

SECONDS_BETWEEN_CHECKPOINTS = 2.0
TIMES_TO_SAVE = 10
"""At least so many times as long as saving takes, training goes on before the next time: of 10,000
seeds a checkpoint is half a gigabyte and more."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C: the state is saved and the run can be resumed."""


class TrainingStoppedError(UsageError):
    """Agent or environment failed in mid-training: the state is saved and the run can be resumed.

    Args:
        what: failed, and where it is saved.
        advice: how to go on.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what} {advice}".strip())
        self.what = what


class CallbackError(Exception):
    """A user's callback raised what is this one's cause: the state is saved."""


def run_training(
    trainer: Trainer,
    folder: RunFolder,
    callback: Callable[[Report], Any] = lambda _: None,
    *,
    tensorboard_seeds: bool = False,
    draw: bool = True,
) -> dict[str, Any] | None:
    """Train all replicas, evaluate them, and leave a complete run folder.

    Goes on from the folder's checkpoint if there is one.

    Args:
        trainer: of the folder's configuration.
        folder: where; made by ``RunFolder.create`` or opened by ``RunFolder.open``.
        callback: called after every iteration; ends the session if it returns True.
        tensorboard_seeds: whether every seed is a TensorBoard run of its own, too; it is if it was
            in an earlier session.
        draw: whether the learning curve is drawn for TensorBoard once training is complete.

    Returns:
        the summary, as in ``summary.json``; None if the callback ended the session.

    Raises:
        TrainingInterrupted: on Ctrl-C, after saving.
        TrainingStoppedError: if agent or environment fail after the first iteration, after saving.
        UsageError: for a damaged run folder, a full disk, or a folder that was taken away.
    """
    finished = folder.summary()
    if finished is not None:
        return finished
    try:
        with _alone_in(folder):
            state = _starting_state(trainer, folder)
            seeds = tensorboard_seeds or folder.has_seed_curves
            state, clock = _train(trainer, folder, state, callback, seeds)
            if state.running:
                return None
            summary = _summary(trainer, folder, state, clock.seconds())
            with writing(folder):
                folder.write_summary(summary)
                config, known = trainer.config, state.to_json()
                figures = run_figures(config, read_lines(folder, known)) if draw else {}
                write_results(folder.path, config, Results.of(summary), figures)
            return summary
    except KeyboardInterrupt as error:
        raise TrainingInterrupted(
            f"Everything up to here is saved in {folder.path}, and training can go on from there."
        ) from error
    finally:
        trainer.close()


@contextmanager
def _alone_in(folder: RunFolder) -> Iterator[None]:
    """Be the only one who trains a run, as ``folder.training``, with errors in words."""
    with ExitStack() as stack:
        with writing(folder):
            stack.enter_context(folder.training())
        yield


@contextmanager
def writing(folder: RunFolder) -> Iterator[None]:
    """Around all that is written into a run's folder, and nothing else: its errors in words.

    Raises:
        UsageError: if the operating system refuses to write.
    """
    try:
        if not folder.in_place:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        yield
    except OSError as error:
        raise UsageError(
            f"Cannot write to {folder.path}: {error.strerror}. {_way_on(folder, error)}"
        ) from error


def _way_on(folder: RunFolder, error: OSError) -> str:
    """What to do where a run cannot be written."""
    if not folder.in_place:
        return (
            "The folder was moved or removed while the run was being trained. If there is one "
            "elsewhere, go on with it there by `resume`; else start anew."
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        remedy = "allow this process more open files (`ulimit -n`)"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "make the folder writable"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "make room"
    else:
        remedy = "put that right"
    return f"The last checkpoint is intact: {remedy}, then go on with the run by `resume`."


def _starting_state(trainer: Trainer, folder: RunFolder) -> TrainState:
    if not folder.has_checkpoint:
        return trainer.initial_state()
    return load_state(folder, trainer.networks, trainer.device)


def _train(
    trainer: Trainer,
    folder: RunFolder,
    state: TrainState,
    callback: Callable[[Report], Any],
    tensorboard_seeds: bool,
) -> tuple[TrainState, Clock]:
    budget = trainer.agent.steps
    with writing(folder):
        metrics_file = MetricsFile(folder, state.metrics_size, state.metrics_digest)
        times = TimesFile(folder, state.iteration)
        clock = Clock(state, times.seconds, budget)
        dashboard = Dashboard(
            folder.path,
            trainer.config,
            read_lines(folder, state.to_json()),
            threshold=trainer.env.reward_threshold,
            seeds=tensorboard_seeds,
        )

    def save(state: TrainState) -> None:
        with writing(folder):
            metrics_file.sync()
            times.sync()
            dashboard.flush()
            folder.save_checkpoint(*state.to_checkpoint())

    def with_snapshots(before: TrainState | None, state: TrainState) -> TrainState:
        state, whole = take_snapshots(before, state, budget)
        with writing(folder):
            for percent, theta in whole.items():
                folder.save_snapshot(percent, theta)
        return state

    try:
        if state.iteration == 0:
            state = with_snapshots(None, state)
        save(state)  # a reference policy, too, is safe from here on
        saved, pause = time.monotonic(), SECONDS_BETWEEN_CHECKPOINTS
        while state.running:
            before = state
            after, iteration = _iterate(trainer, state, folder)
            lines = _metrics_lines(trainer, iteration)
            with writing(folder):
                metrics_file.append(lines)
                times.append(iteration.number, clock.seconds())
                dashboard.add(lines)
            after = with_snapshots(before, after)
            state = dataclasses.replace(
                after, metrics_size=metrics_file.size, metrics_digest=metrics_file.digest
            )
            if callback(clock.report(before, state)) is True:
                break
            if (now := time.monotonic()) - saved > pause:
                save(state)
                saved = time.monotonic()
                pause = max(SECONDS_BETWEEN_CHECKPOINTS, TIMES_TO_SAVE * (saved - now))
        save(state)
    except (KeyboardInterrupt, TrainingStoppedError, CallbackError):
        with once_is_enough():
            save(state)
        raise
    finally:
        with writing(folder), ExitStack() as files:
            for file in (metrics_file, times, dashboard):
                files.callback(file.close)
    return state, clock


def _iterate(
    trainer: Trainer, state: TrainState, folder: RunFolder
) -> tuple[TrainState, Iteration]:
    """One iteration; what it fails for is said with its number and seeds, and is no loss."""
    try:
        return trainer.iterate(state)
    except (UsageError, EnvError) as error:
        if state.iteration == 0:  # nothing is lost that could be gone on with
            raise
        seeds = [state.replicas[i].seed for i in state.running]
        raise _stopped(error, f"iteration {state.iteration}", seeds, folder) from error


def _stopped(
    error: Exception, where: str, seeds: Sequence[int], folder: RunFolder
) -> TrainingStoppedError:
    return TrainingStoppedError(
        f"{error}\nThis was in {where}, seed{'s' * (len(seeds) > 1)} {ranges(seeds)}. Everything "
        f"before it is saved in {folder.path}."
    )


def run_figures(config: RunConfig, lines: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """Figures of a complete run for TensorBoard: PNG files by their names.

    Args:
        config: of the run.
        lines: of its ``metrics.csv``.
    """
    from pgzoo.records.plots import learning_curve_png

    title = f"{config.agent} on {config.env}, {len(config.seeds)} seeds"
    return {"learning curve, seed by seed": learning_curve_png(lines, title)}


def _metrics_lines(trainer: Trainer, iteration: Iteration) -> list[dict[str, Any]]:
    figures = {name: values.tolist() for name, values in iteration.metrics.items()}
    return [
        columns.metrics_line(
            iteration=iteration.number,
            seed=replica.seed,
            env_steps=replica.env_steps,
            episodes=replica.episodes,
            returns=finished.returns,
            lengths=finished.lengths,
            recent=replica.recent,
            figures={name: values[i] for name, values in figures.items()},
            sparse=trainer.sparse_columns,
        )
        for i, (replica, finished) in enumerate(
            zip(iteration.replicas, iteration.finished, strict=True)
        )
        if replica.failed is None
    ]


def _summary(
    trainer: Trainer, folder: RunFolder, state: TrainState, seconds: float
) -> dict[str, Any]:
    """Evaluate the trained policies and put the run's results together."""
    config = trainer.config
    alive = [i for i, r in enumerate(state.replicas) if r.failed is None]
    returns: list[Any] = [None] * len(config.seeds)
    if alive:
        collector = make_collector(config, trainer.device)
        theta = state.learners.policy.values[alive]
        seeds = [config.seeds[i] for i in alive]
        try:
            found = evaluate(collector, trainer.networks.policy, theta, seeds)
        except EnvError as error:
            raise _stopped(error, "the evaluation after training", seeds, folder) from error
        finally:
            collector.close()
        for i, row in zip(alive, found, strict=True):
            returns[i] = row
    return columns.run_summary(
        config,
        iterations=state.iteration,
        env_steps=[r.env_steps for r in state.replicas],
        seconds=seconds,
        threshold=trainer.env.reward_threshold,
        episodes=EPISODES,
        returns=returns,
        steps_to_threshold=[r.steps_to_threshold for r in state.replicas],
        failed=[r.failed for r in state.replicas],
        solved_interval=share_ends,
    )


def share_ends(successes: int, total: int) -> tuple[float, float]:
    """Ends of the 95% interval of a probability."""
    interval = share_interval(successes, total)
    return interval.low, interval.high
