"""Two processes and one run folder: real processes, started at the same instant."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from pgzoo.errors import UsageError
from pgzoo.records.files import alone_in, free_folder
from pgzoo.records.run_folder import RunFolder
from tests.records.examples import CONFIG, config

ROUNDS = 20
SPAWN = multiprocessing.get_context("spawn")


def no_links(*_, **__):
    raise OSError(95, "Operation not supported")


def create(path, seed):
    """Who has made the folder: the seed that its configuration names, or the error."""
    try:
        return RunFolder.create(path, config(seeds=(seed,))).config().seeds[0]
    except UsageError as error:
        return str(error)


def create_without_links(path, seed):
    os.link = no_links
    return create(path, seed)


def take(path, _):
    return free_folder(path.parent, "rloo")


def racer(task, parent, seed, barrier, results):
    for number in range(ROUNDS):
        barrier.wait(60)
        results.put((number, seed, task(parent / f"run-{number}", seed)))


def race(task, parent):
    """What two processes get that do the same at once, round by round."""
    barrier, results = SPAWN.Barrier(2), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=racer, args=(task, parent, seed, barrier, results)) for seed in (1, 2)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in range(2 * ROUNDS)]
    for process in processes:
        process.join(60)
    return [{seed: what for n, seed, what in found if n == number} for number in range(ROUNDS)]


@pytest.mark.parametrize("task", [create, create_without_links])
def test_of_two_that_create_one_folder_at_once_one_succeeds(tmp_path, task):
    for number, outcome in enumerate(race(task, tmp_path)):
        winners = [seed for seed, what in outcome.items() if what == seed]
        errors = [what for what in outcome.values() if isinstance(what, str)]
        assert len(winners) == len(errors) == 1
        assert "holds another run" in errors[0]
        folder = RunFolder.open(tmp_path / f"run-{number}")
        assert folder.config() == config(seeds=tuple(winners))
        assert [p.name for p in folder.path.iterdir()] == ["config.json"]


def test_default_names_are_never_shared(tmp_path):
    names = [path.name for outcome in race(take, tmp_path) for path in outcome.values()]
    assert sorted(names) == sorted(f"rloo-{i}" for i in range(1, 2 * ROUNDS + 1))


TWENTY = """
import os, sys
from pathlib import Path
from pgzoo.records.files import free_folder
wait, go = os.pipe()
for _ in range(20):
    if os.fork() == 0:
        os.close(go)
        os.read(wait, 1)  # until there is nobody who could write
        for _ in range(5):
            os.write(1, f"{free_folder(Path(sys.argv[1]), 'rloo').name} ".encode())
        os._exit(0)
os.close(go)
for _ in range(20):
    os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_twenty_processes_get_a_hundred_names(tmp_path):
    program = [sys.executable, "-c", TWENTY, str(tmp_path)]
    names = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
    assert sorted(names) == sorted(f"rloo-{i}" for i in range(1, 101))


def hold(path, started):
    with alone_in(path):
        started.set()
        signal.pause()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals and locks")
def test_results_are_made_by_one_process_at_a_time(tmp_path):
    started = SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(tmp_path, started))
    process.start()
    assert started.wait(60)
    with pytest.raises(UsageError, match="results are being made right now"), alone_in(tmp_path):
        pass
    process.kill()
    process.join()
    with alone_in(tmp_path):
        pass


def train_here(folder):
    with folder.training():
        pass


def train(path, started):
    with RunFolder.open(path).training():
        started.set()
        signal.pause()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals and locks")
def test_a_run_in_training_is_not_resumed_beside_it(tmp_path):
    folder, started = RunFolder.create(tmp_path / "run", CONFIG), SPAWN.Event()
    process = SPAWN.Process(target=train, args=(folder.path, started))
    process.start()
    assert started.wait(60)
    with pytest.raises(UsageError, match="is being trained right now"):
        train_here(folder)
    assert folder.config() == CONFIG, "others may read it"
    process.kill()
    process.join()
    for _ in range(2):
        with folder.training(), pytest.raises(UsageError, match="is being trained"):
            train_here(folder)  # nor twice in one process
