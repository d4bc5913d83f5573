"""What a function draws belongs to the replicas, row by row."""

import pytest
import torch

from pgzoo.errors import UsageError
from pgzoo.sampling.rng import Rng
from pgzoo.sampling.seeding import Streams

SEEDS = (3, 5, (7, 1))
DRAWS = {
    "rand": lambda rng, *shape: rng.rand(*shape),
    "randn": lambda rng, *shape: rng.randn(*shape),
    "randint": lambda rng, *shape: rng.randint(10, *shape),
}


def rng(*seeds, iteration=2):
    return Rng(Streams(seeds or SEEDS, iteration))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_row_does_not_depend_on_company_or_padding(draw):
    together, alone = rng(), rng(SEEDS[1])
    for steps in (6, 3):  # the second call does not depend on how much the first one drew
        expected = draw(together, 3, 4, 6)
        assert torch.equal(draw(alone, 1, 4, steps)[0], expected[1, :, :steps])


def test_permutations_are_those_of_a_replica():
    together = rng().randperm(50)
    assert torch.equal(together.sort(-1).values, torch.arange(50).expand(3, -1))
    assert torch.equal(rng(SEEDS[2]).randperm(50)[0], together[2])
    assert not torch.equal(together[0], together[1])


def test_calls_iterations_and_seeds_have_other_numbers():
    first, second = rng(), rng()
    x = first.rand(3, 100)
    assert torch.equal(x, second.rand((3, 100))), "equal batches, equal numbers"
    others = [first.rand(3, 100), rng(iteration=3).rand(3, 100), x.roll(1, 0)]
    for other in others:
        assert not (x == other).any()


def test_they_are_of_the_distributions_they_are_called_by():
    x = rng().randn(torch.Size((3, 40_000)))
    assert x.dtype == torch.float32
    assert x.mean(-1).abs().max() < 0.03
    assert (x.var(-1) - 1).abs().max() < 0.05
    u = rng().rand(3, 40_000)
    assert 0 <= u.min() < u.max() < 1
    assert (u.mean(-1) - 0.5).abs().max() < 0.02
    assert rng().randint(3, 3, 1000).unique().tolist() == [0, 1, 2]
    assert rng().rand(3).shape == (3,)


@pytest.mark.parametrize("shape", [(), (2,), (4, 3), ((),)])
def test_the_first_axis_is_that_of_the_replicas(shape):
    with pytest.raises(UsageError, match=r"first axis is that of the 3 replicas.*got \["):
        rng().rand(*shape)
