"""An estimator of one's own: a function, or a file that holds one."""

import asyncio
import dataclasses
import hashlib
import inspect
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pgzoo.agents import agent_class
from pgzoo.agents.custom import checked_psi
from pgzoo.errors import UsageError
from pgzoo.options import options_of
from pgzoo.sampling.rng import Rng
from pgzoo.sampling.seeding import Streams
from tests.helpers import make_trajectories, of_replica

LENGTHS = [[3, 5], [4, 2]]


def write(tmp_path, body, name="mine.py"):
    path = tmp_path / name
    path.write_text(body)
    return path


def psi_of(path, function="mine"):
    return psi_by(agent_class(f"{path}:{function}"))


def psi_by(agent):
    return agent.with_options().psi(make_trajectories(LENGTHS), None)


def twice_the_reward(t):
    return 2 * t.reward


def test_the_function_is_asked_and_padding_is_zero(tmp_path):
    path = write(tmp_path, "def mine(t):\n    return 2 * t.reward\n")
    t = make_trajectories(LENGTHS)
    expected = torch.where(t.mask, 2 * t.reward, 0)
    assert torch.equal(psi_of(path), expected)


def test_a_function_is_an_estimator_as_it_is():
    agent = agent_class(twice_the_reward)
    t = make_trajectories(LENGTHS)
    assert torch.equal(psi_by(agent), torch.where(t.mask, 2 * t.reward, 0))
    assert agent.name == "twice_the_reward"
    source = inspect.getsource(twice_the_reward).encode()
    assert agent.sha256 == hashlib.sha256(source).hexdigest()


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    body = "def mine(t):\n    return t.reward\n"
    agent = agent_class(f"{write(tmp_path, body)}:mine")
    assert agent.sha256 == hashlib.sha256(body.encode()).hexdigest()


def test_what_has_no_source_has_no_digest():
    class Estimator:
        def __call__(self, t):
            return t.reward

    agent = agent_class(Estimator())
    assert (agent.name, agent.sha256) == ("Estimator", None)
    assert psi_by(agent).shape == (2, 2, 5)


def test_a_function_with_a_name_of_the_zoo_is_refused():
    def rloo(t):
        return t.reward

    with pytest.raises(UsageError, match="another name than rloo for a function"):
        agent_class(rloo)


def test_an_error_in_a_function_is_placed():
    def broken(t):
        return t.colour

    line = inspect.getsourcelines(broken)[1] + 1
    with pytest.raises(UsageError, match=rf"broken failed at .*test_custom\.py:{line}: Attribute"):
        psi_by(agent_class(broken))


def test_two_functions_do_not_disturb_each_other():
    def one(t):
        return t.reward

    first, second = agent_class(twice_the_reward), agent_class(one)
    assert torch.equal(psi_by(first), 2 * psi_by(second))
    assert (first.name, second.name) == ("twice_the_reward", "one")


def test_the_batch_cannot_be_written_to():
    def rude(t):
        return t.reward.mul_(0)

    t = make_trajectories(LENGTHS)
    before = t.reward.clone()
    agent_class(rude).with_options().psi(t, None)
    assert torch.equal(t.reward, before)


def test_the_group_size_is_handed_on():
    def mine(t):
        return torch.full_like(t.reward, t.group_size)

    t = make_trajectories(LENGTHS).map(lambda x: x, 2)
    assert agent_class(mine).with_options().psi(t, None).max() == 2


