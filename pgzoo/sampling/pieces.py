"""Sizes that a replica's company cannot change, so that not even the last bit depends on it.

Floating-point sums depend on their order, and libraries choose it by the size of what they add up.
Replicas in one batch are padded to the one that has most, so without care that one would decide how
the others' numbers are rounded. Therefore

- matrix products have all rows of a plan, or ``ROWS_OF_A_PIECE`` of each replica at a time;
- sums over steps go row by row, over a multiple of ``STEPS_OF_A_PIECE``: a sum is then added up in
  blocks that begin at the same places however long the padding is, and zeros change nothing.
"""

from __future__ import annotations

ROWS_OF_A_PIECE = 256
STEPS_OF_A_PIECE = 64


def whole_pieces(count: int, piece: int = ROWS_OF_A_PIECE) -> int:
    """The least multiple of a piece that holds so many; at least one piece."""
    return max(1, -(-count // piece)) * piece
