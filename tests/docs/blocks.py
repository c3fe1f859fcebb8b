"""The blocks of code in a page, and what it takes to run them.

A block runs unless a comment right above it says why not:
`<!-- not run: needs a project on Google Cloud -->`. The Python blocks of a page
share their names, its shell blocks one session, each in the page's order; an
error names the page's line.
"""

import ast
import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from inspect import CO_COROUTINE
from pathlib import Path
from typing import IO, Any, Final

from markdown_it import MarkdownIt

__all__ = ["SHELLS", "Block", "blocks_of", "run_python", "run_shell"]

SHELLS: Final = ("sh", "console")

_NOT_RUN: Final = re.compile(r"<!-- not run: (.+?) -->\s*\Z", re.DOTALL)
_PORTS: Final = ("8025", "8026", "8027")
"""Of the sandbox; another run may have them."""
_PREAMBLE: Final = """set -e; trap 'echo "line $LINENO: $BASH_COMMAND: status $?" >&2' ERR; postman() { case "$*" in
"sandbox --"*) shift; command postman sandbox --port 8025 --sendgrid-port 8026 --mailgun-port 8027 "$@" ;;
"sandbox fault"* | "sandbox clear"*) command postman "$@" --url http://127.0.0.1:8025 ;;
*) command postman "$@" ;; esac || return; }"""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Of its first line of code, from 1 on."""
    language: str
    code: str
    reason: str = ""
    """Why it is not run; empty: it is."""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def commands(self) -> str:
        """Its commands, each on its own line of the block; what a console printed is left out."""
        if self.language != "console":
            return self.code
        return "\n".join(line.removeprefix("$ ") if line.startswith("$ ") else "" for line in self.code.splitlines())


def blocks_of(page: Path) -> Sequence[Block]:
    """Return the blocks of *page*, in their order."""
    return list(_blocks(page))


def run_python(blocks: Sequence[Block]) -> dict[str, Any]:
    """Run *blocks* of one page here, `await` outside a function too; return the names that they leave."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        text = "\n" * (block.line - 1) + block.code
        code = compile(text, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, names)
        if code.co_flags & CO_COROUTINE:
            asyncio.run(result)
    return names


def run_shell(
    blocks: Sequence[Block], folder: Path, *, before: str = "", ports: Sequence[int] = (), within: float = 60.0
) -> str:
    """Run *blocks* of one page in one session in *folder*, after the line *before*; return what they print.

    Whatever they leave running is ended. `AssertionError` has the line that failed, and what was said.
    """
    said, told = folder / ".stderr", folder / ".stdout"
    with said.open("wb") as stderr, told.open("wb") as stdout:
        status = _status(["bash", "-c", _script(blocks, before, ports)], folder, stdout, stderr, within)
    assert status == 0, f"{blocks[0].page.name}: {status}: {said.read_text('utf-8', 'replace')[-3000:]}"
    return told.read_text("utf-8", "replace")


def _status(command: list[str], folder: Path, stdout: IO[bytes], stderr: IO[bytes], within: float) -> int | str:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        return process.wait(within)
    except subprocess.TimeoutExpired:
        return f"not ended within {within} s"
    finally:
        _end(process)


def _script(blocks: Sequence[Block], before: str, ports: Sequence[int]) -> str:
    """Each command on the line that it has in the page, whose first one is never of a block."""
    lines = [""] * (blocks[-1].line + blocks[-1].code.count("\n") + 1)
    for block in blocks:
        for number, line in enumerate(block.commands.splitlines(), start=block.line - 1):
            lines[number] = line
    script = "\n".join(["; ".join(filter(None, [" ".join(_PREAMBLE.splitlines()), before])), *lines[1:]])
    for known, free in zip(_PORTS, ports, strict=bool(ports)):
        script = script.replace(known, str(free))
    return script


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what still runs in the session: nobody waits for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _blocks(page: Path) -> Iterator[Block]:
    before = ""
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "fence" and token.map is not None:
            said = _NOT_RUN.search(before)
            language = token.info.split(" ", 1)[0]
            yield Block(page, token.map[0] + 2, language, token.content, " ".join(said[1].split()) if said else "")
        before = token.content if token.type == "html_block" else ""
