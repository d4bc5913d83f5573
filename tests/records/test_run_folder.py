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
from tests.helpers import signed_again
from tests.records.examples import (
    CONFIG,
    SUMMARY,
    TENSORS,
    UNDER_WAY,
    config,
    named,
    parameters,
    replica,
    state,
)

FILE_OF_CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", CONFIG)


def edit_config(folder, **changes):
    signed_again(folder.path / "config.json", **changes)


def same(tensors):
    return tensors.keys() == TENSORS.keys() and all(
        torch.equal(t, TENSORS[k]) for k, t in tensors.items()
    )


def test_config_survives_the_file(folder):
    assert RunFolder.open(folder.path).config() == CONFIG
    data = json.loads((folder.path / "config.json").read_text())
    assert data["versions"]["torch"] == version("torch")
    assert data["format"] == 3
    assert list(data)[-1] == "digest"
    assert data["policy_kind"] == "mlp"


def test_checkpoint_survives_the_file(folder):
    assert folder.load_checkpoint() is None
    failed = replica(5, failed="ä\n\tb", finished=True)
    folder.save_checkpoint(TENSORS, state(replicas=[replica(3), failed]))
    tensors, found = folder.load_checkpoint()
    assert found == state(replicas=[replica(3), failed])
    assert same(tensors)


def test_every_kind_of_tensor_survives_the_file(folder):
    views = torch.arange(12.0).view(2, 6)
    tensors = {
        **named("policy", parameters(views.T.reshape(6, 2).T)),
        **named("critic", parameters(views[:1].expand(2, 6))),
        **named("ongoing", UNDER_WAY),
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
    folder.save_checkpoint(TENSORS, state(iteration=4))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.save_checkpoint(TENSORS, state(iteration=5))
    monkeypatch.undo()
    assert folder.load_checkpoint()[1] == state(iteration=4)
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
    [("seeds", (1, 1)), ("seeds", "1"), ("hyperparameters", {3: 4}), ("env", None)],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path, field, value):
    with pytest.raises(UsageError, match=f'Cannot make this run: expected "{field}"'):
        RunFolder.create(tmp_path / "run", config(**{field: value}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 3}',
        "NaN",
        "1e999",
        "[" * 100_000,
        "\ud800",
        "\ufeff{}",
        "1" * 5000,
    ],
)
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
        (
            {"policy_kind": "mpl"},
            'expected "policy_kind" to be text among mlp, linear, tabular',
        ),
        ({"seeds": []}, 'expected "seeds" to be a list of length >= 1; got'),
        ({"seeds": [0, 0]}, 'expected "seeds" to be without repetition'),
        ({"seeds": ["/../../../x"]}, r'expected "seeds\[0\]" to be a whole number'),
        ({"seeds": [True]}, r'expected "seeds\[0\]"'),
        ({"seeds": [-1]}, r'expected "seeds\[0\]" to be a whole number >= 0; got -1'),
        ({"max_episode_steps": 0}, 'expected "max_episode_steps" to be a whole number >= 1'),
        ({"stop_when_solved": 1}, 'expected "stop_when_solved" to be true or false; got 1'),
        ({"device": "/dev/null"}, 'expected "device"'),
        ({"diagnostics": 1.5}, 'expected "diagnostics"'),
        ({"hyperparameters": []}, 'expected "hyperparameters" to be a JSON object'),
        ({"hyperparameters": {"steps": {}}}, 'expected "steps" to be .* or null; got {}'),
        ({"hyperparameters": {"hidden": [1, [2]]}}, r'expected "hidden\[1\]"'),
        ({"hyperparameters": {"steps": 10**400}}, "it has a whole number of 401 digits"),
        ({"estimator_sha256": "abc"}, 'expected "estimator_sha256" to be text of 64 hexadecimal'),
        ({"format": "3"}, 'expected "format" to be a whole number; got'),
        ({"env": "a\x1b[2J"}, 'expected "env" to be text without control characters'),
        ({"agent": "\ud800"}, 'expected "agent" to be text without control characters'),
        ({"agent": ""}, 'expected "agent" to be text of length >= 1'),
        ({"env": "x" * 100_000}, 'expected "env" to be text of length <= 5000; got .{30}…?'),
        ({"versions": {"pgzoo": 1}}, 'expected "versions'),
        ({"hyperparameters": {"steps": 2**63}}, 'expected "steps"'),
    ],
)
def test_a_config_of_another_shape_is_refused(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(UsageError, match=rf"config\.json is damaged: {message}"):
        folder.config()


@pytest.mark.parametrize(("found", "age"), [(..., "an earlier"), (2, "an earlier"), (4, "a later")])
def test_a_run_of_another_pgzoo_is_refused(folder, found, age):
    number = 1 if found is ... else found
    edit_config(folder, format=found)
    message = rf"config\.json was written by {age} pgzoo \(format {number}\); expected format 3"
    with pytest.raises(UsageError, match=message):
        folder.config()


def test_a_checkpoint_of_another_pgzoo_is_refused(folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 4)
    folder.save_checkpoint(TENSORS, state())
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"written by a later pgzoo \(format 4\)"):
        folder.load_checkpoint()
    old = {"pgzoo": json.dumps({"state": "{}", "digest": ""})}
    (folder.path / FILE_OF_CHECKPOINT).write_bytes(safetensors.torch.save(TENSORS, metadata=old))
    with pytest.raises(UsageError, match=r"written by an earlier pgzoo \(format 1\)"):
        folder.load_checkpoint()


