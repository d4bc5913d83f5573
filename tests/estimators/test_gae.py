import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.estimators import gae, returns_to_go, td_errors

T, F = True, False
# Two episodes in a row of six: a terminal state at step 1, the masked reset at step 2, a time limit
# at step 4, and a masked reset again.
REWARD = torch.tensor([[1.0, 2.0, 99.0, 4.0, 8.0, 99.0]])
VALUE = torch.tensor([[0.5, 1.0, 99.0, 2.0, 3.0, 99.0]])
NEXT = torch.tensor([[1.0, 77.0, 99.0, 3.0, 5.0, 99.0]])
TERMINATED = torch.tensor([[F, T, F, F, F, F]])
TRUNCATED = torch.tensor([[F, F, F, F, T, F]])
MASK = torch.tensor([[T, T, F, T, T, F]])


def test_td_errors_by_hand():
    got = td_errors(REWARD, VALUE, NEXT, TERMINATED, MASK, 0.5)
    # a terminal state is worth nothing; a truncated one what the critic says
    assert got.tolist() == [[1 + 0.5 - 0.5, 2 - 1, 0, 4 + 1.5 - 2, 8 + 2.5 - 3, 0]]


def test_gae_by_hand():
    got = gae(REWARD, VALUE, NEXT, TERMINATED, TRUNCATED, MASK, 0.5, 0.5)
    assert got.tolist() == [[1 + 0.25 * 1, 1, 0, 3.5 + 0.25 * 7.5, 7.5, 0]]


def random_rows(seed, rows=3, length=12):
    """Rows of several episodes, with terminations, time limits and masked resets."""
    rng = np.random.default_rng(seed)
    shape = (rows, length)
    reward, value, following = (torch.from_numpy(rng.normal(size=shape)) for _ in range(3))
    terminated, truncated, mask = (torch.zeros(shape, dtype=torch.bool) for _ in range(3))
    for row in range(rows):
        after_end = False
        for t in range(length):
            mask[row, t] = not after_end
            ends = not after_end and rng.random() < 0.3
            terminated[row, t] = ends and rng.random() < 0.5
            truncated[row, t] = ends and not terminated[row, t]
            after_end = ends
            if not after_end and mask[row, t] and t + 1 < length:
                following[row, t] = value[row, t + 1]
    return reward, value, following, terminated, truncated, mask


def advantage_by_definition(reward, value, following, terminated, truncated, mask, gamma, lam):
    delta = td_errors(reward, value, following, terminated, mask, gamma)
    out = torch.zeros_like(delta)
    for row in range(delta.shape[0]):
        for t in range(delta.shape[1]):
            factor = 1.0
            for k in range(t, delta.shape[1]):
                if not mask[row, k]:
                    break
                out[row, t] += factor * delta[row, k]
                if terminated[row, k] or truncated[row, k]:
                    break
                factor *= gamma * lam
    return out


@given(st.integers(0, 500), st.floats(0, 1), st.floats(0, 1))
def test_gae_equals_its_definition_episode_by_episode(seed, gamma, lam):
    rows = random_rows(seed)
    torch.testing.assert_close(gae(*rows, gamma, lam), advantage_by_definition(*rows, gamma, lam))


@given(st.integers(0, 500), st.floats(0, 1))
def test_lambda_0_is_the_td_error(seed, gamma):
    reward, value, following, terminated, truncated, mask = random_rows(seed)
    torch.testing.assert_close(
        gae(reward, value, following, terminated, truncated, mask, gamma, 0.0),
        td_errors(reward, value, following, terminated, mask, gamma),
    )


@given(st.integers(0, 500), st.floats(0, 1))
def test_lambda_1_is_the_return_minus_v_with_the_critic_standing_in_where_rows_are_cut(seed, gamma):
    reward, value, following, terminated, truncated, mask = random_rows(seed)
    got = gae(reward, value, following, terminated, truncated, mask, gamma, 1.0)
    for row in range(mask.shape[0]):
        start = 0
        for t in range(mask.shape[1]):
            if not mask[row, t]:
                start = t + 1
                continue
            if terminated[row, t] or truncated[row, t] or t + 1 == mask.shape[1]:
                span = slice(start, t + 1)
                rewards = reward[row, span].clone()
                if not terminated[row, t]:
                    rewards[-1] += gamma * following[row, t]
                returns = returns_to_go(rewards[None], torch.ones(1, len(rewards)).bool(), gamma)
                torch.testing.assert_close(got[row, span], returns[0] - value[row, span])


@given(st.integers(0, 500))
def test_masked_content_changes_nothing(seed):
    reward, value, following, terminated, truncated, mask = random_rows(seed)
    spoiled = [torch.where(mask, x, torch.nan) for x in (reward, value, following)]
    flags = [x | ~mask for x in (terminated, truncated)]
    torch.testing.assert_close(
        gae(*spoiled, *flags, mask, 0.9, 0.8),
        gae(reward, value, following, terminated, truncated, mask, 0.9, 0.8),
    )


def test_leading_axes_are_free():
    rows = [x.view(1, 1, *x.shape).expand(2, 3, *x.shape) for x in random_rows(0)]
    got = gae(*rows, 0.9, 0.8)
    assert got.shape == (2, 3, 3, 12)
    torch.testing.assert_close(got[1, 2], gae(*random_rows(0), 0.9, 0.8))
    assert got[0, 0].sum().item() == pytest.approx(got[1, 1].sum().item())
