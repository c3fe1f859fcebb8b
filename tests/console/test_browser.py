"""The console in a browser, before a running cluster on the emulators."""

import time
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Locator, Page

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
    "/acts",
    "/acts/dead",
    f"/acts/dead/letter?id={REFUSED[0]}",
    "/acts/dead/confirm?act=drop&reason=refused",
    "/acts/providers/sendgrid",
    "/acts/shards",
    "/acts/suppressions",
    "/login",
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


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
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
    page.goto(page.url.rpartition("/mails/")[0])
    page.get_by_role("searchbox").fill(message_id)
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name=SENT[3]).wait_for()
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


def test_dead_letters_are_sent_again_and_arrive(operator: Reader, stage: Stage) -> None:
    """All of a reason, after a page that says how many; then one that was chosen, dropped."""
    page = operator.go("/acts/dead?reason=refused")
    page.get_by_role("button", name="Send all 5 of refused again").click()
    page.get_by_role("heading", level=1, name="Send again?").wait_for()
    assert page.locator("#count").inner_text() == "5"
    page.get_by_label("Why").fill("the template was mended")
    page.get_by_role("button", name="Send again").click()
    page.get_by_text("5 mails sent back to their shards").wait_for()
    stage.until("they arrive", lambda: stage.town.has_accepted(len(SENT) + len(REFUSED)))
    page.goto(f"{stage.url}/mails/{REFUSED[0]}")
    page.get_by_text("the template was mended").first.wait_for()

    page.goto(f"{stage.url}/acts/dead?reason=expired")
    page.get_by_label(f"Choose {EXPIRED[0]}").check()
    page.get_by_role("button", name="Drop the chosen").click()
    page.get_by_role("button", name="Drop").click()
    page.get_by_text("1 dead letter dropped").wait_for()
    page.goto(f"{stage.url}/dead?reason=expired")
    page.get_by_role("link", name=EXPIRED[1]).wait_for()
    assert page.get_by_role("link", name=EXPIRED[0]).count() == 0


def test_a_breaker_is_forced_and_workers_follow(operator: Reader, stage: Stage) -> None:
    page = operator.go("/acts/providers/sendgrid")
    page.get_by_label("open", exact=False).first.check()
    page.locator("#why-breaker").fill("their status page is red")
    page.get_by_role("button", name="Set the breaker").click()
    page.goto(f"{stage.url}/providers")
    page.locator("#provider-sendgrid").get_by_text("held open").first.wait_for(timeout=30_000)
    stage.command("providers", "breaker", "sendgrid", "auto")
    page.locator("#provider-sendgrid").get_by_text("held open").first.wait_for(state="detached", timeout=30_000)


def _reload_until(page: Page, url: str, shown: Locator) -> None:
    """An act goes on while one looks elsewhere: ask again until the page shows it."""
    ends = time.monotonic() + 60.0
    while page.goto(url) and not shown.count():
        assert time.monotonic() < ends, f"{url} does not show it"
        page.wait_for_timeout(300)


def test_a_shard_is_paused_and_resumed(operator: Reader, stage: Stage) -> None:
    for act, state in (("Pause", "paused"), ("Resume", "open")):
        page = operator.go("/acts/shards")
        page.get_by_label("shard 2").check()
        page.get_by_role("button", name=act).click()
        _reload_until(page, f"{stage.url}/acts/shards", page.get_by_role("row", name="shard 2").get_by_text(state))


def test_an_address_is_suppressed_and_lifted_and_shown_nowhere(operator: Reader) -> None:
    page = operator.go("/acts/suppressions")
    page.locator("#add-who").fill("gone@example.org")
    page.get_by_role("button", name="Send it no more mail").click()
    assert "gone@example.org" not in page.content()
    page.goto(page.url.partition("/acts")[0] + "/acts/suppressions")
    page.locator("#lift-who").fill("Gone@Example.org")
    page.get_by_role("button", name="Lift it").click()
    assert "gone@" not in page.content().lower()


def test_who_only_looks_is_offered_no_act(browser: Browser, stage: Stage) -> None:
    with reader(browser, stage) as visitor:
        page = visitor.go("/dead")
        assert page.get_by_role("link", name="Log in to act").count() == 1
        assert page.get_by_role("button").all_inner_texts()[0] == "Find"
        answer = page.goto(f"{stage.url}/acts/dead")
        assert answer is not None
        assert answer.status == 403
