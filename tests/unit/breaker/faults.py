"""Mistakes that somebody might make in the breaker, and the checks that must see each of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tests.unit.breaker import test_breaker, test_checklist, test_checklist_calls, test_guarding, test_interleavings
from tests.unit.breaker import test_tasks as tasks
from tests.unit.breaker.kit import Kit, Time

__all__ = ["FAULTS", "Check", "Fault"]

Check = Callable[[Kit, Time], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake: in *module*, *old* reads *new*."""

    name: str
    module: str
    old: str
    new: str
    check: Check
    """An example that fails with it."""
    is_seen_by_model: bool = True
    """Whether the model sees it too: not what only threads, listeners or the collector show."""


def _cancelled(kit: Kit, time: Time) -> None:
    test_checklist.test_04_cancellation_is_no_evidence(kit, time, asyncio.CancelledError)


def _ignored(kit: Kit, time: Time) -> None:
    test_checklist.test_05_ignored_is_no_success(kit, time, "call")


def _unlocked(kit: Kit, time: Time) -> None:
    test_checklist_calls.test_14_lock_is_not_held_while_a_call_runs(kit, time, "call", is_probe=True)


def _collected(kit: Kit, _: Time) -> None:
    test_checklist_calls.test_14_lock_is_not_waited_for_by_what_a_garbage_collection_under_it_closes(kit)


def _noted_late(kit: Kit, time: Time) -> None:
    test_interleavings.test_a_success_that_is_noted_while_the_breaker_counts_is_counted(kit, time, 2)


def _cancelled_task(kit: Kit, time: Time) -> None:
    asyncio.run(tasks.test_a_task_may_be_cancelled_at_any_await(kit, time, tasks.WAYS[0], steps=2, is_probe=True))


def _thrown_away(kit: Kit, time: Time) -> None:
    tasks.test_a_probe_whose_task_is_thrown_away_with_its_loop_gives_its_place_back(kit, time, tasks.WAYS[1])


def _locked_out(kit: Kit, time: Time) -> None:
    test_breaker.test_a_refused_account_opens_at_once_and_for_long(kit, time, None, 300.0, is_probe=False)


