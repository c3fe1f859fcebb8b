"""Shards: paused, resumed, drained, with what is waited for."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from aiohttp import web

from postman.core.layout import MOST_SHARDS, Layout
from postman.entrypoints.console.access import needs_act
from postman.entrypoints.console.acting.desk import DESK, Form, acted, prepared
from postman.entrypoints.console.acting.jobs import Job
from postman.entrypoints.console.acting.progress import job_url
from postman.entrypoints.console.parts import PARTS
from postman.entrypoints.console.stores import Stores
from postman.entrypoints.console.views.shards import SHARDS
from postman.entrypoints.console.words import plural
from postman.entrypoints.operating.layouts import opened_resharder
from postman.entrypoints.operating.shards import Followed, ShardAct, mark_shards, tell_emptied
from postman.errors import ConfigError
from postman.runtime.resharding import News

__all__ = ["shard_routes"]

_HOME: Final = "/acts/shards"
_DONE: Final = {ShardAct.PAUSE: "paused", ShardAct.RESUME: "open", ShardAct.DRAIN: "drained, and empty"}


def shard_routes() -> list[web.RouteDef]:
    """Return the routes."""
    return [web.get(_HOME, _choose), web.post(_HOME, _act)]


async def _choose(request: web.Request) -> web.Response:
    needs_act(request)
    values = await SHARDS.values(request.app[PARTS].stores, {})
    return prepared(request, "act_shards.html", values, current="shards")


async def _act(request: web.Request) -> web.Response:
    stores, jobs = request.app[PARTS].stores, request.app[DESK].jobs

    async def begin(form: Form, by: str) -> tuple[str, str]:
        act, shards = _chosen(form)
        what = f"{act.capitalize()} {_named(shards)}"
        job = jobs.start(f"shards_{act}", what, by=by, work=partial(_work, stores, act, shards))
        return job_url(job), ""

    return await acted(request, "shards", _HOME, begin)


async def _work(stores: Stores, act: ShardAct, shards: Sequence[int], job: Job) -> str:
    def news(it: News) -> None:
        job.tell(f"{it.kind}: {it.text}")

    def made(layout: Layout) -> None:
        job.tell(f"Epoch {layout.epoch}: {', '.join(f'shard {each} is {layout.state_of(each)}' for each in shards)}.")

    def followed(it: Followed) -> None:
        job.tell(f"{plural(it.workers, 'worker')} follow." if it.workers else "No worker reports; who starts follows.")

    beside = partial(tell_emptied, stores.settings, shards, job.progress.tell) if act is ShardAct.DRAIN else None
    async with opened_resharder(stores.settings, told=news) as resharder:
        await mark_shards(resharder, act, shards, made=made, followed=followed, emptied=beside)
    return f"{_named(shards).capitalize()}: {_DONE[act]}."


def _chosen(form: Form) -> tuple[ShardAct, Sequence[int]]:
    given = form.getall("shard", [])
    if not given or not all(each.isascii() and each.isdecimal() and int(each) < MOST_SHARDS for each in given):
        raise ConfigError("choose some shards first")
    if form.get("act", "") not in set(ShardAct):
        raise ConfigError("say whether to pause, resume or drain them")
    return ShardAct(form["act"]), sorted({int(each) for each in given})


def _named(shards: Sequence[int]) -> str:
    return f"shard{'s' if len(shards) > 1 else ''} {', '.join(map(str, shards))}"
