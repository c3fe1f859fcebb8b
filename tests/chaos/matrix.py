"""Plays the kill matrix on the emulators: `python -m tests.chaos.matrix [NAME…]`, all cases side by side.

Each case has queues, a ledger, a provider and two worker processes of its own: the real command, with adapters that
stop it. The first worker gets all mails and the trap, the second starts when the trap has sprung.
"""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Final

import orjson

from postman import Mail
from postman.adapters.clock import SystemClock
from postman.adapters.firestore import open_ledger
from postman.adapters.pubsub import open_shards
from postman.core.ids import MailId
from postman.core.protocol import Entry
from postman.core.wire import message_for, parse
from postman.errors import LedgerUnavailableError
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster
from postman.ports.queue import ShardMap
from postman.sandbox import Sandbox
from postman.sandbox.faults import read_fault
from postman.testing.emulators import Emulators
from postman.testing.waiting import wait_until
from tests.chaos.cases import CASES, Case
from tests.chaos.checker import Accepted, Breach, Evidence, Letter, breaches, events_of, history_of, is_over
from tests.chaos.processes import ROOT, Processes, clean_environment
from tests.chaos.together import Together, ensure
from tests.chaos.traps import install, trap_variables

__all__ = ["AT_ONCE", "Outcome", "play", "problems"]

MAILS: Final = 5
"""A worker gives a provider no more before it has seen one succeed; and no more than that are lost with it."""

_ACK_DEADLINE: Final = 10.0
_SURELY_LAPSED: Final = _ACK_DEADLINE + 3.0
_LATE: Final = 2.0
"""What was pulled before the record may be published after it; what comes back after a crash comes much later."""

_LIMIT: Final = 200.0
AT_ONCE: Final = 7
"""Cases side by side: more of them only keep the machine from starting workers in time."""

_PROVIDERS: Final = """\
[[provider]]
name = "sendgrid"
kind = "trapped"
base_url = "{url}"
api_key = "env:SENDGRID_API_KEY"
timeout = 1.0
look_up_after = {look_up_after}
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case."""

    evidence: Evidence
    sprung: int
    """How many mails were at the step."""
    left: int
    """Messages that were still in the queue."""
    ends: Mapping[str, int | None] = field(repr=False)
    """Exit statuses of the workers."""
    seconds: float = 0.0


def problems(case: Case, outcome: Outcome) -> list[str]:
    """Return in what *outcome* differs from what the case promises; empty where all is well."""
    evidence = outcome.evidence
    as_told = [mail_id for mail_id, entry in evidence.entries.items() if _is_as_told(case, entry)]
    found = [_in_words(breach) for breach in breaches(evidence, may_double=case.copies > 1)]
    if len(as_told) < outcome.sprung:
        histories = "; ".join(" > ".join(history_of(entry)) for entry in evidence.entries.values())
        found.append(f"{outcome.sprung} mails were stopped, {len(as_told)} fared as expected: {histories}")
    copies = {evidence.copies[mail_id] for mail_id in as_told}
    if copies - {case.copies}:
        found.append(f"accepted {copies} times, not {case.copies}")
    found.extend(_bad_letters(case, outcome, as_told))
    if outcome.left:
        found.append(f"{outcome.left} messages are left in the queue")
    return [*found, *_bad_ends(case, outcome)]


def _is_as_told(case: Case, entry: Entry) -> bool:
    details = " ".join(note.detail for note in entry.history)
    return entry.state is case.state and events_of(entry) == case.history and case.because in details


def _bad_letters(case: Case, outcome: Outcome, mails: Sequence[str]) -> list[str]:
    """Return what is wrong with the letters of *mails*.

    Whoever was at the step left as many as the case says. A publishing that a busy machine did not answer in time is
    repeated, and makes one more; but none is published of a mail that is recorded as dead-lettered.
    """
    of_each = Counter(letter.mail_id for letter in outcome.evidence.letters)
    enough = sum(of_each[mail_id] >= case.letters for mail_id in mails)
    late = [letter.mail_id for letter in outcome.evidence.letters if letter.at > _recorded_at(outcome, letter) + _LATE]
    too_few = case.letters > 0 and enough < outcome.sprung
    found = [f"{enough} mails with {case.letters} dead letters, not {outcome.sprung}"] * too_few
    return found + [f"{mail_id}: a dead letter after the record of one" for mail_id in late]


