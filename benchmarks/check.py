"""`pgzoo check` on estimators that are right and on others that are wrong: is it ever mistaken?

    python benchmarks/check.py              # seeds 0-19, writes benchmarks/check.md

The estimators are those of ``tests/lab/check/estimators.py``. Development was on seeds from 100 up.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

import pgzoo

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab.check.estimators import RIGHT, WRONG, make  # noqa: E402


def campaign(name: str, seeds: range) -> tuple[Counter, Counter, list[float]]:
    """How often each verdict and each mistake was said, and seconds of every check."""
    verdicts: Counter = Counter()
    mistakes: Counter = Counter()
    seconds = []
    for seed in seeds:
        function, options = make(name)
        begun = time.process_time()
        found = pgzoo.check(function, seed=seed, **options)
        seconds.append(time.process_time() - begun)
        verdicts[found.verdict] += 1
        mistakes.update(found.mistakes)
    return verdicts, mistakes, seconds


def row(name: str, seeds: range) -> tuple[str, bool, list[float]]:
    """A line of the table, whether every verdict was as it should be, and all times."""
    verdicts, mistakes, seconds = campaign(name, seeds)
    passed = verdicts["right"]
    if name in RIGHT:
        ok = passed == len(seeds)
        named = ""
    else:
        ok = passed == 0 and verdicts["not decided"] == 0
        named = ", ".join(f"{m} {n}" for m, n in mistakes.most_common())
    options = (RIGHT | WRONG)[name][1]
    said = ", ".join(f"{v} {n}" for v, n in verdicts.most_common())
    asked = " ".join(f"{k}={v}" for k, v in options.items()) or "group_size=8"
    print(name, said, named, flush=True)
    cells = (name, asked, said, named, f"{max(seconds):.1f}", "" if ok else "**miss**")
    return "| " + " | ".join(cells) + " |", ok, seconds


def main() -> None:
    """Run it and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "check.md")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    lines, misses, times = [], 0, []
    with ProcessPoolExecutor(
        arguments.jobs, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        rows = {n: pool.submit(row, n, seeds) for n in (*RIGHT, *WRONG)}
    for title, names in (("Right", RIGHT), ("Wrong", WRONG)):
        lines += [f"\n## {title}: {len(names)}\n"]
        lines += ["| estimator | asked with | verdicts | mistakes named | longest, s | |"]
        lines += ["|---|---|---|---|---|---|"]
        for name in names:
            line, ok, seconds = rows[name].result()
            lines.append(line)
            misses, times = misses + (not ok), times + seconds
    head = (
        "# `pgzoo check`: verdicts on estimators that are right and wrong\n\n"
        f"Made by `python benchmarks/check.py`: {len(seeds)} checks of each of "
        f"{len(RIGHT)} right and {len(WRONG)} wrong estimators "
        "(`tests/lab/check/estimators.py`), "
        f"seeds 0–{len(seeds) - 1}. Estimators with a verdict that is not as it should be: "
        f"{misses}. Seconds are of the processor, one thread ({platform.processor() or 'CPU'}), "
        f"without the import: mean {sum(times) / len(times):.2f}, longest {max(times):.1f}.\n"
    )
    arguments.out.write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
