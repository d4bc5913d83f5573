"""`pgzoo check FILE.py:FUNCTION`: is this Ψ right?"""

from __future__ import annotations

import json
import sys

import click

from pgzoo.cli.commands import say


@click.command()
@click.argument("estimator", metavar="ESTIMATOR")
@click.option(
    "--gamma", type=float, default=1.0, show_default=True, help="Discount factor of the objective."
)
@click.option(
    "--group-size",
    type=int,
    default=8,
    show_default=True,
    help="Rollouts K from each start.",
)
@click.option(
    "--episodes",
    type=int,
    help="Trajectories N of an estimate.  [default: two or three groups]",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of the trajectories.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, and nothing else.")
def check(
    estimator: str, gamma: float, group_size: int, episodes: int | None, seed: int, as_json: bool
) -> None:
    """Is this Ψ right? On small MDPs whose gradients are known exactly.

    ESTIMATOR is FILE.py:FUNCTION, or an agent without a critic as in `pgzoo lab measure`. The exit
    status is 0 if it is right, 1 if it is not or cannot be decided, 2 if it cannot be run.
    """
    from pgzoo.lab.check.api import check as check_estimator

    found = check_estimator(
        estimator, gamma=gamma, group_size=group_size, episodes=episodes, seed=seed
    )
    say(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if as_json else str(found))
    sys.exit(0 if found.passed else 1)
