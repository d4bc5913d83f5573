"""What a replica's batch gives depends on that batch alone, whatever replicas are beside it.

Gradients are looked at, and not what Adam makes of them: it would hide another length.
"""

import dataclasses

import numpy as np
import pytest
import torch

from pgzoo.agents import AGENTS
from pgzoo.learning import update
from pgzoo.learning.gradients import gradient_estimates, weigh
from pgzoo.learning.update import Learners, Networks, Parameters, learn
from tests.helpers import (
    CLIPPED,
    make_model,
    make_segments,
    make_trajectories,
    of_replica,
    on_policy,
    small,
)

EPISODES = make_trajectories([[3, 1, 2, 2], [9, 2, 4, 7], [1, 1, 5, 2]])
SEGMENTS = make_segments(
    [[[], [], [], []], [[1, 4], [0, 2, 4], [3], [5]], [[0, 2, 4], [], [1], []]]
)


def variants():
    """Every agent in every manner in which Ψ, plan or dealing differ."""
    found = [(name, o) for name, e in AGENTS.items() if name != "ppo" for o in e.agent.in_zoo]
    found += [("all-actions", {"sampling": "episodes"}), ("reinforce", {"gamma_t": True})]
    found += [(name, {"minibatches": 2}) for name in CLIPPED]
    found += [(n, {"minibatches": 2, "ratio": "trajectory"}) for n in CLIPPED if n != "ppo"]
    return [*found, ("ppo", {"minibatches": 1}), ("ppo", {"minibatches": 5, "standardize": False})]


def with_everything(name, options):
    """The agent with all that may be in a gradient, and nothing that changes its length after."""
    agent = small(name, **options)
    options = options | {"entropy_coef": 0.1, "max_grad_norm": 0.0}
    if name in CLIPPED:
        options |= {"epochs": 2}
    if agent.critic is not None:
        options |= {"critic_epochs": 1, "critic_minibatches": 3, "value_clip": 0.2}
    if agent.penalty is not None:
        options |= {"reference": "somewhere", "kl_coef": 0.3}
    return small(name, **options)


class Spy:
    """Keeps the gradients that parameters are asked to descend, and leaves them where they are."""

    def __init__(self, monkeypatch):
        self.gradients = []
        monkeypatch.setattr(update, "_descend", self.descend)

    def descend(self, parameters, gradient, rate, real):
        self.gradients.append(torch.where(real[:, None], gradient, 0))
        return parameters

    def of(self, agent, networks, learners, batch, seeds):
        """All that is made of a batch, each ``[S, ...]``: in learning, and in the laboratory."""
        self.gradients.clear()
        outputs = networks.model(learners).on(batch)
        rngs = [np.random.default_rng(s) for s in seeds]
        _, metrics = learn(agent, learners, outputs, torch.zeros(len(seeds)), rngs)
        psi = weigh(agent, outputs)[0].psi
        real = batch.mask.view(*batch.mask.shape, *[1] * (psi.ndim - 3))
        return {
            "estimate": gradient_estimates([(agent, outputs)]),
            "psi": torch.where(real, psi, 0),
            **metrics,
            **{f"gradient {i}": g for i, g in enumerate(self.gradients)},
        }


@pytest.mark.parametrize(
    ("aggregation", "scale"),
    [("sum", "none"), ("step-mean", "none"), ("trajectory-mean", "none"), ("sum", "rms")],
)
@pytest.mark.parametrize(("name", "options"), variants(), ids=str)
def test_company_changes_nothing(monkeypatch, name, options, aggregation, scale):
    """Beside replicas with longer and shorter rows, more resets, and other minibatches."""
    agent = with_everything(name, options | {"aggregation": aggregation, "psi_scale": scale})
    model = make_model(agent, 3, reference=agent.penalty is not None)
    batch = on_policy(model, EPISODES if agent.plan.complete else SEGMENTS)
    shift = 0.3 * torch.randn_like(batch.reward)
    batch = dataclasses.replace(
        batch, log_prob=batch.log_prob + shift, group_size=agent.plan.group_size
    )
    critic = None if model.phi is None else Parameters.start(model.phi)
    learners = Learners(Parameters.start(model.theta), critic, model.reference)
    networks, spy = Networks(model.policy, model.critic_network), Spy(monkeypatch)
    together = spy.of(agent, networks, learners, batch, range(3))
    for s in range(3):
        own = of_replica(batch, s)
        alone = spy.of(agent, networks, learners.rows(torch.tensor([s])), own, [s])
        assert alone.keys() == together.keys()
        for key, value in alone.items():
            beside = together[key][s]
            if key == "psi":
                beside = beside[:, : own.mask.shape[2]]
            close = {"rtol": 1e-9, "atol": 1e-12} if value.dtype == torch.float64 else {}
            torch.testing.assert_close(value[0], beside, **close, msg=f"{key}, {s}")
        fits = 0 if agent.critic is None else 3
        updates = [key for key in alone if key.startswith("gradient ")]
        assert len(updates) == agent.surrogate.epochs * agent.surrogate.minibatches + fits


def test_a_batch_has_company_that_differs_in_every_way():
    steps = EPISODES.num_steps.tolist()
    assert len(set(steps)) == 3
    assert len(set(SEGMENTS.num_steps.tolist())) == 3
    assert of_replica(EPISODES, 0).mask.shape[2] < EPISODES.mask.shape[2]
    assert bool(SEGMENTS.mask[0].all())
