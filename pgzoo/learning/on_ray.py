"""Shards as tasks of a Ray cluster; the interface is that of ``local``.

No file system need be shared: a task trains in a folder of its own node and sends home what has
changed there every few seconds, and all of it at its end. A task whose node is lost is begun again
elsewhere, from what had come home.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from pgzoo.errors import UsageError
from pgzoo.learning.local import check_workers, pack, raise_for
from pgzoo.learning.loop import TrainingInterrupted
from pgzoo.learning.shards import Shard, ShardReport
from pgzoo.learning.worker import Ended, attempt, use_processors
from pgzoo.records import files
from pgzoo.records.run_folder import CHECKPOINT, CONFIG, METRICS, SNAPSHOTS, SUMMARY, TIMES

RETRIES = 3
SECONDS_BETWEEN_FILES = 5.0
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_ANSWER = 5.0
IN_ORDER = (CONFIG, TIMES, METRICS, f"{SNAPSHOTS}/*.safetensors", CHECKPOINT, SUMMARY)
"""Files that come home, none before those that it builds on."""

Files = Mapping[str, bytes]


class Mail(NamedTuple):
    """What a task sends home: whose it is, where it stands, and the files that have changed."""

    place: int
    number: int
    report: ShardReport
    files: Files


def train_all(
    shards: Sequence[Shard],
    report: Callable[[int, ShardReport], Any],
    *,
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Train shards on a Ray cluster; their run folders come back to this machine.

    Args:
        shards: as for ``local.train_all``.
        report: as for ``local.train_all``.
        workers: tasks at once; None: as many as the cluster has processors.
        address: of the cluster, such as ``ray://host:10001``; ``auto``: the one that this machine
            is part of; None: that, or a new one on this machine.

    Raises:
        TrainingInterrupted: on Ctrl-C, when every shard is saved; the same call goes on.
        UsageError: as for ``local.train_all``; if Ray is not installed or cannot be reached, or a
            node has other versions than this machine.
    """
    todo = [i for i, shard in enumerate(shards) if not shard.complete]
    packed = {i: pack(shards[i]) for i in todo}
    if not todo:
        return
    most = check_workers(workers) or len(todo)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_connected(address))
        for i in todo:
            stack.enter_context(shards[i].run_folder().training())
        tasks = _Tasks(shards, packed, report)
        try:
            tasks.finish(deque(todo), most)
        except BaseException as error:
            with contextlib.suppress(KeyboardInterrupt):  # a second one: seconds are lost
                tasks.stop()
            if isinstance(error, KeyboardInterrupt):
                raise TrainingInterrupted(
                    "Everything up to here is saved, and the same call goes on from there."
                ) from error
            raise


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Be connected to a cluster; one that the caller is connected to stays so."""
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "Expected Ray to be installed, found none. Install it by `pip install 'pgzoo[ray]'`, "
            "or train on this machine alone."
        ) from error
    if ray.is_initialized():
        yield
        return
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"Expected a Ray cluster at {address or 'this machine'}, could not connect: {error}. "
            "Start one by `ray start`, or give another address."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise an ``OSError`` if nobody is there; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()


class _Tasks:
    """The tasks of shards, and what comes home from them."""

    def __init__(
        self,
        shards: Sequence[Shard],
        packed: Mapping[int, bytes],
        report: Callable[[int, ShardReport], Any],
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        (head, *_) = [n for n in ray.nodes() if "node:__internal_head__" in n["Resources"]]
        beside_the_head = NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)
        self._mailbox: Any = (
            ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=beside_the_head).remote()
        )
        self._train = ray.remote(_train).options(
            num_cpus=1, max_retries=0, scheduling_strategy="SPREAD"
        )
        self._shards, self._packed, self._report = shards, packed, report
        self._at_work: dict[Any, tuple[int, int]] = {}
        self._begun: Counter[int] = Counter()

    def finish(self, todo: deque[int], most: int) -> None:
        """Train shards, given by their places, so many at once."""
        while todo or self._at_work:
            while todo and len(self._at_work) < most:
                self._begin(todo.popleft())
            for place, ended in self._look(self._report):
                if ended is not None:
                    raise_for(ended, self._shards[place])
                    continue
                self._about_loss(place)
                todo.appendleft(place)

    def stop(self) -> None:
        """Have all that are at work save, and their files come home."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self._mailbox.stop.remote())
            while self._at_work:
                deque(self._look(lambda *_: None))

    def _begin(self, place: int) -> None:
        shard = self._shards[place]
        self._begun[place] += 1
        number = self._begun[place]
        versions = shard.own_config.to_json()["versions"]
        task = self._train.remote(
            self._packed[place],
            dict(_changed(shard.folder, {})),
            versions,
            self._mailbox,
            place,
            number,
        )
        self._at_work[task] = place, number

    def _look(
        self, report: Callable[[int, ShardReport], Any]
    ) -> Iterator[tuple[int, Ended | None]]:
        """Take what has come home; the shards whose tasks are over, None if theirs was lost."""
        import ray

        done, _ = ray.wait(list(self._at_work), timeout=SECONDS_BETWEEN_LOOKS)
        mail = [m for m in ray.get(self._mailbox.take.remote()) if self._is_awaited(m)]
        for m in mail:
            _restore(self._shards[m.place].folder, m.files)
        for m in mail:
            report(m.place, m.report)
        for task in done:
            place, _ = self._at_work[task]
            ended = None
            try:
                ended, everything = ray.get(task)
                _restore(self._shards[place].folder, everything)
            except ray.exceptions.RayTaskError:  # it is not about the node
                del self._at_work[task]
                raise
            except ray.exceptions.RayError:
                pass
            del self._at_work[task]
            yield place, ended

    def _is_awaited(self, mail: Mail) -> bool:
        """Whether it is not of a task that was thought to be lost."""
        return (mail.place, mail.number) in self._at_work.values()

    def _about_loss(self, place: int) -> None:
        shard = self._shards[place]
        seeds = ", ".join(map(str, shard.part))
        what = f"The node or process that trained {shard.config.agent}, seeds {seeds}, was lost"
        if self._begun[place] > RETRIES:
            raise UsageError(
                f"{what}, {self._begun[place]} times in all. What had come home is in "
                f"{shard.folder}, and the same call goes on from there."
            )
        warnings.warn(f"{what}. Another one goes on from what had come home.", stacklevel=4)


