"""`pgzoo doctor RUN`: what of a run is damaged, and what can still be done with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from pgzoo.cli.commands import say
from pgzoo.cli.flags import with_flags
from pgzoo.records.terminal import Terminal

if TYPE_CHECKING:
    from pgzoo.learning.doctor import Diagnosis

SIGNS = {"fine": Text("✓", "green"), "note": Text("•", "yellow"), "damaged": Text("✗", "red")}
WORDS = {True: Text("yes", "green"), False: Text("no", "red"), None: Text("not known", "yellow")}


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--evaluate",
    is_flag=True,
    help="Evaluate the policies again, too, and compare with the run's results.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, and nothing else.")
def doctor(run_folder: Path, evaluate: bool, as_json: bool) -> None:
    """Examine a RUN from end to end: what is damaged, and what can still be done with it.

    Nothing is written. The exit status is 0 if all is well, 1 if something is damaged, 2 if it is
    no folder of a run.
    """
    from pgzoo.learning.doctor import doctor as examine

    found = examine(run_folder, evaluate=evaluate)
    if as_json:
        say(json.dumps(found.to_json(), indent=2))
    else:
        print_diagnosis(Terminal(), found)
    sys.exit(0 if found.healthy else 1)


def print_diagnosis(console: Terminal, found: Diagnosis) -> None:
    """Findings part by part, and what follows from them."""
    findings = Table(title=str(found.path), title_justify="left", show_header=False)
    for finding in found.findings:
        findings.add_row(SIGNS[finding.severity], finding.part, with_flags(finding.text))
    console.print(findings)
    actions = Table(title="What can be done with it", title_justify="left", show_header=False)
    for verdict in found.verdicts:
        actions.add_row(verdict.action, WORDS[verdict.possible], with_flags(verdict.reason))
    console.print(actions)