def _recorded_at(outcome: Outcome, letter: Letter) -> float:
    entry = outcome.evidence.entries.get(letter.mail_id)
    return min((note.at for note in entry.history if note.event == "dead-lettered"), default=0.0) if entry else 0.0


def _bad_ends(case: Case, outcome: Outcome) -> list[str]:
    expected = {"first": 0 if case.is_pause else -signal.SIGKILL, "second": 0}
    return [
        f"the {name} worker ended with {status}" for name, status in outcome.ends.items() if status != expected[name]
    ]


def _in_words(breach: Breach) -> str:
    return f"{breach.mail_id}: {breach.problem} ({' > '.join(breach.history)})"


async def play(case: Case, folder: Path) -> Outcome:
    """Play *case* on the emulators that the environment names, in *folder*; return what came of it."""
    began = time.monotonic()
    async with _Scene.open(case, folder) as scene:
        await scene.publish()
        sprung = await scene.spring_the_trap()
        await scene.let_the_second_finish()
        ends = await scene.stop()
        left = len(await scene.shards.queue(0).pull(max_deliveries=100, wait=1.0))
        return Outcome(await scene.evidence(), sprung, left, ends, time.monotonic() - began)


@dataclass(slots=True)
class _Scene:
    """Two workers, a provider, and the hands of the test."""

    case: Case
    folder: Path
    environ: Mapping[str, str]
    processes: Processes
    sandbox: Sandbox
    shards: ShardMap
    ledger: Ledger
    mails: Sequence[Mail]
    sprung_at: float = 0.0

    @classmethod
    @asynccontextmanager
    async def open(cls, case: Case, folder: Path) -> "AsyncIterator[_Scene]":
        install(folder / "plugins")
        prefix = f"kill-{token_hex(4)}"
        environ = clean_environment()
        cluster = Cluster(SystemClock(), environ["GOOGLE_CLOUD_PROJECT"], prefix, shards=1, ack_deadline=_ACK_DEADLINE)
        settings = _settings(environ, folder, prefix)
        async with AsyncExitStack() as stack:
            shards, ledger = open_shards("", cluster), open_ledger("", cluster)
            stack.push_async_callback(shards.aclose)
            stack.push_async_callback(ledger.aclose)
            await ensure(shards)
            sandbox = await stack.enter_async_context(Sandbox())
            processes = await stack.enter_async_context(Processes(folder))
            mails = [_mail(case, number) for number in range(MAILS)]
            yield cls(case, folder, settings, processes, sandbox, shards, ledger, mails)

    async def publish(self) -> None:
        document = _PROVIDERS.format(url=self.sandbox.sendgrid_url, look_up_after=self.case.look_up_after)
        (self.folder / "providers.toml").write_text(document, encoding="utf-8")
        for mail in self.mails:
            await self.shards.queue(0).publish(message_for(mail, trace={}))

    async def spring_the_trap(self) -> int:
        """Return how many mails were at the step when the first worker was stopped there."""
        marker = self.folder / "sprung"
        if self.case.fault:
            await self.sandbox.faults.replace("sendgrid", [read_fault(dict(self.case.fault))])
        trap = trap_variables(self.case.step, self.case.number, count=MAILS, marker=marker)
        await self.processes.start("first", "worker", environ={**self.environ, **trap})
        text = await wait_until(lambda: marker.exists() and marker.read_text(), within=_LIMIT, what="the trap's spring")
        count, _, at = str(text).partition(" ")
        self.sprung_at = float(at)
        if not self.case.is_pause:
            await self.processes.wait("first")
        await self.sandbox.faults.clear()
        return int(count)

    async def let_the_second_finish(self) -> None:
        """Start the second worker; the first, if it lives, goes on when all it holds has lapsed."""
        await self.processes.start("second", "worker", environ=self.environ)
        await self.processes.wait_for("second", "worker_started")
        if self.case.is_pause:
            await wait_until(self._may_resume, within=_LIMIT, every=0.2, what="what the second worker can do")
            self.processes.signal("first", signal.SIGCONT)
        await wait_until(self._are_over, within=_LIMIT, every=0.2, what="the end of all mails")

    async def stop(self) -> dict[str, int | None]:
        """Let both drain, the first first: what it does when it wakes is part of the case."""
        return {name: await self.processes.stop(name) for name in ("first", "second")}

    async def evidence(self) -> Evidence:
        accepted = [
            Accepted(each.draft.mail_id, str(each.provider), each.draft.message_id)
            for each in self.sandbox.store.newest_first()
        ]
        letters = [Letter.of(each.message) for each in await self.shards.dead(0).pull(max_deliveries=100, wait=1.0)]
        published = {str(mail.id): message_for(mail, trace={}).data for mail in self.mails}
        return Evidence(published, await self._entries(), accepted, letters)

    async def _entries(self) -> dict[str, Entry]:
        """Return what the ledger has, however long a busy emulator takes to answer."""
        async with asyncio.timeout(_LIMIT):
            while True:
                with suppress(LedgerUnavailableError):
                    return await self._find_all()
                await asyncio.sleep(0.5)

    async def _find_all(self) -> dict[str, Entry]:
        found = await asyncio.gather(*(self.ledger.find(MailId(mail.id)) for mail in self.mails))
        return {mail.id: entry for mail, entry in zip(self.mails, found, strict=True) if entry}

    async def _may_resume(self) -> bool:
        if time.time() < self.sprung_at + _SURELY_LAPSED:
            return False
        wanted = self.case.resumes_at
        if wanted is None:
            return await self._are_recorded()
        return {entry.state for entry in (await self._entries()).values()} == {wanted}

    async def _are_over(self) -> bool:
        acks = self.folder / "acks"
        acked = set(acks.read_text(encoding="utf-8").split()) if acks.exists() else set()
        return len(acked) == MAILS and await self._are_recorded()

    async def _are_recorded(self) -> bool:
        entries = await self._entries()
        return len(entries) == MAILS and all(map(is_over, entries.values()))


