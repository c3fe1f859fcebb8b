"""Who may look, who may act, and what a foreign page cannot do."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from postman.config import Settings
from postman.entrypoints.console.access import Access
from postman.entrypoints.console.keys import ConsoleKeys, read_references
from postman.entrypoints.console.parts import Parts
from postman.entrypoints.console.running import opened_parts
from postman.errors import ConfigError
from postman.ports.tokens import NOBODY, Identity, Standing
from postman.runtime.keys import Keyring
from postman.testing.clock import FakeClock
from tests.contract.console.conftest import NOW, Desk, console

TOKEN = "a-token-of-at-least-sixteen"
ANA, BOB = "ana@example.org", "bob@elsewhere.test"


class Platform:
    """Says that everybody is who a header says."""

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        who = headers.get("X-Who", "")
        if who == "unknown":
            return Identity(Standing.UNKNOWN)
        return Identity(Standing.PROVEN, who) if who else NOBODY

    async def aclose(self) -> None:
        pass


def behind_platform(parts: Parts, *, operators: tuple[str, ...] = ()) -> Parts:
    clock = parts.stores.clock
    keys = ConsoleKeys([], Keyring({}, clock=clock), maker="")
    return replace(parts, access=Access(clock=clock, keys=keys, identities=Platform(), operators=operators))


async def test_whoever_is_at_this_machine_may_look_and_is_told_how_to_act(desk: Desk) -> None:
    answer = await desk.get("/")

    assert answer.status == 200
    assert "Log in to act" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:80"},
        {"Host": "["},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
        {"Via": "1.1 proxy"},
    ],
)
async def test_a_foreign_name_or_a_proxy_gets_nothing(desk: Desk, headers: dict[str, str]) -> None:
    """A page whose name was pointed at this machine (DNS rebinding) cannot read the console."""
    for path in ("/", "/dead", "/login", "/stream/overview"):
        answer = await desk.get(path, **headers)
        assert answer.status in (400, 403), path
        assert "shop" not in answer.text or answer.status == 403

    assert "mails a second" not in (await desk.get("/", **headers)).text


async def test_the_platforms_probe_needs_no_name(desk: Desk) -> None:
    assert (await desk.get("/live", Host="10.0.0.7:8080")).text == "alive\n"


async def test_the_printed_address_logs_in_and_leaves_no_token_behind(desk: Desk) -> None:
    answer = await desk.get(f"/login?token={desk.token}")

    [cookie] = answer.cookies.values()
    assert (answer.status, answer.place) == (303, "/")
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert "Log out" in (await desk.get("/")).text
    assert desk.token not in (await desk.get("/")).text


async def test_over_https_the_cookie_never_goes_without(desk: Desk) -> None:
    answer = await desk.get(f"/login?token={desk.token}", **{"X-Forwarded-Proto": "https"})

    [(name, cookie)] = answer.cookies.items()
    assert name.startswith("__Host-")
    assert cookie["secure"] is True


async def test_a_wrong_token_is_refused_and_after_five_nobody_is_heard(desk: Desk) -> None:
    with capture_logs() as logs:
        for _ in range(5):
            assert (await desk.post("/login", {"token": "wrong" * 5})).status == 401
        limited = await desk.post("/login", {"token": desk.token})

    assert (limited.status, limited.headers["Retry-After"]) == (429, "60")
    assert "wrong" not in str(logs)
    await desk.later(61)
    assert (await desk.post("/login", {"token": desk.token})).status == 303


async def test_a_session_ends_after_eight_hours(desk: Desk) -> None:
    await desk.log_in()
    await desk.later(8 * 3600 + 1)

    assert "Log in to act" in (await desk.get("/")).text


async def test_a_session_ends_with_a_log_out(desk: Desk) -> None:
    await desk.log_in()
    token = await desk.form_token()

    assert (await desk.post("/logout", {"form_token": token})).status == 303
    page = (await desk.get("/")).text
    assert "Log in to act" in page
    assert "You are logged out." in page
    assert "You are logged out." not in (await desk.get("/")).text


async def test_acts_need_a_session_its_form_and_our_own_page(desk: Desk) -> None:
    assert (await desk.post("/acts/one")).status == 403
    await desk.log_in()
    token = await desk.form_token()
    form = {"form_token": token}

    refused = [
        await desk.post("/acts/one"),
        await desk.post("/acts/one", {"form_token": token[:-1] + "x"}),
        await desk.post("/acts/one", form, Origin="http://evil.example"),
        await desk.post("/acts/one", form, Origin="null"),
        await desk.post("/acts/one", form, Origin=""),
        await desk.post("/acts/one", form, Sec_Fetch_Site="cross-site"),
        await desk.post("/acts/one", form, Sec_Fetch_Site="same-site"),
    ]
    assert [answer.status for answer in refused] == [403] * 7
    assert desk.acted == []

    assert (await desk.post("/acts/one", form)).text == "done"
    assert (await desk.post("/acts/one", {}, X_Form_Token=token, Sec_Fetch_Site="same-origin")).text == "done"
    assert len(desk.acted) == 2


async def test_the_form_of_another_session_does_not_do(desk: Desk) -> None:
    await desk.log_in()
    stolen = await desk.form_token()
    await desk.log_in()

    assert (await desk.post("/acts/one", {"form_token": stolen})).status == 403


async def test_a_login_leads_to_our_own_pages_only(desk: Desk) -> None:
    for target in ("//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/a\nb"):
        assert (await desk.post("/login", {"token": desk.token, "next": target})).place == "/"
    assert (await desk.post("/login", {"token": desk.token, "next": "/dead?reason=refused"})).place == (
        "/dead?reason=refused"
    )


async def test_another_host_without_keys_is_no_console(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0: .*POSTMAN_CONSOLE_KEYS"):
        async with opened_parts(Settings(), {}, host="0.0.0.0", clock=FakeClock(wall=NOW)):
            pass


async def test_off_this_machine_looking_takes_a_token_too_and_its_owner_is_known(tmp_path: Path) -> None:
    keys = {"environ": {"OPS": TOKEN}, "console_keys": "nina=env:OPS", "host": "0.0.0.0"}
    async with console(tmp_path, **keys) as desk:  # type: ignore[arg-type]
        there = {"Host": "console.example.org"}
        for path in ("/", "/mails/m-1", "/stream/overview", "/runbook"):
            answer = await desk.get(path, **there)
            assert (answer.status, answer.place[:12]) == (303, "/login?next=")
        assert (await desk.get(f"/login?token={TOKEN}")).status == 401, "a lasting token belongs in no URL"
        with capture_logs() as logs:
            assert (await desk.post("/login", {"token": TOKEN})).status == 303
        await desk.post("/acts/one", {"form_token": await desk.form_token()})

        assert desk.acted == ["nina"]
        assert [log["who"] for log in logs if log["event"] == "console_login"] == ["nina"]
        assert TOKEN not in str(logs)


async def test_a_session_ends_when_its_token_is_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    async with console(tmp_path, console_keys=f"nina=file:{file}") as desk:
        await desk.post("/login", {"token": TOKEN})
        assert "Log out" in (await desk.get("/")).text
        file.write_text("another-token-of-that-length")
        await desk.later(61)

        assert "Log in to act" in (await desk.get("/")).text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("env:A", [("key 1", "env:A")]),
        ("nina=env:A, secret:b ,", [("nina", "env:A"), ("key 2", "secret:b")]),
        ("nina@example.org=file:/a=b", [("nina@example.org", "file:/a=b")]),
    ],
)
def test_references_may_have_names(text: str, found: list[tuple[str, str]]) -> None:
    assert list(read_references(text)) == found


@pytest.mark.parametrize("text", ["hunter2-is-a-secret", "a=b=c", "x=env:A,x=env:B", "=env:A"])
def test_what_is_no_reference_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="POSTMAN_CONSOLE_KEYS") as caught:
        read_references(text)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("value", "problem"), [("short", "at least 16"), (None, "OPS")])
async def test_a_token_that_is_short_or_missing_stops_the_start(
    tmp_path: Path, value: str | None, problem: str
) -> None:
    environ = {} if value is None else {"OPS": value}
    with pytest.raises(ConfigError, match=problem):
        async with console(tmp_path, environ=environ, console_keys="env:OPS"):
            pass


async def test_whom_the_platform_names_may_look_and_operators_may_act(tmp_path: Path) -> None:
    def change(parts: Parts) -> Parts:
        return behind_platform(parts, operators=("example.org", "carl@elsewhere.test"))

    async with console(tmp_path, change=change) as desk:
        there = {"Host": "console.example.org"}
        assert (await desk.get("/", **there)).status == 403
        assert (await desk.get("/", **{"X-Who": "unknown"})).status == 503
        looked = await desk.get("/", **{"X-Who": BOB}, **there)
        assert "who may look" in looked.text
        assert (await desk.post("/acts/one", {"form_token": "x"}, X_Who=BOB)).status == 403

        page = (await desk.get("/", **{"X-Who": ANA})).text
        token = page.partition('name="form_token" value="')[2].partition('"')[0]
        assert (await desk.get("/login")).status == 403
        assert desk.acted == []
        assert ANA in page
        assert token == ""  # no form on this page: the platform's sessions end elsewhere


async def test_a_platforms_form_is_bound_to_who_asked_for_it(tmp_path: Path) -> None:
    async with console(tmp_path, change=behind_platform) as desk:
        await desk.get("/", **{"X-Who": ANA})
        [cookie] = [each.value for each in desk.session.cookie_jar]
        from postman.entrypoints.console.sessions import proof_of

        assert (await desk.post("/acts/one", {"form_token": proof_of(cookie, ANA)}, X_Who=BOB)).status == 403
        assert (await desk.post("/acts/one", {"form_token": proof_of(cookie, ANA)}, X_Who=ANA)).status == 200
        assert desk.acted == [ANA]


@pytest.mark.parametrize("path", ["/", "/nowhere", "/login", "/static/console.css", "/live", "/mails/m-1"])
async def test_every_answer_has_the_headers_that_keep_others_out(desk: Desk, path: str) -> None:
    headers = (await desk.get(path)).headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == ("public, max-age=31536000, immutable" if "static" in path else "no-store")
    assert "Python" not in headers["Server"]