def test_options_are_those_of_groups():
    agent = agent_class(twice_the_reward)
    plan = agent.with_options(episodes=8, group_size=4).plan
    assert (plan.num_rows, plan.group_size, plan.complete) == (8, 4, True)
    with pytest.raises(UsageError, match="`group_size` to divide `episodes=8`, got 3"):
        agent.with_options(episodes=8, group_size=3)
    assert {"episodes", "group_size", "starts"} <= set(options_of(agent))
    assert agent.for_env("CartPole-v1").aggregation == "step-mean"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def other(t): pass\n", "Expected a function 'mine' in .*; it has other"),
        ("mine = 3\n", "it has none"),
        ("def mine(t)\n", r"mine.py:1 cannot be run: SyntaxError"),
        ("\nimport nowhere_to_be_found\n", r"mine.py:2 cannot be run: ModuleNotFoundError"),
        ("def mine(t):\n    return t.colour\n", r"failed at .*mine.py:2: AttributeError"),
        ("def mine(t):\n    return 3.0\n", r"tensor \[2, 2, 5\] \(torch\), got float"),
        ("def mine(t):\n    return t.reward.sum(-1)\n", r"got shape \[2, 2\].*unsqueeze"),
        ("def mine(t):\n    return t.action\n", r"got torch.int64. Convert it with .float"),
        ("def mine(t):\n    return t.reward / 0\n", "finite, got -?inf at replica 0, trajectory 0"),
        (
            "def mine(t):\n    return t.reward.to_sparse()\n",
            "dense and on cpu, got torch.sparse_coo",
        ),
        ("def mine(t):\n    return t.reward.to('meta')\n", "dense and on cpu, got .* on meta"),
        ("def mine(t):\n    raise SystemExit(3)\n", r"failed at .*mine.py:2: SystemExit: 3"),
    ],
)
def test_clear_errors(tmp_path, body, message):
    path = write(tmp_path, body)
    with pytest.raises(UsageError, match=message):
        psi_of(path)


def test_a_syntax_error_elsewhere_is_not_given_a_line_of_this_file(tmp_path):
    write(tmp_path, "\n\n\n\nx = (\n", "helper_with_an_error.py")
    path = write(tmp_path, "\nimport helper_with_an_error\n")
    with pytest.raises(UsageError, match=r"mine.py:2 cannot be run: SyntaxError: .*helper_with"):
        psi_of(path)


def test_a_missing_file_is_named():
    with pytest.raises(UsageError, match=r"nowhere.py to be a Python file .* not found"):
        agent_class("nowhere.py:mine")


HELPER = "def factor():\n    return {}\n"
AT_THE_TOP = "import aid\ndef mine(t):\n    return aid.factor() * t.reward\n"
LATE = "def mine(t):\n    import aid\n    return aid.factor() * t.reward\n"
OF_A_PACKAGE = "def mine(t):\n    from aid.deep import factor\n    return factor() * t.reward\n"


