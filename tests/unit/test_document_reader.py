"""What a process reads of the document: the whole, with its keys, or why not; and what it never forgets or repeats."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import structlog

from postman.adapters.sqlite._single import SingleText
from postman.config import Settings
from postman.core.document import Document
from postman.errors import ConfigError, DocumentError
from postman.ports.secrets import SecretRefusedError
from postman.runtime.keys import REFRESH
from postman.testing.clock import FakeClock
from postman.wiring import DocumentReader, Keys, open_documents, place_of

ONE = '[[provider]]\nname = "a"\nkind = "sendgrid"\napi_key = "file:key"\nwebhook_key = "file:hook"\n'
RETIRED = (
    '[[provider]]\nname = "b"\nkind = "sendgrid"\nenabled = false\napi_key = "file:gone"\nwebhook_key = "file:gone"\n'
)
SEED = '{"provider": [{"name": "seed", "kind": "sendgrid", "api_key": "env:KEY"}]}'


class Scene:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "providers.toml"
        self.key = folder / "key"
        self.key.write_text("SG.first")
        (folder / "hook").write_text("hook-value")
        self.clock = FakeClock(auto=False)
        self.folder = folder

    def reader(self, keys: Keys = Keys.SENDING, settings: Mapping[str, str] | None = None) -> DocumentReader:
        environ = {"POSTMAN_PROVIDERS": str(self.path), "KEY": "SG.env", **(settings or {})}
        return DocumentReader(Settings.from_env(environ), environ, keys=keys, clock=self.clock)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
async def reader(scene: Scene) -> AsyncIterator[DocumentReader]:
    scene.path.write_text(ONE)
    opened = scene.reader()
    yield opened
    await opened.aclose()


async def test_workers_read_no_key_that_is_only_for_events_and_receivers_none_to_send_with(
    scene: Scene, reader: DocumentReader
) -> None:
    [sending] = (await reader.read())[1]
    assert sending.spec.api_key.get_secret_value() == "SG.first"
    assert sending.spec.options == {}

    hearing = scene.reader(Keys.EVENTS)
    [heard] = (await hearing.read())[1]
    assert heard.spec.api_key.get_secret_value() == ""
    assert heard.spec.options == {"webhook_key": "hook-value"}
    await hearing.aclose()


@pytest.mark.parametrize("keys", [Keys.SENDING, Keys.EVENTS])
async def test_a_retired_provider_without_its_key_stops_nobody(scene: Scene, keys: Keys) -> None:
    scene.path.write_text(ONE + RETIRED)
    reader = scene.reader(keys)
    kept, retired = (await reader.read())[1]
    assert kept.spec.api_key.get_secret_value() or kept.spec.options
    assert (retired.spec.api_key.get_secret_value(), retired.spec.options) == ("", {})
    await reader.aclose()


async def test_a_key_that_is_missing_is_named_with_its_line(scene: Scene) -> None:
    scene.path.write_text(ONE.replace("file:key", "file:none"))
    reader = scene.reader()
    with pytest.raises(ConfigError, match=r"providers\.toml: line 4: provider a: api_key: file:none: cannot read"):
        await reader.read()
    await reader.aclose()


async def test_a_rotated_key_is_followed_while_a_wrong_document_stands(scene: Scene, reader: DocumentReader) -> None:
    version, _ = await reader.read()
    scene.path.write_text(ONE + "weight = -1\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="weight"):
            await reader.read()

    scene.key.write_text("SG.second")
    await scene.clock.advance(REFRESH)
    again, [entry] = await reader.read()
    assert (again, entry.spec.api_key.get_secret_value()) == (version, "SG.second")
    with pytest.raises(ConfigError, match="weight"):
        await reader.read()


async def test_the_seed_is_for_an_empty_store_and_never_for_one_that_lost_its_document(scene: Scene) -> None:
    store = {"POSTMAN_PROVIDERS": f"sqlite:{scene.folder / 'postman.db'}", "POSTMAN_PROVIDERS_SEED": SEED}
    reader = scene.reader(settings=store)
    version, [entry] = await reader.read()
    assert (version, entry.spec.name) == ("1", "seed")

    stored = SingleText(str(scene.folder / "postman.db"), "documents", "document", "postman")
    await stored._database.write(lambda connection: connection.execute("DELETE FROM documents").close())
    for _ in range(2):
        with pytest.raises(DocumentError, match="is gone"):
            await reader.read()
    assert await stored.read() is None
    await stored.aclose()
    await reader.aclose()


@pytest.mark.parametrize(
    ("text", "says"),
    [("a = " + "1" * 5_000, "thousands of digits"), ("a = " + "[" * 5_000, "nested too deeply")],
)
async def test_what_even_the_reader_of_toml_chokes_on_is_a_wrong_document(scene: Scene, text: str, says: str) -> None:
    scene.path.write_text(text)
    reader = scene.reader()
    with pytest.raises(ConfigError, match=says):
        await reader.read()
    await reader.aclose()


async def test_a_reference_is_looked_at_once_for_each_document_and_no_value_is_told(
    scene: Scene, reader: DocumentReader
) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert "SG.first" not in repr(await reader.read())
    assert logs == []


def test_a_password_in_a_stores_address_is_not_repeated() -> None:
    settings = Settings.from_env({"POSTMAN_PROVIDERS": "postgresql://ann:hunter2@db.example.org/postman"})
    assert place_of(settings) == "postgresql://***@db.example.org/postman"
    with pytest.raises(ConfigError, match="'postgresql' is not known"):
        open_documents(settings)


def test_a_document_is_not_shown_by_accident() -> None:
    assert "SG." not in repr(Document("SG.pasted", 1))
    assert issubclass(SecretRefusedError, ConfigError)
