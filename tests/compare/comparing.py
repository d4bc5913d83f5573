"""Small comparisons that several test files make."""

import pgzoo
from pgzoo.learning.shards import train_shard

SMALL = {
    "env": "CartPole-v1",
    "seeds": 5,
    "steps": 300,
    "hidden": (4,),
    "diagnostics": 0,
    "device": "cpu",
    "progress": False,
}
ROUGH = ("reinforce:episodes=4", "reinforce-baseline:episodes=4")


def compare(*agents, **options):
    return pgzoo.compare(agents or ROUGH, **SMALL | options)


def here(shards, report, *, workers=None):
    """Train in this process."""
    for place, shard in enumerate(shards):
        train_shard(shard, lambda found, place=place: report(place, found))
