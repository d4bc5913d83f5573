"""Shim."""

from pgzoo.sampling.collect import Episodes as FinishedEpisodes
from pgzoo.sampling.collect import Trajectories, joined_rows

__all__ = ["FinishedEpisodes", "Trajectories", "joined_rows"]
