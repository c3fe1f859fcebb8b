"""`postman publish FILE…`: checks all, then publishes all."""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from types import FrameType
from typing import Annotated, Final, Self

import typer

from postman.core.ids import MailId
from postman.core.mail import Mail
from postman.entrypoints.cli.output import ERR, complain, print_json
from postman.entrypoints.cli.progress import ProgressOption, showing_progress
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.logs import set_up_logs
from postman.entrypoints.mailfiles import Checked, MailFile, check, open_files
from postman.errors import ConfigError, InvalidMailError, QueueError
from postman.runtime.producer import Producer
from postman.wiring import open_producer

__all__ = ["publish"]

_UNDER_WAY: Final = 2_000
_WRONG_USE: Final = 2
_INTERRUPTED: Final = 130
_PATIENCE: Final = 10.0
"""Seconds for one mail: somebody sits there and waits. A service's producer is more patient."""
_MOST_COMPLAINTS: Final = 20


def publish(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help=".jsonl, .json or .eml; - reads JSON lines.")],
    *,
    check_only: Annotated[bool, typer.Option("--check", help="Check everything, publish nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="No progress: JSON lines only, as always on stdout.")] = False,
    progress: ProgressOption = False,
) -> None:
    """Publish mails from files. Prints {"id","shard"} for each. If one mail is wrong, none is published."""
    chosen = settings()
    if chosen.queue.startswith("memory:"):
        raise ConfigError("POSTMAN_QUEUE: memory: ends with this command, and the mails with it; use sqlite:")
    set_up_logs(chosen.log_level)
    with ExitStack() as stack:
        opened, problems = open_files(files, sys.stdin.buffer)
        for file in opened:
            stack.enter_context(file)
        checked = _check(opened, is_quiet=json)
        _stop_at_problems([*map(str, problems), *map(str, checked.problems)])
        if check_only:
            ERR.print(f"{checked.mails} mails are fine; nothing was published")
            return
        with open_producer(chosen, Producer, patience=_PATIENCE) as producer:
            failed = _publish(producer, opened, checked.mails, is_quiet=json, lines=progress)
    if failed:
        complain(f"{failed} of {checked.mails} mails may not have been published; publish the same ids again")
        sys.exit(1)


def _check(files: Sequence[MailFile], *, is_quiet: bool) -> Checked:
    with showing_progress("checking", json=is_quiet) as tell:
        seen = count(1)
        return check(files, now=time.time(), seen=lambda: tell(next(seen), None))


def _stop_at_problems(problems: list[str]) -> None:
    if not problems:
        return
    for problem in problems:
        complain(problem)
    complain("nothing was published")
    sys.exit(_WRONG_USE)


class _Interrupt(AbstractContextManager["_Interrupt"]):
    """Keeps an interrupt (Ctrl-C) for later, so that no mail is half handed over; a second one ends all at once."""

    def __init__(self) -> None:
        self.came = False
        self._before = signal.getsignal(signal.SIGINT)

    def __enter__(self) -> Self:
        signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.came:
            os._exit(_INTERRUPTED)
        self.came = True


class _Publishing:
    """Publishes mails and prints what became of each, in their order."""

    def __init__(self, producer: Producer, advance: Callable[[], None]) -> None:
        self.failed = 0
        self._producer = producer
        self._advance = advance
        self._under_way: deque[tuple[str, MailId, str, Future[MailId]]] = deque()

    def publish_all(self, mails: Iterable[tuple[str, Mail]]) -> None:
        """Return when every mail is published or failed.

        Raises `ConfigError`, once, where the settings let none be published, and `KeyboardInterrupt` for an interrupt,
        when the mails under way are done.
        """
        try:
            with _Interrupt() as interrupt:
                for where, mail in mails:
                    if interrupt.came:
                        break
                    if len(self._under_way) == _UNDER_WAY:
                        self._finish_one()
                    self._under_way.append((where, mail.id, mail.tenant or "", self._producer.publish(mail)))
                self._finish_all()
        except ConfigError:
            wait([future for *_, future in self._under_way])
            raise
        if interrupt.came:
            complain("interrupted; the mails whose ids are not printed were not published")
            raise KeyboardInterrupt

    def _finish_all(self) -> None:
        while self._under_way:
            self._finish_one()

    def _finish_one(self) -> None:
        where, mail_id, tenant, future = self._under_way.popleft()
        try:
            future.result()
        except QueueError as error:
            self.failed += 1
            if self.failed <= _MOST_COMPLAINTS:
                complain(f"{where}: {mail_id}: {error}")
        else:
            print_json({"id": mail_id, "shard": self._producer.shard_of(mail_id, tenant)})
        self._advance()


def _publish(producer: Producer, files: Sequence[MailFile], total: int, *, is_quiet: bool, lines: bool) -> int:
    """Return how many failed."""
    with showing_progress("publishing", json=is_quiet, lines=lines) as tell:
        tell(0, total)
        done = count(1)
        publishing = _Publishing(producer, lambda: tell(next(done), total))
        publishing.publish_all(_mails(files))
        return publishing.failed


def _mails(files: Sequence[MailFile]) -> Iterator[tuple[str, Mail]]:
    for file in files:
        for where, mail in file.read():
            if isinstance(mail, InvalidMailError):
                raise InvalidMailError("", f"{where}: the file changed while it was read: {mail}")
            yield where, mail
