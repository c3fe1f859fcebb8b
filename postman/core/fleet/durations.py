"""How long mails take, and how unequal they are, from the sums in the reports."""

from math import exp, log, sqrt

from postman.core.fleet.reports import ProviderWork

__all__ = ["dispersion", "percentile_99"]

_LITTLE = 1e-6
_NORMAL_99 = 2.326


def dispersion(work: ProviderWork) -> float:
    """Return the squared coefficient of variation of the durations, at least 1.

    A count of finished mails scatters so many times more than a Poisson count, given the time that mails lay there.
    """
    return max(1.0, _variation(work))


def percentile_99(work: ProviderWork) -> float:
    """Return the seconds within which 99 of 100 mails end; 0 where none did.

    The reports hold only sums, so it is estimated: durations are taken for lognormal, with their mean and variance.
    """
    if work.done < _LITTLE or work.took < _LITTLE:
        return 0.0
    spread = log(1.0 + _variation(work))
    return work.took / work.done * exp(_NORMAL_99 * sqrt(spread) - spread / 2)


def _variation(work: ProviderWork) -> float:
    if work.done < _LITTLE or work.took < _LITTLE:
        return 0.0
    return max(0.0, work.took_squared * work.done / (work.took * work.took) - 1.0)
