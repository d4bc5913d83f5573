import json
import os
import pickle
import struct
from importlib.metadata import version

import pytest
import safetensors.torch
import torch

from pgzoo.errors import UsageError
from pgzoo.records import checkpoint
from pgzoo.records import config as config_module
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.times_file import read_times, write_times
from tests.records.examples import CONFIG, SUMMARY, TENSORS, config, replica, state

FILE_OF_CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", CONFIG)


def edit_config(folder, **changes):
    path = folder.path / "config.json"
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in data.items() if v is not ...}))


def same(tensors):
    return tensors.keys() == TENSORS.keys() and all(
        torch.equal(t.nan_to_num(), TENSORS[k].nan_to_num()) for k, t in tensors.items()
    )


def test_config_survives_the_file(folder):
    assert RunFolder.open(folder.path).config() == CONFIG
    data = json.loads((folder.path / "config.json").read_text())
    assert data["versions"]["torch"] == version("torch")
    assert data["format"] == 2
    assert data["policy_kind"] == "mlp"


def test_checkpoint_survives_the_file(folder):
    assert folder.load_checkpoint() is None
    folder.save_checkpoint(TENSORS, state(more="ä"))
    tensors, found = folder.load_checkpoint()
    assert found == state(more="ä")
    assert same(tensors)


def test_every_kind_of_tensor_survives_the_file(folder):
    views = torch.arange(12.0).view(2, 6)
    tensors = {
        "policy.values": views.T.reshape(6, 2).T,
        "critic.values": views[:1].expand(2, 6),
        "other": torch.zeros(0, 3, dtype=torch.int64),
    }
    folder.save_checkpoint(tensors, state())
    found, _ = folder.load_checkpoint()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_equal_runs_have_equal_files(tmp_path):
    """However long they took."""
    contents = []
    for i in range(5):
        folder = RunFolder.create(tmp_path / f"run-{i}", config())
        folder.save_checkpoint(TENSORS, state())
        folder.save_snapshot(50, TENSORS["policy.values"])
        write_times(folder, [(0, float(i))])
        names = ("config.json", FILE_OF_CHECKPOINT, "snapshots/050.safetensors")
        contents.append([(folder.path / name).read_bytes() for name in names])
        assert read_times(folder) == [(0, i)]
    assert all(content == contents[0] for content in contents)


def test_a_run_made_with_cuda_is_read_without_it(tmp_path):
    folder = RunFolder.create(tmp_path / "run", config(device="cuda"))
    folder.save_checkpoint(TENSORS, state())
    folder.save_snapshot(0, TENSORS["policy.values"])
    folder = RunFolder.open(folder.path)
    assert folder.config().device == "cuda"
    tensors, _ = folder.load_checkpoint()
    assert {t.device.type for t in (*tensors.values(), folder.load_snapshot(0))} == {"cpu"}
    assert same(tensors)


def test_a_checkpoint_cannot_carry_code(folder):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch owned",)

    path = folder.path / FILE_OF_CHECKPOINT
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UsageError, match="damaged"):
        folder.load_checkpoint()
    torch.save(Evil(), path)
    with pytest.raises(UsageError, match="damaged"):
        folder.load_checkpoint()
    assert not (folder.path / "owned").exists()


def test_a_failed_write_leaves_the_old_file(folder, monkeypatch):
    folder.save_checkpoint(TENSORS, state(iteration=1))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.save_checkpoint(TENSORS, state(iteration=2))
    monkeypatch.undo()
    assert folder.load_checkpoint()[1] == state(iteration=1)
    assert not list(folder.path.glob(".*.tmp"))


def test_what_killed_processes_left_is_removed(folder):
    folder.save_snapshot(0, TENSORS["policy.values"])
    left = [
        folder.path / f".{FILE_OF_CHECKPOINT}.0123456789abcdef.tmp",
        folder.path / "snapshots" / ".050.safetensors.0123456789abcdef.tmp",
    ]
    mine = folder.path / ".notes.tmp"
    for path in (*left, mine):
        path.write_text("")
    with folder.training():
        pass
    assert not any(path.exists() for path in left)
    assert mine.exists()


def test_a_folder_holds_one_run(folder):
    with pytest.raises(UsageError, match="holds another run"):
        RunFolder.create(folder.path, CONFIG)


@pytest.mark.parametrize("name", ["metrics.csv", FILE_OF_CHECKPOINT, "summary.json", "snapshots"])
def test_what_is_left_of_another_run_is_not_mixed_with_a_new_one(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match="holds another run"):
        RunFolder.create(tmp_path, CONFIG)
    assert not (tmp_path / "config.json").exists()


def test_other_folders_are_not_runs(tmp_path):
    with pytest.raises(UsageError, match=r"no config\.json"):
        RunFolder.open(tmp_path)


def test_a_path_below_a_file_is_not_writable(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UsageError, match="Choose a writable `out`"):
            RunFolder.create(path, CONFIG)