FAULTS = (
    Fault(
        "a late report counts",
        "machine",
        "or permit.generation != self.generation\n",
        "or False\n",
        test_checklist.test_01_generation_a_report_from_before_a_move_counts_for_nothing,
    ),
    Fault(
        "one probe more than it may",
        "machine",
        "if len(leases) >= self._recovery.probes",
        "if len(leases) > self._recovery.probes",
        test_checklist.test_02_half_open_one_of_fifty_is_let_through,
    ),
    Fault(
        "a lost probe is waited for",
        "machine",
        "self._probes.items() if ends <= now]",
        "self._probes.items() if ends < 0]",
        test_checklist.test_03_probe_lease_a_probe_that_never_reports_gives_its_place_back,
    ),
    Fault(
        "a cancelled call counts as failed",
        "breaker",
        "if is_evidence else Verdict(Fault.CANCELLED)",
        "if is_evidence else Verdict(Fault.SERVICE)",
        _cancelled,
    ),
    Fault(
        "an ignored probe closes",
        "machine",
        "case Fault.NONE if not is_slow:",
        "case Fault.NONE | Fault.CALL | Fault.LOCAL | Fault.CANCELLED if not is_slow:",
        _ignored,
    ),
    Fault(
        "a late failure prolongs the break",
        "machine",
        "self._stale += 1\n",
        "self._stale += 1\n            self._until = max(self._until, now + 60)\n",
        test_checklist.test_06_late_failures_prolong_nothing,
    ),
    Fault(
        "it looks at the wall clock",
        "breaker",
        "self._latest = max(self._latest, self._clock())",
        "self._latest = max(self._latest, time.time())",
        test_checklist.test_07_time_is_the_clock_that_was_handed_in_and_no_other,
    ),
    Fault(
        "it goes back with its clock",
        "breaker",
        "self._latest = max(self._latest, self._clock())",
        "self._latest = self._clock()",
        test_checklist.test_07_time_a_clock_that_goes_back_is_taken_to_stand_still,
    ),
    Fault(
        "a clock that went back makes calls slow",
        "machine",
        "now - max(permit.began, permit.tick.opened) >=",
        "now - permit.began >=",
        test_checklist.test_07_time_a_clock_that_went_back_makes_no_call_slow,
    ),
    Fault(
        "a success trips",
        "machine",
        "if (verdict.fault is Fault.SERVICE or is_slow) and self._is_too_much(now):",
        "if self._is_too_much(now):",
        test_checklist.test_08_windows_a_success_that_completes_the_minimum_opens_nothing,
    ),
    Fault(
        "a new bucket forgets what the last one had not counted",
        "machine",
        "        self.running.turn(now)\n        if (\n",
        "        if (\n",
        test_checklist.test_08_windows_successes_noted_without_the_lock_are_in_time_for_a_failure,
    ),
    Fault(
        "nothing leaves the window",
        "window",
        "if bucket.number > oldest]",
        "if bucket.number >= oldest]",
        test_checklist.test_08_windows_what_is_older_than_the_window_is_forgotten,
    ),
    Fault(
        "a slow probe closes",
        "machine",
        "case Fault.NONE if not is_slow:",
        "case Fault.NONE:",
        test_checklist.test_09_slow_probes_count_as_failed,
    ),
    Fault(
        "calls that hang are not seen before they end",
        "running",
        "return self._between(now - self._forget_after, now - self._slow_after)",
        "return 0",
        test_checklist.test_10_in_flight_calls_that_hang_count_while_they_still_run,
    ),
    Fault(
        "calls that hang are not looked at in calm times",
        "running",
        "if self.tick.ends == -inf and not self.overdue(now):",
        "if self.tick.ends == -inf:",
        test_checklist.test_10_in_flight_calls_count_beside_a_success_that_completes_the_minimum,
    ),
    Fault(
        "each open period is as long as the first",
        "machine",
        "period *= self._recovery.factor",
        "period *= 1.0",
        test_checklist.test_11_open_period_grows_with_each_failed_probe_up_to_a_limit_and_shrinks_by_closing,
    ),
    Fault(
        "an earlier end is kept",
        "machine",
        "if until > self._paused_until:",
        "if now >= self._paused_until:",
        test_checklist.test_11_open_period_is_as_long_as_the_service_asked_and_a_later_end_replaces_an_earlier,
    ),
    Fault(
        "it is due when its own period is over, whatever was asked",
        "machine",
        "return max(0.0, self._until - now, self._paused_until - now)",
        "return max(0.0, self._until - now)",
        test_breaker.test_a_pause_outlasts_a_shorter_open_period,
    ),
    Fault(
        "what opens it is masked",
        "breaker",
        "            self.report(permit, verdict, error=error)\n",
        "            self.report(permit, verdict, error=error)\n"
        "            if self.state is State.OPEN:\n"
        "                raise RejectedError(self.name, self.state, 0.0) from error\n",
        test_checklist_calls.test_12_errors_reach_the_caller_as_they_were_raised,
    ),
    Fault(
        "one rejection is raised for all",
        "breaker",
        "raise RejectedError(*decision)",
        'raise self.__dict__.setdefault("_rejection", RejectedError(*decision))',
        test_checklist_calls.test_12_errors_a_hundredth_rejection_has_no_longer_traceback_than_the_first,
    ),
    Fault(
        "a rejection keeps its callers' frames",
        "breaker",
        "raise RejectedError(*decision)",
        "error = RejectedError(*decision)\n                    raise error",
        test_checklist_calls.test_12_errors_a_rejection_is_gone_as_soon_as_nobody_wants_it,
        is_seen_by_model=False,
    ),
    Fault(
        "listeners are called under the lock",
        "breaker",
        "        self._machine.pace(now)\n        return result\n",
        "        self._machine.pace(now)\n        self._announcer.tell()\n        return result\n",
        test_checklist_calls.test_13_callbacks_may_call_the_breaker_and_hear_of_all_in_order,
        is_seen_by_model=False,
    ),
    Fault(
        "a listener's mistake is everybody's",
        "events",
        '            _LOG.exception("a listener of the breaker %s failed", event.name)\n',
        "            raise\n",
        test_checklist_calls.test_13_callbacks_that_raise_are_contained,
        is_seen_by_model=False,
    ),
    Fault(
        "the lock is held while a probe runs",
        "calls",
        "            result = fn(*args, **kwargs)\n",
        "            with keeper.acquire.__self__._lock:\n                result = fn(*args, **kwargs)\n",
        _unlocked,
    ),
    Fault(
        "what the collector closes under the lock is forgotten",
        "breaker",
        "            self._deferred.append((permit, verdict, failure))\n",
        "",
        _collected,
        is_seen_by_model=False,
    ),
    Fault(
        "a classifier's mistake is no evidence",
        "breaker",
        "        return Verdict(Fault.SERVICE)\n",
        "        return Verdict(Fault.LOCAL)\n",
        test_checklist_calls.test_16_own_bugs_a_classifier_that_raises_counts_against_the_service,
    ),
    Fault(
        "a policy that raises keeps the service out for ever",
        "breaker",
        "return stats.due_for >= self._recovery.max_open",
        "return False",
        test_checklist_calls.test_16_own_bugs_a_policy_that_raises_keeps_the_service_out_for_a_while_only,
    ),
    Fault(
        "a success without the lock leaves the row of failures as it was",
        "machine",
        "if lets_through and not self._failures_in_row:",
        "if lets_through:",
        test_breaker.test_a_success_begins_the_row_of_failures_anew,
    ),
    Fault(
        "a report is counted twice",
        "machine",
        "        permit.is_reported = True\n",
        "",
        test_breaker.test_a_call_is_counted_once_however_often_it_is_reported,
    ),
    Fault(
        "looking probes",
        "breaker",
        "            return self._machine.view(self._now())\n",
        "            self._machine.admit(self._now(), (self._machine.generation, True))\n"
        "            return self._machine.view(self._now())\n",
        test_breaker.test_asking_changes_nothing,
    ),
    Fault(
        "a hold that is over swallows a lock-out",
        "machine",
        "if self.state in HELD and now >= self._until:",
        "if self.state in HELD and now > self._until:",
        test_breaker.test_a_hold_that_is_over_swallows_no_lock_out,
    ),
    Fault(
        "an answer of the policy is good for any generation",
        "machine",
        "if answer is None or answer[0] != self.generation:",
        "if answer is None:",
        test_breaker.test_a_policy_is_asked_again_where_the_breaker_moved_meanwhile,
        is_seen_by_model=False,
    ),
    Fault(
        "a refused account is an ordinary failure",
        "machine",
        "elif verdict.fault is Fault.ACCOUNT:",
        "elif verdict.fault is Fault.NONE:",
        _locked_out,
    ),
    Fault(
        "a restored breaker forgets how often it failed",
        "machine",
        'self._probes_failed = int(_seconds(saved["probes_failed"]))',
        "self._probes_failed = 0",
        test_guarding.test_another_process_goes_on_from_a_snapshot,
    ),
    Fault(
        "only errors end a call",
        "permit",
        "            self.keeper.raised(self, error)\n",
        "            _ = isinstance(error, Exception) and self.keeper.raised(self, error)\n",
        _cancelled_task,
    ),
    Fault(
        "a call that is closed ends well",
        "permit",
        "        if error is None:\n",
        "        if error is None or not isinstance(error, Exception):\n",
        _thrown_away,
    ),
    Fault(
        "a success that is noted while it counts is lost",
        "running",
        "if tick.uncounted > 0 and",
        "if tick.unfinished > 0 and",
        _noted_late,
        is_seen_by_model=False,
    ),
)
