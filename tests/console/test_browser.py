"""The console in a browser, before a running cluster on the emulators."""

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser

from postman.testing.emulators import Emulators, Service
from tests.console.planted import DOUBTFUL, EXPIRED, REFUSED, SENT, plant
from tests.console.stage import DESKTOP, PHONE, Reader, Stage, open_browser, open_stage, reader

PAGES: Final = (
    "/",
    f"/mails/{SENT[0]}",
    f"/mails/{REFUSED[0]}",
    f"/mails/{DOUBTFUL[0]}",
    "/mails/nobody-published-this",
    "/search",
    "/dead",
    "/dead?reason=refused",
    "/doubts",
    "/providers",
    "/shards",
    "/workers",
    "/suppressions",
    "/runbook",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as running:
        yield running


@pytest.fixture(scope="module")
def stage(browser: Browser, emulators: Emulators, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    for service in (Service.PUBSUB, Service.FIRESTORE):
        if service in emulators.missing:
            pytest.skip(f"{service.label} emulator ({emulators.missing[service]})")
    with open_stage(tmp_path_factory.mktemp("stage")) as running:
        plant(running)
        yield running


@pytest.fixture
def operator(browser: Browser, stage: Stage) -> Iterator[Reader]:
    with reader(browser, stage) as opened:
        opened.log_in()
        yield opened
        assert opened.errors == []


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "light"), (DESKTOP, "light"), (DESKTOP, "dark")])
def test_no_page_has_a_violation_or_is_wider_than_the_window(
    browser: Browser, stage: Stage, size: tuple[int, int], scheme: str
) -> None:
    """axe-core with all its rules, as whoever may act sees the pages."""
    found: dict[str, list[str]] = {}
    with reader(browser, stage, size, scheme) as opened:
        opened.log_in()
        for path in PAGES:
            opened.page.goto(f"{stage.url}{path}")
            problems = opened.violations()
            if (pixels := opened.overflow()) > 0:
                problems.append(f"{pixels} pixels wider than the window")
            if problems:
                found[path] = problems
    assert found == {}, "\n".join(f"{path}: {each}" for path, problems in found.items() for each in problems)


def test_a_mail_is_found_by_its_id_its_recipient_and_its_providers_id(operator: Reader) -> None:
    page = operator.go("/")
    page.get_by_role("searchbox").fill(SENT[3])
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name=SENT[3]).wait_for()
    message_id = page.locator("dt:has-text('s id') + dd").inner_text()
    page.get_by_role("searchbox").fill(message_id)
    page.keyboard.press("Enter")
    page.get_by_role("link", name=SENT[3]).wait_for()
    page.get_by_role("searchbox").fill("customer3@example.org")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=SENT[3]).wait_for()
    assert "customer3" not in page.content()
    assert "customer3" not in page.url


def test_a_provider_is_lost_and_comes_back_before_the_viewers_eyes(operator: Reader, stage: Stage) -> None:
    """Nothing is reloaded: the page is told."""
    page = operator.go("/")
    verdict = page.locator("#live_verdict")
    stage.fault("sendgrid", [{"kind": "down"}])
    with stage.traffic("while-down"):
        verdict.get_by_text("sendgrid is down").wait_for(timeout=60_000)
    assert "all mails go to mailgun" in verdict.inner_text()
    row = page.locator("#live_providers tr", has_text="sendgrid")
    assert row.get_by_text("open").count() >= 1
    stage.fault("sendgrid", [])
    with stage.traffic("after"):
        verdict.get_by_text("sendgrid is down").wait_for(state="detached", timeout=60_000)
        row.get_by_text("open").first.wait_for(state="detached", timeout=60_000)


def test_the_keyboard_reaches_the_content_first(operator: Reader) -> None:
    page = operator.go("/dead")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_expired_and_refused_mails_are_told_apart(operator: Reader) -> None:
    page = operator.go("/dead?reason=expired")
    assert page.get_by_role("link", name=EXPIRED[0]).count() == 1
    assert page.get_by_role("link", name=REFUSED[0]).count() == 0
