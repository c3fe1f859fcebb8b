"""Any service publishes: each example, with Google's clients or HTTP alone, to a worker on the emulators."""

import asyncio
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from postman.core.shards import place, shard_for
from postman.testing.grpc_proxy import GrpcProxy, StatusCode
from postman.testing.waiting import wait_until, wait_until_blocking
from tests.contract.cli.commands import Ran
from tests.examples.mail_vectors import PUBLISHED, ROOT
from tests.examples.scene import SHARDS, Scene, as_lines, mails_of

pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag")  # without it a look at nothing waits

_EXAMPLES: Final = ROOT / "examples" / "publish"
_PYTHON: Final = (sys.executable, str(_EXAMPLES / "python" / "publish.py"))
_GCLOUD: Final = str(_EXAMPLES / "gcloud" / "publish.sh")
_CURL: Final = str(_EXAMPLES / "curl" / "publish.sh")
_NODE: Final = ("node", "publish.mjs")
_KEY: Final = "a-key-of-the-callers"


def _ids(mails: Sequence[dict[str, Any]]) -> list[str]:
    return [mail["id"] for mail in mails]


def _said(ran: Ran) -> dict[str, int]:
    assert (ran.status, ran.err) == (0, "")
    return {line["id"]: line["shard"] for line in ran.lines}


def test_the_node_example_publishes_a_hundred_mails_into_the_shards_that_our_function_names(
    node_example: Path, scene: Scene
) -> None:
    """With Google's own client for Node; all arrive, each once."""
    mails = mails_of("node", 100)
    said = _said(scene.run(*_NODE, stdin=as_lines(mails), folder=node_example))

    expected = {mail_id: shard_for(mail_id, SHARDS) for mail_id in _ids(mails)}
    assert set(expected.values()) == set(range(SHARDS))
    assert said == expected
    assert scene.arrived(mails) == {mail_id: [shard] for mail_id, shard in expected.items()}
    scene.sandbox.wait_for(_ids(mails), within=20.0)


def test_the_python_example_keeps_tenants_in_their_hands(scene: Scene) -> None:
    mails = [{**mail, "tenant": f"tenant-{number % 5}"} for number, mail in enumerate(mails_of("python", 40))]
    said = _said(scene.run(*_PYTHON, stdin=as_lines(mails), environ={"POSTMAN_SHARD_HAND": "2"}))

    expected = {mail["id"]: place(mail["id"], SHARDS, key=mail["tenant"], hand=2) for mail in mails}
    assert expected != {mail_id: shard_for(mail_id, SHARDS) for mail_id in expected}
    assert said == expected
    assert scene.arrived(mails) == {mail_id: [shard] for mail_id, shard in expected.items()}
    scene.sandbox.wait_for(_ids(mails), within=20.0)


def test_gcloud_publishes_whatever_stands_in_a_mail(scene: Scene, tmp_path: Path) -> None:
    """Also what its command line, or YAML, takes for a sign of its own."""
    environ = _gcloud_environ(scene, tmp_path)
    mail = {
        **mails_of("gcloud", 1)[0],
        "id": "a,b=\"c\" 'd' $(e) \\f \N{E-MAIL SYMBOL} gr\u00fc\u00dfe:",
        "text": '1\u20282\u00853\t4\r\n\\ " \N{E-MAIL SYMBOL}',
        "tenant": "S\u00fcd, 1=a",
    }
    said = _said(scene.run(_GCLOUD, stdin=orjson.dumps(mail), environ=environ))

    shard = shard_for(str(mail["id"]), SHARDS)
    assert said == {mail["id"]: shard}
    assert scene.arrived([mail]) == {mail["id"]: [shard]}
    scene.sandbox.wait_for(said, within=20.0)