@pytest.fixture
def _same_imports():
    """Nothing that an estimator imports of its own stays where others find it."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    assert sys.path == path
    new = {m for m in set(sys.modules) - modules if not m.startswith("pgzoo_estimator_")}
    assert not any(m.partition(".")[0] in ("aid", "mine", "one", "two") for m in new)


@pytest.mark.usefixtures("_same_imports")
@pytest.mark.parametrize("body", [AT_THE_TOP, LATE, OF_A_PACKAGE])
@pytest.mark.parametrize("namespace", [False, True])
def test_every_file_has_the_helper_beside_it(tmp_path, body, namespace):
    agents = []
    for number in (2, 3):
        folder = tmp_path / str(number)
        if body == OF_A_PACKAGE:
            (folder / "aid").mkdir(parents=True)
            write(folder / "aid", HELPER.format(number), "deep.py")
            if not namespace:
                write(folder / "aid", "", "__init__.py")
        else:
            folder.mkdir()
            write(folder, HELPER.format(number), "aid.py")
        agents.append(agent_class(f"{write(folder, body)}:mine"))
    t = make_trajectories(LENGTHS)
    for _ in range(2):  # again, and in turns
        for number, agent in zip((2, 3), agents, strict=True):
            assert torch.equal(psi_by(agent), torch.where(t.mask, number * t.reward, 0))


@pytest.mark.usefixtures("_same_imports")
def test_a_helper_keeps_what_it_remembers(tmp_path):
    write(tmp_path, "calls = []\n", "aid.py")
    body = (
        "def mine(t):\n    import aid\n    aid.calls.append(1)\n"
        "    return t.reward * 0 + len(aid.calls)\n"
    )
    agent = agent_class(f"{write(tmp_path, body)}:mine")
    assert [psi_by(agent).max().item() for _ in range(3)] == [1, 2, 3]


@pytest.mark.usefixtures("_same_imports")
def test_a_program_that_fails_leaves_nothing_behind(tmp_path):
    write(tmp_path, "x = 1\n", "aid.py")
    path = write(tmp_path, "import aid\nraise ValueError('no')\n")
    with pytest.raises(UsageError, match=r"mine\.py:2 cannot be run: ValueError: no"):
        agent_class(f"{path}:mine")


def test_libraries_below_the_estimators_folder_stay_loaded(tmp_path):
    """As where the virtual environment is in the same folder: they belong to the whole program."""
    library = tmp_path / ".venv" / "lib"
    library.mkdir(parents=True)
    write(library, "", "a_library_for_this_test.py")
    path = write(
        tmp_path, "def mine(t):\n    import a_library_for_this_test\n    return t.reward\n"
    )
    sys.path.append(str(library))
    try:
        psi_of(path)
        assert "a_library_for_this_test" in sys.modules
    finally:
        sys.path.remove(str(library))
        sys.modules.pop("a_library_for_this_test", None)


def test_further_modules_of_a_package_that_is_in_use_stay_loaded(tmp_path, monkeypatch):
    """As where the estimator is beside the package that everyone else imports, too."""
    (tmp_path / "used_by_all").mkdir()
    write(tmp_path / "used_by_all", "", "__init__.py")
    write(tmp_path / "used_by_all", "", "part.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    import used_by_all

    path = write(tmp_path, "def mine(t):\n    import used_by_all.part\n    return t.reward\n")
    psi_of(path)
    assert sys.modules.pop("used_by_all.part") is used_by_all.part
    sys.modules.pop("used_by_all")


def test_what_is_not_finite_in_the_padding_does_not_matter():
    t = make_trajectories(LENGTHS)
    psi = torch.where(t.mask, 1.0, torch.nan)
    assert checked_psi("mine", psi, t).isfinite().all()


def with_streams(t, seeds=(3, 5), iteration=2):
    return dataclasses.replace(t, streams=Streams(seeds, iteration))


def noise(t, rng):
    return rng.randn(t.reward.shape)


def global_noise(t):
    return torch.rand(t.reward.shape) + random.random() + np.random.random()


def test_a_function_with_rng_has_numbers_of_its_replicas():
    agent = agent_class(noise).with_options()
    t = with_streams(make_trajectories(LENGTHS))
    psi = agent.psi(t, None)
    expected = Rng(t.streams).randn(t.reward.shape).double()
    assert torch.equal(psi, torch.where(t.mask, expected, 0))
    assert torch.equal(psi, agent.psi(t, None)), "the same batch twice"
    alone = of_replica(t, 1)
    alone = dataclasses.replace(alone, streams=t.streams.of([1]))
    assert torch.equal(agent.psi(alone, None), psi[1:, :, :4])
    later = agent.psi(with_streams(t, iteration=3), None)
    assert not (later == psi)[t.mask].any()


@pytest.mark.parametrize(
    "body",
    [
        "def mine(t, rng): return rng.rand(t.reward.shape)",
        "def mine(t, *, rng): return rng.rand(t.reward.shape)",
        "def mine(t, scale=1.0, rng=None): return scale * rng.rand(t.reward.shape)",
        "import functools\ndef three(t, a, rng): return a * rng.rand(t.reward.shape)\n"
        "mine = functools.partial(three, a=1)",
        "class Mine:\n    def __call__(self, t, rng): return rng.rand(t.reward.shape)\n"
        "mine = Mine()",
    ],
)
def test_ways_to_ask_for_rng(tmp_path, body):
    t = make_trajectories(LENGTHS)
    expected = Rng(Streams(range(2))).rand(t.reward.shape).double()
    assert torch.equal(psi_of(write(tmp_path, body)), torch.where(t.mask, expected, 0))


@pytest.mark.parametrize(
    "body",
    [
        "def mine(t, scale=2.0): return scale * t.reward",
        "def mine(*args, **more): return 2 * args[0].reward * (not more)",
        "def mine(rng): return 2 * rng.reward",
        "import operator\nmine = lambda t: 2 * operator.attrgetter('reward')(t)",
    ],
)
def test_functions_of_trajectories_alone(tmp_path, body):
    t = make_trajectories(LENGTHS)
    assert torch.equal(psi_of(write(tmp_path, body)), torch.where(t.mask, 2 * t.reward, 0))


@pytest.mark.parametrize("arguments", ["t, generator", "t, rng, gamma", "t, *, gamma"])
def test_other_arguments_are_refused(tmp_path, arguments):
    path = write(tmp_path, f"def mine({arguments}): return t.reward")
    with pytest.raises(UsageError, match=r"function of trajectories, or of trajectories and rng"):
        psi_of(path)


def test_global_random_numbers_begin_from_seeds_and_iteration():
    agent = agent_class(global_noise).with_options()
    t = with_streams(make_trajectories(LENGTHS))
    before = random.getstate()
    first = agent.psi(t, None)
    random.seed(4), torch.manual_seed(4), np.random.seed(4)
    assert torch.equal(agent.psi(t, None), first)
    random.setstate(before)
    for other in (with_streams(t, iteration=3), with_streams(t, (3, 6))):
        assert not (agent.psi(other, None) == first)[t.mask].any()


def test_a_program_is_run_with_the_same_random_numbers_every_time(tmp_path):
    body = "import torch\nx = torch.rand(1)\ndef mine(t): return t.reward * 0 + x"
    path = write(tmp_path, body)
    assert torch.equal(psi_of(path), psi_of(path))


class Own(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [
        *(SystemExit(0), GeneratorExit(), asyncio.CancelledError(), Own("own"), MemoryError()),
        *(RecursionError("deep"), StopIteration(), OSError(28, "No space"), UsageError("of ours")),
    ],
)
def test_whatever_is_raised_is_about_the_function(error):
    def mine(t):
        raise error

    line = inspect.getsourcelines(mine)[1] + 1
    pattern = rf"mine failed at .*test_custom\.py:{line}: {type(error).__name__}"
    with pytest.raises(UsageError, match=pattern) as found:
        psi_by(agent_class(mine))
    assert str(found.value).endswith("\n    raise error")
    assert found.value.__cause__ is error


def test_ctrl_c_is_ctrl_c():
    def mine(t):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        psi_by(agent_class(mine))


def test_an_error_of_an_object_is_placed():
    class Estimator:
        def __call__(self, t):
            return t.colour

    with pytest.raises(UsageError, match=r"test_custom\.py:\d+: Attribute[^\n]*\n    return t.co"):
        psi_by(agent_class(Estimator()))


def test_the_line_of_an_error_is_shown(tmp_path):
    path = write(tmp_path, "def mine(t):\n    return t.reward + t.colour  # red\n")
    with pytest.raises(
        UsageError, match=r"mine\.py:2: .*\n    return t\.reward \+ t\.colour  # red$"
    ):
        psi_of(path)
    path = write(tmp_path, "def mine(t):\n    return (\n", "open.py")
    with pytest.raises(
        UsageError, match=r"open\.py:2 cannot be run: SyntaxError: .*\n    return \($"
    ):
        psi_of(path)


SETTINGS = """
import torch, os, sys, warnings
torch.set_default_dtype(torch.float64)
os.chdir("/")
def mine(t):
    assert torch.ones(1).dtype == torch.float64
    assert os.getcwd() == "/"
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float16)
    sys.path.clear()
    warnings.simplefilter("error")
    return t.reward.float()
