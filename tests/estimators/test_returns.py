import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.estimators import episode_return, returns_to_go

T, F = True, False


def test_returns_to_go_by_hand():
    reward = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 99.0]])
    mask = torch.tensor([[T, T, T], [T, T, F]])
    expected = [[1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4], [8 + 0.5 * 16, 16, 0]]
    assert returns_to_go(reward, mask, 0.5).tolist() == expected
    assert returns_to_go(reward, mask, 1.0).tolist() == [[7, 6, 4], [24, 16, 0]]
    assert returns_to_go(reward, mask, 0.0).tolist() == [[1, 2, 4], [8, 16, 0]]


def test_episode_return_by_hand():
    reward = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 99.0]])
    mask = torch.tensor([[T, T, T], [T, T, F]])
    assert episode_return(reward, mask, 0.5).tolist() == [1 + 1 + 1, 8 + 8]
    assert episode_return(reward, mask, 1.0).tolist() == [7, 24]


@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=5),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_the_first_return_to_go_is_the_episode_return_and_padding_is_ignored(lengths, gamma, seed):
    rng = np.random.default_rng(seed)
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    reward = torch.from_numpy(rng.normal(size=mask.shape))
    to_go = returns_to_go(reward, mask, gamma)
    torch.testing.assert_close(to_go[:, 0], episode_return(reward, mask, gamma))
    spoiled = torch.where(mask, reward, torch.nan)
    torch.testing.assert_close(returns_to_go(spoiled, mask, gamma), to_go)
    torch.testing.assert_close(
        episode_return(spoiled, mask, gamma), episode_return(reward, mask, gamma)
    )


def test_leading_axes_are_free():
    reward, mask = torch.randn(2, 3, 4, 5), torch.ones(2, 3, 4, 5, dtype=torch.bool)
    whole = returns_to_go(reward, mask, 0.9)
    torch.testing.assert_close(whole[1, 2], returns_to_go(reward[1, 2], mask[1, 2], 0.9))
