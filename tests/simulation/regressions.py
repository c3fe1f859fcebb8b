"""Seeds that found mistakes in the product, with a word on each.

What a seed stands for changes with the simulation itself, so each of these mistakes is also planted anew by `faults`,
where it must be found again.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["REGRESSIONS", "Regression"]


@dataclass(frozen=True, slots=True)
class Regression:
    """What *seed* once found."""

    seed: int
    found: str


REGRESSIONS: Final = (
    Regression(0, "a poison mail in doubt killed worker after worker, each of which repeated its idempotency key"),
    Regression(67, "a key was repeated without a claim, after another worker had cleared the doubt and sent elsewhere"),
    Regression(75, "a claim that arrived after it was granted to its second try, and given back, was granted anew"),
    Regression(561, "each repetition that certainly did not arrive made the doubt young again: it never ended"),
    Regression(1448, "a late park marked a later refusal, whose dead letter did not exist: the mail was lost"),
    Regression(1599, "the same, of a mail in doubt"),
    Regression(10445, "a key was repeated after the lease was over, by a worker that had stood still"),
    Regression(10715, "the same, with a part of the lease left"),
    Regression(13236, "the same, when another worker was already asking"),
    Regression(1863, "a move that arrived again after the next one named a provider that the mail had left"),
    Regression(2421, "absence was dated from the first doubt, though a repetition was still on its way: two copies"),
)
