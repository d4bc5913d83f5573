import dataclasses

import pytest
import torch

from pgzoo.errors import UsageError
from pgzoo.lab.check import check_problems, probes
from tests.lab.check import estimators as e

PROBLEM = check_problems(4)[0]
T, OTHER = PROBLEM.draw(3, seed=0), PROBLEM.draw(3, seed=1)


def test_padding():
    assert probes.padding(e.reward_to_go, T) < 1e-5
    assert probes.padding(e.no_mask, T) > 1
    assert probes.padding(e.remaining_steps, T) > 0.1
    assert probes.padding(e.reward_to_go, T, nan=True) < 1e-5


def test_padding_that_is_multiplied_by_zero():
    def product(t):
        return (t.reward * t.mask).sum(-1, keepdim=True).expand(t.mask.shape)

    assert probes.padding(product, T) < 1e-5
    with pytest.raises(UsageError, match="finite"):
        probes.padding(product, T, nan=True)


def test_earlier_calls_and_randomness():
    assert probes.earlier_calls(e.reward_to_go, T, OTHER) == 0
    assert probes.earlier_calls(e.running_mean(), T, OTHER) > 0.01
    assert probes.earlier_calls(e.noise, T, OTHER) == 0
    assert probes.randomness(e.noise, T) > 0.1
    assert probes.randomness(e.numpy_noise, T) > 0.01


def test_global_random_numbers_stay_as_they_were():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    probes.randomness(e.reward_to_go, T)
    assert torch.equal(torch.rand(3), expected)


def test_company():
    assert probes.company(e.rloo, T) < 1e-5
    assert probes.company(e.mean_of_the_replicas, T) > 0.01


def test_written_arguments():
    assert probes.written_arguments(e.reward_to_go, T) == ()
    assert probes.written_arguments(e.in_place, T) == ("reward",)
    assert probes.written_arguments(e.writes_the_mask, T) == ("mask",)


def test_order_of_rows():
    assert probes.order_of_rows(e.rloo, T) < 1e-5
    assert probes.order_of_rows(e.neighbour, T) > 0.1


def test_the_trajectories_stay_as_they_are():
    before = dataclasses.replace(T, reward=T.reward.clone())
    probes.psi_of(e.in_place, T)
    probes.padding(e.in_place, T)
    assert torch.equal(before.reward, T.reward)
