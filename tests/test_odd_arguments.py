"""Whatever the public functions are given: an error that can be mended, or a result."""

import inspect
from functools import cache, partial
from importlib import import_module

import numpy as np
import pytest
import torch
from pgzoo_envs.errors import EnvError

import pgzoo
from pgzoo.errors import UsageError


class Unprintable:
    """An object that cannot be shown."""

    def __repr__(self):
        raise RuntimeError("no text")


ODD = {
    "None": lambda: None,
    "True": lambda: True,
    "a scalar of NumPy": lambda: np.float64(0.5),
    "a whole number of NumPy": lambda: np.int64(3),
    "an array of no axis": lambda: np.array(3),
    "an array": lambda: np.array([1, 2]),
    "an empty array": lambda: np.array([]),
    "a tensor": lambda: torch.tensor([1.0, 2.0]),
    "a tensor of no axis": lambda: torch.tensor(float("nan")),
    "text": lambda: "x",
    "no text": lambda: "",
    "a zero in text": lambda: "a\0b",
    "half a character": lambda: "\udcff",
    "long text": lambda: "x" * 5000,
    "bytes": lambda: b"x",
    "a half": lambda: 0.5,
    "minus one": lambda: -1,
    "zero": lambda: 0,
    "a huge number": lambda: 10**400,
    "2^63": lambda: 2**63,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "a complex number": lambda: 1j,
    "an empty list": lambda: [],
    "a list of lists": lambda: [[1]],
    "a list of nothing": lambda: [None],
    "a mapping": lambda: {"a": 1},
    "a set": lambda: {1},
    "a generator": lambda: (n for n in (1, 2)),
    "a range without end": lambda: range(10**12),
    "a slice": lambda: slice(3),
    "a class": lambda: Unprintable,
    "an object": object,
    "an unprintable object": Unprintable,
    "a list of such": lambda: [Unprintable()],
}
"""Makers, for a generator can be used once."""
SMALL = {"env": "CartPole-v1", "seeds": 1, "hidden": (4,), "diagnostics": 0, "progress": False,
         "max_episode_steps": 8}  # fmt: skip
LAB = {"env": "FrozenLake-v1", "policy": "tabular", "max_episode_steps": 3, "trajectories": 8,
       "estimates": 2, "progress": False}  # fmt: skip
FUNCTIONS = {
    "train": {"agent": "reinforce", "steps": 20, "episodes": 2, "learning_rate": 0.1, **SMALL},
    "load": {"path": "r"},
    "measure": {"estimators": ["reinforce"], "seed": 0, **LAB},
    "compare": {"agents": ["reinforce", "rloo"], "steps": 20, "reuse": [], **SMALL},
    "check": {"estimator": "reinforce", "group_size": 2},
    "doctor": {"path": "r"},
    "Run.evaluate": {"episodes": 2},
    "Run.policy": {},
    "Run.film": {"seconds": 0.1},
    "Run.plot": {},
    "Run.resume": {"progress": False},
}
"""Public functions, and arguments with which they end soon."""
NAMES = [
    (name, argument)
    for name, base in FUNCTIONS.items()
    for argument in dict.fromkeys(
        [*base, *inspect.signature(eval(f"pgzoo.{name}")).parameters, "nonsense"]
    )
    if argument not in ("self", "options", "settings")
]


@pytest.fixture(scope="module", autouse=True)
def _place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("odd"))
        patch.setattr(import_module("pgzoo.compare.api"), "_obtain", _nothing_to_train)
        pgzoo.train("reinforce", steps=20, out="r", **SMALL)
        yield


def _nothing_to_train(*_):
    """What comes after all arguments are read; its own tests are slower."""
    raise UsageError("read")


@cache
def run():
    return pgzoo.load("r")


def function_of(name):
    if name.startswith("Run."):
        return getattr(run(), name.removeprefix("Run."))
    return getattr(pgzoo, name)


@pytest.mark.parametrize(("name", "argument"), NAMES)
def test_odd_arguments_are_refused_or_used(name, argument):
    function = function_of(name)
    known = inspect.signature(function).parameters
    unknown = argument not in known and all(p.kind is not p.VAR_KEYWORD for p in known.values())
    for label, make in ODD.items():
        given = FUNCTIONS[name] | {argument: make()}
        if name == "measure" and argument == "run":
            given = {k: v for k, v in given.items() if k in ("run", "estimators", "progress")}
        if argument == "callback" and callable(given[argument]):
            continue  # what it raises is its own
        try:
            function(**given)
        except (UsageError, EnvError):
            continue
        except Exception as error:  # it is to be seen for which value
            if not (isinstance(error, TypeError) and unknown):
                pytest.fail(f"{label}: {error!r}")


def test_a_list_without_end_is_not_gone_through():
    for call in (pgzoo.measure, partial(pgzoo.compare, env="CartPole-v1")):
        given = {"env": "CartPole-v1"} if call is pgzoo.measure else {}
        with pytest.raises(UsageError, match="at most"):
            call(range(10**12), **given)
