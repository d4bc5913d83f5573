"""Random masks, padding that holds anything, and what counts of an answer."""

import numpy as np
import pytest
import torch

from pgzoo.course.expect import Wrong
from pgzoo.course.padding import mask_of, on_real_steps, ragged, real_steps_of, with_padding

T, F = True, False


def test_a_mask_has_as_many_steps_as_the_longest_row():
    assert mask_of([[2, 3, 1]]).tolist() == [[[T, T, F], [T, T, T], [T, F, F]]]


def test_random_rows_begin_with_a_full_one_and_are_never_empty():
    mask = ragged(torch.Generator().manual_seed(0), 50, 4, steps=5)
    lengths = mask.sum(-1)
    assert (lengths[:, 0] == 5).all()
    assert set(lengths[:, 1:].flatten().tolist()) == {1, 2, 3, 4}
    assert (mask.int().diff(dim=-1) <= 0).all()


def test_a_filler_stands_where_the_mask_is_false():
    mask = mask_of([[1, 2]])
    assert with_padding(torch.ones(1, 2, 2), mask, 7.0).tolist() == [[[1, 7], [1, 1]]]
    assert with_padding(torch.ones(1, 2, 2, 3), mask).isnan().sum() == 3


def test_padding_does_not_count():
    mask = mask_of([[1, 2]])
    value = with_padding(torch.ones(1, 2, 2), mask)
    assert on_real_steps(value, mask).tolist() == [[[1, 0], [1, 1]]]
    assert real_steps_of(1)(lambda x, m: np.asarray(x), value, mask).sum() == 3
    with pytest.raises(Wrong, match=r"shape \[1, 2, 2\], got \[2\]"):
        on_real_steps(torch.ones(2), mask)
