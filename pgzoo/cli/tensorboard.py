"""`pgzoo tensorboard`: TensorBoard on what is to be compared."""

from __future__ import annotations

import threading
from pathlib import Path

import click


@click.command()
@click.argument(
    "path", metavar="[RUN|COMPARISON|FOLDER]", type=click.Path(path_type=Path), default="runs"
)
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
            click.echo(f"{path}: {runs} run{'s' * (runs != 1)} in TensorBoard. Open\n  {address}")
            if runs > MOST_AT_ONCE:
                click.echo(
                    f"TensorBoard shows none of more than {MOST_AT_ONCE} runs until you tick them, "
                    "on the left."
                )
            click.echo("Ctrl-C ends it.")
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
