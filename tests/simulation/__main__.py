"""`python -m tests.simulation`: the whole cluster under every fault, seed by seed; exit 1 where an invariant broke."""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.simulation.branches import missing
from tests.simulation.campaign import Campaign, Failure, run_campaign
from tests.simulation.faults import FAULTS, fault_named
from tests.simulation.planting import plant

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    chosen = _parser().parse_args(arguments)
    if chosen.faults:
        _say(*(fault.name for fault in FAULTS))
        return 0
    if chosen.seed is not None:
        return _run_one(chosen.seed, traces=chosen.trace, fault=chosen.fault)
    return _run_many(chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many seeds (20000)")
    parser.add_argument("--start", type=int, default=0, help="the first one (0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many seconds")
    parser.add_argument("--first", action="store_true", help="stop at the first seed that fails")
    parser.add_argument("--seed", type=int, help="run this seed only")
    parser.add_argument("--trace", action="store_true", help="print its history")
    parser.add_argument("--fault", default="", help="plant this mistake in the product")
    parser.add_argument("--faults", action="store_true", help="print the mistakes that can be planted")
    parser.add_argument("--marks", action="store_true", help="print how often each branch was reached")
    return parser


def _run_one(seed: int, *, traces: bool, fault: str) -> int:
    if fault:
        plant(fault_named(fault))
    from tests.simulation.quiet import listen
    from tests.simulation.swarm import NOTHING
    from tests.simulation.world import simulate

    listen()
    emphasis = fault_named(fault).emphasis if fault else NOTHING
    outcome = simulate(seed, traces=traces, emphasis=emphasis)
    _say(*outcome.lines, f"seed {seed}: {outcome.lasted:.0f} s, {len(outcome.wrongs)} wrong", *outcome.wrongs)
    return 1 if outcome.wrongs else 0


def _run_many(chosen: argparse.Namespace) -> int:
    seeds = range(chosen.start, chosen.start + chosen.seeds)
    reporter = _Reporter(len(seeds), chosen.fault)
    campaign = run_campaign(
        seeds,
        jobs=chosen.jobs,
        fault=chosen.fault,
        stops_at_failure=chosen.first,
        seconds=chosen.seconds,
        tell=reporter.tell,
    )
    took = time.monotonic() - campaign.began
    _say(
        f"{campaign.seeds} seeds in {took:.0f} s ({campaign.seeds / took:.0f}/s,"
        f" {1000 * campaign.cpu / max(1, campaign.seeds):.0f} ms CPU each), {campaign.virtual / 3600:.0f} h simulated,"
        f" longest healing {campaign.longest_healing:.0f} s, {len(campaign.failures)} failed"
    )
    if chosen.marks:
        _say(*(f"{count:9d}  {mark}" for mark, count in sorted(campaign.marks.items())))
    never = missing(campaign.marks, campaign.seeds)
    if never:
        _say("never reached:", *(f"  {branch}" for branch in never))
    return 1 if campaign.failures or never else 0


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


class _Reporter:
    """Prints progress now and then, and failures at once."""

    def __init__(self, seeds: int, fault: str) -> None:
        self._seeds = seeds
        self._fault = f' --fault "{fault}"' if fault else ""
        self._told_at = time.monotonic()

    def tell(self, so_far: Campaign, failures: Sequence[Failure]) -> None:
        for failure in failures:
            _say(f"seed {failure.seed} failed:", *(f"  {wrong}" for wrong in failure.wrongs[:5]))
            _say(f"  replay: python -m tests.simulation --seed {failure.seed} --trace{self._fault}")
        now = time.monotonic()
        if now - self._told_at >= 5.0:
            self._told_at = now
            rate = so_far.seeds / (now - so_far.began)
            left = (self._seeds - so_far.seeds) / rate
            sys.stderr.write(
                f"{so_far.seeds}/{self._seeds} seeds, {rate:.0f}/s, {left:.0f} s left, {len(so_far.failures)} failed\n"
            )


if __name__ == "__main__":
    sys.exit(main())
