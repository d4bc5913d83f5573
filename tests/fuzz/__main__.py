"""``python -m tests.fuzz``: run the campaign, or one case of it again."""

from __future__ import annotations

import os
import platform
import random
import sys
from pathlib import Path

import click

from pgzoo.records.printable import printable

REPORT = Path(__file__).parents[2] / "benchmarks" / "fuzz.md"


@click.command()
@click.option("--seed", type=int, help="Of the campaign.  [default: drawn, and printed]")
@click.option("--lines", default=5000, show_default=True, help="Command lines.")
@click.option("--files", default=3000, show_default=True, help="Damaged files.")
@click.option("--options", default=400, show_default=True, help="Options that are changed.")
@click.option("--case", "names", multiple=True, help="Only this one, as in lines/17.")
@click.option("--show", is_flag=True, help="What every case's command printed.")
@click.option("--jobs", default=2, show_default=True, help="Cases at a time.")
@click.option("--report", is_flag=True, help=f"Write {REPORT.name}.")
def main(
    seed: int | None,
    lines: int,
    files: int,
    options: int,
    names: tuple[str, ...],
    show: bool,
    jobs: int,
    report: bool,
) -> None:
    """Command lines and damaged files at random, which must do no harm."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from tests.fuzz import campaign
    from tests.fuzz.cases import Result

    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    counts = {"lines": lines, "files": files, "options": options}
    todo = list(names) or [f"{kind}/{i}" for kind, count in counts.items() for i in range(count)]
    random.Random(seed).shuffle(todo)  # both processes have slow and quick ones
    click.echo(f"seed {seed}: {len(todo)} cases")

    def tell(done: int, name: str, result: Result) -> None:
        if show:
            click.echo(f"{name}  {result.shown}\n{result.ended}\n{printable(result.output)}")
        for verdict in result.verdicts:
            click.echo(
                printable(f"{name}  {verdict.kind.upper()}  {verdict.detail}\n    {result.shown}")
            )
        if done % 500 == 0:
            click.echo(f"{done} of {len(todo)}")

    campaign.prepare()
    tally = campaign.run(seed, todo, min(jobs, len(todo)), tell)
    click.echo(f"\n{tally.table()}\n\nseed {seed}, {tally.seconds:.0f} s")
    if report:
        REPORT.write_text(_report(seed, tally.table(), tally.seconds, jobs))
    if not tally.clean:
        click.echo(
            f"Repeat one: python -m tests.fuzz --seed {seed} --case {tally.found[0][0]} --show"
        )
    sys.exit(0 if tally.clean else 1)


def _report(seed: int, table: str, seconds: float, jobs: int) -> str:
    return f"""# The campaign

`make fuzz` runs command lines made of the real options, reads run folders of which one file is
damaged, and changes options one at a time. What must not happen is counted; all of it must be 0.

{table}

Seed {seed}; {seconds / 60:.0f} minutes, {jobs} cases at a time, Python {platform.python_version()}.
Repeat it with `make fuzz SEED={seed}`.
"""


if __name__ == "__main__":
    main()
