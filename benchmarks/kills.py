"""A hundred kills: whole runs at all their moments, and environment workers of runs under way.

    python benchmarks/kills.py              # minutes on two processors; writes benchmarks/kills.md

A killed run is resumed, every time; a run whose worker is killed goes on by itself. At the end the
files of each are compared with those of a run left alone. Exits with status 1 if a byte differs, if
a run did not go on, or if a process was left behind.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import psutil

OFTEN = "import pgzoo.learning.loop as l; l.SECONDS_BETWEEN_CHECKPOINTS = 0.1; "
PGZOO = [sys.executable, "-c", OFTEN + "from pgzoo.cli import main; main()"]
TIMES = {"wall_seconds", "steps_per_second", "times_digest", "digest"}
"""Fields of ``summary.json`` that are times, or digests over times."""

PAUSE = 2e-4
PATIENCE = 300.0


@dataclass(frozen=True)
class Setting:
    """What is trained, and how often its runs are killed.

    Attributes:
        agent: its name.
        options: further words of the command line.
        share: of all kills of whole runs.
    """

    agent: str
    options: str
    share: int = 0

    def __str__(self) -> str:
        return f"{self.agent} {self.options}"


WHOLE = (
    Setting("reinforce-baseline", "--env CartPole-v1 --seeds 0-2 --hidden 8 --steps 20000", 20),
    Setting("actor-critic", "--env CartPole-v1 --seeds 0-2 --hidden 8 --steps 20000", 20),
    Setting("ppo", "--env FrozenLake-v1 --policy tabular --seeds 0-2 --steps 6000", 15),
    Setting(
        "rloo",
        "--env LunarLander-v3 --max-episode-steps 100 --seeds 0-1 --hidden 8 --steps 6000",
        15,
    ),
)
WORKERS = Setting(
    "rloo", "--env LunarLander-v3 --max-episode-steps 100 --seeds 0-1 --hidden 8 --steps 50000"
)
MOMENTS = ("starting", "training", "saving", "evaluating")


@dataclass
class Findings:
    """What came of the kills of a setting.

    Attributes:
        kills: how many at each moment.
        runs: that have ended after kills.
        half_written: kills that left a temporary file.
        wrong: what differed, was left over, or did not go on.
    """

    kills: Counter = field(default_factory=Counter)
    runs: int = 0
    half_written: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reference:
    """A run left alone.

    Attributes:
        folder: that it left.
        starting: seconds until its folder was there.
        evaluating: seconds from its last line of metrics to its end.
    """

    folder: Path
    starting: float
    evaluating: float


def start(setting: Setting, folder: Path) -> subprocess.Popen:
    """A run, or what goes on with it if there is something."""
    options = ["--resume", str(folder)]
    if not (folder / "config.json").exists():
        options = [*setting.options.split(), "--out", str(folder)]
    command = [*PGZOO, "run", setting.agent, "--quiet", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)


def left_alone(setting: Setting, folder: Path) -> Reference:
    """Train it once without a kill."""
    began = time.time()
    process = start(setting, folder)
    while not (folder / "config.json").exists() and process.poll() is None:
        time.sleep(PAUSE)
    starting = time.time() - began
    _, said = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(said.decode())
    return Reference(folder, starting, time.time() - (folder / "metrics.csv").stat().st_mtime)


def differences(one: Path, other: Path) -> list[str]:
    """Names of files that are not the same; times aside."""

    def content(path: Path) -> object:
        if not path.exists():
            return None
        if path.name != "summary.json":
            return path.read_bytes()
        return {k: v for k, v in json.loads(path.read_text()).items() if k not in TIMES}

    names = {
        str(path.relative_to(folder))
        for folder in (one, other)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("events.") and path.name != "times.csv"
    }
    return sorted(n for n in names if content(one / n) != content(other / n))


def size(path: Path) -> int:
    """Of a file, 0 if there is none."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def changed(path: Path) -> int:
    """When a file was written, 0 if there is none."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return 0


def wait_for(moment: str, process: subprocess.Popen, folder: Path, whole: Reference, at: float):
    """Until a run has come to such a moment, or has ended.

    Args:
        moment: one of ``MOMENTS``.
        process: that trains.
        folder: the run's.
        whole: the run left alone.
        at: where in the moment, in [0, 1].
    """
    saved, began = changed(folder / "checkpoint.safetensors"), time.monotonic()

    def come() -> bool:
        with suppress(FileNotFoundError):
            if moment == "training":
                return changed(folder / "checkpoint.safetensors") != saved
            if moment == "saving":
                return any(name.endswith(".tmp") for name in os.listdir(folder))
            return size(folder / "metrics.csv") >= size(whole.folder / "metrics.csv")
        return False

    if moment != "starting":
        while not come() and process.poll() is None and time.monotonic() - began < PATIENCE:
            time.sleep(PAUSE)
    longest = {"starting": 1.2 * whole.starting, "training": 0.3, "saving": 0.0}
    with suppress(subprocess.TimeoutExpired):
        process.wait(at * longest.get(moment, whole.evaluating))


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """Processes below one."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def left_over(below: list[psutil.Process]) -> list[str]:
    """Which of them do not end."""
    _, alive = psutil.wait_procs(below, timeout=60)
    return [f"process {p.pid} was left behind" for p in alive]


