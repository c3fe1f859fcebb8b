"""`postman publish FILE…`: checks all, then publishes all."""

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from postman.core.ids import MailId
from postman.core.mail import Mail
from postman.core.shards import shard_for
from postman.entrypoints.cli.output import ERR, complain, print_json
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.logs import set_up_logs
from postman.entrypoints.mailfiles import Checked, MailFile, check, open_files
from postman.errors import InvalidMailError, PostmanError
from postman.runtime.producer import Producer
from postman.wiring import open_producer

__all__ = ["publish"]

_UNDER_WAY: Final = 2_000
_WRONG_USE: Final = 2


def publish(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help=".jsonl, .json or .eml; - reads JSON lines.")],
    *,
    check_only: Annotated[bool, typer.Option("--check", help="Check everything, publish nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="No progress: JSON lines only, as always on stdout.")] = False,
) -> None:
    """Publish mails from files. Prints {"id","shard"} for each. If one mail is wrong, none is published."""
    chosen = settings()
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
        with open_producer(chosen) as producer:
            failed = _publish(producer, opened, checked.mails, chosen.shards, is_quiet=json)
    if failed:
        complain(f"{failed} of {checked.mails} mails may not have been published; publish the same ids again")
        sys.exit(1)


def _check(files: Sequence[MailFile], *, is_quiet: bool) -> Checked:
    with _progress(is_quiet=is_quiet) as progress:
        task = progress.add_task("checking", total=None)
        return check(files, now=time.time(), seen=lambda: progress.advance(task))


def _stop_at_problems(problems: list[str]) -> None:
    if not problems:
        return
    for problem in problems:
        complain(problem)
    complain("nothing was published")
    sys.exit(_WRONG_USE)


def _publish(producer: Producer, files: Sequence[MailFile], total: int, shards: int, *, is_quiet: bool) -> int:
    """Return how many failed."""
    failed = 0
    under_way: deque[tuple[str, Future[MailId]]] = deque()

    def finish_one() -> None:
        nonlocal failed
        where, future = under_way.popleft()
        try:
            mail_id = future.result()
        except PostmanError as error:
            failed += 1
            complain(f"{where}: {error}")
        else:
            print_json({"id": mail_id, "shard": shard_for(mail_id, shards)})
        progress.advance(task)

    with _progress(is_quiet=is_quiet) as progress:
        task = progress.add_task("publishing", total=total)
        for where, mail in _mails(files):
            if len(under_way) == _UNDER_WAY:
                finish_one()
            under_way.append((where, producer.publish(mail)))
        while under_way:
            finish_one()
    return failed


def _mails(files: Sequence[MailFile]) -> Iterator[tuple[str, Mail]]:
    for file in files:
        for where, mail in file.read():
            if isinstance(mail, InvalidMailError):
                raise InvalidMailError("", f"{where}: the file changed while it was read: {mail}")
            yield where, mail


def _progress(*, is_quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=ERR,
        transient=True,
        disable=is_quiet or not ERR.is_terminal,
    )
