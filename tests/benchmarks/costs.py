"""What a mail takes of what Google charges for: a real worker on the emulators, counted at the wire.

    ./emulator.sh bench costs [--mails N] [--idle SECONDS] [--write]
    ./emulator.sh bench costs --derive

With --write the counts, and all tables that follow from them, go into `docs/costs.md`, and its figure is drawn;
--derive does the same with the counts that stand there, as after a change of a price. Proxies that count, worker,
emulators and provider (the sandbox) share this machine; its CPU seconds are no other's.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from secrets import token_hex
from statistics import mean
from time import monotonic, time
from typing import Any, Final

from postman import Address, Mail
from postman.adapters.firestore._calls import Calls
from postman.adapters.firestore._channel import Database
from postman.adapters.firestore._documents import document_id
from postman.config import Settings
from postman.core.events import EventKind, MailEvent
from postman.core.ids import MailId
from postman.runtime.producer import Producer
from postman.testing.emulators import DEFAULT_PROJECT, Emulators
from postman.testing.waiting import wait_until, wait_until_blocking
from postman.wiring import open_ledger, open_producer
from tests.benchmarks import cost_model as model
from tests.benchmarks.cost_counting import ByteCounter, CountingProxy, Tally, stored_size
from tests.benchmarks.cost_model import Counts
from tests.benchmarks.cost_page import (
    COUNTED,
    IDLE,
    SENDERS,
    Idle,
    counted_table,
    derived_parts,
    idle_table,
    read_counted,
)
from tests.benchmarks.pages import part, replace_part
from tests.contract.cli.commands import CLEAN, Process, SandboxProcess, running_sandbox

_DOCS: Final = Path(__file__).parents[2] / "docs"
_PAGE: Final = _DOCS / "costs.md"
_FIGURE: Final = _DOCS / "figures" / "costs.svg"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_WITHIN: Final = 300.0
_SHARDS: Final = model.Fleet(1).shards
_NAIVE: Final = "a naive program, all goes well"
_RUN_NAIVE: Final = "from tests.benchmarks.cost_naive import main; main()"
_PROVIDERS: Final = """\
[[provider]]
name = "sendgrid"
kind = "sendgrid"
weight = 1000
base_url = "http://{sendgrid}"
api_key = "env:SENDGRID_KEY"
look_up_after = 2.0

