"""The page about publishing and the examples say what is true, and install the same from any registry."""

import re
from pathlib import Path
from typing import Final

import orjson
import pytest

from postman.core.mail import MAX_ENCODED_BYTES
from postman.core.verdict import DeadReason
from tests.examples.mail_vectors import ROOT
from tests.examples.packages import NODE

_PAGE: Final = ROOT / "docs" / "publishing.md"
_PAGES: Final = (_PAGE, ROOT / "examples" / "README.md")
_EXAMPLES: Final = ROOT / "examples" / "publish"


def test_the_lock_of_the_node_example_names_every_package_by_its_hash_and_no_registry() -> None:
    """So it installs the same files from whichever registry npm is told to use."""
    lock = orjson.loads((NODE / "package-lock.json").read_bytes())
    package = orjson.loads((NODE / "package.json").read_bytes())
    packages = {name: each for name, each in lock["packages"].items() if name}

    assert len(packages) > 100
    assert [name for name, each in packages.items() if not each.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, each in packages.items() if "resolved" in each] == []
    assert lock["packages"][""]["dependencies"] == package["dependencies"]
    assert all(version[0].isdigit() for version in package["dependencies"].values())


def test_the_node_example_has_the_code_of_the_page_on_shards() -> None:
    page = (ROOT / "docs" / "shard-mapping.md").read_text(encoding="utf-8")
    code = page.split("```js\n", 1)[1].split("```", 1)[0]

    assert code in (NODE / "place.mjs").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_points_to_exists(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))

    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_page_knows_every_reason_of_a_dead_letter_and_the_largest_mail() -> None:
    page = _PAGE.read_text(encoding="utf-8")

    assert [reason for reason in DeadReason if f"`{reason}`" not in page] == []
    assert f"{MAX_ENCODED_BYTES:,} bytes" in page


@pytest.mark.parametrize(("language", "file"), [("js", "node/publish.mjs"), ("python", "python/publish.py")])
def test_the_code_of_the_page_is_an_example_s(language: str, file: str) -> None:
    blocks = re.findall(rf"```{language}\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    example = re.sub(r"^ {4}", "", (_EXAMPLES / file).read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert blocks
    assert [block for block in blocks if block not in example] == []


def test_the_page_s_message_is_a_mail_vector() -> None:
    page = _PAGE.read_text(encoding="utf-8")
    message = orjson.loads(page.split("```json\n", 1)[1].split("```", 1)[0])
    vectors = orjson.loads((ROOT / "docs" / "mail-vectors.json").read_bytes())["valid"]

    assert message in [{"data": each["data"], "attributes": each["attributes"]} for each in vectors]
