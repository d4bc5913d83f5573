"""Shards in worker processes of this machine.

``train_all`` is the whole interface, here as in ``on_ray``. Workers are started as plain programs
and spoken to over pipes: nothing of the caller's ``__main__`` is imported again, so a script needs
no guard and a notebook can do it, too; and a worker whose caller is gone saves and ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
from pgzoo_envs import available_processors
from pgzoo_envs.worker_process import fate

from pgzoo.errors import UsageError
from pgzoo.learning.loop import TrainingInterrupted
from pgzoo.learning.shards import Shard, ShardReport
from pgzoo.learning.worker import Ended

ATTEMPTS = 2
PROGRAM = "import sys; sys.path += sys.argv[2:]; from pgzoo.learning.worker import main; main()"


def train_all(
    shards: Sequence[Shard],
    report: Callable[[int, ShardReport], Any],
    *,
    workers: int | None = None,
) -> None:
    """Train shards in worker processes; those that are complete are left as they are.

    Args:
        shards: in the order in which they are begun.
        report: told the place of a shard in ``shards``, and where it stands.
        workers: processes at work at once; None: one for each processor.

    Raises:
        TrainingInterrupted: on Ctrl-C, when every worker has saved; the same call goes on.
        UsageError: what a shard cannot be trained for, in the same words; or that a worker died
            twice in the same shard.
    """
    todo = deque(i for i, shard in enumerate(shards) if not shard.complete)
    packed = {i: pack(shards[i]) for i in todo}
    if not todo:
        return
    processors = available_processors()
    count = min(check_workers(workers) or processors, len(todo))
    inbox: Inbox = queue.SimpleQueue()
    started: list[_Worker] = []
    at_work: dict[_Worker, int] = {}
    deaths: Counter[int] = Counter()

    def start() -> None:
        started.append(_Worker(max(1, processors // count), inbox))
        give(started[-1])

    def give(worker: _Worker) -> None:
        if todo:
            at_work[worker] = todo.popleft()
            worker.give(packed[at_work[worker]])
        else:
            worker.stop()

    with _none_left_behind(started):
        for _ in range(count):
            start()
        while at_work:
            worker, message = inbox.get()
            place = at_work.get(worker)
            if place is None:  # it was told to stop, and has
                continue
            if isinstance(message, ShardReport):
                report(place, message)
                continue
            del at_work[worker]
            if message is None:
                deaths[place] += 1
                about_death(shards[place], worker.fate(), deaths[place])
                todo.appendleft(place)
                start()
                continue
            raise_for(message, shards[place])
            give(worker)


def check_workers(workers: int | None) -> int | None:
    """Raise a ``UsageError`` for a number of workers that there cannot be."""
    if workers is not None and workers < 1:
        raise UsageError(f"Expected `workers` of at least 1, got {workers}.")
    return workers


def pack(shard: Shard) -> bytes:
    """A shard for other processes; a function of a script or notebook comes along.

    Raises:
        UsageError: for a function that cannot travel.
    """
    try:
        return cloudpickle.dumps(shard)
    except Exception as error:  # whatever objects raise that are not made for it
        raise UsageError(
            f"Expected {shard.config.agent} to be a function that can be sent to other processes; "
            f"it cannot ({type(error).__name__}: {error}). Keep locks, files and the like out of "
            "it, or put it into a file and name it as FILE.py:FUNCTION."
        ) from error


def raise_for(ended: Ended, shard: Shard) -> None:
    """Raise what a shard's session ended with, if it was an error."""
    if ended.refused is not None:
        raise UsageError(ended.refused)
    if ended.broken is not None:
        raise RuntimeError(f"The training of {shard.folder} failed:\n{ended.broken}")


def about_death(shard: Shard, fate: str, times: int) -> None:
    """Warn of a worker that died; raise a ``UsageError`` the second time."""
    seeds = ", ".join(map(str, shard.part))
    what = f"The process that trained {shard.config.agent}, seeds {seeds}, {fate}"
    if times < ATTEMPTS:
        warnings.warn(f"{what}. Another one goes on from the last checkpoint.", stacklevel=3)
        return
    raise UsageError(
        f"{what}, {times} times in all. What it had trained up to its last checkpoint is in "
        f"{shard.folder}, and the same call goes on from there. If memory is short, give fewer "
        "`workers`."
    )


@contextlib.contextmanager
def _none_left_behind(workers: Sequence[_Worker]) -> Iterator[None]:
    """Whatever happens, every worker saves and ends."""
    try:
        try:
            yield
        finally:
            for worker in workers:
                worker.stop()
            for worker in workers:
                worker.wait()
    except KeyboardInterrupt as error:
        raise TrainingInterrupted(
            "Everything up to here is saved, and the same call goes on from there."
        ) from error
    finally:
        for worker in workers:  # a second Ctrl-C: their last checkpoints are seconds old
            worker.kill()


class _Worker:
    """A process that trains shards, one after another.

    Args:
        processors: that it may use.
        inbox: for what it has to say, and None when it has ended.
    """

    def __init__(self, processors: int, inbox: Inbox) -> None:
        here = str(Path.cwd())
        path = [p for p in sys.path if p and Path(p).resolve() != Path(here)]
        last = [here] if len(path) < len(sys.path) else []  # it hides nothing there
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, str(processors), *last],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the caller, who says when to stop
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": str(processors)},
        )
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def _listen(self, inbox: Inbox) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            while True:
                inbox.put((self, pickle.load(self._process.stdout)))
        self._process.stdout.close()
        self._process.wait()
        inbox.put((self, None))

    def give(self, packed: bytes) -> None:
        """Send a pickled shard."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is on its way to the inbox
            pickle.dump(packed, self._process.stdin)
            self._process.stdin.flush()

    def stop(self) -> None:
        """Ask it to save and end."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def wait(self) -> None:
        """Until it has ended."""
        self._process.wait()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self._process.kill()
        self._process.wait()

    def fate(self) -> str:
        """How it ended, in words."""
        return fate(self._process.wait())


Inbox = queue.SimpleQueue[tuple[_Worker, ShardReport | Ended | None]]