"""


@pytest.mark.usefixtures("_same_imports")
def test_a_program_keeps_its_settings_to_itself(tmp_path):
    folder = Path.cwd()
    agent = agent_class(f"{write(tmp_path, SETTINGS)}:mine")
    for _ in range(2):
        psi_by(agent)
        assert Path.cwd() == folder
        assert torch.get_default_dtype() == torch.float32
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("kind", ["folder", "pipe", "large", "binary", "latin-1", "long", "nul"])
def test_what_is_no_program(tmp_path, kind):
    path = tmp_path / "mine.py"
    message = "to be a Python file with a function mine; "
    if kind == "folder":
        path.mkdir()
        message += "it is no file"
    elif kind == "pipe":
        os.mkfifo(path)
        message += "it is no file"
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(1_000_000_000)
        message += "it has 1,000,000,000 bytes"
    elif kind in ("binary", "latin-1"):
        path.write_bytes(b"\x00\x01\xff" if kind == "binary" else "x = 'ä'".encode("latin-1"))
        message = r"mine\.py.* cannot be run: SyntaxError"
    else:
        path = Path("x" * 5_000 + ".py" if kind == "long" else "a\0b.py")
        message += "not found"
    with pytest.raises(UsageError, match=message):
        psi_of(path)


class Sneaky(torch.Tensor):
    """Says of itself what is not so."""

    @property
    def shape(self):
        return torch.Size((2, 2, 5))

    def detach(self):
        raise RuntimeError("no")

    def isfinite(self):
        return torch.tensor(True)


class Pretender:
    __class__ = torch.Tensor


def test_psi_is_what_it_is_and_not_what_it_says():
    t = make_trajectories(LENGTHS)
    with pytest.raises(UsageError, match=r"got shape \[3\]"):
        checked_psi("mine", torch.ones(3).as_subclass(Sneaky), t)
    with pytest.raises(UsageError, match="finite, got inf"):
        checked_psi("mine", (t.reward / 0).abs().as_subclass(Sneaky), t)
    found = checked_psi("mine", t.reward.as_subclass(Sneaky), t)
    assert type(found) is torch.Tensor
    with pytest.raises(UsageError, match="got Pretender"):
        checked_psi("mine", Pretender(), t)


def test_psi_has_no_graph_and_memory_of_its_own():
    t = make_trajectories(LENGTHS)
    for psi in (torch.nn.Parameter(t.reward), t.reward.clone().requires_grad_() * 2, t.reward):
        found = checked_psi("mine", psi, t)
        assert not found.requires_grad
        assert found.data_ptr() != psi.data_ptr()


@pytest.mark.parametrize(
    ("psi", "message"),
    [
        (np.ones((2, 2, 5)), "got ndarray. Convert it with torch.from_numpy"),
        (torch.ones(2, 2, 5, dtype=torch.complex64), "got torch.complex64"),
        (torch.nested.nested_tensor([torch.ones(2, 5)] * 2), "got a nested tensor"),
    ],
)
def test_other_kinds_of_numbers_are_refused(psi, message):
    with pytest.raises(UsageError, match=message):
        checked_psi("mine", psi, make_trajectories(LENGTHS))


def test_a_replica_is_named_by_its_seed():
    t = with_streams(make_trajectories(LENGTHS), (3, 77))
    psi = torch.ones(t.mask.shape)
    psi[1, 0, 1] = torch.nan
    with pytest.raises(UsageError, match="got nan at seed 77, trajectory 0, step 1"):
        checked_psi("mine", psi, t)


def test_an_estimator_may_be_what_loads_torch_first(tmp_path):
    (tmp_path / "mine.py").write_text("import torch\n\n\ndef psi(t):\n    return t.reward\n")
    program = "import sys; from pgzoo.agents import agent_class; assert 'torch' not in sys.modules"
    program += "; print(agent_class('mine.py:psi').name)"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert ran.stdout.strip().endswith("mine.py:psi")


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_the_name_of_a_file_must_be_text(tmp_path):
    (tmp_path / "m\udcff.py").write_text("def psi(t): ...")
    with pytest.raises(UsageError, match="Rename it"):
        agent_class(f"{tmp_path}/m\udcff.py:psi")
