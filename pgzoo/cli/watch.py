"""`pgzoo watch RUN`: a film of a run's policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgzoo.cli.flags import with_flags
from pgzoo.cli.streams import only_display
from pgzoo.cli.values import PLACE, Numbers, parse_seeds
from pgzoo.records.terminal import Terminal


@click.command()
@click.argument("run_folder", metavar="RUN", type=PLACE)
@click.option(
    "--seed",
    metavar="SEEDS",
    help="Whose policies, as in 3 or 0,3,5-7.  [default: the first that did not fail]",
)
@click.option(
    "--at",
    type=Numbers("percents", "0,20,100"),
    metavar="PERCENTS",
    help="After which shares of the training, side by side: 0 is untrained, 100 the last "
    "checkpoint, others are snapshots.  [default: 0,100]",
)
@click.option(
    "--out",
    type=PLACE,
    metavar="FILE",
    help="A .gif, or with ffmpeg an .mp4; what is there is replaced.  [default: RUN/film.gif]",
)
@click.option("--episodes", type=int, help="How many, one after another.  [default: 1]")
@click.option(
    "--first",
    type=int,
    metavar="NUMBER",
    help="Of the first episode. Each starts the same in all panels and all films; others start "
    "elsewhere.  [default: 0]",
)
@click.option("--greedy", is_flag=True, help="Take the most probable action instead of sampling.")
@click.option(
    "--seconds", type=float, help="Cut the film when it has played for so long.  [default: 20]"
)
def watch(run_folder: Path, seed: str | None, out: Path | None, **given: Any) -> None:
    """Film the policies of a RUN, as they were at several moments of its training.

    \b
    pgzoo watch RUN                               untrained beside trained
    pgzoo watch RUN --at 0,20,100 --out film.mp4  three moments, as a video
    pgzoo watch RUN --seed 0-3 --at 100           four seeds in the same episode
    """  # noqa: D301
    from pgzoo.learning.run import load
    from pgzoo.records.film import check_target

    only_display()
    run = load(run_folder)
    path = out or run.path / "film.gif"
    check_target(path)
    console = Terminal()
    chosen = {name: value for name, value in given.items() if value is not None}
    seeds = None if seed is None else parse_seeds(seed, "--seed")
    with console.status("Filming …"):
        film = run.film(seeds, **chosen)
        replaced = " (replaced)" if path.exists() else ""
        film.save(path)
    width, height = film.size
    size = path.stat().st_size / 1000
    lines = [*map(str, film.endings), *map(with_flags, film.notes)]
    lines += [f"{film.seconds:.1f} s, {width} × {height} pixels, {size:,.0f} kB"]
    console.print(*lines, f"Film: {path}{replaced}", sep="\n", highlight=False, soft_wrap=True)
