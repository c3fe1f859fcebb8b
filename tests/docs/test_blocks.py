"""The code in the pages runs, or says why it does not."""

import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import which
from typing import Final

import orjson
import pytest
import yaml

from postman.config.providers import parse_providers
from postman.core.wire import parse
from postman.testing.waiting import wait_until_blocking
from tests.docs.blocks import SHELLS, Block, blocks_of, run_python, run_shell
from tests.docs.commandlines import complaint, typed
from tests.docs.hook import PAGES_OUTSIDE, ROOT
from tests.system.test_readme import _free_ports

_DOCS: Final = sorted((ROOT / "docs").rglob("*.md"))
_PAGES: Final = [*_DOCS, *(ROOT / name for name in PAGES_OUTSIDE)]
_ELSEWHERE: Final = {
    "CONTRIBUTING.md": "tests/system/test_emulator_sh.py",
    "console.md": "runs until it is stopped",
    "examples/README.md": "tests/examples",
    "README.md": "tests/system/test_readme.py",
    "runbook.md": "tests/incidents, and a cluster on Google Cloud",
    "terraform.md": "needs a project on Google Cloud",
    "terraform/README.md": "needs a project on Google Cloud",
    "testing.md": "tests/contract/inbox",
}
"""Where, or why not, the blocks of a page without marks are run."""
_TYPES: Final = {"", "js", "json", "hcl", "mermaid", "python", "toml", "yaml", *SHELLS}
_LOOKS_TYPED: Final = re.compile(
    r"^(\$ )?(postman|pip|python|docker|gcloud|curl|terraform|\./emulator\.sh) ", re.MULTILINE
)

_DOCUMENT: Final = (
    r"""printf '[[provider]]\nname = "sendgrid"\nkind = "sendgrid"\napi_key = "env:KEY"\n' >first.toml; export KEY=k"""
)
_BEFORE: Final[Mapping[str, str]] = {
    "operating.md": f"{_DOCUMENT} POSTMAN_PROVIDERS=first.toml; postman init >init",
    "providers.md": f"{_DOCUMENT} POSTMAN_PROVIDERS=sqlite:some.db; postman providers replace first.toml",
    "resharding.md": "postman init >init",
    "suppressions.md": "postman init >init",
}
"""What a page takes for granted."""


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT)).removeprefix("docs/")


def _run(page: Path, *languages: str) -> list[Block]:
    if _name(page) in _ELSEWHERE:
        return []
    return [block for block in blocks_of(page) if block.language in languages and not block.reason]


def _with(*languages: str) -> pytest.MarkDecorator:
    pages = [page for page in _PAGES if _run(page, *languages)]
    return pytest.mark.parametrize("page", pages, ids=_name)


@_with("python")
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    run_python(_run(page, "python"))


@_with(*SHELLS)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    run_shell(_run(page, *SHELLS), tmp_path, before=_BEFORE.get(_name(page), ""), ports=_free_ports(3))


def test_the_suite_of_the_page_on_extending_runs(pytester: pytest.Pytester) -> None:
    [suite] = [block for block in _run(ROOT / "docs" / "extending.md", "python") if "Suite" in block.code]
    pytester.makepyfile(suite.code)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")

    outcomes = pytester.runpytest_inprocess("-p", "no:cacheprovider").parseoutcomes()

    assert outcomes["passed"] > 40
    assert not {"failed", "errors", "error"} & set(outcomes)


def _toml(block: Block) -> None:
    if "[[provider]]" in block.code:
        assert parse_providers(block.code, str(block))
    else:
        assert tomllib.loads(block.code)


def _json(block: Block) -> None:
    read = orjson.loads(block.code)
    if "from" in read:
        assert parse(block.code.encode()).recipients


def _yaml(block: Block) -> None:
    assert all(yaml.safe_load_all(block.code))


def _hcl(block: Block) -> None:
    terraform = which("terraform")
    if terraform is None:
        pytest.skip("terraform (not installed)")
    subprocess.run([terraform, "fmt", "-"], input=block.code.encode(), stdout=subprocess.DEVNULL, check=True)