[[provider]]
name = "mailgun"
kind = "mailgun"
weight = 0
domain = "mg.example.org"
base_url = "http://{mailgun}"
api_key = "env:MAILGUN_KEY"
"""


@dataclass(frozen=True, slots=True)
class Situation:
    """What befalls the mails of a run."""

    name: str
    fault: Mapping[str, Any] = field(default_factory=dict)
    """Of the home provider; see the sandbox."""
    copies: int = 1
    """How often each mail is published."""
    events: int = 0
    """How many events come of each mail."""


SITUATIONS: Final = (
    Situation("all goes well"),
    Situation("2 % fail over", {"kind": "down", "rate": 0.02}),
    Situation("2 % are in doubt, and found", {"kind": "reset", "rate": 0.02, "only": "send"}),
    Situation("2 % are refused", {"kind": "status", "status": 400, "rate": 0.02, "only": "send"}),
    Situation("each comes twice", copies=2),
    Situation("one event of each", events=1),
)


@dataclass(frozen=True, slots=True)
class _Wires:
    """What a worker of one run is joined by to the rest."""

    queue: CountingProxy
    ledger: CountingProxy
    providers: Sequence[ByteCounter]
    environ: Mapping[str, str]

    def fresh_tally(self) -> Tally:
        """Begin to count anew."""
        tally = self.queue.tally = self.ledger.tally = Tally()
        for provider in self.providers:
            provider.bytes = 0
        return tally


class _Bench:
    """The machine's parts; each run has topics, collections and a worker of its own."""

    def __init__(self, folder: Path, emulators: Emulators, sandbox: SandboxProcess, mails: int) -> None:
        self._folder = folder
        self._hosts = emulators.environment
        self._sandbox = sandbox
        self._mails = mails

    async def count(self, situation: Situation) -> Counts:
        """Return what a mail takes in *situation*."""
        self._sandbox.forget()
        if situation.fault:
            self._sandbox.fail(providers=("sendgrid",), **situation.fault)
        async with self._wires() as wires:
            with self._worker(wires.environ) as worker:
                await asyncio.to_thread(worker.wait_for, "worker_started", within=60.0)
                tally, log, cpu = wires.fresh_tally(), _size(worker.err), _cpu(worker.pid)
                ids = await asyncio.to_thread(self._publish, wires.environ, situation.copies)
                wanted = self._mails * situation.copies
                await wait_until(lambda: tally.acked >= wanted, within=_WITHIN, what=f"{wanted} acknowledgements")
                log, cpu = _size(worker.err) - log, _cpu(worker.pid) - cpu
            requests = sum(provider.bytes for provider in wires.providers)
            await self._note_events(wires.environ, ids, situation.events)
            document = await self._mean_entry(f"{wires.environ['POSTMAN_PREFIX']}-mails", map(document_id, ids))
        return _counts(situation.name, tally, self._mails, document=document, requests=requests, log=log, cpu=cpu)

    async def count_naive(self) -> Counts:
        """Return what a mail takes of the naive program, which reads a single shard."""
        self._sandbox.forget()
        async with self._wires(shards=1) as wires:
            tally = wires.fresh_tally()
            ids = await asyncio.to_thread(self._publish, wires.environ, 1)
            cpu = await asyncio.to_thread(self._run_naive, wires)
            requests = sum(provider.bytes for provider in wires.providers)
            document = await self._mean_entry("naive-mails", ids)
        return _counts(_NAIVE, tally, self._mails, document=document, requests=requests, log=0.0, cpu=cpu)

    def _run_naive(self, wires: _Wires) -> float:
        """Let it deliver all mails; return its seconds of CPU."""
        name = f"projects/{DEFAULT_PROJECT}/subscriptions/{wires.environ['POSTMAN_PREFIX']}-mail-0"
        url = f"http://{wires.providers[0].address}/v3/mail/send"
        ended = subprocess.run(
            [sys.executable, "-c", _RUN_NAIVE, name, url, str(self._mails)],
            cwd=_DOCS.parent,
            env={**wires.environ, "PUBSUB_EMULATOR_HOST": wires.queue.address},
            capture_output=True,
            timeout=_WITHIN,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr.decode()
        return float(ended.stdout) / 1e3

    async def idle(self, seconds: float) -> Idle:
        """Return what an idle worker does in a second."""
        async with self._wires() as wires:
            with self._worker(wires.environ) as worker:
                await asyncio.to_thread(worker.wait_for, "worker_started", within=60.0)
                tally, began = wires.fresh_tally(), monotonic()
                await asyncio.sleep(seconds)
                took = monotonic() - began
        return Idle(
            tally.reads["layout"] / took,
            tally.reads["suppressions"] / took,
            tally.writes["workers"] / took,
            tally.reads["workers"] / took,
            tally.empty_pulls / took,
        )

    @asynccontextmanager
    async def _wires(self, shards: int = _SHARDS) -> AsyncIterator[_Wires]:
        async with AsyncExitStack() as stack:
            queue = await stack.enter_async_context(CountingProxy(self._hosts["PUBSUB_EMULATOR_HOST"]))
            ledger = await stack.enter_async_context(CountingProxy(self._hosts["FIRESTORE_EMULATOR_HOST"]))
            targets = [self._sandbox.urls[f"{name}_url"].removeprefix("http://") for name in ("sendgrid", "mailgun")]
            providers = [await stack.enter_async_context(ByteCounter(target)) for target in targets]
            sendgrid, mailgun = (provider.address for provider in providers)
            document = self._folder / f"{token_hex(3)}.toml"
            document.write_text(_PROVIDERS.format(sendgrid=sendgrid, mailgun=mailgun))
            environ = {
                **self._environ(document, queue.address, ledger.address),
                "POSTMAN_SHARDS": str(shards),
            }
            await asyncio.to_thread(self._init, environ)
            os.environ["FIRESTORE_EMULATOR_HOST"] = ledger.address  # where this process opens the ledger
            yield _Wires(queue, ledger, providers, environ)

    def _environ(self, document: Path, queue: str, ledger: str) -> Mapping[str, str]:
        return {
            **CLEAN,
            "HOME": str(self._folder),
            "GOOGLE_CLOUD_PROJECT": DEFAULT_PROJECT,
            "FIRESTORE_EMULATOR_HOST": ledger,
            "SENDGRID_KEY": "SG.sandbox",
            "MAILGUN_KEY": "key-sandbox",
            "POSTMAN_QUEUE": f"pubsub:{queue}",
            "POSTMAN_LEDGER": "firestore:",
            "POSTMAN_PREFIX": f"costs-{token_hex(3)}",
            "POSTMAN_PROVIDERS": str(document),
            "POSTMAN_LOG_LEVEL": "info",
        }

    def _init(self, environ: Mapping[str, str]) -> None:
        """Make topics and subscriptions; several attempts, as emulators are slow at first."""
        wait_until_blocking(lambda: self._ended_well(environ), within=120.0, what="postman init")

    def _ended_well(self, environ: Mapping[str, str]) -> bool:
        with Process(["init"], folder=self._folder, environ=environ, name=f"init-{token_hex(3)}") as init:
            return init.ended(within=60.0) == 0

    @contextmanager
    def _worker(self, environ: Mapping[str, str]) -> Iterator[Process]:
        with Process(["worker"], folder=self._folder, environ=environ, name=f"worker-{token_hex(3)}") as worker:
            yield worker

    def _publish(self, environ: Mapping[str, str], copies: int) -> list[MailId]:
        """Publish all mails, *copies* times over, each time as a backlog; return their ids."""
        sender, to = Address(email="shop@mg.example.org"), (Address(email="ann@example.org"),)
        mails = [Mail(from_=sender, to=to, subject="Your receipt", text="x" * 2_000) for _ in range(self._mails)]
        with open_producer(Settings.from_env(environ), Producer) as producer:
            for _ in range(copies):
                for future in [producer.publish(mail) for mail in mails]:
                    future.result()
        return [mail.id for mail in mails]

    async def _note_events(self, environ: Mapping[str, str], ids: Sequence[MailId], count: int) -> None:
        if not count:
            return
        ledger = open_ledger(Settings.from_env(environ))
        for _ in range(count):
            noted = await asyncio.gather(*(ledger.record_event(each, _delivered(each)) for each in ids))
            assert all(noted), "an event was not noted"
        await ledger.aclose()

    async def _mean_entry(self, collection: str, documents: Iterable[str]) -> float:
        database = Database(DEFAULT_PROJECT, emulator=self._hosts["FIRESTORE_EMULATOR_HOST"])
        calls, root = Calls(database), f"{database.path}/documents/{collection}/"
        found = await calls.read([root + each for each in islice(documents, 300)])
        await calls.aclose()
        return mean(stored_size(snapshot.document) for snapshot in found.values())


def _counts(
    situation: str, tally: Tally, mails: int, *, document: float, requests: float, log: float, cpu: float
) -> Counts:
    return Counts(
        situation,
        mails,
        calls=tally.calls.total() / mails,
        published=tally.published / mails,
        pulled=tally.pulled / mails,
        writes=tally.writes["mails"] / mails,
        in_vain=tally.in_vain["mails"] / mails,
        reads=tally.reads["mails"] / mails,
        document=document,
        requests=requests / mails,
        log=log / mails,
        cpu=1e3 * cpu / mails,
    )


def _delivered(mail_id: MailId) -> MailEvent:
    return MailEvent("sendgrid", EventKind.DELIVERED, mail_id, time(), recipient="ann@example.org")


def _size(path: Path) -> int:
    return path.stat().st_size


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _measure(mails: int, idle: float) -> tuple[Sequence[Counts], Idle]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sandbox = stack.enter_context(running_sandbox(folder))
        emulators = stack.enter_context(Emulators.start(log_dir=folder, environment=CLEAN))
        asyncio.run(_Bench(folder, emulators, sandbox, mails // 10).count(SITUATIONS[0]))
        bench = _Bench(folder, emulators, sandbox, mails)
        rows = []
        for situation in SITUATIONS:
            rows.append(asyncio.run(bench.count(situation)))
            _say(str(rows[-1]))
        rows.append(asyncio.run(_Bench(folder, emulators, sandbox, mails // 4).count_naive()))
        _say(str(rows[-1]))
        return rows, asyncio.run(bench.idle(idle))


def _remark(mails: int, idle: float) -> str:
    today, load = datetime.now(UTC).date().isoformat(), os.getloadavg()[1]
    machine = f"CPython {platform.python_version()}, {os.cpu_count()} shared processors with a load of {load:.1f}"
    return f"Counted on {today}: {mails:,} mails a row, {idle:.0f} s of idleness; {machine}."


def _write(counted: str) -> None:
    """Put all that follows from the counts in *counted* into the page, and draw its figure."""
    rows = read_counted(counted)
    for name, content in derived_parts(rows).items():
        replace_part(_PAGE, name, content)
    _draw(rows[0], rows[-1], _FIGURE)


def _draw(ours: Counts, naive: Counts, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "postman", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, (steps, senders) = plt.subplots(1, 2, figsize=(10.5, 3.6), layout="constrained", width_ratios=(3, 2))
    _draw_steps(steps, ours, naive)
    _draw_senders(senders, ours)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _draw_steps(axes: Any, ours: Counts, naive: Counts) -> None:
    designs = {name: model.by_part(amounts) for name, amounts in model.designs(ours, naive).items()}
    left = [0.0] * len(designs)
    for column in model.Part:
        widths = [model.MILLION * bill[column] for bill in designs.values()]
        axes.barh(list(designs), widths, left=left, label=column)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="dollars for a million mails")
    axes.legend(fontsize=8)


def _draw_senders(axes: Any, counts: Counts) -> None:
    sizes = [10.0 ** (exponent / 4) for exponent in range(12, 37)]
    mails_of_month = model.MONTH / model.DAY / model.MILLION
    costs = [model.dollars(model.month(size, counts)[1]) / (size * mails_of_month) for size in sizes]
    axes.loglog(sizes, costs)
    axes.axhline(model.MILLION * model.dollars(model.amounts_of(counts)), linestyle=":", color="grey")
    axes.set(xlabel="mails a day", ylabel="dollars for a million mails", xlim=(min(SENDERS), max(SENDERS)))
    axes.grid(visible=True, alpha=0.3)


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the counts, or put them into the page."""
    parser = argparse.ArgumentParser(prog="costs", description=__doc__)
    parser.add_argument("--mails", type=int, default=2_000, help="for each situation (2000)")
    parser.add_argument("--idle", type=float, default=90.0, help="seconds for which an idle worker is watched (90)")
    parser.add_argument("--write", action="store_true", help="put all into docs/costs.md")
    parser.add_argument("--derive", action="store_true", help="count nothing: begin with what stands in docs/costs.md")
    wants = parser.parse_args(arguments)
    if wants.derive:
        _write(part(_PAGE.read_text(encoding="utf-8"), COUNTED))
        return
    rows, idle = _measure(wants.mails, wants.idle)
    counted = f"{counted_table(rows)}\n\n{_remark(wants.mails, wants.idle)}"
    _say(counted, idle_table(idle))
    if wants.write:
        replace_part(_PAGE, COUNTED, counted)
        replace_part(_PAGE, IDLE, idle_table(idle))
        _write(counted)


if __name__ == "__main__":
    main()
