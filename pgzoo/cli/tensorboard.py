"""`pgzoo tensorboard`: TensorBoard on what is to be compared."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from pgzoo.cli.commands import say
from pgzoo.cli.values import PLACE


@click.command()
@click.argument("path", metavar="[RUN|COMPARISON|FOLDER]", type=PLACE, default="runs")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default="this machine alone",
    help="Name or address to listen on; 0.0.0.0 is all of the network.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Port to listen on.",
)
def tensorboard(path: Path, host: str, port: int) -> None:
    """Show the curves of a run, a comparison, or all runs of a folder (default: runs)."""
    from pgzoo.records.viewer import MOST_AT_ONCE, serving, shown

    runs = len(shown(path))
    try:
        with serving(path, host, port) as address:
            say(f"{path}: {runs} run{'s' * (runs != 1)} in TensorBoard. Open\n  {address}")
            if runs > MOST_AT_ONCE:
                say(
                    f"TensorBoard shows none of more than {MOST_AT_ONCE} runs until you tick them, "
                    "on the left."
                )
            say("Ctrl-C ends it.")
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
