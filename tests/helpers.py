"""Small agents, models and batches that several test files use."""

import dataclasses
import json

import torch

import pgzoo
from pgzoo.agents import AGENTS, agent_class
from pgzoo.options import flat, options_of
from pgzoo.policies.model import Model
from pgzoo.policies.networks import MLP
from pgzoo.records.config import RunConfig
from pgzoo.records.schema import signed
from pgzoo.sampling.batch import of_actions
from pgzoo.sampling.trajectories import Trajectories

GROUPED = [n for n, entry in AGENTS.items() if "group_size" in options_of(entry.agent)]
CLIPPED = [n for n, entry in AGENTS.items() if "clip" in options_of(entry.agent)]
POLICY = MLP((3, 5, 2))
COMMON = {
    "policy": "mlp",
    "device": "cpu",
    "max_episode_steps": None,
    "stop_when_solved": False,
    "diagnostics": 0,
    "compare_estimators": False,
}
"""What ``configure`` has to be told of every run."""
CRITICS = {"state": MLP((3, 4, 1)), "action": MLP((3, 4, 2))}


def small(name, **options):
    """An agent as its paper defines it, for batches of four rows."""
    if name in GROUPED:
        options = {"group_size": 2} | options
    known = options_of(agent_class(name))
    if "episodes" in known and "sampling" not in known:
        options = {"episodes": 4} | options
    return agent_class(name).with_options(**options)


def random_parameters(network, num_replicas=2, seed=1):
    """Parameters ``[S, P]`` in float64; row s is the same for any number of replicas."""
    rows = [
        torch.randn(
            network.num_params,
            generator=torch.Generator().manual_seed(1000 * seed + s),
            dtype=torch.float64,
        )
        for s in range(num_replicas)
    ]
    return torch.stack(rows)


def make_model(agent=None, num_replicas=2, reference=False):
    """Policies, with the critics that an agent needs, and references if they are asked for."""
    critic = None if agent is None or agent.critic is None else CRITICS[agent.critic.of]
    return Model(
        POLICY,
        random_parameters(POLICY, num_replicas),
        critic,
        None if critic is None else random_parameters(critic, num_replicas, seed=2),
        random_parameters(POLICY, num_replicas, seed=3) if reference else None,
    )


def make_trajectories(lengths, num_actions=2, obs_dim=3, seed=0, dtype=torch.float64):
    """Random complete episodes; lengths is nested [S][N]. Padding holds garbage on purpose."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    s, n = lengths.shape
    t = int(lengths.max())
    mask = torch.arange(t) < lengths[..., None]
    last = torch.arange(t) == lengths[..., None] - 1

    def noise(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    obs = noise(s, n, t + 1, obs_dim)
    return Trajectories(
        obs=obs[:, :, :-1],
        next_obs=obs[:, :, 1:],
        action=torch.randint(num_actions, (s, n, t), generator=g),
        reward=noise(s, n, t),
        terminated=last,
        truncated=torch.zeros_like(last),
        mask=mask,
        log_prob=-noise(s, n, t).abs(),
    )


def make_segments(ends, num_steps=6, **options):
    """Random segments; ends is nested [S][N] of steps at which episodes end.

    The step after an end is a reset and is masked.
    """
    t = make_trajectories([[num_steps] * len(rows) for rows in ends], **options)
    last, mask = torch.zeros_like(t.mask), t.mask.clone()
    for s, rows in enumerate(ends):
        for n, steps in enumerate(rows):
            for step in steps:
                last[s, n, step] = True
                mask[s, n, step + 1 : step + 2] = False
    odd = torch.arange(num_steps) % 2 == 1
    return dataclasses.replace(t, terminated=last & odd, truncated=last & ~odd, mask=mask)


def of_replica(trajectories, s):
    """A replica's own batch, without the padding that others need."""
    longest = int(trajectories.mask[s].any(0).nonzero().max()) + 1
    return trajectories.map(lambda x: x[s : s + 1, :, :longest], trajectories.group_size)


def on_policy(model, trajectories):
    """The batch as if the model's own policy had acted."""
    log_prob = of_actions(model.on(trajectories).log_probs, trajectories.action)
    return dataclasses.replace(trajectories, log_prob=log_prob)


def make_config(agent="reinforce-baseline", env="CartPole-v1", seeds=(0, 1), **options):
    """A short run with a small network; an option that is None is left to its default."""
    run = {
        "policy_kind": options.pop("policy_kind", "mlp"),
        "stop_when_solved": options.pop("stop_when_solved", False),
        "max_episode_steps": options.pop("max_episode_steps", None),
        "diagnostics": options.pop("diagnostics", 0),
        "compare_estimators": options.pop("compare_estimators", False),
    }
    networks = {"hidden": (8,)} if run["policy_kind"] == "mlp" else {}
    wanted = {"steps": 2_000, "episodes": 4} | networks | options
    wanted = {k: v for k, v in wanted.items() if v is not None}
    chosen = flat(agent_class(agent).for_env(env, run["policy_kind"], **wanted))
    return RunConfig(agent, env, seeds=tuple(seeds), device="cpu", hyperparameters=chosen, **run)


def train_small(out, **options):
    """A complete run of RLOO, as short as can be."""
    small = {"steps": 200, "episodes": 4, "group_size": 2, "hidden": (4,), "diagnostics": 0}
    return pgzoo.train("rloo", env="CartPole-v1", out=out, progress=False, **small | options)


def signed_again(path, **changes):
    """Edit a JSON file as somebody would who means harm: its digest fits. ``...`` takes away."""
    data = json.loads(path.read_text()) | changes
    data = {k: v for k, v in data.items() if v is not ... and k != "digest"}
    path.write_text(json.dumps(signed(data)))
