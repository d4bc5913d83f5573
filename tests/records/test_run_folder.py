import contextlib
import json
import os

import pytest
import torch

from pgzoo.errors import UsageError
from pgzoo.records.run_folder import MetricsFile, RunFolder
from tests.helpers import make_config


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", make_config())


TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1])}


def test_config_survives_the_file(folder):
    assert folder.config() == make_config()
    versions = json.loads((folder.path / "config.json").read_text())["versions"]
    assert versions["torch"] == torch.__version__


def test_checkpoint_survives_the_file(folder):
    assert folder.load_checkpoint() is None
    folder.save_checkpoint(TENSORS, {"iteration": 3, "name": "ä"})
    tensors, state = folder.load_checkpoint()
    assert state == {"iteration": 3, "name": "ä"}
    assert all(torch.equal(tensors[k], v) for k, v in TENSORS.items())


def test_equal_checkpoints_are_equal_files(folder):
    files = []
    for _ in range(5):
        folder.save_checkpoint(TENSORS, {"x": 1, "y": 2})
        files.append((folder.path / "checkpoint.safetensors").read_bytes())
    assert len(set(files)) == 1


def test_every_truncated_checkpoint_is_refused(folder):
    folder.save_checkpoint(TENSORS, {"iteration": 3})
    path = folder.path / "checkpoint.safetensors"
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(UsageError, match="damaged"):
            folder.load_checkpoint()


def test_every_edited_checkpoint_is_refused(folder):
    folder.save_checkpoint(TENSORS, {"iteration": 3})
    path = folder.path / "checkpoint.safetensors"
    content = path.read_bytes()
    accepted = 0
    for at in range(len(content)):
        edited = bytearray(content)
        edited[at] ^= 1
        path.write_bytes(edited)
        with contextlib.suppress(UsageError):
            tensors, state = folder.load_checkpoint()
            # A space of padding in the header may change; nothing that is read may.
            accepted += 1
            assert state == {"iteration": 3}
            assert all(torch.equal(tensors[k], v) for k, v in TENSORS.items())
    assert accepted < 12


def test_a_checkpoint_cannot_carry_code(folder):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, ("touch owned",)

    path = folder.path / "checkpoint.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UsageError, match="damaged"):
        folder.load_checkpoint()
    torch.save(Evil(), path)
    with pytest.raises(UsageError, match="damaged"):
        folder.load_checkpoint()
    assert not (folder.path / "owned").exists()


def test_a_failed_write_leaves_the_old_file(folder, monkeypatch):
    folder.save_checkpoint(TENSORS, {"iteration": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.save_checkpoint(TENSORS, {"iteration": 2})
    monkeypatch.undo()
    assert folder.load_checkpoint()[1] == {"iteration": 1}
    assert not list(folder.path.glob("*.tmp")) + list(folder.path.glob(".*.tmp"))


def test_a_folder_holds_one_run(folder):
    with pytest.raises(UsageError, match="holds another run"):
        RunFolder.create(folder.path, make_config())


def test_other_folders_are_not_runs(tmp_path):
    with pytest.raises(UsageError, match=r"no config\.json"):
        RunFolder.open(tmp_path)


def test_a_path_below_a_file_is_not_writable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Choose a writable --out"):
        RunFolder.create(tmp_path / "file" / "run", make_config())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"agent": "reinforce"}'])
def test_a_damaged_config_is_explained(folder, text):
    (folder.path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"config\.json is damaged"):
        folder.config()


def test_metrics_are_cut_back_to_the_checkpoint(folder):
    file = MetricsFile(folder)
    file.append([{"iteration": 0, "seed": 1, "x": 0.1}, {"iteration": 0, "seed": 2, "x": None}])
    size = file.size
    file.append([{"iteration": 1, "seed": 1, "x": 0.2}])
    file.close()
    file = MetricsFile(folder, size)
    assert file.latest() == {
        1: {"iteration": 0, "seed": 1, "x": 0.1},
        2: {"iteration": 0, "seed": 2},
    }
    file.append([{"iteration": 1, "seed": 1, "x": 0.3}])
    file.close()
    text = (folder.path / "metrics.csv").read_text()
    assert text.split() == ["iteration,seed,x", "0,1,0.1", "0,2,", "1,1,0.3"]


def test_metrics_shorter_than_the_checkpoint_says_are_damaged(folder):
    MetricsFile(folder).close()
    with pytest.raises(UsageError, match="expects at least 10 bytes, found 0"):
        MetricsFile(folder, 10)


def test_snapshots_are_kept_by_their_share_of_the_run(folder):
    assert folder.snapshots() == []
    for percent in (50, 0):
        folder.save_snapshot(percent, torch.full((2, 3), float(percent)))
    assert folder.snapshots() == [0, 50]
    assert torch.equal(folder.load_snapshot(50), torch.full((2, 3), 50.0))
    with pytest.raises(UsageError, match=r"at 30 percent; there are: 0, 50\."):
        folder.load_snapshot(30)


def test_a_damaged_snapshot_is_refused(folder):
    folder.save_snapshot(0, torch.zeros(2, 3))
    path = folder.path / "snapshots" / "000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match="is damaged"):
        folder.load_snapshot(0)


def test_a_config_without_newer_fields_can_be_read(folder):
    path = folder.path / "config.json"
    data = json.loads(path.read_text())
    del data["diagnostics"], data["compare_estimators"]
    path.write_text(json.dumps(data))
    assert folder.config().diagnostics == 0
