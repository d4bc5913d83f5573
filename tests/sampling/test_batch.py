"""What is dealt out to minibatches, and what a minibatch is of its batch."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.sampling.batch import Batch, deal, of_actions
from tests.helpers import make_trajectories

LENGTHS = st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=4)


def make_batch(lengths):
    t = make_trajectories(lengths)
    weight = torch.where(t.mask, t.reward.abs(), 0)
    return Batch(t, t.reward.clone(), weight, t.log_prob - 1)


def generators(count, first=0):
    return [np.random.default_rng(first + s) for s in range(count)]


@given(LENGTHS, st.integers(1, 5))
def test_every_candidate_is_dealt_once_per_epoch_in_parts_of_nearly_one_size(lengths, parts):
    mask = (torch.arange(9) < torch.tensor(lengths)[..., None]).flatten(1)
    hands = list(deal(mask, 2, parts, generators(len(lengths))))
    assert len(hands) == 2 * parts
    for s, candidates in enumerate(mask.sum(1).tolist()):
        for epoch in (hands[:parts], hands[parts:]):
            dealt = [index[s][real[s]] for index, real in epoch]
            assert sorted(torch.cat(dealt).tolist()) == mask[s].nonzero().flatten().tolist()
            assert {len(d) for d in dealt} <= {candidates // parts, -(-candidates // parts)}


def test_a_replicas_deal_does_not_depend_on_its_company():
    mask = torch.arange(20) < torch.tensor([20, 7, 13])[:, None]
    together = deal(mask, 2, 3, generators(3))
    alone = deal(mask[1:2, :7], 2, 3, generators(1, first=1))
    for (index, real), (own, own_real) in zip(together, alone, strict=True):
        assert index[1][real[1]].tolist() == own[0][own_real[0]].tolist()


def test_a_replica_with_few_candidates_has_its_parts_at_the_same_turns_as_alone():
    """Parts that are empty for it are dealt all the same."""
    mask = torch.arange(9) < torch.tensor([9, 2, 0])[:, None]
    sizes = [real.sum(1).tolist() for _, real in deal(mask, 1, 3, generators(3))]
    assert sizes == [[3, 1, 0], [3, 1, 0], [3, 0, 0]]
    alone = [real.sum(1).tolist() for _, real in deal(mask[1:2], 1, 3, generators(1, first=1))]
    assert alone == [[1], [1], [0]]


def test_rows_and_steps_are_taken_whole():
    batch = make_batch([[3, 1, 5], [2, 2, 4]])
    index, real = torch.tensor([[2, 0], [1, 0]]), torch.tensor([[True, True], [True, False]])
    taken = batch.take(index, real)
    assert torch.equal(taken.psi[0], batch.psi[0, [2, 0]])
    assert torch.equal(taken.old_log_prob[0], batch.old_log_prob[0, [2, 0]])
    assert torch.equal(taken.reference_log_prob[0], batch.reference_log_prob[0, [2, 0]])
    assert torch.equal(taken.trajectories.obs[1, 0], batch.trajectories.obs[1, 1])
    assert taken.mask.sum((1, 2)).tolist() == [8, 2], "padding rows hold no real steps"
    steps = batch.steps_as_rows()
    assert steps.mask.shape == (2, 15, 1)
    for figure in ("psi", "weight", "action", "reference_log_prob"):
        assert torch.equal(getattr(steps, figure)[..., 0], getattr(batch, figure).flatten(1))


def test_a_minibatch_weighs_for_the_rows_that_it_stands_for():
    """Two of three rows count for three; padding counts for nothing, in the batch as in a part."""
    batch = make_batch([[3, 1, 5, 0], [2, 2, 4, 1]])
    index = torch.tensor([[2, 0], [1, 0]])
    taken = batch.take(index, torch.tensor([[True, True], [True, False]]))
    torch.testing.assert_close(taken.weight[0], batch.weight[0, [2, 0]] * 3 / 2)
    torch.testing.assert_close(taken.weight[1, 0], batch.weight[1, 1] * 4)
    assert not taken.weight[1, 1].any()


@given(LENGTHS.filter(lambda rows: max(map(max, rows)) > 0), st.integers(1, 3), st.booleans())
def test_equal_parts_average_to_the_batch(lengths, parts, by_step):
    """Whatever the company; where a replica's parts are not equal, each is unbiased for it."""
    batch = make_batch(lengths)
    rows = batch.steps_as_rows() if by_step else batch
    totals, sizes = [], []
    for index, real in deal(rows.mask.any(-1), 1, parts, generators(len(lengths))):
        taken = rows.take(index, real)
        totals.append((taken.weight * taken.psi).sum((1, 2)))
        sizes.append(real.sum(1))
    size = torch.stack(sizes)
    mean = (torch.stack(totals) * size).sum(0) / size.sum(0).clamp(min=1)
    close = {"rtol": 1e-5, "atol": 1e-5}  # a replica's share is in float32
    torch.testing.assert_close(mean, (batch.weight * batch.psi).sum((1, 2)), **close)
    equal = (size == size[0]).all(0)
    torch.testing.assert_close(torch.stack(totals).mean(0)[equal], mean[equal], **close)


def test_figures_of_the_actions_taken():
    figures = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert of_actions(figures, torch.tensor([2, 0])).tolist() == [3, 4]
