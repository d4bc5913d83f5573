import pytest
import torch

from pgzoo.estimators import (
    batch_mean_baseline,
    optimal_constant_baseline,
    time_step_mean_baseline,
)

T, F = True, False
RETURNS = torch.tensor([[6.0, 4.0, 2.0], [3.0, 1.0, torch.nan]])
MASK = torch.tensor([[T, T, T], [T, T, F]])


def test_batch_mean_by_hand():
    assert batch_mean_baseline(RETURNS, MASK).tolist() == [[pytest.approx(16 / 5)]]


def test_time_step_mean_by_hand():
    assert time_step_mean_baseline(RETURNS, MASK).tolist() == [[4.5, 2.5, 2.0]]


def test_optimal_constant_by_hand():
    score = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    returns = torch.tensor([3.0, 5.0])
    got = optimal_constant_baseline(returns[:, None] * score, score)
    assert got.tolist() == [[pytest.approx((3 * 1 + 5 * 4) / (1 + 4))]]
    assert optimal_constant_baseline(score * 0, score * 0).item() == 0


def test_no_other_constant_has_less_variance():
    """Greensmith's constant minimises E‖A − bB‖², whose minimum a grid search finds too."""
    g = torch.Generator().manual_seed(0)
    score = torch.randn(400, 3, generator=g, dtype=torch.float64)
    return_score = score * (2 + torch.randn(400, 1, generator=g, dtype=torch.float64))
    best = optimal_constant_baseline(return_score, score).item()
    second_moment = [
        (return_score - b * score).square().sum().item()
        for b in torch.linspace(best - 1, best + 1, 201)
    ]
    assert min(range(201), key=second_moment.__getitem__) == 100
