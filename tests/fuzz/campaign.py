"""Thousands of cases, several at a time, and a table of what came of them."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import json
import os
import selectors
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import child, folders
from tests.fuzz.cases import Result, case
from tests.fuzz.verdicts import KINDS, Verdict

MODULES = (
    "torch", "pandas", "matplotlib.pyplot", "tensorboard.program", "pgzoo.cli",
    "pgzoo.cli.display", "pgzoo.cli.lab_tables", "pgzoo.learning.run", "pgzoo.learning.local",
    "pgzoo.learning.worker", "pgzoo.learning.film", "pgzoo.lab.api", "pgzoo.lab.studies",
    "pgzoo.lab.report", "pgzoo.lab.check.api", "pgzoo.compare.api", "pgzoo.compare.plot",
    "pgzoo.compare.figures", "pgzoo.course.handout", "pgzoo.course.grading.grade",
    "pgzoo.records.film",
)  # fmt: skip
"""What the commands import, imported once before anything is forked."""


@dataclass
class Tally:
    """What came of cases so far.

    Attributes:
        ended: how many ended in which way, by the kind of the case.
        found: everything that must not be, with the case's name and how it is repeated.
        seconds: that all took.
    """

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: list[tuple[str, str, Verdict]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, name: str, result: Result) -> None:
        """Count a case."""
        self.ended[name.split("/")[0], result.ended] += 1
        self.found += [(name, result.shown, verdict) for verdict in result.verdicts]

    def of_kind(self, kind: str) -> int:
        """In how many cases something was found."""
        return len({name for name, _, verdict in self.found if verdict.kind == kind})

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.found

    def table(self) -> str:
        """In Markdown."""
        kinds = list(dict.fromkeys(kind for kind, _ in sorted(self.ended)))
        ends = list(dict.fromkeys(end for _, end in sorted(self.ended)))
        lines = ["| | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
        totals = [sum(n for (k, _), n in self.ended.items() if k == kind) for kind in kinds]
        lines.append("| cases | " + " | ".join(f"{n:,}" for n in totals) + " |")
        for end in ends:
            lines.append(
                f"| {end} | " + " | ".join(f"{self.ended[k, end]:,}" for k in kinds) + " |"
            )
        for kind, words in KINDS.items():
            counts = [
                len({n for n, _, v in self.found if v.kind == kind and n.split("/")[0] == k})
                for k in kinds
            ]
            lines.append(f"| **{words}** | " + " | ".join(f"**{n}**" for n in counts) + " |")
        return "\n".join(lines)


def prepare() -> None:
    """Import everything, with one thread, so that forks are quick and safe."""
    os.environ.setdefault("MPLBACKEND", "agg")
    for name in MODULES:
        importlib.import_module(name)
    import matplotlib.font_manager
    import pgzoo_envs
    import torch

    matplotlib.font_manager.findfont("DejaVu Sans")
    torch.set_num_threads(1)
    pgzoo_envs.use_processors(1)
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def library() -> Iterator[Path]:
    """A temporary folder of run folders, in which cases may have theirs, too."""
    child.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="pgzoo-fuzz-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "library"
        path.mkdir()

        def do(action: Callable[[], None]) -> None:
            aside = Path(tempfile.mkdtemp(prefix="aside-", dir=folder))
            outcome = child.run(action, path, aside, limit=120)
            assert outcome.status == 0, outcome.text[-3000:]

        folders.make_all(path, do)
        yield path


def run(
    seed: int, names: Sequence[str], jobs: int, tell: Callable[[int, str, Result], None]
) -> Tally:
    """Run cases.

    Args:
        seed: of the campaign.
        names: of the cases.
        jobs: cases at a time.
        tell: called with how many are over, and the last one.
    """
    began = time.monotonic()
    tally = Tally()
    with library() as path, selectors.DefaultSelector() as inbox:
        for part in range(jobs):
            readable = _worker(seed, names[part::jobs], path)
            inbox.register(readable, selectors.EVENT_READ, os.fdopen(readable, "rb"))
        done = 0
        while inbox.get_map():
            for key, _ in inbox.select():
                line = key.data.readline()
                if not line:
                    inbox.unregister(key.fileobj)
                    continue
                name, result = _unpacked(line)
                done += 1
                tally.add(name, result)
                tell(done, name, result)
        while True:
            try:
                os.wait()
            except ChildProcessError:
                break
    tally.seconds = time.monotonic() - began
    return tally


def _worker(seed: int, names: Sequence[str], path: Path) -> int:
    """A process that runs cases one after another; the pipe on which it tells of them."""
    readable, writable = os.pipe()
    if os.fork():
        os.close(writable)
        return readable
    try:
        os.close(readable)
        child.adopt_orphans()
        for name in names:
            result = case(seed, name, path)
            line = json.dumps([name, dataclasses.asdict(result)]).encode() + b"\n"
            while line:
                line = line[os.write(writable, line) :]
    finally:
        os._exit(0)


def _unpacked(line: bytes) -> tuple[str, Result]:
    name, data = json.loads(line)
    found = tuple(Verdict(**verdict) for verdict in data.pop("verdicts"))
    return name, Result(**data, verdicts=found)
