"""TensorBoard's server, started on what a folder has to show."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from pgzoo.errors import UsageError
from pgzoo.records.run_folder import CONFIG, EVENTS
from pgzoo.records.tensorboard import COMPARED, OF_EQUAL_STEPS, RETURN

MOST_AT_ONCE = 40
"""TensorBoard shows none of more runs until they are ticked."""


def shown(path: Path) -> list[Path]:
    """Folders of the TensorBoard runs that a run, a comparison or a folder of them holds.

    Raises:
        UsageError: if there is no such folder, or nothing to show in it.
    """
    if not path.is_dir():
        raise UsageError(
            f"Expected a folder of results, but {path} is none. Give a run, a comparison, or the "
            "folder that holds them."
        )
    root = path / COMPARED if (path / COMPARED).is_dir() else path
    found = sorted({events.parent for events in root.rglob(EVENTS)})
    if not found:
        raise UsageError(
            f"Expected {path} to hold results that TensorBoard shows (files {EVENTS}), found none. "
            "Give a run, a comparison, or the folder that holds them, or train something first."
        )
    return found


@contextmanager
def serving(path: Path, host: str, port: int) -> Iterator[str]:
    """TensorBoard, in the background of this process for as long as the context lasts.

    Args:
        path: a run, a comparison, or a folder of them.
        host: name or address to listen on.
        port: 0 for a free one.

    Yields:
        its address; it opens with return and relative variance at the top.

    Raises:
        UsageError: if there is nothing to show, or the address cannot be had.
    """
    from tensorboard import program

    shown(path)
    server = program.TensorBoard()
    with _root(path) as root:
        server.configure(logdir=str(root), host=host, port=port)
        try:
            with redirect_stderr(io.StringIO()):  # how it reads files, and why it gives up
                address = server.launch()
        except (program.TensorBoardServerException, OSError, SystemExit) as error:
            raise UsageError(
                f"Expected a free address, but TensorBoard cannot listen on port {port} of {host}. "
                "Choose another `port`, or 0 for a free one."
            ) from error
        pinned = [{"plugin": "scalars", "tag": tag} for tag in (RETURN, OF_EQUAL_STEPS)]
        yield f"{address}?pinnedCards={quote(json.dumps(pinned, separators=(',', ':')))}"


@contextmanager
def _root(path: Path) -> Iterator[Path]:
    """Where TensorBoard looks. It names runs by their folders below that."""
    if not (path / CONFIG).exists():
        yield path / COMPARED if (path / COMPARED).is_dir() else path
        return
    with TemporaryDirectory(prefix="pgzoo-") as root:  # a single run is to have its name, too
        link = Path(root) / path.absolute().name
        try:
            link.symlink_to(path.absolute(), target_is_directory=True)
        except OSError:  # not everybody may make links on Windows
            yield path
        else:
            yield link.parent
