"""What happens to a run when the machine, or another program, takes something away in mid-run."""

import os
import resource
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import rich

import pgzoo
import pgzoo.learning.loop
from pgzoo.errors import UsageError
from pgzoo.learning import interrupts
from pgzoo.learning.loop import TrainingInterrupted
from pgzoo.learning.progress import display
from pgzoo.records import files
from pgzoo.records.run_folder import RunFolder
from tests.helpers import make_config
from tests.learning.test_loop import results, run, train

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and files")


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A checkpoint after every iteration."""
    monkeypatch.setattr(pgzoo.learning.loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(pgzoo.learning.loop, "TIMES_TO_SAVE", 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing happens to."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    run(path, make_config())
    return results(path)


def at(iteration, act):
    """A callback that does something once, after an iteration."""

    def callback(report):
        if report.iteration == iteration:
            act()

    return callback


def failing(monkeypatch, owner, name, number):
    """Let the nth call of a system call of files fail, and all after it."""
    had, calls = getattr(owner, name), []

    def fails(*args, **kwargs):
        calls.append(args)
        if len(calls) >= number:
            raise OSError(28, "No space left on device")
        return had(*args, **kwargs)

    monkeypatch.setattr(owner, name, fails)
    return calls


def error_of_training(folder):
    """What went wrong; None if nothing did."""
    try:
        train(make_config(), folder)
    except UsageError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("owner", "name"), [(os, "fsync"), (Path, "replace"), (files, "_write_new")]
)
def test_a_disk_that_is_full_at_any_call_loses_nothing(tmp_path, monkeypatch, whole, owner, name):
    folder = RunFolder.create(tmp_path / "run", make_config())
    for number in range(1, 100):
        with monkeypatch.context() as patch:
            failing(patch, owner, name, number)
            said = error_of_training(folder)
        if said is None:
            break
        assert "make room, then go on with the run by `resume`" in said
        assert not list(folder.path.glob("**/*.tmp"))
    assert number > 5
    assert results(folder.path) == whole


@POSIX
def test_files_that_may_not_grow_lose_nothing(tmp_path, whole):
    """The system itself refuses, in the middle of a write."""
    folder = RunFolder.create(tmp_path / "run", make_config())
    had = resource.getrlimit(resource.RLIMIT_FSIZE)
    metrics = len(whole[0])
    for limit in (600, 3_000, metrics // 3, metrics - 10):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, had[1]))
        try:
            with pytest.raises(UsageError, match=r"File too large.*make room"):
                train(make_config(), folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, had)
    train(make_config(), folder)
    assert results(folder.path) == whole


def test_a_run_that_is_removed_is_no_full_disk(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(UsageError, match="was moved or removed while"):
        run(path, make_config(), at(2, lambda: shutil.rmtree(path)))
    assert not path.exists()


@POSIX
def test_a_run_that_is_moved_goes_on_elsewhere(tmp_path, whole):
    path, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    with pytest.raises(UsageError, match="go on with it there"):
        run(path, make_config(), at(2, lambda: path.rename(elsewhere)))
    train(make_config(), RunFolder.open(elsewhere))
    assert results(elsewhere) == whole


@POSIX
def test_a_run_in_whose_place_another_is_does_not_touch_it(tmp_path, whole):
    path, other = tmp_path / "run", tmp_path / "other"
    run(other, make_config())

    def replace():
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(other)

    with pytest.raises(UsageError, match="was moved or removed while"):
        run(path, make_config(seeds=(7,)), at(2, replace))
    assert results(other) == whole


@POSIX
def test_a_link_to_where_a_run_was_moved_is_the_run(tmp_path, whole):
    path, elsewhere = tmp_path / "run", tmp_path / "elsewhere"

    def move():
        path.rename(elsewhere)
        path.symlink_to(elsewhere)

    run(path, make_config(), at(2, move))
    assert results(elsewhere) == whole


@POSIX
@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, 100),
        lambda path: path.write_bytes(path.read_bytes() + b"1,2,3\n"),
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_name("metrics.bak")),
    ],
    ids=["truncated", "longer", "removed", "renamed"],
)
def test_metrics_that_another_program_changes_are_noticed(tmp_path, change):
    path, seen = tmp_path / "run", []
    with pytest.raises(UsageError, match="another program changed it while"):
        run(
            path,
            make_config(),
            lambda r: seen.append(r) or (r.iteration == 2 and change(path / "metrics.csv")),
        )
    assert len(seen) == 2, "at once, not at the end"


def test_errors_of_a_users_callback_are_not_the_disks(tmp_path):
    def fails():
        raise PermissionError(13, "not yours")

    with pytest.raises(PermissionError, match="not yours"):
        run(tmp_path / "run", make_config(), at(2, fails))


@POSIX
def test_a_second_interruption_waits_for_the_save_and_a_third_does_not(monkeypatch):
    def interrupt():
        signal.raise_signal(signal.SIGINT)

    @interrupts.once_is_enough()
    def save(interruptions):
        for number in range(interruptions):
            interrupt()
            seen.append(number)

    seen = []
    save(1)
    assert seen == [0]
    with pytest.raises(KeyboardInterrupt):
        save(3)
    assert seen == [0, 0]
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    for number in (signal.SIGINT, signal.SIGTERM):  # only the main thread gets signals
        had = signal.getsignal(number)
        thread = threading.Thread(target=interrupts.once_is_enough().__enter__)
        thread.start()
        thread.join()
        assert signal.getsignal(number) is had


@POSIX
def test_two_interruptions_save_all_that_was_done(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(pgzoo.learning.loop, "SECONDS_BETWEEN_CHECKPOINTS", 1e9)
    save, saving = RunFolder.save_checkpoint, []

    def slowly(self, tensors, state):
        if state["iteration"] and not saving:
            saving.append(state["iteration"])
            signal.raise_signal(signal.SIGINT)
        save(self, tensors, state)

    monkeypatch.setattr(RunFolder, "save_checkpoint", slowly)
    folder = RunFolder.create(tmp_path / "run", make_config())
    with pytest.raises(TrainingInterrupted):
        train(make_config(), folder, at(3, lambda: signal.raise_signal(signal.SIGINT)))
    assert saving == [3]
    assert folder.load_checkpoint()[1]["iteration"] == 3
    train(make_config(), folder)
    assert results(folder.path) == whole


class Broken:
    """A stream that nobody listens to."""

    encoding = "utf-8"

    def __init__(self, error):
        self.error = error

    def write(self, _):
        raise self.error

    def flush(self):
        raise self.error

    def isatty(self):
        return False

    def fileno(self):
        raise OSError("it has none")


@pytest.mark.parametrize("manner", ["rich", "tqdm", "lines", "auto"])
@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "gone"), OSError(28, "full"), ValueError("I/O operation on closed file")],
    ids=lambda error: type(error).__name__,
)
def test_a_display_that_cannot_be_shown_ends_no_training(monkeypatch, manner, error):
    with monkeypatch.context() as patch:
        patch.setattr(rich, "_console", None)  # a console that has failed once stays silent
        patch.setattr(sys, "stdout", Broken(error))
        patch.setattr(sys, "stderr", Broken(error))
        done = pgzoo.train(
            "reinforce", env="CartPole-v1", seeds=1, steps=300, progress=manner, diagnostics=0
        )
    assert done.summary is not None


def test_without_standard_output_there_is_a_display_all_the_same(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with display("auto") as show:
        assert show is not None


def test_a_clock_that_is_set_back_does_not_hide_later_curves(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder.create(tmp_path / "run", make_config())
    train(make_config(), folder, lambda report: report.iteration == 2)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 366 * 24 * 3600)
    train(make_config(), folder)
    found = EventAccumulator(str(folder.path)).Reload()
    points = found.Tensors("Learning/return")
    assert len(points) == len({point.step for point in points}) > 2
    walls = [point.wall_time for point in points]
    assert walls == sorted(walls)
    assert found.Tensors("Learning/trained_return")