def test_every_field_of_a_config_is_checked():
    names = {f.name for f in config_module.dataclasses.fields(CONFIG)}
    assert names == CONFIG.to_json().keys() - {"format", "versions", "digest"}
    for name in names:
        with pytest.raises(ValueError, match=f'expected "{name}'):
            config(**{name: {3: 4}}).to_json()


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
        (
            state(replicas=[replica(3), replica("/../../../x")]),
            r'expected "replicas\[1\]\.seed" to be a whole number; got',
        ),
        (state(replicas=[replica(3), replica(5.0)]), r'expected "replicas\[1\]\.seed"'),
        (state(replicas=[replica(3), replica(6)]), r"expected the seeds \[3, 5\], got \[3, 6\]"),
        (state(replicas=[replica(5), replica(3)]), "expected the seeds"),
        (state(replicas=[replica(3)]), "expected the seeds"),
        (state(replicas=[]), "expected the seeds"),
        (state(replicas={}), 'expected "replicas" to be a list'),
        (state(replicas=[3, 5]), r'expected "replicas\[0\]" to be a JSON object; got 3'),
        (state(replicas=[replica(3), replica(5, env_steps=-1)]), "env_steps"),
        (state(replicas=[replica(3), replica(5, recent=["x"])]), r"recent\[0\]"),
        (state(replicas=[replica(3), replica(5, recent=[1.0])]), r"recent\" to be 20 returns"),
        (state(replicas=[replica(3), replica(5, episodes=101)]), "to be 100 returns"),
        (state(replicas=[replica(3), replica(5, looked="x")]), "looked"),
        (state(replicas=[replica(3), replica(5, looked=21)]), 'looked" to be at most 20'),
        (state(replicas=[replica(3, steps_to_threshold=501), replica(5)]), "steps_to_threshold"),
        (state(replicas=[replica(3), replica(5, finished=None)]), "finished"),
        (state(replicas=[replica(3), replica(5, failed=True)]), "failed"),
        (state(replicas=[replica(3), replica(5, failed="x")]), "finished.*true, as it failed"),
        (state(replicas=[replica(3), replica(5, failed="\x1b[2J")]), "control characters"),
        (state(replicas=[replica(3), replica(5, more=1)]), r'"replicas\[1\]\.more" is unknown'),
        (state(iteration=-1), 'expected "iteration"'),
        (state(iteration=0), r'expected "replicas\[0\]\.env_steps" to be 0 at first'),
        (state(iteration=True), 'expected "iteration"'),
        (state(metrics_size=-1), 'expected "metrics_size"'),
        (state(metrics_size=1.5), 'expected "metrics_size"'),
        (state(metrics_size=0), 'expected "metrics_digest"'),
        (state(metrics_digest="0"), 'expected "metrics_digest" to be text of 64 hex'),
        (state(more=1), '"more" is unknown'),
        ({"iteration": 1, "metrics_size": 1}, '"replicas" is missing'),
    ],
)
def test_a_state_that_does_not_fit_the_run_is_refused(folder, changed, message):
    folder.save_checkpoint(TENSORS, changed)
    with pytest.raises(UsageError, match=f"does not belong to this run: .*{message}"):
        folder.load_checkpoint()


