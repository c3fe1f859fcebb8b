"""The model of the ledger's protocol (`docs/ledger.pml`), checked by Spin where it is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[3] / "docs" / "ledger.pml"
TOOLS = ("spin", "gcc")
SAFETY = ("no_loss", "sent_is_true", "sent_is_final", "one_at_a_time", "one_copy")


@pytest.fixture(autouse=True)
def _tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")


@pytest.mark.parametrize(
    "switches", [(), ("-DRESEND",), ("-DHOLD",), ("-DKEYED",)], ids=["ask", "resend", "hold", "keyed"]
)
def test_nothing_breaks_a_promise(switches: tuple[str, ...], tmp_path: Path) -> None:
    """Whichever two things go wrong, at whatever moment, all five promises of safety are kept."""
    check = _build(tmp_path, "-DFAULTS=2", *switches)
    all_of_them = _run(check, "safe")
    assert all_of_them.is_kept, [promise for promise in SAFETY if not _run(check, promise).is_kept]
    assert all_of_them.states > 50_000


def test_every_mail_is_finished(tmp_path: Path) -> None:
    """Whatever goes wrong: when nothing does any more, the mail is sent, or lies among the dead letters."""
    assert _run(_build(tmp_path, "-DFAULTS=2"), "finished").is_kept


@pytest.mark.parametrize(
    ("mistake", "faults", "promise"),
    [
        ("NOBUMP", 2, "one_copy"),
        ("LATENEG", 3, "one_copy"),
        ("FAILOVER", 1, "one_copy"),
        ("ACKFIRST", 1, "no_loss"),
        ("EARLY", 1, "one_copy"),
        ("ANYPARK", 2, "no_loss"),
    ],
)
def test_model_shows_what_a_mistake_leads_to(mistake: str, faults: int, promise: str, tmp_path: Path) -> None:
    """Each rule of the protocol carries weight: without it some promise is broken."""
    assert not _run(_build(tmp_path, f"-DFAULTS={faults}", f"-D{mistake}"), promise).is_kept


def test_every_promise_of_the_model_is_tried() -> None:
    """A promise that is written on the page is one of those that are checked here."""
    assert set(re.findall(r"^ltl (\w+)", MODEL.read_text(), re.MULTILINE)) == {*SAFETY, "safe", "finished"}


class _Outcome:
    """What a search said of one promise."""

    def __init__(self, output: str) -> None:
        counts = re.search(r"errors: (\d+)\s+(\S+) states, stored", output)
        assert counts is not None, output
        assert "max search depth too small" not in output
        self.states = int(float(counts[2]))
        self.is_kept = counts[1] == "0"


def _build(directory: Path, *switches: str) -> Path:
    """Translate and compile the model in *directory*; return the checker."""
    _call(directory, "spin", *switches, "-a", str(MODEL))
    _call(directory, "gcc", "-O1", "-w", "-DCOLLAPSE", "-o", "pan", "pan.c")
    return directory / "pan"


def _run(checker: Path, promise: str) -> _Outcome:
    fair = ("-f",) if promise == "finished" else ()
    return _Outcome(_call(checker.parent, str(checker), "-a", *fair, "-m100000", "-N", promise))


def _call(directory: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
