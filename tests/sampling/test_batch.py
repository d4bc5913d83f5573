import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.sampling.batch import Batch, deal
from tests.helpers import make_trajectories


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(1, 5),
)
def test_every_candidate_is_dealt_once_per_epoch(lengths, parts):
    mask = (torch.arange(9) < torch.tensor(lengths)[..., None]).flatten(1)
    rngs = [np.random.default_rng(s) for s in range(len(lengths))]
    seen = torch.zeros_like(mask, dtype=torch.long)
    for index, real in deal(mask, 2, parts, rngs):
        for s in range(len(lengths)):
            seen[s] += torch.bincount(index[s][real[s]], minlength=seen.shape[1])
    assert torch.equal(seen, 2 * mask.long())


def test_a_replicas_deal_does_not_depend_on_its_company():
    mask = torch.arange(20) < torch.tensor([20, 7, 13])[:, None]
    together = deal(mask, 2, 3, [np.random.default_rng(s) for s in range(3)])
    alone = deal(mask[1:2], 2, 3, [np.random.default_rng(1)])
    for (index, real), (own, own_real) in zip(together, alone, strict=True):
        assert index[1][real[1]].tolist() == own[0][own_real[0]].tolist()


def test_rows_and_steps_are_taken_whole():
    trajectories = make_trajectories([[3, 1, 5], [2, 2, 4]])
    batch = Batch(trajectories, trajectories.reward.clone(), trajectories.log_prob.clone())
    index, real = torch.tensor([[2, 0], [1, 0]]), torch.tensor([[True, True], [True, False]])
    taken = batch.take(index, real)
    assert torch.equal(taken.psi[0], batch.psi[0, [2, 0]])
    assert torch.equal(taken.trajectories.obs[1, 0], trajectories.obs[1, 1])
    assert taken.mask.sum((1, 2)).tolist() == [8, 2], "padding rows hold no real steps"
    steps = batch.steps_as_rows()
    assert steps.mask.shape == (2, 15, 1)
    assert torch.equal(steps.psi[0, :, 0], batch.psi[0].flatten())