def with_rows(rows, **changed):
    """Episodes under way, changed, beside the other tensors."""
    return named("ongoing", rows | changed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (named("policy", parameters(torch.zeros(3, 3))), r"policy\.values .*row.*\[3, 3"),
        ({"policy.values": torch.tensor(1.0)}, r"policy\.values to have a row"),
        ({"policy.values": torch.zeros(2, 3, 1)}, r"policy\.values to have a row"),
        ({"policy.values": torch.zeros(2, 0)}, r"policy\.values to have a row"),
        ({"policy.values": torch.zeros(2, 3, dtype=torch.float16)}, r"to be of torch\.float32"),
        ({"policy.values": torch.zeros(2, 3, dtype=torch.int32)}, r"to be of torch\.float32"),
        ({"policy.values": torch.full((2, 3), torch.nan)}, r"policy\.values to be finite"),
        ({"policy.values": ...}, "it holds no policy"),
        ({"policy.square": ...}, r'"policy\.square" is missing'),
        ({"policy.square": -torch.ones(2, 3)}, r'"policy\.square" to be at least 0'),
        ({"policy.count": torch.ones(2, 3)}, r"policy\.count .*\[2, 1\]; got"),
        ({"policy.count": torch.ones(2, 1).long()}, r"policy\.count to be of torch\.float32"),
        ({"policy.count": torch.full((2, 1), 0.5)}, r'"policy\.count" to be whole numbers'),
        ({"critic.mean": torch.zeros(1, 4)}, r"critic\.mean to have a row"),
        ({"critic.values": ...}, r'"critic\.values" is missing'),
        ({"reference.values": torch.zeros(2, 4)}, r"reference\.values .*\[2, 3\]; got"),
        ({"pending.60": torch.zeros(2, 4)}, r"pending\.60 to have a row"),
        ({"pending.101": torch.zeros(2, 3)}, r'"pending\.101", which is unknown'),
        ({"pending.-10": torch.zeros(2, 3)}, "which is unknown"),
        ({"../../x": torch.zeros(2, 3)}, "which is unknown"),
        (with_rows(UNDER_WAY, ended=torch.zeros(1, 2) > 0), r"ongoing\.ended to have a row"),
        (with_rows(UNDER_WAY, ended=UNDER_WAY["ended"][:, :1]), r"ongoing\.ended to have"),
        (with_rows(UNDER_WAY, length=UNDER_WAY["length"].double()), "to be of torch.int64"),
        (with_rows(UNDER_WAY, returns=UNDER_WAY["returns"] * torch.nan), "to be finite"),
        (with_rows(UNDER_WAY, actions=UNDER_WAY["actions"][None]), "to be 3 actions"),
        (with_rows(UNDER_WAY, actions=UNDER_WAY["actions"].float()), "to be whole numbers"),
        (with_rows(UNDER_WAY, actions=UNDER_WAY["actions"].int() - 1), "actions.*at least 0"),
        (with_rows(UNDER_WAY, episode=UNDER_WAY["episode"] - 9), "episode.*at least 0"),
        (with_rows(UNDER_WAY, episode=UNDER_WAY["episode"] + 20), "episode.*at most 20"),
        (with_rows(UNDER_WAY, length=UNDER_WAY["length"] - 9), "length.*at least 0"),
        (with_rows(UNDER_WAY, length=UNDER_WAY["length"] + 1), "to be 7 actions"),
        (with_rows(UNDER_WAY, ended=~UNDER_WAY["ended"]), "length.*above 0 where it ended"),
        ({"ongoing.ended": UNDER_WAY["ended"]}, "is missing"),
    ],
)
def test_tensors_that_do_not_fit_the_run_are_refused(folder, changes, message):
    folder.save_checkpoint({k: t for k, t in (TENSORS | changes).items() if t is not ...}, state())
    with pytest.raises(UsageError, match=f"does not belong to this run: .*{message}"):
        folder.load_checkpoint()


