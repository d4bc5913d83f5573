"""The folder itself: what lies in it that is not read as part of the run, and where it lies."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from pgzoo.learning.doctor.findings import Chart
from pgzoo.records import files
from pgzoo.records.event_files import CUT_OFF, whole_until
from pgzoo.records.run_folder import (
    CHECKPOINT,
    CONFIG,
    EVENTS,
    FILES,
    METRICS,
    SNAPSHOT,
    SNAPSHOTS,
)

FILMS = (".gif", ".mp4")
MOST_ENTRIES = 100_000
"""That are looked at; a stranger's folder may have any number."""


def examine_events(chart: Chart) -> None:
    """Whether TensorBoard has something to show, and all of it."""
    path = chart.folder.path
    found = sorted(path.rglob(EVENTS))
    if not found:
        chart.note(EVENTS, "there are none; TensorBoard has nothing to show", lacks=("events",))
        return
    whole = [_is_whole(chart, place) for place in found]
    if all(whole):
        chart.fine(EVENTS, f"{len(found)} whole file{'s' * (len(found) > 1)}")


def _is_whole(chart: Chart, place: Path) -> bool:
    name = str(place.relative_to(chart.folder.path))
    content = chart.attempt(name, (), lambda: files.read(place))
    if content is None:
        return False
    end, reason = whole_until(content)
    if reason is None:
        return True
    tell = chart.note if reason == CUT_OFF else chart.damaged
    tell(
        name,
        f"{reason}: TensorBoard shows its first {end:,} of {len(content):,} bytes. {METRICS} "
        "has all figures; plot them from there",
    )
    return False


def examine_entries(chart: Chart) -> None:
    """What is there that is not a regular file of a run's."""
    chart.attempt("folder", ("own files",), chart.folder.check_files)
    path = chart.folder.path
    leftovers, foreign, odd = [], [], []
    for count, (name, mode) in enumerate(_entries(path)):
        if count == MOST_ENTRIES:
            chart.note(
                "folder", f"it has more than {MOST_ENTRIES:,} entries; not all were looked at"
            )
            break
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            odd.append(name)
        elif files.is_leftover(Path(name)):
            leftovers.append(name)
        elif not _belongs(name, path):
            foreign.append(name)
    if odd:
        chart.note("folder", f"links, pipes or devices, which are not followed: {_some(odd)}")
    if leftovers:
        chart.note(
            "folder", f"left by a kill: {_some(leftovers)}; going on removes what is in the way"
        )
    if foreign:
        chart.note("folder", f"not of a run, and left alone: {_some(foreign)}")


def _entries(path: Path) -> Iterator[tuple[str, int]]:
    """Names of all that is in a folder, relative to it, with their modes; no link is followed."""
    for place, folders, names in os.walk(path):
        for name in sorted((*folders, *names)):
            entry = Path(place, name)
            try:
                yield str(entry.relative_to(path)), entry.lstat().st_mode
            except OSError:
                continue


def _belongs(name: str, path: Path) -> bool:
    entry = Path(name)
    if len(entry.parts) == 1:
        known = name in (*FILES, SNAPSHOTS) or entry.suffix in FILMS or entry.match(EVENTS)
        return known or ((path / name).is_dir() and any((path / name).glob(EVENTS)))
    if entry.parts[0] == SNAPSHOTS:
        return len(entry.parts) == 2 and SNAPSHOT.fullmatch(entry.name) is not None
    return len(entry.parts) == 2 and entry.match(EVENTS)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(json.dumps, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def examine_place(chart: Chart) -> None:
    """Whether the run is at rest, and training could write here."""
    path = chart.folder.path
    if chart.attempt("lock", ("rest",), lambda: files.is_locked(path / CONFIG)):
        chart.note("lock", "the run is being trained right now; look again later", lacks=("rest",))
    writable = os.access(path, os.W_OK | os.X_OK) and os.access(path / CONFIG, os.W_OK)
    if not writable:
        chart.note("permissions", "nothing can be written here", lacks=("room",))
    free = chart.attempt("disk", (), lambda: shutil.disk_usage(path).free)
    if free is None:
        return
    checkpoint = path / CHECKPOINT
    needed = 2 * checkpoint.lstat().st_size if os.path.lexists(checkpoint) else 0
    if free < needed:
        chart.note(
            "disk",
            f"{free:,} bytes are free, and two checkpoints take {needed:,}: make room to go on",
            lacks=("room",),
        )
    else:
        chart.fine("disk", f"{free / 1e9:.1f} GB are free")
