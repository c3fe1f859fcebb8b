"""How long it takes to read a full ledger over many mails, beside a small one.

The ledger is Firestore's where the environment names its emulator, else a SQLite file. One is small, the other has
the given mails, each sent to one of so many recipients, and among them dead letters of every reason. Both take turns.
The emulator has no indexes: it goes through all that it holds, so that only SQLite's figures tell what an index does.

    python -m tests.benchmarks.records [--mails 100000] [--dead 10000] [--rounds 15]
    ./emulator.sh run -- python -m tests.benchmarks.records
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from postman.config import Settings
from postman.core.entry import Claimed
from postman.core.ids import MailId
from postman.core.shelf import Shelf
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt
from postman.ports.records import Records
from postman.wiring import open_ledger, open_records

_AT_ONCE: Final = 2_000
_SMALL: Final = 100
_RECIPIENTS: Final = 5_000
_REASONS: Final = ("alpha: answered 400", "expired", "poison: two workers ended", "suppressed: it bounced")
_LIMIT: Final = 0.3
"""Seconds within which each must answer, by the median."""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _settings(folder: Path) -> Settings:
    has_emulator = "FIRESTORE_EMULATOR_HOST" in os.environ
    return Settings.from_env(
        {
            "POSTMAN_LEDGER": "firestore:" if has_emulator else f"sqlite:{folder / 'ledger.db'}",
            "POSTMAN_PREFIX": f"records-{token_hex(3)}",
            "GOOGLE_CLOUD_PROJECT": "demo-postman",
        }
    )


@asynccontextmanager
async def _filled(folder: Path, mails: int, dead: int) -> AsyncIterator[Records]:
    settings = _settings(folder)
    records = open_records(settings)
    assert records is not None
    ledger = open_ledger(settings)
    begun = time.perf_counter()
    for first in range(0, mails, _AT_ONCE):
        await asyncio.gather(*(_put(ledger, number, dead) for number in range(first, min(first + _AT_ONCE, mails))))
    _say(f"{settings.ledger.partition(':')[0]}: {mails} mails in {time.perf_counter() - begun:.1f} s")
    await ledger.aclose()
    yield records
    await records.aclose()


async def _put(ledger: Ledger, number: int, dead: int) -> None:
    mail_id, tags = MailId(f"m-{number}"), [_tag(number)]
    if number < dead:
        entry = await ledger.refuse(mail_id, digest="d", reason=_REASONS[number % len(_REASONS)], recipients=tags)
        await ledger.park(mail_id, token=entry.token)
        return
    answer = await ledger.claim(
        mail_id, claim_id=f"w.{number}", digest="d", provider="alpha", lease=60.0, recipients=tags
    )
    assert isinstance(answer, Claimed)
    await ledger.record_sent(answer.claim, Receipt("alpha", f"a-{number}"))


def _tag(number: int) -> str:
    return f"{number % _RECIPIENTS:012x}"


async def _counts(records: Records) -> None:
    assert sum((await records.counts()).values()) > 0


async def _page(records: Records) -> None:
    assert (await records.page(Shelf.REFUSED)).records


async def _second_page(records: Records) -> None:
    first = await records.page(Shelf.REFUSED, limit=1)
    assert (await records.page(Shelf.REFUSED, after=first.after)).records


async def _by_message_id(records: Records) -> None:
    assert len(await records.by_message_id(f"a-{_SMALL - 1}")) < 2


async def _by_recipient(records: Records) -> None:
    assert await records.by_recipient(_tag(_SMALL - 1))


_QUESTIONS: Final[Mapping[str, Callable[[Records], Awaitable[None]]]] = {
    "counts": _counts,
    "a page of 50": _page,
    "one mail, then the page after it": _second_page,
    "a provider's id": _by_message_id,
    "a recipient, at most 50": _by_recipient,
}


async def _took(question: Callable[[Records], Awaitable[None]], records: Records) -> float:
    begun = time.perf_counter()
    await question(records)
    return time.perf_counter() - begun


async def _measure(small: Records, full: Records, rounds: int) -> bool:
    _say(f"{'':35}{'small':>9}{'full':>12}   (medians of {rounds})")
    is_quick = True
    for name, question in _QUESTIONS.items():
        pairs = [(await _took(question, small), await _took(question, full)) for _ in range(rounds)]
        before, after = (median(times) for times in zip(*pairs, strict=True))
        is_quick &= after < _LIMIT
        _say(f"{name:35}{before * 1e3:6.1f} ms{after * 1e3:9.1f} ms")
    return is_quick


async def _run(mails: int, dead: int, rounds: int) -> bool:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        async with _filled(Path(one), _SMALL, _SMALL // 10) as small, _filled(Path(other), mails, dead) as full:
            return await _measure(small, full, rounds)


def main(arguments: Sequence[str]) -> int:
    """Return 1 where the median of an answer is not below 300 ms."""
    parser = argparse.ArgumentParser(prog="records", description="Reading a full ledger over many mails.")
    parser.add_argument("--mails", type=int, default=100_000)
    parser.add_argument("--dead", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    told = parser.parse_args(arguments)
    return 0 if asyncio.run(_run(told.mails, told.dead, told.rounds)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