def test_summary_survives_the_file(folder):
    assert folder.summary() is None
    folder.write_summary(SUMMARY)
    assert folder.summary() == SUMMARY


def test_a_summary_of_another_shape_is_refused(folder):
    for name in SUMMARY:
        folder.write_summary({k: v for k, v in SUMMARY.items() if k != name})
        with pytest.raises(UsageError, match=rf'summary\.json is damaged: "{name}" is missing'):
            folder.summary()
        folder.write_summary(SUMMARY | {name: {}})
        with pytest.raises(UsageError, match=rf'summary\.json is damaged: expected "{name}" to be'):
            folder.summary()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"more": 1}, '"more" is unknown'),
        ({"eval_mean": [1.0]}, 'expected "eval_mean" to be a list of 2; got'),
        ({"agent": "grpo"}, "expected \"agent\" to be as in config.json, 'rloo'; got 'grpo'"),
        ({"seeds": [5, 3]}, r'expected "seeds" to be as in config.json, \(3, 5\)'),
        ({"seeds": [3, 4]}, 'expected "seeds"'),
        ({"eval_episodes": 1}, 'expected "eval_episodes" to be a whole number >= 2'),
        ({"eval_std": [-1.0, None]}, r'expected "eval_std\[0\]" to be a finite number >= 0'),
        ({"eval_std": [10.0, 1.0]}, r"eval_std\[1\]"),
        ({"eval_mean": [480.5, 3.0]}, r'"eval_mean\[1\]" to be null, as it failed'),
        ({"eval_standard_error": [None, None]}, r"eval_standard_error\[0\]"),
        ({"solved": [False, False]}, r'expected "solved\[0\]" to be True'),
        ({"threshold": None}, r'expected "solved\[0\]" to be None'),
        ({"threshold": None, "solved": [None, None]}, "null without a threshold"),
        ({"solved_interval": [0.9, 0.1]}, 'expected "solved_interval" to be in order'),
        ({"solved_interval": [0.1, 1.1]}, r'expected "solved_interval\[1\]"'),
        ({"solved_interval": [0.1]}, "solved_interval"),
        ({"steps_to_threshold": [1001, None]}, r'"steps_to_threshold\[0\]" to be at most 1000'),
        ({"failed": [None, "\x07"]}, "control characters"),
    ],
)
def test_a_summary_that_contradicts_itself_or_the_run_is_refused(folder, changes, message):
    folder.write_summary(SUMMARY)
    signed_or_not = SUMMARY | {"times_digest": "0" * 64} | changes
    signed_again(folder.path / "summary.json", **signed_or_not)
    with pytest.raises(UsageError, match=rf"summary\.json is damaged: .*{message}"):
        folder.summary()


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_what_was_edited_is_refused(folder, name):
    folder.write_summary(SUMMARY)
    path = folder.path / name
    for old, new in (("CartPole-v1", "CartPole-v0"), ("mlp", "linear"), ("3", "4")):
        written = path.read_text()
        path.write_text(written.replace(old, new, 1))
        with pytest.raises(UsageError, match=rf"{name} is damaged: .*was edited or damaged|later"):
            (folder.config(), folder.summary())
        path.write_text(written)
    data = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(data.items()))))  # that is the same
    assert (folder.config(), folder.summary()) == (CONFIG, SUMMARY)
    path.write_text(path.read_text().replace("{", '{"env": "x",', 1))
    with pytest.raises(UsageError, match=rf"{name} is damaged: it has a field twice"):
        (folder.config(), folder.summary())


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