def kill_runs(seed: int, setting: Setting, kills: int, scratch: Path) -> Findings:
    """Kill runs of a setting, go on with each until it has ended, and compare."""
    draw, found = random.Random(f"{seed} {setting}"), Findings()
    whole = left_alone(setting, scratch / "whole")
    while (killed := found.kills.total()) < kills:
        folder = scratch / f"parts-{killed}"
        while True:
            process = start(setting, folder)
            moment = MOMENTS[found.kills.total() % len(MOMENTS)]
            if found.kills.total() < kills:
                wait_for(moment, process, folder, whole, draw.random())
                below = family(process)
                process.kill()
                found.wrong += left_over(below)
            _, said = process.communicate()
            if process.returncode != -9:
                break
            found.kills[moment] += 1
            found.half_written += bool(list(folder.glob(".*.tmp")))
        found.runs += 1
        if process.returncode != 0:
            found.wrong.append(said.decode())
        else:
            found.wrong += differences(whole.folder, folder)
        print(
            f"{setting}: {found.kills.total()} kills, wrong: {found.wrong or 'nothing'}", flush=True
        )
    return found


def kill_workers(seed: int, setting: Setting, kills: int, scratch: Path) -> Findings:
    """Kill environment workers of runs that go on by themselves, and compare.

    A worker is killed when its run has come on since the last kill, or evaluates.
    """
    draw, found = random.Random(seed), Findings()
    whole = left_alone(setting, scratch / "whole")
    complete = size(whole.folder / "metrics.csv")
    while (killed := found.kills.total()) < kills:
        folder = scratch / f"killed-{killed}"
        process = start(setting, folder)
        stood, evaluated = 0, False
        while process.poll() is None and found.kills.total() < kills:
            time.sleep(0.01)
            now = size(folder / "metrics.csv")
            if now == stood or (now == complete and evaluated):
                continue
            time.sleep(draw.uniform(0, 0.5))
            workers = [p for p in family(process) if worker_of_environments(p)]
            if workers:
                draw.choice(workers).kill()
                stood, evaluated = now, now == complete
                found.kills["evaluating" if evaluated else "training"] += 1
        _, said = process.communicate()
        found.runs += 1
        if process.returncode != 0 or said.count(b"was killed (SIGKILL)") == 0:
            found.wrong.append(f"status {process.returncode}: {said.decode()}")
        else:
            found.wrong += differences(whole.folder, folder)
        print(
            f"workers: {found.kills.total()} kills, wrong: {found.wrong or 'nothing'}", flush=True
        )
    return found


def worker_of_environments(process: psutil.Process) -> bool:
    """Whether it steps environments."""
    with suppress(psutil.NoSuchProcess):
        return any("pgzoo_envs.worker" in word for word in process.cmdline())
    return False


def show(setting: Setting, found: Findings) -> None:
    """How far it is."""
    wrong = found.wrong or "nothing"
    print(f"{setting}: {found.kills.total()} kills, wrong: {wrong}", flush=True)


def row(setting: Setting, what: str, found: Findings) -> str:
    """A line of the table."""
    moments = ", ".join(f"{moment} {n}" for moment, n in found.kills.items())
    verdict = "identical" if not found.wrong else "**" + "; ".join(found.wrong) + "**"
    cells = (f"`{setting}`", what, found.kills.total(), moments, found.half_written, found.runs)
    return "| " + " | ".join(map(str, (*cells, verdict))) + " |"


@click.command()
@click.option("--kills", default=70, show_default=True, help="Of whole runs.")
@click.option("--worker-kills", default=30, show_default=True, help="Of workers.")
@click.option("--seed", default=0, show_default=True, help="For the moments of the kills.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(__file__).with_suffix(".md"),
    help="The report.",
)
def main(kills: int, worker_kills: int, seed: int, out: Path) -> None:
    """Prove that runs survive whatever of them is killed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    began, total = time.monotonic(), sum(s.share for s in WHOLE)
    shares = [kills * s.share // total for s in WHOLE]
    shares[0] += kills - sum(shares)
    scratch = Path(tempfile.mkdtemp(prefix="pgzoo-kills-"))
    try:
        places = [scratch / str(i) for i in range(len(WHOLE) + 1)]
        for place in places:
            place.mkdir()
        with ThreadPoolExecutor(2) as pool:  # one for each of two processors
            found = list(pool.map(partial(kill_runs, seed), WHOLE, shares, places[:-1]))
        of_workers = kill_workers(seed, WORKERS, worker_kills, places[-1])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    minutes = (time.monotonic() - began) / 60
    report = [(s, "run, resumed every time", f) for s, f in zip(WHOLE, found, strict=True)]
    report.append((WORKERS, "environment worker, the run goes on", of_workers))
    wrong = sum(len(f.wrong) for _, _, f in report)
    sum_of_kills = sum(f.kills.total() for _, _, f in report)
    lines = [
        "# Runs and workers, killed",
        "",
        f"Made by `python benchmarks/kills.py --kills {kills} --worker-kills {worker_kills} --seed "
        f"{seed}`: {sum_of_kills} times SIGKILL. All files of a killed run are compared with those "
        "of a run left alone: `config.json`, `metrics.csv`, checkpoint and snapshots byte by byte, "
        "`summary.json` without its times; `times.csv` and TensorBoard's event files hold times "
        "and are left out. A file too many, a process left behind or a run that does not go on "
        f"counts as wrong. Wrong: {wrong}. {minutes:.1f} minutes on {os.cpu_count()} processors, "
        f"Python {platform.python_version()}.",
        "",
        "| run | killed | kills | at which moments | left a half-written file | runs | files |",
        "|---|---|---|---|---|---|---|",
        *(row(*line) for line in report),
    ]
    out.write_text("\n".join(lines) + "\n")
    print(out.read_text())
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
