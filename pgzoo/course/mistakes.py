"""The catalogue: mistakes that are made again and again, by names that stay.

Teachers count them, grades name them, and every exercise says which of them it recognises.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """What goes wrong, and why the mathematics does not allow it.

    Attributes:
        name: stable, for grades and statistics.
        what: what was done, in a sentence.
        why: what follows from it.
    """

    name: str
    what: str
    why: str


_ALL = (
    Mistake(
        "wrong-sign",
        "The result has the other sign.",
        "Each difference has a side that is subtracted: what was expected from what was earned, "
        "the baseline from the return. And an optimiser descends, where J is to be increased. One "
        "minus too many or too few turns every step around.",
    ),
    Mistake(
        "own-sample-in-baseline",
        "The baseline contains the sample that it is subtracted from.",
        "E[b ∇log π] = 0 needs a b that does not depend on the action. A mean over all K samples "
        "contains the sample's own return with weight 1/K, which takes (K − 1)/K of the gradient.",
    ),
    Mistake(
        "mean-over-time",
        "A mean was taken over the steps of one episode instead of over episodes.",
        "The mean over the time of an episode depends on that episode's own actions, so it is no "
        "baseline: E[b ∇log π] is not zero, and the bias does not vanish with more episodes.",
    ),
    Mistake(
        "whitening-within-episode",
        "Every episode was standardised by its own mean and deviation over time.",
        "Mean and deviation of one episode depend on its own actions. Afterwards a good episode "
        "and a bad one have the same average: what should be learned has been divided out.",
    ),
    Mistake(
        "missing-mask",
        "Padding was read as if it were steps.",
        "Rows are padded to the longest. Where the mask is false nothing happened, and what stands "
        "there may be anything: it belongs into no sum, no mean and no count.",
    ),
    Mistake(
        "truncation-as-termination",
        "An episode that a time limit cut off was treated as if it had ended in a terminal state.",
        "After a terminal state nothing is earned; after a time limit V(s') still is. "
        "terminated or truncated says that the episode is over, only terminated that its value is.",
    ),
    Mistake(
        "missing-bootstrap",
        "Where the row ends without a terminal state, what follows was counted as nothing.",
        "A sum of rewards that stops before the end estimates the value only with γ^n V(s_n) for "
        "what comes after it.",
    ),
    Mistake(
        "gamma-twice",
        "Rewards were discounted twice, or by one power of γ too many.",
        "G_t = r_t + γ G_{t+1}: the reward at t itself has the factor 1, and each step later one "
        "more factor γ.",
    ),
    Mistake(
        "gamma-missing",
        "The discount factor was left out.",
        "With γ < 1 a reward that is k steps away counts γ^k; without it another objective is "
        "climbed.",
    ),
    Mistake(
        "sum-for-mean",
        "A sum stands where a mean is meant.",
        "An expectation is estimated by a mean. A sum grows with the number of samples, and the "
        "step size with it.",
    ),
    Mistake(
        "mean-for-sum",
        "A mean stands where a sum is meant.",
        "The gradient of log Π_t π(a_t|s_t) is a sum over the steps. A mean over them weighs long "
        "episodes less, which is another direction, not another scale.",
    ),
    Mistake(
        "wrong-std-correction",
        "The standard deviation was divided by the other of n and n − 1.",
        "The unbiased sample variance divides by n − 1 (Bessel); by n, it is too small by "
        "(n − 1)/n, which is a quarter of it at n = 4.",
    ),
    Mistake(
        "gradient-through-psi",
        "Ψ, or a target, was differentiated as well.",
        "The policy gradient theorem multiplies Ψ with ∇log π; ∇Ψ is not in it. Ψ is a number by "
        "then: detach it.",
    ),
    Mistake(
        "wrong-action",
        "The log-probability is not that of the action that was taken.",
        "The score function is ∇log π(a_t|s_t) of the sampled a_t. With any other action the "
        "expectation is not ∇J.",
    ),
    Mistake(
        "inverted-ratio",
        "The importance ratio is upside down.",
        "E_old[ρ f] = E_new[f] needs ρ = π_new / π_old: the old policy sampled, so it stands "
        "below.",
    ),
    Mistake(
        "wrong-clip-side",
        "The ratio is clipped where it should not be, or not where it should.",
        "min(ρΨ, clip(ρ, 1−ε, 1+ε)Ψ) is a lower bound: it stops at 1+ε for Ψ > 0 and at 1−ε for "
        "Ψ < 0, and leaves a way back from the other side.",
    ),
    Mistake(
        "leave-one-out-without-factor",
        "The others' sum was divided by K, though there are K − 1 others.",
        "The mean of the others is their sum over K − 1. Divided by K it is too small, and "
        "R − mean of all K is only (K − 1)/K of R − mean of the others.",
    ),
    Mistake(
        "other-groups-returns",
        "Returns of another group went into a group's baseline.",
        "Members of a group are adjacent and share their start. Another start has another level of "
        "return, which is noise here, and a bias where the choice depends on the sample.",
    ),
    Mistake(
        "depends-on-earlier-calls",
        "The same arguments gave another result after other calls.",
        "An estimator is a function of its trajectories. What it remembers of earlier batches, or "
        "draws at random, makes results that nobody can repeat.",
    ),
)

MISTAKES: dict[str, Mistake] = {m.name: m for m in _ALL}