def _settings(environ: Mapping[str, str], folder: Path, prefix: str) -> dict[str, str]:
    return {
        **environ,
        "PYTHONPATH": f"{folder / 'plugins'}:{ROOT}",
        "POSTMAN_QUEUE": "trapped:",
        "POSTMAN_LEDGER": "trapped:",
        "POSTMAN_PREFIX": prefix,
        "POSTMAN_SHARDS": "1",
        "POSTMAN_PROVIDERS": str(folder / "providers.toml"),
        "POSTMAN_CONCURRENCY": "10",
        "POSTMAN_ACK_DEADLINE": f"{_ACK_DEADLINE:g}",
        "POSTMAN_DOUBT_WINDOW": "4",
        "POSTMAN_GRACE": "5",
        "POSTMAN_HEALTH_WINDOW": "0",
        "SENDGRID_API_KEY": "SG.sandbox",
        "CHAOS_ACKS": str(folder / "acks"),
    }


def _mail(case: Case, number: int) -> Mail:
    domain = "refused.example" if case.is_refused else "example.org"
    document = {
        "id": f"mail-{number}",
        "from": {"email": "shop@mg.example.org"},
        "to": [{"email": f"customer{number}@{domain}"}],
        "subject": f"Mail {number}",
        "text": "Your order is on its way.",
        "on_doubt": case.on_doubt,
    }
    return parse(orjson.dumps(document))


def main(names: Sequence[str]) -> int:
    """Play the cases *names*, or all; print what came of them, and return the exit status."""
    chosen = {name: case for name, case in CASES.items() if not names or name in names}
    with TemporaryDirectory() as folder, Emulators.start(log_dir=Path(folder)) as emulators:
        os.environ.update(emulators.environment)
        matrix = Together(chosen, play, Path(folder), at_once=AT_ONCE)
        failed = sum(not _is_kept(name, matrix) for name in chosen)
    return int(failed > 0)


def _is_kept(name: str, matrix: Together[Case, Outcome]) -> bool:
    """Print what came of a case."""
    outcome = matrix.outcome(name)
    found = problems(CASES[name], outcome)
    print(  # noqa: T201
        f"{'BROKEN' if found else 'kept':8}{name:66}{outcome.sprung} mails {outcome.seconds:5.1f} s", *found, sep="\n  "
    )
    return not found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
