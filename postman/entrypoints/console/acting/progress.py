"""How far acts are that take a while: a live page for each, which a reload does not disturb."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from aiohttp import web

from postman.entrypoints.console.access import needs_act
from postman.entrypoints.console.acting.desk import DESK, Form, acted
from postman.entrypoints.console.acting.jobs import Job, Jobs, JobState
from postman.entrypoints.console.pages import show_view
from postman.entrypoints.console.parts import PARTS, Values, View
from postman.entrypoints.console.stores import Stores

__all__ = ["job_url", "progress_routes"]

_TONES: Final = {JobState.RUNNING: "note", JobState.DONE: "good", JobState.FAILED: "bad", JobState.STOPPED: "warn"}


def job_url(job: Job) -> str:
    """Return the address of a job's page."""
    return f"/acts/{job.id}"


def progress_routes(app: web.Application, jobs: Jobs) -> list[web.RouteDef]:
    """Return the routes, and add the live pages to *app*."""
    one = View("act", "act_job.html", partial(_one, jobs))
    all_ = View("acts", "act_jobs.html", partial(_all, jobs))
    app[PARTS].views.update({view.name: view for view in (one, all_)})
    return [
        web.get("/acts", partial(show_view, view=all_)),
        web.get("/acts/{job:[0-9a-f]{16}}", partial(show_view, view=one)),
        web.post("/acts/{job:[0-9a-f]{16}}/stop", _stop),
    ]


async def _one(jobs: Jobs, stores: Stores, ask: Mapping[str, str]) -> Values:
    job = jobs.find(ask.get("job", ""))
    now = stores.clock.now()
    left = job.progress.left(now) if job else None
    return {
        "now": stores.clock.time(),
        "status": 200 if job else 404,
        "job": job,
        "runs": job is not None and job.state is JobState.RUNNING,
        "tone": _TONES[job.state] if job else "",
        "rate": job.progress.rate(now) if job else 0.0,
        "left": left,
    }


async def _all(jobs: Jobs, stores: Stores, _ask: Mapping[str, str]) -> Values:
    return {"now": stores.clock.time(), "jobs": jobs.latest(), "tones": _TONES}


async def _stop(request: web.Request) -> web.Response:
    needs_act(request)
    jobs, job_id = request.app[DESK].jobs, request.match_info["job"]

    async def stop(_form: Form, _by: str) -> tuple[str, str]:
        job = jobs.find(job_id)
        if job is None or job.state is not JobState.RUNNING:
            return f"/acts/{job_id}", "It had ended already."
        jobs.stop(job)
        return f"/acts/{job_id}", "It is being stopped."

    return await acted(request, "stop", f"/acts/{job_id}", stop)
