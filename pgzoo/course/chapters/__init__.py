"""The exercises of the course, one file for each chapter."""

from pgzoo.course.chapters import (
    baselines,
    comparison,
    critics,
    exact_gradient,
    language_models,
    leave_one_out,
    score_function,
    trust_regions,
)
from pgzoo.course.exercise import Exercise

CHAPTERS = (
    exact_gradient,
    score_function,
    baselines,
    critics,
    leave_one_out,
    language_models,
    trust_regions,
    comparison,
)
EXERCISES: dict[str, Exercise] = {
    e.name: e for chapter in CHAPTERS for e in vars(chapter).values() if isinstance(e, Exercise)
}
"""By name, in the course's order."""
