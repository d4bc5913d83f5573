import pytest
import torch

from pgzoo.agents import agent_class
from pgzoo.agents.custom import checked_psi
from pgzoo.errors import UsageError
from tests.helpers import make_trajectories

LENGTHS = [[3, 5], [4, 2]]


def write(tmp_path, body, name="mine.py"):
    path = tmp_path / name
    path.write_text(body)
    return path


def psi_of(path, function="mine"):
    return agent_class(f"{path}:{function}")().psi(make_trajectories(LENGTHS), None)


def test_the_function_is_asked_and_padding_is_zero(tmp_path):
    path = write(tmp_path, "def mine(t):\n    return 2 * t.reward\n")
    t = make_trajectories(LENGTHS)
    expected = torch.where(t.mask, 2 * t.reward, 0)
    assert torch.equal(psi_of(path), expected)


def test_options_are_those_of_groups(tmp_path):
    path = write(tmp_path, "def mine(t):\n    return t.reward\n")
    agent = agent_class(f"{path}:mine")(episodes=8, group_size=4)
    assert (agent.num_rows, agent.rollouts_per_start, agent.plan) == (8, 4, "episodes")
    with pytest.raises(UsageError, match="to divide --episodes"):
        agent_class(f"{path}:mine")(episodes=8, group_size=3)


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


def test_what_is_not_finite_in_the_padding_does_not_matter():
    t = make_trajectories(LENGTHS)
    psi = torch.where(t.mask, 1.0, torch.nan)
    assert checked_psi("mine", psi, t).isfinite().all()
