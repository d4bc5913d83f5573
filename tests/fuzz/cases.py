"""Single cases: a command line, a damaged file, a changed option. Each is a function of its number.

``CASES`` names the kinds. A case gets its own folder and random numbers, and says what it found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import shlex
import signal
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz import child, damage, effects, folders, readers, verdicts
from tests.fuzz.child import Outcome
from tests.fuzz.lines import Line, leaves, line
from tests.fuzz.verdicts import Verdict

LIMIT, SHORT_LIMIT = 90.0, 3.0
"""Seconds that a command may take; what may be long is ended sooner, by Ctrl-C."""
WRONG, STOPPED = 2, 130
STATUSES: dict[str, tuple[int, ...]] = {"check": (0, 1, 2), "run": (0, 1, 2), "doctor": (0, 1, 2)}
DEFAULT_PLACES = ("runs", "lab", "comparisons", "figures")
IN_WORKERS = 10
"""One comparison in so many trains in real worker processes; the others in their own."""


@dataclass(frozen=True)
class Result:
    """What a case found.

    Attributes:
        shown: the case, to be repeated by hand.
        ended: how its command did.
        verdicts: against it.
        output: of the command.
    """

    shown: str
    ended: str
    verdicts: tuple[Verdict, ...]
    output: str = ""


@dataclass(frozen=True)
class Ground:
    """Where cases take place.

    Attributes:
        place: the case's own folder, not there yet.
        library: run folders to be copied.
    """

    place: Path
    library: Path

    def set_up(self, words: Sequence[str]) -> Path:
        """See ``folders.set_up``."""
        return folders.set_up(self.place, self.library, words)

    def call(self, action: Callable[[], Any], work: Path, **options: Any) -> Outcome:
        """Call a function in a process of its own; options as for ``child.run``."""
        aside = Path(tempfile.mkdtemp(prefix="aside-", dir=self.place.parent))
        return child.run(action, work, aside, **{"limit": LIMIT} | options)

    def command(self, words: Sequence[str], work: Path, **options: Any) -> Outcome:
        """Run ``pgzoo`` with these words."""

        def action() -> None:
            from pgzoo.cli import main

            tempfile.tempdir = str(self.place / "tmp")
            os.environ |= {"HOME": str(self.place / "home"), "TMPDIR": tempfile.tempdir}
            _without_server()
            if zlib.crc32(repr(words).encode()) % IN_WORKERS:
                _train_in_process()
            main(list(words), prog_name="pgzoo")

        return self.call(action, work, **options)


def _without_server() -> None:
    """TensorBoard says that it serves, and a moment later there is a Ctrl-C."""
    from tensorboard import program

    def launch(self: Any) -> str:
        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        return "http://localhost:6006/"

    program.TensorBoard.launch = launch


def _train_in_process() -> None:
    """Shards are pickled and trained as by workers, but at once."""
    from pgzoo.learning import local
    from pgzoo.learning.worker import attempt

    def train_all(shards: Sequence[Any], report: Callable[..., Any], **_: Any) -> None:
        for place, shard in enumerate(shards):
            if not shard.complete:
                ended = attempt(local.pack(shard), lambda now, place=place: report(place, now))
                local.raise_for(ended, shard)

    local.train_all = train_all


def quoted(words: Sequence[str]) -> str:
    """A command line that bash reads as these words."""
    return " ".join(["pgzoo", *map(_quoted, words)])


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    content = word.encode(errors="surrogateescape")
    return "$'" + "".join(
        chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in content
    ) + "'"  # fmt: skip


def a_line(choose: random.Random, ground: Ground) -> Result:
    """A command line at random."""
    return try_line(line(choose), ground)


def try_line(chosen: Line, ground: Ground) -> Result:
    """Run a command line and judge it."""
    work = ground.set_up(chosen.words)
    before = folders.snapshot(ground.place)
    limit = SHORT_LIMIT if chosen.may_be_long else LIMIT
    outcome = ground.command(chosen.words, work, limit=limit, encoding=chosen.encoding)
    first = chosen.words[0] if chosen.words else ""
    if not chosen.may_be_long and outcome.interrupted:
        outcome = _as_hung(outcome)
    found = [
        *verdicts.of_outcome(outcome, STATUSES.get(first, (0, 2))),
        *verdicts.of_files(
            ground.place, before, folders.snapshot(ground.place), outcome, _told(chosen.words)
        ),
        *verdicts.of_suggestions(outcome.text),
    ]
    encoding = "" if chosen.encoding == "utf-8" else f"PYTHONIOENCODING={chosen.encoding} "
    return Result(encoding + quoted(chosen.words), _ended(outcome), tuple(found), outcome.text)


def _as_hung(outcome: Outcome) -> Outcome:
    return dataclasses.replace(outcome, hung=True)


def _told(words: Sequence[str]) -> set[str]:
    """Where a command may write: where it is told to, and its own default places."""
    told, runs = set(DEFAULT_PLACES), {*folders.MAKERS, *folders.ALIASES}
    for i, word in enumerate(words):
        text = word.partition("=")[2] if word.startswith("--") else word
        path = os.path.normpath(text) if text else ""
        is_target = word.startswith("--out") or (i > 0 and words[i - 1] == "--out")
        goes_on = "--resume" in " ".join(words)
        if path and (path.split("/")[0] not in runs or is_target or goes_on):
            told.add(path)
        if path == "comparison" and words[0] == "compare":
            told.add(path)
        if "watch" in words:
            told.add(f"{path}/film.gif")
    return told | {"folder" if path.split("/")[0] == "link" else path for path in told}


def _ended(outcome: Outcome) -> str:
    if outcome.hung:
        return "hung"
    return "interrupted" if outcome.interrupted else f"status {outcome.status}"


def a_file(choose: random.Random, ground: Ground) -> Result:
    """A file of a run folder damaged at random, and something that reads the folder."""
    name, reader_name = _which(choose)
    reader = readers.READERS[reader_name]
    work = ground.set_up([name, "other", "plain"])
    folder, file = _part(work / name, choose)
    try:
        done = damage.damage(folder, file, choose)
    except (OSError, ValueError) as error:  # pragma: no cover
        raise RuntimeError(f"{folder.name}/{file} could not be damaged: {error}") from error
    (folder / "torch.py").write_text(folders.STRANGER)
    run = str(folder.relative_to(work))
    if choose.random() < 0.1 and folder == work / name and reader_name not in ("resume",):
        run = damage.renamed(folder, choose).name
    before = folders.snapshot(ground.place)
    outcome = _read(ground, reader, run, work)
    writes = {"new", *reader.writes(run)}
    found = [
        *verdicts.of_outcome(outcome, STATUSES.get(reader_name, (0, 2))),
        *verdicts.of_files(ground.place, before, folders.snapshot(ground.place), outcome, writes),
        *verdicts.of_suggestions(outcome.text),
    ]
    judged = outcome.status == 0 and not found and not done.signed
    if judged and (different := _undetected(ground, reader_name, name, run, work, outcome, done)):
        found.append(Verdict("undetected", different))
    if judged and reader_name == "doctor" and (missed := _missed(ground, run, work)):
        found.append(Verdict("undetected", missed))
    shown = f"{reader_name} of {name}: {folder.relative_to(work)}/{file}: {done.words}"
    if run != str(folder.relative_to(work)):
        shown += f" (renamed to {run!r})"
    return Result(shown, _ended(outcome), tuple(found), outcome.text)


def _missed(ground: Ground, run: str, work: Path) -> str:
    """What Python refuses in a run of which the doctor has said that all is well."""
    asked = _read(ground, readers.READERS["python"], run, work)
    return "" if asked.status == 0 else f"all is well, but: {asked.text.strip()[-200:]}"


def _which(choose: random.Random) -> tuple[str, str]:
    name = choose.choice([*folders.AGENTS, "comparison"])
    known = [r for r in readers.READERS if r != "doctor" or ("doctor",) in leaves()]
    if name in folders.AGENTS and name not in folders.COMPLETE:
        known = [r for r in known if not readers.READERS[r].complete]
    if name != "plain":
        known = [r for r in known if r not in ("compare", "reference")]
    return name, choose.choices(known, [readers.WEIGHTS[r] for r in known])[0]


def _part(root: Path, choose: random.Random) -> tuple[Path, str]:
    """A run folder, and a file of it that is read."""
    folder = root
    if not (root / "config.json").exists():
        folder = choose.choice(sorted(p.parent for p in root.glob("runs/*/config.json")))
    names = ["config.json"] * 3 + ["metrics.csv"] * 3 + ["checkpoint.safetensors"] * 5
    names += ["summary.json"] * 3 * (folder / "summary.json").exists() + ["times.csv"]
    names += [str(p.relative_to(folder)) for p in sorted((folder / "snapshots").iterdir())][:2]
    return folder, choose.choice(names)


def _read(ground: Ground, reader: readers.Reader, run: str, work: Path) -> Outcome:
    if reader.words is not None:
        return ground.command(reader.words(run), work)
    assert reader.python is not None

    def action() -> None:
        from pgzoo.errors import UsageError

        tempfile.tempdir = str(ground.place / "tmp")
        try:
            reader.python(run)  # type: ignore[misc]
        except UsageError as error:
            print(repr(str(error)))  # what it holds is the caller's to show
            raise SystemExit(WRONG) from error

    return ground.call(action, work)


def _undetected(
    ground: Ground,
    reader_name: str,
    name: str,
    run: str,
    work: Path,
    outcome: Outcome,
    done: damage.Damage,
) -> str:
    """What is other than it was before the damage, if anything."""
    reader = readers.READERS[reader_name]
    if run not in (name, f"{name}/runs/{Path(run).name}"):
        return ""  # it has another name, which is among the figures
    found = _figures(reader, outcome, work, run)
    whole = _whole(ground, reader_name, run)
    for key in sorted(whole.keys() | found.keys()):
        missing = done.removed and (found.get(key) is None or key == "film")  # it shows less then
        if found.get(key) != whole.get(key) and not missing:
            return f"{key}: {_different(whole.get(key), found.get(key))}"
    return ""


def _figures(reader: readers.Reader, outcome: Outcome, work: Path, run: str) -> dict[str, Any]:
    return json.loads(json.dumps(reader.figures(outcome, work, run), default=str))


def _different(whole: Any, found: Any) -> str:
    if isinstance(whole, dict) and isinstance(found, dict):
        for key in sorted(whole.keys() | found.keys()):
            if whole.get(key) != found.get(key):
                return f"{key}: {_different(whole.get(key), found.get(key))}"
    a, b = str(whole), str(found)
    at = next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    start = max(at - 40, 0)
    return f"{a[start : at + 40]!r} became {b[start : at + 40]!r}"


def _whole(ground: Ground, reader_name: str, run: str) -> Mapping[str, Any]:
    """The figures of the undamaged folder, found once."""
    kept = ground.library.parent / f"figures-{reader_name}-{run.replace('/', '-')}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=ground.library.parent) as folder:
            other = Ground(Path(folder) / "whole", ground.library)
            work = other.set_up([run.split("/")[0], "other", "plain"])
            reader = readers.READERS[reader_name]
            outcome = _read(other, reader, run, work)
            assert outcome.status == 0, f"{reader_name} of {run}: {outcome.text[-2000:]}"
            figures = _figures(reader, outcome, work, run)
        beside = kept.with_name(f"{kept.name}.{os.getpid()}")
        beside.write_text(json.dumps(figures))
        beside.rename(kept)
    return json.loads(kept.read_text())


def an_option(choose: random.Random, ground: Ground) -> Result:
    """An option of a training or a measurement, and whether another value changes anything."""
    question = effects.question(choose)
    work = ground.set_up([*question.base, "plain"])
    seen: list[dict[str, Any]] = []
    tried: list[str] = []
    for i, words in enumerate([question.base, *question.others]):
        out = f"out-{i}"
        outcome = ground.command([*words, f"--out={out}"], work)
        found = verdicts.of_outcome(outcome, (0, 1, 2))
        if found:
            return Result(quoted(words), _ended(outcome), tuple(found), outcome.text)
        if outcome.status == WRONG:
            return Result(quoted(words), "refused", ())
        seen.append(effects.seen(work / out))
        tried.append(quoted(words))
        if seen[-1] != seen[0]:
            return Result(tried[-1], "has an effect", ())
    detail = f"{question.option}: {quoted(question.base)} and {' and '.join(question.values)}"
    return Result(tried[-1], "no effect", (Verdict("no effect", detail),))


CASES: dict[str, Callable[[random.Random, Ground], Result]] = {
    "lines": a_line,
    "files": a_file,
    "options": an_option,
}


def case(seed: int, name: str, library: Path) -> Result:
    """A case by its name, as in ``lines/17``."""
    kind, _, number = name.partition("/")
    choose = random.Random(f"{seed}/{kind}/{int(number)}")
    with _temporary(library.parent) as place:
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(int(8 * LIMIT))
        try:
            return CASES[kind](choose, Ground(place / "case", library))
        except Exception as error:
            detail = f"{type(error).__name__}: {error}"
            return Result(name, "broken", (Verdict("broken", detail),), traceback.format_exc())
        finally:
            signal.alarm(0)


def _too_long(*_: Any) -> None:
    raise TimeoutError("the campaign itself waits for something")


@contextlib.contextmanager
def _temporary(parent: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="case-", dir=parent, ignore_cleanup_errors=True
    ) as path:
        yield Path(path)
