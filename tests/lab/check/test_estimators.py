"""Every right estimator passes, and every wrong one is named by its mistake."""

import pytest

import pgzoo
from tests.lab.check.estimators import RIGHT, WRONG, make


def checked(name):
    function, options = make(name)
    return pgzoo.check(function, seed=100, **options)


@pytest.mark.parametrize("name", RIGHT)
def test_right(name):
    found = checked(name)
    assert found.passed, found
    assert found.mistakes == ()


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name):
    found = checked(name)
    assert found.verdict in ("wrong", "rescaled"), found
    assert WRONG[name][2] <= set(found.mistakes), found


def test_how_many():
    assert len(RIGHT) >= 15
    assert len(WRONG) >= 30
