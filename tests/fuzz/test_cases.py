"""Verdicts that compare: damage that shows in no error, options that show in nothing."""

import itertools
from pathlib import Path

import pytest

from tests.fuzz import cases, effects, readers
from tests.fuzz.child import Outcome
from tests.fuzz.damage import Damage


def ended(status=0):
    return Outcome(status, b"", b"", 0.0, False, False, 0, frozenset(), (), ())


@pytest.mark.parametrize(
    ("found", "removed", "is_wrong"),
    [
        ({"figure": 1}, False, False),
        ({"figure": 2}, False, True),
        ({"figure": None}, False, True),
        ({"figure": None}, True, False),
        ({"figure": 2}, True, True),
        ({"figure": 1, "another": 0}, False, True),
    ],
)
def test_other_figures_than_before_the_damage_are_found(monkeypatch, found, removed, is_wrong):
    reader = readers.Reader(None, lambda *_: found)
    monkeypatch.setitem(readers.READERS, "planted", reader)
    monkeypatch.setattr(cases, "_whole", lambda *_: {"figure": 1})
    done = Damage("planted", removed=removed)
    wrong = cases._undetected(None, "planted", "plain", "plain", Path(), ended(), done)
    assert bool(wrong) == is_wrong


class Anything:
    """A ground on which every command succeeds."""

    def __init__(self, status=0):
        self.status = status

    def set_up(self, words):
        return Path()

    def command(self, words, work):
        return ended(self.status)


QUESTION = effects.Question("gamma", ("run",), (("run", "a"), ("run", "b")), ("a", "b"))


@pytest.mark.parametrize(
    ("status", "seen", "kinds"),
    [
        (0, itertools.repeat({"metrics": "same"}), ["no effect"]),
        (0, ({"metrics": i} for i in itertools.count()), []),
        (2, itertools.repeat({"metrics": "same"}), []),
        (7, itertools.repeat({"metrics": "same"}), ["traceback"]),
    ],
)
def test_an_option_that_shows_in_nothing_is_found(monkeypatch, status, seen, kinds):
    monkeypatch.setattr(effects, "question", lambda _: QUESTION)
    monkeypatch.setattr(effects, "seen", lambda _: next(seen))
    assert [v.kind for v in cases.an_option(None, Anything(status)).verdicts] == kinds


def test_a_case_that_cannot_be_run_is_said(monkeypatch, tmp_path):
    (tmp_path / "library").mkdir()
    monkeypatch.setitem(cases.CASES, "lines", lambda *_: 1 / 0)
    assert [v.kind for v in cases.case(1, "lines/0", tmp_path / "library").verdicts] == ["broken"]
