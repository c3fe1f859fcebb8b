"""What processes and shards do for the rate, and what a shard costs: real workers on the emulators, one run.

    python -m tests.benchmarks.scale [--mails N] [--plot FILE]

All mails are published first, then worker processes empty the queues; counted is from a tenth of the mails on, when
all processes are at work, to the last one. Workers, emulators and provider (the sandbox) share this machine, so more
processes are faster only as long as there are idle cores; the CPU seconds for a thousand mails tell the rest.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from secrets import token_hex
from typing import Final

from postman import Address, Mail
from postman.config import Settings
from postman.runtime.producer import Producer
from postman.testing.emulators import Emulators
from postman.testing.grpc_proxy import GrpcProxy
from postman.testing.waiting import wait_until_blocking
from postman.wiring import open_producer
from tests.contract.cli.commands import CLEAN, Process, SandboxProcess, running_sandbox

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PROCESSES: Final = (1, 2, 4)
_SHARDS: Final = (1, 8, 32)
_IDLE: Final = 20.0
_DOCUMENT: Final = '[[provider]]\nname = "sendgrid"\nkind = "sendgrid"\nbase_url = "{}"\napi_key = "env:K"\n'


@dataclass(frozen=True, slots=True)
class _Row:
    """CPU in seconds for a thousand mails."""

    processes: int
    shards: int
    rate: float
    workers: float
    emulators: float
    provider: float

    def __str__(self) -> str:
        return (
            f"| {self.processes} | {self.shards} | {self.rate:.0f} "
            f"| {self.workers:.2f} | {self.emulators:.2f} | {self.provider:.2f} |"
        )


class _Bench:
    """The machine's parts, each with its CPU."""

    def __init__(self, folder: Path, emulators: Emulators, sandbox: SandboxProcess, mails: int) -> None:
        self._folder = folder
        self._emulators = emulators
        self._sandbox = sandbox
        self._mails = mails
        self._pids = [record.pid for record in emulators.records.values()]
        (folder / "providers.toml").write_text(_DOCUMENT.format(sandbox.urls["sendgrid_url"]))

    def measure(self, processes: int, shards: int) -> _Row:
        self._sandbox.forget()
        environ = self._environ(shards)
        self._publish(environ)
        with self._workers(environ, processes) as workers:
            self._wait_for(self._mails // 10)
            began, before = time.monotonic(), self._cpu(workers)
            self._wait_for(self._mails)
            took, after = time.monotonic() - began, self._cpu(workers)
        counted = self._mails - self._mails // 10
        used = [1_000 * (late - early) / counted for early, late in zip(before, after, strict=True)]
        return _Row(processes, shards, counted / took, *used)

    async def idle(self, shards: int) -> tuple[float, float]:
        """Return how many requests an idle worker makes a second, and how much of a core it takes."""
        environ = self._environ(shards)
        self._init(environ)
        async with GrpcProxy(self._emulators.environment["PUBSUB_EMULATOR_HOST"]) as proxy:
            with self._workers({**environ, "PUBSUB_EMULATOR_HOST": proxy.address}, 1) as [worker]:
                await asyncio.to_thread(worker.wait_for, "worker_started", within=60.0)
                calls, used = proxy.calls.total(), _cpu(worker.pid)
                await asyncio.sleep(_IDLE)
                return (proxy.calls.total() - calls) / _IDLE, (_cpu(worker.pid) - used) / _IDLE

    def _wait_for(self, count: int) -> None:
        wait_until_blocking(lambda: self._sandbox.requests() >= count, within=300.0, every=0.05, what=f"{count} mails")

    def _cpu(self, workers: Sequence[Process]) -> tuple[float, float, float]:
        return sum(_cpu(each.pid) for each in workers), sum(map(_cpu, self._pids)), _cpu(self._sandbox.pid)

    def _environ(self, shards: int) -> Mapping[str, str]:
        return {
            **CLEAN,
            **self._emulators.environment,
            "HOME": str(self._folder),
            "K": "SG.sandbox",
            "POSTMAN_QUEUE": "pubsub:",
            "POSTMAN_LEDGER": "firestore:",
            "POSTMAN_PREFIX": f"scale-{token_hex(3)}",
            "POSTMAN_SHARDS": str(shards),
            "POSTMAN_PROVIDERS": str(self._folder / "providers.toml"),
            "POSTMAN_LOG_LEVEL": "info",
        }

    def _init(self, environ: Mapping[str, str]) -> None:
        with Process(["init"], folder=self._folder, environ=environ, name=f"init-{token_hex(3)}") as init:
            assert init.ended(within=120.0) == 0, init.err.read_text()

    def _publish(self, environ: Mapping[str, str]) -> None:
        self._init(environ)
        to = (Address(email="ann@example.org"),)
        sender = Address(email="a@mg.example.org")
        with open_producer(Settings.from_env(environ), Producer) as producer:
            mails = (Mail(from_=sender, to=to, subject="s", text="x" * 1_000) for _ in range(self._mails))
            for future in [producer.publish(mail) for mail in mails]:
                future.result()

    @contextmanager
    def _workers(self, environ: Mapping[str, str], count: int) -> Iterator[Sequence[Process]]:
        with ExitStack() as stack:
            names = [f"worker-{token_hex(3)}" for _ in range(count)]
            yield [
                stack.enter_context(Process(["worker"], folder=self._folder, environ=environ, name=name))
                for name in names
            ]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _draw(rows: Sequence[_Row], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, (rates, costs) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for shards in _SHARDS:
        of_these = [row for row in rows if row.shards == shards]
        rates.plot([row.processes for row in of_these], [row.rate for row in of_these], "o-", label=f"{shards} shards")
    names = [f"{row.processes} x {row.shards}" for row in rows]
    below = [0.0] * len(rows)
    for part in ("workers", "emulators", "provider"):
        heights = [float(getattr(row, part)) for row in rows]
        costs.bar(names, heights, bottom=below, label=part)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    rates.set(xlabel="worker processes", ylabel="mails a second", ylim=(0, None), xticks=_PROCESSES)
    costs.set(xlabel="processes x shards", ylabel="CPU seconds for 1,000 mails")
    costs.tick_params(axis="x", rotation=45)
    rates.legend()
    costs.legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the tables, and draw them where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.add_argument("--mails", type=int, default=2_000, help="for each row (2000)")
    parser.add_argument("--plot", type=Path, help="an SVG file")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sandbox = stack.enter_context(running_sandbox(folder))
        emulators = stack.enter_context(Emulators.start(log_dir=folder, environment=CLEAN))
        os.environ.update(emulators.environment)
        bench = _Bench(folder, emulators, sandbox, chosen.mails)
        bench.measure(1, 1)
        _say(
            "| processes | shards | mails/s | CPU workers | CPU emulators | CPU provider |", "|---|---|---|---|---|---|"
        )
        rows = []
        for processes, shards in product(_PROCESSES, _SHARDS):
            rows.append(bench.measure(processes, shards))
            _say(str(rows[-1]))
        _say("", "| shards | requests/s of an idle worker | of a core |", "|---|---|---|")
        for shards in _SHARDS:
            requests, core = asyncio.run(bench.idle(shards))
            _say(f"| {shards} | {requests:.1f} | {100 * core:.1f} % |")
    if chosen.plot:
        _draw(rows, chosen.plot)


if __name__ == "__main__":
    main()
