"""A cluster of real processes with its console, and a browser before it: Debian's chromium, driven by Playwright.

The cluster lives in a loop of its own thread, so that tests are plain functions
that drive the browser and now and then ask the cluster for something.
"""

import asyncio
import shutil
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import orjson
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from postman import Producer
from postman.core.wire import parse
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.testing.waiting import wait_until
from tests.npm import node_modules
from tests.system.town import Town, mail

__all__ = ["DESKTOP", "PHONE", "Reader", "Scheme", "Stage", "open_browser", "open_stage", "reader"]

_T = TypeVar("_T")

_HERE: Final = Path(__file__).parent
_CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_ARGUMENTS: Final = ("--no-sandbox", "--disable-dev-shm-usage", "--force-prefers-reduced-motion")

Scheme = str
"""`light` or `dark`."""

PHONE: Final = (390, 844)
DESKTOP: Final = (1280, 900)


@dataclass
class Stage:
    """The cluster and where its console is."""

    town: Town
    login_url: str
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        parts = urlsplit(self.login_url)
        return f"{parts.scheme}://{parts.netloc}"

    def run(self, doing: Coroutine[Any, Any, _T], within: float = 90.0) -> _T:
        """Do something in the cluster's loop."""
        return asyncio.run_coroutine_threadsafe(doing, self.loop).result(within)

    def until(self, what: str, holds: Callable[[], Awaitable[bool]], within: float = 60.0) -> None:
        self.run(wait_until(holds, within=within, every=0.3, what=what), within + 5.0)

    def command(self, *words: str) -> bytes:
        return self.run(self.town.run(*words))

    def fault(self, provider: str, faults: list[dict[str, Any]]) -> None:
        self.run(self.town.cluster.set_fault(provider, faults))

    def publish(self, mails: Sequence[dict[str, object]]) -> None:
        path = self.town.folder / f"published-{token_hex(4)}.jsonl"
        path.write_bytes(b"\n".join(map(orjson.dumps, mails)))
        self.command("publish", str(path))

    def publish_some(self, name: str, count: int) -> None:
        """Publish mails that can be sent, with ids of their own."""
        self.publish([mail(number) | {"id": f"{name}-{number}"} for number in range(count)])

    @contextmanager
    def traffic(self, name: str) -> Iterator[None]:
        """Let twenty mails a second be published meanwhile."""
        flowing = asyncio.run_coroutine_threadsafe(_flow(self.town, name), self.loop)
        try:
            yield
        finally:
            flowing.cancel()


async def _flow(town: Town, name: str) -> None:
    async with Producer.from_env(town.environ) as producer:
        for number in count():
            await producer.apublish(parse(orjson.dumps(mail(number) | {"id": f"{name}-{number}"})))
            await asyncio.sleep(0.05)


class Reader:
    """Who looks at the console by a browser: one window, of some size and scheme."""

    def __init__(self, page: Page, stage: Stage, axe: Path) -> None:
        self.page = page
        self._stage = stage
        self._axe = axe
        self.errors: list[str] = []
        """What the browser complained of: a script's error, a refused resource."""
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def log_in(self) -> None:
        self.page.goto(self._stage.login_url)

    def go(self, path: str) -> Page:
        answer = self.page.goto(f"{self._stage.url}{path}")
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"
        return self.page

    def violations(self) -> list[str]:
        """Return what axe-core finds wrong with the page, rule by rule."""
        self.page.evaluate(self._axe.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{rule['id']} ({rule['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return int(wide)


@contextmanager
def open_stage(folder: Path, **settings: str) -> Iterator[Stage]:
    """Start a cluster: sandbox, two workers, console; on the emulators where the environment names them."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cluster", daemon=True)
    thread.start()
    environ, _ = environment_for(folder, run=token_hex(3), shards=4)
    environ |= {"POSTMAN_REHOME_AFTER": "4", **settings}

    def run(doing: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(doing, loop).result(90.0)

    cluster = run(_entered(folder, environ))
    try:
        town = Town(cluster, environ, folder)
        yield Stage(town, run(_begin(town)), loop)
    finally:
        run(cluster.__aexit__())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10.0)
        loop.close()


async def _entered(folder: Path, environ: dict[str, str]) -> Cluster:
    return await Cluster(folder, environ).__aenter__()


async def _begin(town: Town) -> str:
    await town.run("init")
    await town.cluster.start_sandbox()
    names = ("worker-1", "worker-2")
    url = await town.cluster.start_console()
    await asyncio.gather(*map(town.cluster.start_worker, names))
    await town.cluster.wait_for_workers(*names)
    return url


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Debian's chromium; skips where there is none."""
    found = next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if found is None:
        pytest.skip("the console in a browser (no chromium: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def reader(
    browser: Browser, stage: Stage, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light"
) -> Iterator[Reader]:
    """Open a window and close it after."""
    context: BrowserContext = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        device_scale_factor=1,
    )
    context.set_default_timeout(15_000)
    try:
        yield Reader(context.new_page(), stage, node_modules(_HERE) / "axe-core" / "axe.min.js")
    finally:
        context.close()
