"""What networks say of a batch, each asked once."""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field

import pytest
import torch

from pgzoo.agents import AGENTS
from pgzoo.learning.gradients import gradient_estimates, weigh
from pgzoo.policies.model import Model, apply_where, entropy, value_of_action
from pgzoo.policies.networks import MLP
from pgzoo.sampling.batch import of_actions
from tests.helpers import (
    CRITICS,
    POLICY,
    make_model,
    make_segments,
    make_trajectories,
    random_parameters,
    small,
)

THETA = random_parameters(POLICY)
BATCH = make_trajectories([[3, 1, 5, 2], [2, 2, 4, 1]])


@dataclass(frozen=True)
class Counted:
    """A network that counts how often it is asked."""

    network: MLP
    asked: Counter = field(default_factory=Counter)

    @property
    def num_params(self):
        return self.network.num_params

    def apply(self, theta, obs):
        self.asked["apply"] += 1
        return self.network.apply(theta, obs)

    def linearize(self, theta, obs):
        self.asked["linearize"] += 1
        return self.network.linearize(theta, obs)


def counted(model):
    critic = model.critic_network and Counted(model.critic_network)
    return dataclasses.replace(model, policy=Counted(model.policy), critic_network=critic)


@pytest.mark.parametrize("batch", [BATCH, make_segments([[[2], []], [[0, 3], [5]]])])
def test_apply_where_equals_apply_on_real_steps_and_ignores_padding(batch):
    want = POLICY.apply(THETA, batch.obs) * batch.mask[..., None]
    torch.testing.assert_close(apply_where(POLICY, THETA, batch.obs, batch.mask), want)
    spoiled = torch.where(batch.mask[..., None], batch.obs, torch.nan)
    torch.testing.assert_close(apply_where(POLICY, THETA, spoiled, batch.mask), want)


def test_every_network_is_applied_once_however_much_is_asked():
    agent = small("all-actions")
    model = counted(make_model(agent, reference=True))
    outputs = model.on(BATCH)
    assert not model.policy.asked
    for _ in range(3):
        outputs.log_probs, outputs.values, outputs.next_values, outputs.critic  # noqa: B018
    assert (model.policy.asked, model.critic_network.asked) == ({"apply": 1}, {"apply": 1})
    for _ in range(3):
        outputs.reference_log_prob  # noqa: B018
    assert model.policy.asked == {"apply": 2}, "once with each of two sets of parameters"


def test_log_probabilities_come_with_the_score_functions():
    model = counted(make_model())
    outputs = model.on(BATCH)
    for _ in range(3):
        outputs.scores, outputs.log_probs  # noqa: B018
    assert model.policy.asked == {"linearize": 2}, "once for each replica"
    torch.testing.assert_close(outputs.log_probs[BATCH.mask], model.on(BATCH).log_probs[BATCH.mask])


def test_answers_belong_to_their_batch_and_parameters():
    model = make_model()
    first = model.on(BATCH).log_probs
    others = make_trajectories([[5, 5, 5], [5, 5, 5]], seed=1)
    want = POLICY.apply(model.theta, others.obs).log_softmax(-1)
    torch.testing.assert_close(model.on(others).log_probs, want)
    moved = dataclasses.replace(model, theta=2 * model.theta)
    assert not torch.allclose(moved.on(BATCH).log_probs, first)


def test_another_critic_beside_the_same_policy_shares_its_answers():
    model = counted(make_model(small("ppo"), reference=True))
    outputs = model.on(BATCH)
    outputs.log_probs  # noqa: B018
    phi = random_parameters(CRITICS["action"], seed=7)
    other = outputs.with_critic(CRITICS["action"], phi)
    alone = Model(POLICY, model.theta, CRITICS["action"], phi, model.reference).on(BATCH)
    assert torch.equal(other.values, alone.values)
    assert torch.equal(other.next_values, alone.next_values)
    assert not torch.equal(other.values, outputs.values)
    assert other.scores is outputs.scores
    assert model.policy.asked["apply"] == 1
    assert torch.equal(other.reference_log_prob, alone.reference_log_prob)
    with pytest.raises(ValueError, match="no critic"):
        make_model().on(BATCH).values  # noqa: B018


@pytest.mark.parametrize("name", AGENTS)
def test_psi_asks_no_network_twice(name):
    agent = small(name)
    model = counted(make_model(agent))
    outputs = model.on(BATCH)
    weigh(agent, outputs)
    weigh(agent, outputs)
    if agent.critic is not None:
        agent.critic.target(BATCH, outputs, 0.9)
        assert model.critic_network.asked == {"apply": 1}
    assert model.policy.asked["apply"] <= 1


def test_many_estimators_share_one_pass():
    model = counted(make_model())
    outputs = model.on(BATCH)
    agents = [small(n) for n in ("reinforce", "rloo", "grpo", "reinforce++")]
    gradient_estimates([(a, outputs) for a in agents])
    assert model.policy.asked == {"linearize": 2}


@pytest.mark.parametrize("of", ["state", "action"])
@pytest.mark.parametrize("batch", [BATCH, make_segments([[[2], []], [[0, 3], [5]]])])
def test_values_before_and_after_every_step(of, batch):
    """Also where an episode ends, and V of a critic for every action is its expectation."""
    mask, critic = batch.mask, CRITICS[of]
    phi = random_parameters(critic, seed=2)

    def value(obs):
        outputs = critic.apply(phi, obs)
        if of == "state":
            return outputs.squeeze(-1)
        return (POLICY.apply(THETA, obs).softmax(-1) * outputs).sum(-1)

    outputs = Model(POLICY, THETA, critic, phi).on(batch)
    torch.testing.assert_close(outputs.values[mask], value(batch.obs)[mask])
    torch.testing.assert_close(outputs.next_values[mask], value(batch.next_obs)[mask])
    torch.testing.assert_close(outputs.critic[mask], critic.apply(phi, batch.obs)[mask])


def test_the_reference_is_asked_for_the_actions_taken():
    model = make_model(reference=True)
    log_probs = POLICY.apply(model.reference, BATCH.obs).log_softmax(-1)
    want = of_actions(log_probs, BATCH.action)
    torch.testing.assert_close(model.on(BATCH).reference_log_prob[BATCH.mask], want[BATCH.mask])
    with pytest.raises(ValueError, match="no reference"):
        make_model().on(BATCH).reference_log_prob  # noqa: B018


def test_value_of_action_by_hand():
    action = torch.tensor([1, 0])
    assert value_of_action(torch.tensor([[3.0], [4.0]]), action).tolist() == [3, 4]
    assert value_of_action(torch.tensor([[3.0, 5.0], [4.0, 6.0]]), action).tolist() == [5, 4]


def test_entropy_of_known_distributions():
    logits = torch.tensor([[0.0, 0.0], [0.0, 100.0]])
    torch.testing.assert_close(entropy(logits.log_softmax(-1)), torch.tensor([2.0, 1.0]).log())
