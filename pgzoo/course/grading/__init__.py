"""Grading a class: checkers that are trusted, answers that are not, and a wall between them.

The grader runs the same checks as ``pgzoo.course.check``. A learner's function is called in a
process of its own, fresh for every exercise, that the kernel has locked in before it reads a line
of the submission (``protections``): it computes and answers, and can do nothing else. Arguments go
there, and values come back, as data (``wire``). So a submission that changes the checks or torch
changes them for itself alone, and one that loops, exits or exhausts its memory ends alone. What it
prints goes nowhere.

Learners hand in a folder, a notebook or a Python file each. Of the code only definitions are run
(``definitions``), so that grading takes seconds and needs none of the experiments.

The random cases follow from a seed that learners do not know, so that answers for the published
ones are worth nothing; with the same seed every grade is the same. Limits are on processor time,
which repeats, and the limit on waiting is generous.
"""
