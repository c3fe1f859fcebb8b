"""`python -m tests.console.pictures [FOLDER]`: the pages as pictures, for the documentation, on the emulators."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from PIL import Image
from playwright.sync_api import Browser

from tests.console.planted import DOUBTFUL, REFUSED, SENT, plant
from tests.console.stage import DESKTOP, PHONE, Reader, Stage, open_browser, open_stage, reader

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pictures"
SIZES: Final = {"desktop": DESKTOP, "phone": PHONE}
SCHEMES: Final = ("light", "dark")
PAGES: Final = {
    "overview": "/",
    "mail": f"/mails/{SENT[0]}",
    "mail-in-doubt": f"/mails/{DOUBTFUL[0]}",
    "mail-refused": f"/mails/{REFUSED[0]}",
    "dead-letters": "/dead?reason=refused",
    "doubts": "/doubts",
    "providers": "/providers",
    "shards": "/shards",
    "workers": "/workers",
}
_TALLEST: Final = 2_400
"""Pixels of a page that are shown."""
_COLORS: Final = 96


def main(arguments: list[str]) -> int:
    """Take them all."""
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with open_browser() as browser, TemporaryDirectory() as cluster, open_stage(Path(cluster)) as stage:
        plant(stage)
        with stage.traffic("busy"):
            time.sleep(150.0)  # so that the charts have something to show
            for name, path in PAGES.items():
                _take(browser, stage, folder, name, path)
            stage.fault("sendgrid", [{"kind": "down"}])
            time.sleep(12.0)
            _take(browser, stage, folder, "provider-down", "/")
    return 0


def _take(browser: Browser, stage: Stage, folder: Path, name: str, path: str) -> None:
    for size, scheme, opened in _readers(browser, stage):
        opened.go(path)
        opened.page.locator("#live-state", has_text="live").or_(opened.page.locator("#main")).first.wait_for()
        height = min(_TALLEST, int(opened.page.evaluate("document.documentElement.scrollHeight")))
        opened.page.set_viewport_size({"width": SIZES[size][0], "height": max(height, SIZES[size][1])})
        picture = Image.open(BytesIO(opened.page.screenshot()))
        target = folder / f"console-{name}-{size}-{scheme}.png"
        picture.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(target, optimize=True)
        sys.stdout.write(f"{target.name}  {target.stat().st_size // 1024} KiB\n")


def _readers(browser: Browser, stage: Stage) -> Iterator[tuple[str, str, Reader]]:
    for size, pixels in SIZES.items():
        for scheme in SCHEMES:
            with _logged_in(browser, stage, pixels, scheme) as opened:
                yield size, scheme, opened


@contextmanager
def _logged_in(browser: Browser, stage: Stage, pixels: tuple[int, int], scheme: str) -> Iterator[Reader]:
    with reader(browser, stage, pixels, scheme) as opened:
        opened.log_in()
        yield opened


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
