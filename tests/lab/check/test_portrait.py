import torch

from pgzoo.lab.check import check_problems, portrait
from tests.lab.check import estimators as e

PROBLEM = check_problems(4)[0]


def drawn(psi):
    return portrait(psi, PROBLEM, seed=0)


def test_weights_of_its_own_rewards_by_hand():
    p = drawn(e.reward_to_go)
    longest = p.own[p.lengths.argmax()]
    torch.testing.assert_close(longest, torch.ones(5, 5).double().triu(), atol=1e-3, rtol=0)
    assert p.is_linear
    assert p.is_homogeneous
    assert [p.rewards_count(where) for where in p.relation] == [False, True, True, False, False]


def test_the_others_rewards():
    p = drawn(e.rloo)
    assert p.rewards_count("own_past", "group")
    assert not p.rewards_count("elsewhere")
    of_another = p.slopes[0, 0, 1, 0]
    torch.testing.assert_close(of_another.item(), -1 / 3, atol=1e-3, rtol=0)
    assert drawn(e.mean_of_another_group).rewards_count("elsewhere")


def test_what_is_not_linear():
    assert not drawn(e.median_of_the_others).is_linear
    assert drawn(e.median_of_the_others).is_homogeneous
    assert not drawn(e.group_standardised).is_homogeneous
    assert drawn(e.some_constant).is_linear
    assert not drawn(e.some_constant).is_homogeneous


def test_actions_states_log_probs_and_lengths():
    def reads(psi):
        p = drawn(psi)
        return (
            p.depends_on(p.action, p.relation["own_now"]),
            p.depends_on(p.state, p.relation["own_now"]),
            p.depends_on(p.state, p.relation["own_future"]),
            p.depends_on(p.log_prob, p.relation["own_now"]),
            bool(p.without_last.abs().max() > 0.1),
        )

    assert reads(e.reward_to_go) == (False, False, False, False, False)
    assert reads(e.one_action_alone) == (True, False, False, False, False)
    assert reads(e.by_state) == (False, True, False, False, False)
    assert reads(e.by_the_next_state) == (False, False, True, False, False)
    assert reads(e.entropy_bonus) == (False, False, False, True, False)
    assert reads(e.by_its_length) == (False, False, False, False, True)
