"""However a file is damaged: a clear error, or what was written. Never anything else."""

import json

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from pgzoo.errors import UsageError
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.schema import signed
from tests.records.examples import CONFIG, SUMMARY, TENSORS, state

FILES = ("config.json", "checkpoint.safetensors", "summary.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = RunFolder.create(tmp_path_factory.mktemp("damage") / "run", CONFIG)
    folder.save_checkpoint(TENSORS, state())
    folder.write_summary(SUMMARY)
    return folder


@pytest.fixture(scope="module")
def written(folder):
    return {name: (folder.path / name).read_bytes() for name in FILES}


@pytest.fixture(autouse=True)
def _whole_again(folder, written):
    yield
    for name, content in written.items():
        (folder.path / name).write_bytes(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def flipped(content, at, bits):
    at %= len(content)
    return content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :]


def read_all(folder):
    """As a process that resumes the run does."""
    tensors, found = folder.load_checkpoint()
    return folder.config(), found, {k: v.tolist() for k, v in tensors.items()}


EXPECTED = (CONFIG, state(), {k: v.tolist() for k, v in TENSORS.items()})


@pytest.mark.parametrize("name", FILES[:2])
@given(at=st.integers(0, 2**20), bits=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_harmless(folder, written, name, at, bits):
    """A checkpoint is bound to its configuration, so that an edited one is found out, too."""
    for other, content in written.items():
        (folder.path / other).write_bytes(content)
    (folder.path / name).write_bytes(flipped(written[name], at, bits))
    try:
        found = read_all(folder)
    except UsageError:
        return
    assert found == EXPECTED


@pytest.mark.parametrize("name", FILES)
@given(length=st.integers(0, 2**20))
def test_a_truncated_file_is_refused(folder, written, name, length):
    length %= len(written[name])
    (folder.path / name).write_bytes(written[name][:length])
    with pytest.raises(UsageError, match=f"{name} is damaged"):
        (read_all(folder), folder.summary())
    (folder.path / name).write_bytes(written[name])


def test_every_flipped_bit_of_a_checkpoint_is_refused_but_padding(folder, written):
    content = written["checkpoint.safetensors"]
    accepted = 0
    for at in range(len(content)):
        (folder.path / "checkpoint.safetensors").write_bytes(flipped(content, at, 1))
        try:
            found = read_all(folder)
        except UsageError:
            continue
        accepted += 1
        assert found == EXPECTED
    assert accepted < 12


@given(at=st.integers(0, 2**20), bits=st.integers(1, 255))
def test_a_summary_with_a_flipped_byte_is_refused_or_one_of_this_run(folder, written, at, bits):
    (folder.path / "summary.json").write_bytes(flipped(written["summary.json"], at, bits))
    try:
        found = folder.summary()
    except UsageError:
        return
    assert found == SUMMARY


@given(data=st.data(), value=JSON)
def test_an_altered_config_is_refused_or_another_config(folder, written, data, value):
    """Whatever is accepted holds what the file says, and can be written again."""
    content = json.loads(written["config.json"])
    del content["digest"]
    within = data.draw(st.sampled_from([content, content["hyperparameters"], content["versions"]]))
    key = data.draw(st.sampled_from(sorted(within)))
    what = data.draw(st.sampled_from(["drop", "rename", "replace"]))
    old = within.pop(key) if what != "replace" else None
    if what != "drop":
        within[key if what == "replace" else data.draw(st.text(max_size=3))] = (
            value if what == "replace" else old
        )
    try:
        (folder.path / "config.json").write_text(json.dumps(signed(content)))
    except (TypeError, ValueError):  # not JSON
        return
    try:
        found = folder.config()
    except UsageError:
        return
    again = json.loads(json.dumps(found.to_json()))
    parts = {"versions": content["versions"], "digest": again["digest"]}
    assert again | parts == content | {"digest": again["digest"]}
    try:
        folder.load_checkpoint()
    except UsageError:
        return
    assert found == CONFIG


@given(data=st.data(), value=JSON)
def test_an_altered_state_is_refused_or_fits_the_run(folder, data, value):
    """With a digest that fits: as somebody would do it who means harm."""
    changed = state()
    within = data.draw(st.sampled_from([changed, changed["replicas"][1]]))
    within[data.draw(st.sampled_from(sorted(within)))] = value
    try:
        folder.save_checkpoint(TENSORS, changed)
    except ValueError:  # NaN is not JSON
        return
    try:
        _, found = folder.load_checkpoint()
    except UsageError:
        return
    assert [r["seed"] for r in found["replicas"]] == [3, 5]
    assert min(found["iteration"], found["metrics_size"]) >= 0
    assert all(type(r["env_steps"]) is int and r["env_steps"] >= 0 for r in found["replicas"])


@given(
    shape=st.lists(st.integers(0, 3), max_size=3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]),
)
def test_tensors_of_any_shape_are_refused_or_have_a_row_for_each_seed(folder, shape, dtype):
    try:
        folder.save_checkpoint(
            TENSORS | {"policy.values": torch.zeros(shape, dtype=dtype)}, state()
        )
        tensors, _ = folder.load_checkpoint()
    except UsageError:
        return
    assert tensors["policy.values"].shape == (2, 3)
    assert tensors["policy.values"].dtype == torch.float32
