import pytest
import torch

from pgzoo.learning.adam import adam_descent, adam_init, clip_rows


def test_equals_torch_row_by_row():
    torch.manual_seed(0)
    params = torch.randn(3, 5)
    rates = [1e-3, 1e-2, 0.1]
    theirs = [params[s].clone().requires_grad_() for s in range(3)]
    optimizers = [torch.optim.Adam([p], lr=r) for p, r in zip(theirs, rates, strict=True)]
    state = adam_init(params)
    for _ in range(20):
        gradient = torch.randn(3, 5)
        params, state = adam_descent(params, gradient, state, torch.tensor(rates)[:, None])
        for p, o, g in zip(theirs, optimizers, gradient, strict=True):
            p.grad = g
            o.step()
    torch.testing.assert_close(params, torch.stack([p.detach() for p in theirs]))


def test_clip_rows():
    gradient = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    clipped, norm = clip_rows(gradient, 1.0)
    assert norm.tolist() == pytest.approx([5.0, 0.5])
    torch.testing.assert_close(clipped, torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    assert torch.equal(clip_rows(gradient, 0)[0], gradient)
    assert torch.equal(clip_rows(gradient * 0, 1.0)[0], gradient * 0)
