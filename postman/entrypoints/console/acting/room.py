"""The routes of the pages that act."""

from aiohttp import web

from postman.entrypoints.console.acting.desk import DESK, Desk
from postman.entrypoints.console.acting.jobs import Jobs
from postman.entrypoints.console.acting.letters import letter_routes
from postman.entrypoints.console.acting.progress import progress_routes
from postman.entrypoints.console.acting.providers import provider_routes
from postman.entrypoints.console.acting.shards import shard_routes
from postman.entrypoints.console.acting.suppressions import suppression_routes
from postman.entrypoints.console.parts import PARTS

__all__ = ["acting"]


def acting(app: web.Application) -> None:
    """Add them to *app*: a room."""
    stores = app[PARTS].stores
    jobs = Jobs(stores.clock, changed=stores.knowledge.forget)
    app[DESK] = Desk(jobs)
    app.add_routes(
        [*letter_routes(), *provider_routes(), *shard_routes(), *suppression_routes(), *progress_routes(app, jobs)]
    )

    async def close(_app: web.Application) -> None:
        await jobs.aclose()

    app.on_shutdown.append(close)
