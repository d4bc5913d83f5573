"""An agent is its five values: no result depends on the order in which they are named."""

import dataclasses
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import pgzoo
from pgzoo.agents import AGENTS, Agent
from pgzoo.agents.base import at_every_step
from pgzoo.agents.critics import BootstrappedCritic, Critic
from pgzoo.agents.penalties import ReferenceKL
from pgzoo.agents.surrogates import ClippedRatio, ExpectedGradient, ScoreFunction
from pgzoo.estimators import group_center, kl_estimate
from pgzoo.learning.gradients import policy_gradient, weigh
from pgzoo.options import flat, option, options_of
from pgzoo.sampling.batch import of_actions
from pgzoo.sampling.plan import Groups
from tests.helpers import POLICY, make_model, make_trajectories

BATCH = make_trajectories([[3, 1, 5, 2], [2, 2, 4, 1]])
KL = {"reference": "somewhere", "kl_coef": 0.3}
PARTS = {
    "plan": (Groups, Groups(episodes=4, group_size=2)),
    "surrogate": (ClippedRatio, ClippedRatio(clip=0.3)),
    "critic": (Critic, Critic(of="state")),
    "penalty": (ReferenceKL, ReferenceKL(kl_placement="loss", **KL)),
    "half": (bool, option(False, "halve Ψ", estimate=True)),
}


class CentredReturns(Agent):
    def psi(self, t, outputs):
        psi = group_center(self.episode_return(t, outputs), self.plan.group_size)
        return at_every_step(psi / 2 if self.half else psi, t)


def composed(names, base=CentredReturns, bases=()):
    """A user's agent whose fields stand in the given order."""
    fields = [(n, *PARTS[n]) for n in names]
    return dataclasses.make_dataclass(
        "Composed", fields, bases=(*bases, base), frozen=True, kw_only=True
    )


def gradient_of(agent, reference=True):
    model = make_model(agent, reference=reference)
    batch, _ = weigh(agent, model.on(BATCH))
    return policy_gradient(agent, model, batch)[0]


def test_the_order_of_fields_changes_nothing():
    orders = list(itertools.permutations(PARTS))[::17]
    assert len(orders) > 5
    agents = [composed(names).with_options(half=True) for names in orders]
    first = gradient_of(agents[0])
    for agent in agents:
        assert torch.equal(gradient_of(agent), first)
        assert flat(agent) == flat(agents[0])


def test_the_order_of_base_classes_changes_nothing():
    mixins = [
        dataclasses.make_dataclass(f"With{n}", [(n, *PARTS[n])], frozen=True, kw_only=True)
        for n in PARTS
    ]
    agents = [
        dataclasses.make_dataclass(
            "Composed", [], bases=(*bases, CentredReturns), frozen=True, kw_only=True
        ).with_options(half=True)
        for bases in itertools.islice(itertools.permutations(mixins), 0, None, 17)
    ]
    want = gradient_of(composed(PARTS).with_options(half=True))
    for agent in agents:
        assert torch.equal(gradient_of(agent), want)


def test_a_chosen_part_may_stand_before_the_option_that_chooses_it():
    baseline = AGENTS["reinforce-baseline"].agent
    names = [f.name for f in dataclasses.fields(baseline)]
    assert names.index("critic") < names.index("baseline")
    every = AGENTS["all-actions"].agent
    names = [f.name for f in dataclasses.fields(every)]
    assert names.index("plan") < names.index("sampling")
    assert every.with_options(sampling="episodes", episodes=3).plan.num_rows == 3


def surrogate_gradient(surrogate, placement):
    """Of REINFORCE with a surrogate and a penalty, at another policy than the one that acted."""

    @dataclass(frozen=True, kw_only=True)
    class Composed(Agent):
        surrogate: object = PARTS["surrogate"][1]
        penalty: ReferenceKL = ReferenceKL(kl_placement="loss")
        critic: BootstrappedCritic | None = None

        def psi(self, t, outputs):
            if self.surrogate.every_action:
                return outputs.critic - outputs.values.unsqueeze(-1)
            return self.returns_to_go(t, outputs)

    critic = BootstrappedCritic(of="action") if surrogate.every_action else None
    penalty = ReferenceKL(kl_placement=placement, kl_estimator="k2", **KL)
    agent = Composed(surrogate=surrogate, penalty=penalty, critic=critic)
    return gradient_of(agent), gradient_of(dataclasses.replace(agent, penalty=None))


@pytest.mark.parametrize(
    "surrogate", [ScoreFunction(), ClippedRatio(clip=0.3), ExpectedGradient()], ids=str
)
def test_a_penalty_in_the_loss_acts_with_every_surrogate(surrogate):
    model = make_model(reference=True)
    theta = model.theta.clone().requires_grad_()
    log_prob = of_actions(POLICY.apply(theta, BATCH.obs).log_softmax(-1), BATCH.action)
    kl = kl_estimate(log_prob, model.on(BATCH).reference_log_prob, "k2")
    (0.3 * torch.where(BATCH.mask, kl, 0).sum() / 4).backward()
    with_penalty, without = surrogate_gradient(surrogate, "loss")
    torch.testing.assert_close(with_penalty, without - theta.grad)
    assert theta.grad.abs().max() > 0.01


@pytest.mark.parametrize("surrogate", [ScoreFunction(), ClippedRatio(clip=0.3)], ids=str)
def test_a_penalty_in_the_reward_acts_with_every_surrogate(surrogate):
    with_penalty, without = surrogate_gradient(surrogate, "reward")
    assert (with_penalty - without).abs().max() > 0.01


def test_an_absent_part_does_nothing():
    @dataclass(frozen=True, kw_only=True)
    class Bare(Agent):
        def psi(self, t, outputs):
            return self.returns_to_go(t, outputs)

    assert not {"reference", "critic_epochs", "clip", "group_size"} & set(options_of(Bare))
    assert Bare().plan.num_rows == 16
    assert torch.equal(gradient_of(Bare()), gradient_of(Bare(), reference=False))


def test_nothing_asks_what_an_agent_is():
    """What an agent has is one of its values, and what it does is theirs to say."""
    asks = re.compile(r"(isinstance|issubclass)\([\w.]*(agent|entry|kind|other)\w*,")
    found = [
        f"{path.name}: {line.strip()}"
        for path in Path(pgzoo.__file__).parent.rglob("*.py")
        for line in path.read_text().splitlines()
        if asks.search(line)
    ]
    assert found == []
    assert asks.search("    if isinstance(self.agent, CriticOptions):")