class Mailbox:
    """An actor beside the cluster's head, which outlives every other node."""

    def __init__(self) -> None:
        self._mail: list[Mail] = []
        self._stopped = False

    def put(self, mail: Mail) -> bool:
        """Leave mail; whether to save and stop."""
        self._mail.append(mail)
        return self._stopped

    def take(self) -> list[Mail]:
        """All mail so far, once."""
        mail, self._mail = self._mail, []
        return mail

    def stop(self) -> None:
        """Ask all who leave mail to save and stop."""
        self._stopped = True


def _train(
    packed: bytes, known: Files, versions: dict[str, str], mailbox: Any, place: int, number: int
) -> tuple[Ended, Files]:
    """What a node does: train a shard in a folder of its own, from the files of an earlier task."""
    import ray

    use_processors(1)
    with tempfile.TemporaryDirectory(prefix="pgzoo-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / "run"
        _restore(folder, known)
        seen: dict[str, tuple[int, int]] = {}
        dict(_changed(folder, seen))
        sent = monotonic()

        def report(now: ShardReport) -> bool:
            nonlocal sent
            changed: Files = {}
            if monotonic() - sent > SECONDS_BETWEEN_FILES:
                changed, sent = dict(_changed(folder, seen)), monotonic()
            return ray.get(mailbox.put.remote(Mail(place, number, now, changed)))

        ended = attempt(packed, report, folder, versions)
        return ended, dict(_changed(folder, {}))


def _changed(folder: Path, seen: dict[str, tuple[int, int]]) -> Iterator[tuple[str, bytes]]:
    """Files of a run that are new since the last call, in the order to write them."""
    for pattern in IN_ORDER:
        for path in sorted(folder.glob(pattern)):
            about = path.stat()
            name = str(path.relative_to(folder))
            state = about.st_mtime_ns, about.st_size
            if seen.get(name) != state:
                seen[name] = state
                yield name, files.read(path)


def _restore(folder: Path, content: Files) -> None:
    """Write files of a run, in the order in which ``_changed`` gave them."""
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (name == CONFIG and os.path.lexists(path)):  # that one is locked, and never changes
            files.write(path, data)
