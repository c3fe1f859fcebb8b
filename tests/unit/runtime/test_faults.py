"""What a provider's answer means for the router, by the table."""

import pytest

from postman import errors
from postman.breaker import Fault
from postman.errors import (
    CredentialsError,
    MailRejectedError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExceededError,
    RouteRefusedError,
    ThrottledError,
)
from postman.runtime.failover.faults import FAULTS, Scope, meaning_of, verdict_on


def provider_errors() -> list[type[ProviderError]]:
    named = [getattr(errors, name) for name in errors.__all__]
    return [each for each in named if issubclass(each, ProviderError) and each is not ProviderError]


@pytest.mark.parametrize("kind", provider_errors())
def test_every_error_of_a_provider_has_a_row(kind: type[ProviderError]) -> None:
    assert kind in FAULTS
    assert meaning_of(kind("x", provider="a")) is FAULTS[kind]


@pytest.mark.parametrize(
    ("kind", "scope", "fault"),
    [
        (MailRejectedError, Scope.MESSAGE, Fault.NONE),
        (RouteRefusedError, Scope.ROUTE, Fault.CALL),
        (CredentialsError, Scope.ACCOUNT, Fault.ACCOUNT),
        (QuotaExceededError, Scope.ACCOUNT, Fault.ACCOUNT),
        (ThrottledError, Scope.PROVIDER, Fault.THROTTLED),
        (ProviderDownError, Scope.PROVIDER, Fault.SERVICE),
        (ProviderUnreachableError, Scope.WORKER, Fault.SERVICE),
        (OutcomeUnknownError, Scope.PROVIDER, Fault.SERVICE),
    ],
)
def test_whose_fault_it_is_and_how_far_it_reaches(kind: type[ProviderError], scope: Scope, fault: Fault) -> None:
    meaning = meaning_of(kind("x", provider="a"))

    assert (meaning.scope, meaning.fault) == (scope, fault)


def test_only_an_unknown_outcome_leaves_open_whether_the_mail_was_sent() -> None:
    assert [kind for kind, meaning in FAULTS.items() if meaning.may_be_sent] == [OutcomeUnknownError]


def test_fewer_mails_in_flight_help_only_where_they_were_too_many_or_nobody_answered() -> None:
    assert {kind for kind, meaning in FAULTS.items() if meaning.is_congestion} == {ThrottledError, OutcomeUnknownError}


def test_an_error_that_a_third_party_derives_is_read_as_its_nearest_base() -> None:
    class OnHolidayError(ProviderDownError):
        pass

    assert meaning_of(OnHolidayError("x", provider="a")) is FAULTS[ProviderDownError]


def test_an_error_that_is_in_no_row_counts_against_the_provider_and_is_not_sent_again() -> None:
    class StrangeError(ProviderError):
        pass

    meaning = meaning_of(StrangeError("x", provider="a"))
    assert (meaning.fault, meaning.may_be_sent) == (Fault.SERVICE, True)


def test_a_throttled_provider_rests_as_long_as_it_asked_or_a_moment() -> None:
    assert verdict_on(ThrottledError("x", provider="a", retry_after=7.0)).retry_after == 7.0
    assert verdict_on(ThrottledError("x", provider="a")).retry_after == 5.0


def test_what_any_other_error_says_of_time_is_handed_on() -> None:
    assert verdict_on(ProviderDownError("x", provider="a", retry_after=30.0)).retry_after == 30.0
    assert verdict_on(ProviderDownError("x", provider="a")).retry_after is None
