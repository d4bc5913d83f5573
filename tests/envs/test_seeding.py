import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pgzoo_envs.seeding import first_random


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20))
def test_many_seeds_at_once_draw_what_numpys_generators_draw(seeds):
    expected = [np.random.default_rng(seed).random(4) for seed in seeds]
    np.testing.assert_array_equal(first_random(np.array(seeds)), expected)


def test_a_million_seeds_draw_evenly_and_without_repetition():
    drawn = first_random(np.arange(1_000_000))
    assert len(np.unique(drawn)) == drawn.size
    counts = np.histogram(drawn, bins=100, range=(0, 1))[0]
    assert abs(counts - drawn.size / 100).max() < 5 * np.sqrt(drawn.size / 100)
