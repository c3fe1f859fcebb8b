"""Acts that take a while: they go on while nobody looks, and whoever looks again sees how far they are.

They end with the process. Each of them can be broken off and begun anew: what
was done stays done, the rest stays as it was.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import structlog

from postman.entrypoints.console.access import told
from postman.entrypoints.operating.progress import Progress
from postman.errors import PostmanError
from postman.ports.clock import Clock
from postman.runtime.surprise import reason_of

__all__ = ["Job", "JobState", "Jobs"]

_LOG = structlog.get_logger("postman.console")

_MOST: Final = 100
"""Jobs that are kept; of those that ended the oldest go first."""
_MOST_NEWS: Final = 50


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    """Somebody ended it, or the console ended."""


@dataclass(slots=True, eq=False)
class Job:
    """One act. Times in seconds since 1970."""

    id: str
    act: str
    """Its fixed name, for the log."""
    what: str
    """In words; without an address."""
    by: str = field(repr=False)
    begun: float
    progress: Progress
    """By the clock that does not jump."""
    state: JobState = JobState.RUNNING
    ended: float = 0.0
    result: str = ""
    """What came of it, or why it failed."""
    news: list[str] = field(default_factory=list)
    """The latest steps and waits, oldest first."""
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)

    def tell(self, text: str) -> None:
        """Add a step, or what is waited for; the same twice in a row is told once."""
        if self.news[-1:] != [text]:
            self.news = [*self.news, text][-_MOST_NEWS:]


class Jobs:
    """Those of one process."""

    def __init__(self, clock: Clock, *, changed: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._changed = changed
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def start(self, act: str, what: str, *, by: str, work: Callable[[Job], Awaitable[str]]) -> Job:
        """Begin *work*, which returns what came of it; nothing that it raises is raised here."""
        job = Job(secrets.token_hex(8), act, what, by, self._clock.time(), Progress(self._clock.now()))
        self._jobs[job.id] = job
        self._forget()
        job.task = asyncio.create_task(self._run(job, work))
        _LOG.info("act_begun", act=act, job=job.id, by=told(by))
        return job

    def find(self, job_id: str) -> Job | None:
        """Return the job, if it is of this process and not too long ago."""
        return self._jobs.get(job_id)

    def latest(self) -> Sequence[Job]:
        """Return all that are kept, latest first."""
        return list(reversed(self._jobs.values()))

    def stop(self, job: Job) -> None:
        """Break *job* off, if it runs."""
        if job.task is not None:
            job.task.cancel()

    async def aclose(self) -> None:
        """Break all off."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: Job, work: Callable[[Job], Awaitable[str]]) -> None:
        try:
            job.result = await work(job)
            job.state = JobState.DONE
        except asyncio.CancelledError:
            job.state, job.result = JobState.STOPPED, "It was stopped. What was done stays done, the rest is as it was."
            raise
        except PostmanError as error:
            job.state, job.result = JobState.FAILED, str(error)
        except Exception as error:  # noqa: BLE001 — an outermost step; foreign words stay out of pages and logs
            fields = reason_of(error)
            _LOG.error("act_failed", act=job.act, job=job.id, **fields)
            job.state, job.result = JobState.FAILED, f"a fault of ours ({fields['reason']}), which is in the log"
        finally:
            job.ended = self._clock.time()
            self._changed()
            done = job.progress.done
            _LOG.info("act_ended", act=job.act, job=job.id, state=str(job.state), done=done, by=told(job.by))

    def _forget(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.state is not JobState.RUNNING]
        for job_id in ended[: max(0, len(self._jobs) - _MOST)]:
            del self._jobs[job_id]
