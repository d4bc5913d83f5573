"""What tests of comparisons share."""

import pytest

import pgzoo
from pgzoo.learning import local
from tests.compare.comparing import here


@pytest.fixture
def small_comparisons(tmp_path, monkeypatch):
    """An empty folder, training in this process, and no figures, which take long to draw."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "train_all", here)
    monkeypatch.setattr(pgzoo.Comparison, "illustrations", lambda self: [])


@pytest.fixture
def trained(monkeypatch, small_comparisons):
    """Agents and seeds that are trained."""
    done = []

    def counting(shards, report, *, workers=None):
        done.extend((s.config.agent, seed) for s in shards if not s.complete for seed in s.part)
        here(shards, report)

    monkeypatch.setattr(local, "train_all", counting)
    return done