@pytest.mark.parametrize(
    ("field", "value"),
    [("seeds", (1, 1)), ("seeds", ("1",)), ("hyperparameters", {3: 4}), ("env", None)],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path, field, value):
    with pytest.raises(UsageError, match=f'Cannot make this run: expected "{field}"'):
        RunFolder.create(tmp_path / "run", config(**{field: value}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', "NaN", "[" * 100_000, "\ud800"])
def test_a_damaged_config_is_explained(folder, text):
    (folder.path / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError, match=r"config\.json is damaged.*Restore"):
        folder.config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": ...}, '"env" is missing'),
        ({"estimator_sha256": ...}, '"estimator_sha256" is missing'),
        ({"versions": ...}, '"versions" is missing'),
        ({"colour": "red"}, '"colour" is unknown'),
        ({"policy_kind": "mpl"}, 'expected "policy_kind" to be one of mlp, linear, tabular; got'),
        ({"seeds": []}, 'expected "seeds" to be a list of different whole numbers'),
        ({"seeds": [0, 0]}, 'expected "seeds"'),
        ({"seeds": ["/../../../x"]}, 'expected "seeds"'),
        ({"seeds": [True]}, 'expected "seeds"'),
        ({"seeds": [-1]}, 'expected "seeds"'),
        ({"max_episode_steps": 0}, 'expected "max_episode_steps" to be a whole number .* or null'),
        ({"stop_when_solved": 1}, 'expected "stop_when_solved" to be true or false; got 1'),
        ({"device": "/dev/null"}, 'expected "device"'),
        ({"diagnostics": 1.5}, 'expected "diagnostics"'),
        ({"hyperparameters": []}, 'expected "hyperparameters" to be an object'),
        ({"hyperparameters": {"steps": {}}}, 'expected "steps" to be null, true, .*; got {}'),
        ({"hyperparameters": {"hidden": [1, [2]]}}, 'expected "hidden"'),
        ({"hyperparameters": {"steps": 10**400}}, 'expected "steps"'),
        ({"estimator_sha256": "abc"}, 'expected "estimator_sha256" to be 64 hexadecimal digits'),
        ({"format": "2"}, 'expected "format" to be 2, got'),
    ],
)
def test_a_config_of_another_shape_is_refused(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(UsageError, match=rf"config\.json is damaged: {message}"):
        folder.config()


@pytest.mark.parametrize(("found", "age"), [(..., "an earlier"), (1, "an earlier"), (3, "a later")])
def test_a_run_of_another_pgzoo_is_refused(folder, found, age):
    number = 1 if found is ... else found
    edit_config(folder, format=found)
    message = rf"config\.json was written by {age} pgzoo \(format {number}\); expected format 2"
    with pytest.raises(UsageError, match=message):
        folder.config()


def test_a_checkpoint_of_another_pgzoo_is_refused(folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    folder.save_checkpoint(TENSORS, state())
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"written by a later pgzoo \(format 3\)"):
        folder.load_checkpoint()
    old = {"pgzoo": json.dumps({"state": "{}", "digest": ""})}
    (folder.path / FILE_OF_CHECKPOINT).write_bytes(safetensors.torch.save(TENSORS, metadata=old))
    with pytest.raises(UsageError, match=r"written by an earlier pgzoo \(format 1\)"):
        folder.load_checkpoint()


def test_every_field_of_a_config_is_checked():
    names = {f.name for f in config_module.dataclasses.fields(CONFIG)}
    assert names == config_module.FIELDS.keys()


@pytest.mark.parametrize("name", ["config.json", FILE_OF_CHECKPOINT, "summary.json"])
def test_what_cannot_be_read_is_not_called_damaged(folder, monkeypatch, name):
    folder.save_checkpoint(TENSORS, state())
    folder.write_summary(SUMMARY)
    open_file = os.open

    def refuse(path, *arguments, **options):
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied")
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UsageError, match=f"Cannot read .*{name}: Permission denied"):
        (folder.config(), folder.load_checkpoint(), folder.summary())


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": (3, 6)},
        {"seeds": (5, 3)},
        {"agent": "grpo"},
        {"hyperparameters": CONFIG.hyperparameters | {"steps": 2000}},
        {"device": "cuda"},
    ],
)
def test_files_of_another_run_are_refused(folder, tmp_path, changes):
    other = RunFolder.create(tmp_path / "other", config(**changes))
    other.save_checkpoint(TENSORS, state())
    other.save_snapshot(0, TENSORS["policy.values"])
    other.path.joinpath(FILE_OF_CHECKPOINT).rename(folder.path / FILE_OF_CHECKPOINT)
    other.path.joinpath("snapshots").rename(folder.path / "snapshots")
    for load in (folder.load_checkpoint, lambda: folder.load_snapshot(0)):
        with pytest.raises(UsageError, match=r"does not belong to this run: .*configuration"):
            load()


