"""What a user's program changes of the process ends with it."""

import os
import random
import signal
import sys
import warnings

import numpy as np
import pytest
import torch

from pgzoo.agents import guard

CHANGES = {
    "folder": lambda: os.chdir("/"),
    "streams": lambda: setattr(sys, "stdout", None),
    "path": lambda: sys.path.insert(0, "/nowhere"),
    "recursion limit": lambda: sys.setrecursionlimit(5_000),
    "warnings": lambda: warnings.simplefilter("ignore"),
    "signals": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    "numpy errors": lambda: np.seterr(all="ignore"),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "threads": lambda: torch.set_num_threads(3),
    "deterministic": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
}


def state():
    return {name: read() for name, (read, _) in guard._settings().items()}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_taken_back_and_told(name):
    before = state()
    with guard.restored() as changed:
        CHANGES[name]()
    assert state() == before
    assert name in changed


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_its_own_hold_inside(name):
    with guard.restored() as own:
        CHANGES[name]()
    before = state()
    with guard.restored(own):
        inside = state()
        own_again = {k: inside[k] for k in inside if inside[k] != before[k]}
    assert own_again == own
    assert state() == before


def test_they_are_taken_back_after_an_error():
    def fail():
        torch.set_grad_enabled(False)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), guard.restored():
        fail()
    assert torch.is_grad_enabled()


def test_a_folder_that_is_gone_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with guard.restored():
        os.chdir("/")
    with guard.restored({"folder": str(tmp_path / "gone")}):
        pass


def test_warnings_that_were_shown_once_are_not_shown_again():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(3):
            with guard.restored(), guard.seeded(0):
                warnings.warn("again and again", stacklevel=1)
    assert len(shown) == 1


def draws():
    return random.random(), np.random.standard_normal(), torch.rand(1).item()


def test_global_random_numbers_repeat_and_go_on():
    np.random.standard_normal()  # of every two, one is kept back
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    first = draws()
    second = draws()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    assert draws() == first
    with guard.seeded(1):
        inside = draws()
    assert draws() == second, "as if nothing had been drawn"
    with guard.seeded(1):
        assert draws() == inside
    with guard.seeded(2):
        assert not set(draws()) & set(inside)


def test_of_two_seeds_both_count():
    found = []
    for outer, inner in ((0, 0), (0, 1), (1, 0), (0, 0)):
        with guard.seeded(outer), guard.seeded(inner):
            found.append(draws())
    assert found[0] == found[3]
    assert len(set(found)) == 3


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no")


class NoTextError(Exception):
    def __str__(self):
        return 3


class RecursiveError(Exception):
    def __str__(self):
        return str(self)


class Exits(BaseException):
    def __str__(self):
        sys.exit(3)


class Nameless(type):
    @property
    def __name__(cls):
        raise RuntimeError("no")


class NamelessError(Exception, metaclass=Nameless):
    pass


class LyingText(str):
    def __getitem__(self, key):
        raise RuntimeError("no")

    def __iter__(self):
        raise RuntimeError("no")


class LyingError(Exception):
    def __str__(self):
        return LyingText("text")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("plain"), "ValueError: plain"),
        (ValueError("two\nlines"), "ValueError: two\nlines"),
        (ValueError("\x1b[2J\x07 red `steps`"), "ValueError: \\x1b[2J\\x07 red 'steps'"),
        (ValueError("x" * 10_000_000), "ValueError: " + 2_000 * "x" + "… (10,000,000 characters)"),
        (UnprintableError(), "UnprintableError: (its text cannot be had)"),
        (NoTextError(), "NoTextError: (its text cannot be had)"),
        (RecursiveError(), "RecursiveError: (its text cannot be had)"),
        (Exits(), "Exits: (its text cannot be had)"),
        (NamelessError("x"), "NamelessError: x"),
        (LyingError(), "LyingError: text"),
        (KeyError("key"), "KeyError: 'key'"),
    ],
)
def test_exceptions_in_words(error, expected):
    assert guard.in_words(error) == expected