_READERS: Final[Mapping[str, Callable[[Block], None]]] = {"toml": _toml, "json": _json, "yaml": _yaml, "hcl": _hcl}
_READ: Final = [block for page in _PAGES for block in blocks_of(page) if block.language in _READERS]


@pytest.mark.parametrize("block", _READ, ids=str)
def test_a_document_in_a_page_is_read_by_what_reads_it(block: Block) -> None:
    _READERS[block.language](block)


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_every_command_that_a_page_tells_to_type_exists(page: Path) -> None:
    assert list(filter(None, map(complaint, typed(page)))) == []


def test_every_block_names_its_language_unless_it_is_a_picture() -> None:
    blocks = [block for page in _PAGES for block in blocks_of(page)]

    assert {block.language for block in blocks} <= _TYPES
    assert [
        str(block)
        for block in blocks
        if not block.language and _LOOKS_TYPED.search(block.code) and _name(block.page) not in _ELSEWHERE
    ] == []


def test_what_is_not_run_says_why() -> None:
    """Who adds one more must come here, and have a reason."""
    reasons = Counter(block.reason for page in _PAGES for block in blocks_of(page) if block.reason)

    assert [reason for reason in reasons if len(reason.split()) < 3] == []
    assert reasons.total() == 17, "\n".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    assert all((ROOT / name).exists() or (ROOT / "docs" / name).exists() for name in _ELSEWHERE)


class TestTheRunner:
    """It sees what is wrong in a page, and where."""

    def page(self, folder: Path, text: str) -> list[Block]:
        path = folder / "page.md"
        path.write_text(text)
        return list(blocks_of(path))

    def test_broken_python_is_found_on_its_line(self, tmp_path: Path) -> None:
        blocks = self.page(tmp_path, "# A page\n\n```python\nx = 1\n```\n\nand\n\n```python\nassert x == 2\n```\n")

        with pytest.raises(AssertionError) as caught:
            run_python(blocks)
        assert caught.traceback[-1].lineno + 1 == 10

    def test_the_blocks_of_a_page_share_their_names_and_may_await(self, tmp_path: Path) -> None:
        blocks = self.page(tmp_path, "```python\nimport asyncio\n```\n```python\nx = await asyncio.sleep(0, 5)\n```\n")

        assert run_python(blocks)["x"] == 5

    def test_a_command_that_fails_is_found_on_its_line(self, tmp_path: Path) -> None:
        blocks = self.page(
            tmp_path, "Once\n\n```sh\nexport A=1\n```\n\n```console\n$ test $A = 1\nfine\n$ test $A = 2\n```\n"
        )

        with pytest.raises(AssertionError, match=r"page\.md: 1: line 10: test \$A = 2"):
            run_shell(blocks, tmp_path)

    def test_a_session_that_hangs_is_ended_with_all_that_it_began(self, tmp_path: Path) -> None:
        blocks = self.page(tmp_path, "\n```sh\nsleep 60 & echo $! >pid; wait\n```\n")

        with pytest.raises(AssertionError, match="not ended within"):
            run_shell(blocks, tmp_path, within=0.3)
        assert wait_until_blocking(lambda: _has_ended(int((tmp_path / "pid").read_text())), within=5.0)

    def test_a_reason_stands_right_above_its_block(self, tmp_path: Path) -> None:
        near = "<!-- not run: needs a moon -->\n```sh\nfalse\n```\n\n```sh\ntrue\n```\n\n"
        text = f"{near}<!-- not run: far away -->\n\nwords\n\n```sh\n```\n"

        assert [block.reason for block in self.page(tmp_path, text)] == ["needs a moon", "", ""]

    @pytest.mark.parametrize("typo", ["stats", "dead lst", "dead list --resaon x", "providers add a --knd b"])
    def test_a_command_that_does_not_exist_is_named(self, tmp_path: Path, typo: str) -> None:
        self.page(tmp_path, f"Type `postman {typo}`.\n")

        assert list(map(complaint, typed(tmp_path / "page.md"))) != [""]


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
    except FileNotFoundError:
        return True
