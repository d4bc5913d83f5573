"""A run's files are regular files inside its folder: links out of it are not followed."""

import os
import secrets

import pytest
import torch

from pgzoo.errors import UsageError
from pgzoo.records.metrics_file import MetricsFile
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.times_file import write_times
from tests.records.examples import CONFIG, SUMMARY, TENSORS, state

EVENTS = "events.out.tfevents.1.host.1.0"
PLACES = (
    "config.json",
    "metrics.csv",
    "checkpoint.safetensors",
    "summary.json",
    "times.csv",
    EVENTS,
    "snapshots/050.safetensors",
    "snapshots",
    f"seed-3/{EVENTS}",
    "seed-3",
)


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    folder.save_checkpoint(TENSORS, state())
    folder.save_snapshot(50, TENSORS["policy.values"])
    write_times(folder, [(0, 1.0)])
    folder.write_summary(SUMMARY)
    (folder.path / "metrics.csv").write_text("seed\n3\n5\n")
    (folder.path / "seed-3").mkdir()
    for events in (EVENTS, f"seed-3/{EVENTS}"):
        (folder.path / events).write_text("events")
    return folder


def contents(path):
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def move_out(folder, place, tmp_path):
    """Put what is there elsewhere, and a link to it in its place."""
    outside = tmp_path / "outside"
    (folder.path / place).rename(outside)
    (folder.path / place).symlink_to(outside)
    return outside


def train(folder):
    with folder.training():
        MetricsFile(folder, 0).close()


@pytest.mark.parametrize("place", PLACES)
def test_links_are_refused_before_anything_is_touched(folder, tmp_path, place):
    move_out(folder, place, tmp_path)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=f"{place} .* got a symbolic link"):
        train(folder)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("place", PLACES)
def test_links_to_nowhere_are_refused(folder, tmp_path, place):
    move_out(folder, place, tmp_path).rename(tmp_path / "gone")
    with pytest.raises(UsageError, match="got a symbolic link"):
        train(folder)
    assert not (tmp_path / "outside").exists()


def test_metrics_do_not_follow_a_link(folder, tmp_path):
    outside = move_out(folder, "metrics.csv", tmp_path)
    with pytest.raises(UsageError, match="got a symbolic link"):
        MetricsFile(folder)
    assert outside.read_text() == "seed\n3\n5\n"


def test_metrics_of_two_names_are_not_cut(folder, tmp_path):
    os.link(folder.path / "metrics.csv", tmp_path / "outside")
    with pytest.raises(UsageError, match="hard link"):
        MetricsFile(folder)
    assert (tmp_path / "outside").read_text() == "seed\n3\n5\n"


def test_reading_does_not_follow_links(folder, tmp_path):
    for place, load in [
        ("summary.json", folder.summary),
        ("checkpoint.safetensors", folder.load_checkpoint),
        ("snapshots/050.safetensors", lambda: folder.load_snapshot(50)),
        ("config.json", folder.config),
    ]:
        outside = move_out(folder, place, tmp_path)
        with pytest.raises(UsageError, match="got a symbolic link"):
            load()
        outside.replace(folder.path / place)
    assert folder.load_checkpoint() is not None


def test_a_link_among_the_snapshots_is_not_written_through(folder, tmp_path):
    outside = move_out(folder, "snapshots", tmp_path)
    with pytest.raises(UsageError, match=r"snapshots to be a folder .* got a symbolic link"):
        folder.save_snapshot(60, torch.zeros(2, 3))
    with pytest.raises(UsageError, match="got a symbolic link"):
        folder.load_snapshot(50)
    assert [p.name for p in outside.iterdir()] == ["050.safetensors"]


def test_a_link_in_place_of_a_temporary_file_is_not_written_through(folder, tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    monkeypatch.setattr(secrets, "token_hex", lambda n: "0" * 2 * n)
    for name in ("checkpoint.safetensors", "summary.json"):
        (folder.path / f".{name}.{'0' * 16}.tmp").symlink_to(outside)
    with pytest.raises(FileExistsError):
        folder.save_checkpoint(TENSORS, state())
    with pytest.raises(FileExistsError):
        folder.write_summary(SUMMARY)
    assert outside.read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("place", ["metrics.csv", "config.json", "checkpoint.safetensors"])
def test_nobody_waits_for_a_pipe(folder, place):
    (folder.path / place).unlink()
    os.mkfifo(folder.path / place)
    with pytest.raises(UsageError, match="got a pipe, socket or device"):
        train(folder)


def test_a_folder_in_place_of_a_file_is_explained(folder):
    (folder.path / "summary.json").unlink()
    (folder.path / "summary.json").mkdir()
    with pytest.raises(UsageError, match=r"summary\.json to be a regular file .* got a folder"):
        folder.summary()


def test_the_run_folder_itself_may_be_reached_by_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder.path)
    train(RunFolder.open(tmp_path / "link"))