def test_a_config_edited_after_training_began_is_refused(folder):
    folder.save_checkpoint(TENSORS, state())
    edit_config(folder, stop_when_solved=True)
    with pytest.raises(UsageError, match="does not belong to this run"):
        RunFolder.open(folder.path).load_checkpoint()
    folder.save_checkpoint(TENSORS, state())  # this process goes on with what it began with
    edit_config(folder, stop_when_solved=False, versions={"pgzoo": "another"})
    assert RunFolder.open(folder.path).load_checkpoint() is not None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (state(replicas=[replica(3), replica("/../../../x")]), 'expected "seed"'),
        (state(replicas=[replica(3), replica(5.0)]), 'expected "seed"'),
        (state(replicas=[replica(3), replica(6)]), r"expected the seeds \[3, 5\], got \[3, 6\]"),
        (state(replicas=[replica(5), replica(3)]), "expected the seeds"),
        (state(replicas=[replica(3)]), "expected the seeds"),
        (state(replicas=[]), "expected the seeds"),
        (state(replicas={}), 'expected "replicas" to be a list'),
        (state(replicas=[3, 5]), "expected a JSON object, got 3"),
        (state(replicas=[replica(3), replica(5, env_steps=-1)]), 'expected "env_steps"'),
        (state(replicas=[replica(3), replica(5, recent=["x"])]), 'expected "recent"'),
        (state(replicas=[replica(3), replica(5, looked="x")]), 'expected "looked"'),
        (state(replicas=[replica(3), replica(5, finished=None)]), 'expected "finished"'),
        (state(replicas=[replica(3), replica(5, failed=True)]), 'expected "failed"'),
        (state(iteration=-1), 'expected "iteration"'),
        (state(iteration=True), 'expected "iteration"'),
        (state(metrics_size=-1), 'expected "metrics_size"'),
        (state(metrics_size=1.5), 'expected "metrics_size"'),
        ({"iteration": 1, "metrics_size": 1}, '"replicas" is missing'),
    ],
)
def test_a_state_that_does_not_fit_the_run_is_refused(folder, changed, message):
    folder.save_checkpoint(TENSORS, changed)
    with pytest.raises(UsageError, match=f"does not belong to this run: {message}"):
        folder.load_checkpoint()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"policy.values": torch.zeros(3, 3)}, r"policy\.values to have a row .* 2 seeds.*\[3, 3"),
        ({"policy.values": torch.tensor(1.0)}, r"policy\.values to have a row"),
        ({"policy.values": torch.zeros(2, 3), "critic.mean": torch.zeros(1, 3)}, r"critic\.mean"),
        ({"policy.values": torch.zeros(2, 3), "reference.values": torch.zeros(5)}, "reference"),
        ({"policy.values": torch.full((2, 3), torch.nan)}, r"policy\.values to be finite"),
        ({"policy.values": torch.zeros(2, 3), "ongoing.ended": torch.zeros(1, 4) > 0}, "ongoing"),
        ({"critic.values": torch.zeros(2, 3)}, "it holds no policy"),
    ],
)
def test_tensors_that_do_not_fit_the_run_are_refused(folder, tensors, message):
    folder.save_checkpoint(tensors, state())
    with pytest.raises(UsageError, match=f"does not belong to this run: .*{message}"):
        folder.load_checkpoint()


def test_summary_survives_the_file(folder):
    assert folder.summary() is None
    folder.write_summary(SUMMARY | {"more": [1]})
    assert folder.summary() == SUMMARY | {"more": [1]}


def test_a_summary_of_another_shape_is_refused(folder):
    for name in SUMMARY:
        folder.write_summary({k: v for k, v in SUMMARY.items() if k != name})
        with pytest.raises(UsageError, match=rf'summary\.json is damaged: "{name}" is missing'):
            folder.summary()
        folder.write_summary(SUMMARY | {name: {}})
        with pytest.raises(UsageError, match=rf'summary\.json is damaged: expected "{name}" to be'):
            folder.summary()
    folder.write_summary(SUMMARY | {"eval_mean": [1.0]})
    with pytest.raises(UsageError, match='expected "eval_mean" to be a list of 2, each entry'):
        folder.summary()


def test_snapshots_are_kept_by_their_share_of_the_run(folder):
    assert folder.snapshots() == []
    for percent in (50, 0):
        folder.save_snapshot(percent, torch.full((2, 3), float(percent)))
    (folder.path / "snapshots" / "0x1.safetensors").write_text("not one of ours")
    assert folder.snapshots() == [0, 50]
    assert torch.equal(folder.load_snapshot(50), torch.full((2, 3), 50.0))
    with pytest.raises(UsageError, match=r"at 30 percent; there are: 0, 50\."):
        folder.load_snapshot(30)


def test_a_snapshot_of_other_seeds_is_refused(folder):
    folder.save_snapshot(0, torch.zeros(3, 3))
    with pytest.raises(UsageError, match="does not belong to this run: expected theta"):
        folder.load_snapshot(0)


def test_a_damaged_snapshot_is_refused(folder):
    folder.save_snapshot(0, torch.zeros(2, 3))
    path = folder.path / "snapshots" / "000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match="is damaged"):
        folder.load_snapshot(0)


def test_a_header_that_lies_about_its_length_is_refused(folder):
    for length in (0, 1, 2**63, 2**64 - 1):
        (folder.path / FILE_OF_CHECKPOINT).write_bytes(struct.pack("<Q", length) + b"{}")
        with pytest.raises(UsageError, match="is damaged"):
            folder.load_checkpoint()