def _gcloud_environ(scene: Scene, folder: Path) -> dict[str, str]:
    """Return what points gcloud to the emulator, without an account and with a folder of its own."""
    for tool in ("gcloud", "jq", "sha256sum"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    return {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": f"http://{scene.postman.environ['PUBSUB_EMULATOR_HOST']}/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_CORE_PROJECT": scene.postman.environ["GOOGLE_CLOUD_PROJECT"],
    }


@pytest.fixture
def served(scene: Scene) -> Iterator[dict[str, str]]:
    """What a caller of `postman serve` needs."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ("serve", "--json", "--api-key", "env:CALLERS_KEY")
    with scene.postman.start(*command, PORT="0", CALLERS_KEY=_KEY) as server:
        line = wait_until_blocking(server.out.read_bytes, within=20.0, what="the server's address")
        yield {"POSTMAN_URL": orjson.loads(line)["url"], "POSTMAN_API_KEY": _KEY}


def test_curl_publishes_all_or_nothing_and_is_told_the_field(scene: Scene, served: dict[str, str]) -> None:
    mails = mails_of("curl", 20)
    ran = scene.run(_CURL, stdin=orjson.dumps(mails), environ=served)
    wrong = [*mails_of("wrong", 1), {**mails[0], "to": [{"email": "customer@nowhere"}]}]
    refused = scene.run(_CURL, stdin=orjson.dumps(wrong), environ=served)
    stranger = scene.run(_CURL, stdin=b"[]", environ=served | {"POSTMAN_API_KEY": "another-key-of-theirs"})

    expected = [{"id": mail_id, "shard": shard_for(mail_id, SHARDS)} for mail_id in _ids(mails)]
    assert (ran.status, ran.err, orjson.loads(ran.out)) == (0, "", expected)
    assert scene.arrived(mails) == {each["id"]: [each["shard"]] for each in expected}
    scene.sandbox.wait_for(_ids(mails), within=20.0)
    assert (refused.status, refused.out, stranger.status, stranger.out) == (22, "", 22, "")
    assert '"mails[1].to[0].email"' in refused.err
    assert "wrong-0" not in scene.sandbox.accepted()
    assert '"status":401' in stranger.err
    assert "another-key" not in stranger.err


@pytest.mark.parametrize("language", ["node", "python"])
async def test_an_answer_that_was_lost_makes_two_messages_and_one_mail(
    language: str, scene: Scene, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue("node_example") if language == "node" else None
    mails = mails_of(f"lost-{language}", 12)
    async with GrpcProxy(scene.postman.environ["PUBSUB_EMULATOR_HOST"]) as proxy:
        proxy.fail("Publish", code=StatusCode.UNAVAILABLE, after=True, times=2)
        command = _NODE if language == "node" else _PYTHON
        ran = await asyncio.to_thread(
            scene.run, *command, stdin=as_lines(mails), folder=folder, environ={"PUBSUB_EMULATOR_HOST": proxy.address}
        )

    assert _said(ran).keys() == set(_ids(mails))
    await wait_until(lambda: any(len(shards) > 1 for shards in scene.arrived(mails).values()), within=10.0)
    await asyncio.to_thread(scene.sandbox.wait_for, _ids(mails), within=20.0)


@pytest.mark.parametrize("language", ["node", "python", "gcloud"])
def test_what_could_not_be_published_is_named_and_never_called_published(
    language: str, scene: Scene, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    [mail] = mails_of(f"nowhere-{language}", 1)
    settings = {"POSTMAN_PREFIX": "nowhere", **(_gcloud_environ(scene, tmp_path) if language == "gcloud" else {})}
    folder = request.getfixturevalue("node_example") if language == "node" else None
    command = {"node": _NODE, "python": _PYTHON, "gcloud": (_GCLOUD,)}[language]
    ran = scene.run(*command, stdin=as_lines([mail]), folder=folder, environ=settings)

    assert (ran.status, ran.out) == (1, "")
    assert (mail["id"] if language != "gcloud" else "Topic not found") in ran.err
    assert "customer0@" not in ran.err


def test_every_published_vector_is_a_mail_that_is_delivered(scene: Scene) -> None:
    """Byte for byte, as a producer in any language may write it."""
    vectors = orjson.loads(PUBLISHED.read_bytes())["valid"]
    for vector in vectors:
        scene.publish(vector["shards"]["8"], vector["data"].encode(), vector["attributes"])

    ids = {vector["attributes"]["mail_id"] for vector in vectors}
    assert len(ids) < len(vectors), "some are the same mail, which is sent once"
    scene.sandbox.wait_for(ids, within=20.0)


def test_a_bad_message_becomes_a_dead_letter_that_names_the_field(scene: Scene) -> None:
    """Nobody tells its producer, who has gone; so this is where to look."""
    names = ["no attributes", "another schema", "another id outside", "truncated", "no @", "same recipient in cc"]
    vectors = {each["name"]: each for each in orjson.loads(PUBLISHED.read_bytes())["invalid"]}
    for name in names:
        scene.publish(0, vectors[name]["data"].replace("mail-1", name).encode(), _renamed(vectors[name], name))

    def found() -> list[str]:
        letters = [letter for letter in scene.postman.dead() if letter["reason"] == "malformed"]
        return sorted(letter["detail"].partition(":")[0] for letter in letters)

    wait_until_blocking(lambda: len(found()) == len(names), within=20.0, every=0.5, what="six dead letters")
    assert found() == sorted(vectors[name]["field"] or "is not JSON" for name in names)


def _renamed(vector: dict[str, Any], mail_id: str) -> dict[str, str]:
    """Return the attributes as they are, but that a mail of its own is meant."""
    return {name: mail_id if value == "mail-1" else value for name, value in vector["attributes"].items()}
