"""How fast the laboratory is, beside a plain loop that calls autograd once per estimate.

400 estimates of 32 trajectories on CartPole by a half-trained policy, all on-policy estimators of
the laboratory's list. Both sides compute Ψ and the gradient on the same trajectories. The loop is
timed on some of the estimates and its time is scaled up: it has no economies of scale.

One estimator alone, REINFORCE or RLOO, is timed as well: one pass forward, one back, one weighting.
No way to serve all estimators can be faster.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch
from torch import Tensor

from pgzoo.agents.base import Agent
from pgzoo.cli import main as pgzoo_main
from pgzoo.lab import Problem, Settings, critics, parse_estimators, zoo
from pgzoo.lab.measurement import CRITIC, SAMPLE, Sampler
from pgzoo.learning.gradients import gradient_estimates, objective, weigh
from pgzoo.policies.model import Model, Outputs
from pgzoo.sampling.plan import Episodes, Groups
from pgzoo.sampling.trajectories import Trajectories

TRAJECTORIES, GROUP_SIZE = 32, 8
ALONE = ("reinforce", "rloo")


def trained_policy(at: int) -> Problem:
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = f"run reinforce-baseline --env CartPole-v1 --seeds 100 --quiet --out {run}"
        pgzoo_main(command.split(), standalone_mode=False)
        return Problem.of_run(run, at=at)


def loop(agent: Agent, outputs: Outputs, *, padded: bool) -> Tensor:
    """Autograd once, as in most code: forward, log-probabilities, surrogate, backward."""
    weighed, _ = weigh(agent, outputs)
    policy, batch = outputs.model.policy, outputs.trajectories
    theta = outputs.model.theta.detach().requires_grad_()
    if padded:
        log_probs = policy.apply(theta, batch.obs).log_softmax(-1)
    else:
        logits = policy.apply(theta, batch.obs[batch.mask].unsqueeze(0))
        log_probs = logits.new_zeros((*batch.mask.shape, logits.shape[-1]))
        log_probs[batch.mask] = logits[0].log_softmax(-1)
    (gradient,) = torch.autograd.grad(objective(agent, log_probs, weighed).sum(), theta)
    return gradient


def only(batch: Trajectories, s: int) -> Trajectories:
    """One estimate's trajectories, padded to the longest of its own."""
    longest = int(batch.mask[s].any(0).sum())
    return batch.map(lambda x: x[s : s + 1, :, :longest], batch.group_size)


@click.command()
@click.option("--estimates", default=400, show_default=True)
@click.option("--loop-estimates", default=20, show_default=True)
@click.option("--at", default=50, show_default=True, help="Percent of training.")
def main(estimates: int, loop_estimates: int, at: int) -> None:
    """Print times and ratios."""
    problem = trained_policy(at)
    settings = Settings(trajectories=TRAJECTORIES, estimates=estimates)
    sampler = Sampler(problem, settings)
    parsed = parse_estimators(zoo(), trajectories=TRAJECTORIES, group_size=GROUP_SIZE, gamma=1.0)
    fitting = sampler.sample(CRITIC, range(1), Episodes(episodes=128), act=problem.theta)
    frozen = {k: critics.fit(problem, k, fitting, [(0,)]) for k in ("state", "action")}
    sampler.seconds = 0.0
    theta = problem.theta.unsqueeze(0)

    def outputs(agent: Agent, batch: Trajectories) -> Outputs:
        """What the policy and the agent's critic say of a batch."""
        policy = Model(problem.network, theta.expand(len(batch.mask), -1)).on(batch)
        if agent.critic is None:
            return policy
        network, phi = frozen[agent.critic.of]
        return policy.with_critic(network, phi.expand(len(batch.mask), -1))

    seconds = {"laboratory": 0.0, "one estimator alone": 0.0, "loop": 0.0, "padded loop": 0.0}
    looped = steps = 0
    size = sampler.estimates_at_once(len(parsed))
    for first in range(0, estimates, size):
        indices = range(first, min(first + size, estimates))
        for k in (1, GROUP_SIZE):
            plan = Groups(episodes=TRAJECTORIES, group_size=k)
            batch = sampler.sample(SAMPLE, indices, plan, act=problem.theta)
            steps += int(batch.num_steps.sum())
            mine = [e for e in parsed if e.group_size == k]
            for name in ("laboratory", "one estimator alone"):
                chosen = [e for e in mine if name == "laboratory" or e.label in ALONE]
                start = time.perf_counter()
                shared = Model(problem.network, theta.expand(len(batch.mask), -1)).on(batch)
                kinds = {
                    of: shared.with_critic(n, phi.expand(len(batch.mask), -1))
                    for of, (n, phi) in frozen.items()
                }
                pairs = [
                    (e.agent, shared if e.agent.critic is None else kinds[e.agent.critic.of])
                    for e in chosen
                ]
                estimated = gradient_estimates(pairs)
                seconds[name] += time.perf_counter() - start
                if name == "laboratory":
                    together = estimated
            if looped >= 2 * loop_estimates:
                continue
            for s in range(min(len(indices), loop_estimates)):
                looped += 1
                one = only(batch, s)
                for name in ("loop", "padded loop"):
                    start = time.perf_counter()
                    gradients = [
                        loop(e.agent, outputs(e.agent, one), padded=name == "padded loop")
                        for e in mine
                    ]
                    seconds[name] += time.perf_counter() - start
                for i, gradient in enumerate(gradients):
                    off = float((gradient[0] - together[s, i]).norm())
                    assert off < 1e-6 + 1e-3 * float(gradient.norm()), (mine[i].label, off)
    sampler.close()
    for name in ("loop", "padded loop"):
        seconds[name] *= 2 * estimates / looped
    length = steps / (2 * estimates * TRAJECTORIES)
    print(f"{estimates} estimates × {TRAJECTORIES} trajectories of {length:.0f} steps on average,")
    print(f"{len(parsed)} estimators under two sampling plans, MLP {problem.hidden}")
    print(f"environment {sampler.seconds:.1f} s ({steps / sampler.seconds:,.0f} steps/s)")
    ours = seconds["laboratory"]
    for name, spent in seconds.items():
        print(f"gradients, {name}: {spent:.1f} s, {spent / ours:.2f} × as long")
    share = sampler.seconds / (sampler.seconds + ours)
    print(f"environment's share of the laboratory's time: {share:.0%}")


if __name__ == "__main__":
    main()
