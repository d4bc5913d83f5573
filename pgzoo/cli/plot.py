"""`pgzoo plot RUN…`: the figures of a comparison, from any runs."""

from __future__ import annotations

from pathlib import Path

import click

from pgzoo.cli.streams import only_display
from pgzoo.cli.values import PLACE
from pgzoo.records.terminal import Terminal


@click.command()
@click.argument("runs", metavar="RUN…", nargs=-1, required=True, type=PLACE)
@click.option(
    "--out",
    type=PLACE,
    default=Path("figures"),
    show_default=True,
    metavar="FOLDER",
    help="Folder for the figures and tables; files of the same names are replaced.",
)
@click.option(
    "--format",
    "formats",
    default="png,pdf,svg",
    show_default=True,
    metavar="FORMATS",
    help="One or several of png, pdf and svg, with commas between.",
)
@click.option("--title", help="Of the overview.  [default: environment and number of seeds]")
def plot(runs: tuple[Path, ...], out: Path, formats: str, title: str | None) -> None:
    """Draw figures and tables that compare RUNs of one environment.

    A RUN is a folder that `pgzoo run` left. Runs that differ in their seeds alone are one
    contender; several of one agent are named by the options in which they differ.
    """
    from pgzoo.compare.plot import plot_runs

    only_display()
    files = plot_runs(runs, out, [kind.strip() for kind in formats.split(",")], title)
    console = Terminal()
    console.print(f"{len(files)} files in {out}:", highlight=False)
    for name in dict.fromkeys(file.stem for file in files):
        kinds = ", ".join(file.suffix[1:] for file in files if file.stem == name)
        console.print(f"  {name} ({kinds})", highlight=False)
