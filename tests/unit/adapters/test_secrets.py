"""Keys in the environment and in files keep the contract; what is special about each."""

import os
import re
from pathlib import Path

import pytest

from postman.adapters._secret_names import VersionName
from postman.adapters.secrets import EnvironmentSecrets, FileSecrets, open_environment, open_files
from postman.ports.secrets import SecretRefusedError, Surroundings
from postman.testing.secrets_suite import CANARY, SecretsSuite, refusal_of

_PAGE = Path(__file__).parents[3] / "docs" / "secrets.md"


class Environment:
    """A keeper of variables."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}

    def put(self, name: str, value: bytes) -> str:
        self.variables[name] = value.decode("utf-8", "surrogateescape")  # as Python does with the real one
        return f"env:{name}"

    def missing(self) -> str:
        return "env:NOWHERE"

    def malformed(self) -> list[str]:
        return [f"env:{CANARY}.x", f"env: {CANARY}", f"env:9{CANARY}", f"env:A\n{CANARY}", CANARY, f"file:{CANARY}"]


class Folder:
    """A keeper of files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, value: bytes) -> str:
        (self.path / name).write_bytes(value)
        return f"file:{name}"

    def missing(self) -> str:
        return "file:nowhere/key"

    def malformed(self) -> list[str]:
        return [f"file:{CANARY}\0", f"file:-----BEGIN\n{CANARY}", CANARY, f"env:{CANARY}"]


class TestEnvironmentSecrets(SecretsSuite):
    """The contract."""

    @pytest.fixture
    def keeper(self) -> Environment:
        return Environment()

    @pytest.fixture
    def secrets(self, keeper: Environment, tmp_path: Path) -> EnvironmentSecrets:
        return open_environment(Surroundings(tmp_path, keeper.variables))


class TestFileSecrets(SecretsSuite):
    """The contract."""

    @pytest.fixture
    def keeper(self, tmp_path: Path) -> Folder:
        return Folder(tmp_path)

    @pytest.fixture
    def secrets(self, keeper: Folder) -> FileSecrets:
        return open_files(Surroundings(keeper.path, {}))


def test_a_variable_is_pinned_and_a_file_is_not(tmp_path: Path) -> None:
    assert EnvironmentSecrets({}).is_pinned("env:KEY")
    assert not FileSecrets(tmp_path).is_pinned("file:key")


async def test_a_variable_that_is_empty_counts_as_not_set() -> None:
    """As shells and Compose files leave them."""
    for environ in ({}, {"KEY": ""}):
        assert "KEY is not set" in str(await refusal_of(EnvironmentSecrets(environ), "env:KEY"))


def test_surroundings_do_not_show_the_environment(tmp_path: Path) -> None:
    assert CANARY not in repr(Surroundings(tmp_path, {"KEY": CANARY}))


async def test_a_path_begins_at_the_document_or_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a").write_text("one")

    for reference in ("file:keys/a", f"file:{tmp_path}/keys/a", "file:./keys/../keys/a"):
        assert (await FileSecrets(tmp_path).read(reference)).get_secret_value() == "one"


async def test_a_link_is_followed_to_the_version_that_it_names_now(tmp_path: Path) -> None:
    """So does Kubernetes replace a secret that is mounted."""
    for version in ("one", "two"):
        (tmp_path / version).write_text(version)
    link = tmp_path / "key"
    link.symlink_to("one")
    secrets = FileSecrets(tmp_path)
    assert (await secrets.read("file:key")).get_secret_value() == "one"

    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(link)

    assert (await secrets.read("file:key")).get_secret_value() == "two"


async def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe would keep the reader waiting, a folder and a device hold no key."""
    os.mkfifo(tmp_path / "pipe")

    for name in ("pipe", ".", "/dev/zero"):
        assert "no regular file" in str(await refusal_of(FileSecrets(tmp_path), f"file:{name}"))


async def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)

    assert "more than 65536 bytes" in str(await refusal_of(FileSecrets(tmp_path), "file:huge"))


async def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    error = await refusal_of(FileSecrets(tmp_path), "file:loop")

    assert isinstance(error, SecretRefusedError)
    assert str(error) == f"file:loop: cannot read the file: {os.strerror(40)}"


def test_the_page_says_what_is_looked_at_again(tmp_path: Path) -> None:
    """Each form of a reference in the table of docs/secrets.md is one, and is pinned where it says never."""
    pinned: dict[str, bool] = {}
    for line in _PAGE.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\| `((?:env|file|secret):[^`]+)`[^|]*\|[^|]+\| (never|every minute)[^|]*\|", line):
            reference = match[1].replace("PROJECT", "shop-prod")
            assert is_pinned(reference, tmp_path) is (match[2] == "never")
            pinned[reference] = match[2] == "never"

    assert (len(pinned), sum(pinned.values())) == (5, 2)


def is_pinned(reference: str, folder: Path) -> bool:
    match reference.partition(":")[0]:
        case "env":
            return EnvironmentSecrets({}).is_pinned(reference)
        case "file":
            return FileSecrets(folder).is_pinned(reference)
        case _:
            return VersionName.of(reference).is_pinned
