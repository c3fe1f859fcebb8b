"""`python -m postman.testing.emulators`: commands that need emulators, and emulators that stay up."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from postman.testing.emulators import _lasting
from postman.testing.emulators._emulators import Emulators
from postman.testing.emulators._service import EmulatorError, Service

__all__ = ["main"]

_FAILED = 1
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127
_BY_SIGNAL = 128
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status; a wrong command line exits with 2."""
    options = _parser().parse_args(arguments)
    state: Path = options.state
    try:
        match options.verb:
            case "run":
                return _run(options)
            case "up":
                return _up(state, options)
            case "down":
                return _down(state)
            case _:
                return _print_environment(state)
    except EmulatorError as error:
        _complain(str(error))
        return _FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m postman.testing.emulators", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".postman/emulators.json"), help="where up leaves its notes")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (("run", "run a command inside emulators"), ("up", "start emulators and leave them running")):
        starter = verbs.add_parser(verb, help=text)
        starter.add_argument("--only", choices=list(Service), action="append", help="this one only (may be repeated)")
        starter.add_argument("--heap", default="1g", help="limit of each emulator's memory (default: %(default)s)")
    run = verbs.choices["run"]
    run.add_argument("--optional", action="store_true", help="run the command even where an emulator cannot be had")
    run.add_argument("--log-dir", type=Path, default=Path(".postman/emulators"), help="where the emulators' logs go")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="the command and its arguments")
    verbs.add_parser("down", help="stop what up left running")
    verbs.add_parser("env", help="print the exports for what up left running")
    return parser


def _run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        _complain("run needs a command")
        return 2
    with Emulators.start(options.only or tuple(Service), log_dir=options.log_dir, heap=options.heap) as emulators:
        _report(emulators.missing)
        if emulators.missing and not options.optional:
            return _FAILED
        return _status(command, emulators.settings | os.environ | emulators.environment)


def _up(state: Path, options: argparse.Namespace) -> int:
    missing = _lasting.up(state, wanted=options.only or tuple(Service), heap=options.heap)
    _report(missing)
    _print_exports(_lasting.environment(state))
    return _FAILED if missing else 0


def _down(state: Path) -> int:
    stopped = _lasting.down(state)
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")  # noqa: T201 — a command's output
    return 0


def _print_environment(state: Path) -> int:
    variables = _lasting.environment(state)
    if not variables:
        _complain("no emulators are up; start them with: up")
        return _FAILED
    _print_exports(variables)
    return 0


def _print_exports(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")  # noqa: T201 — a command's output


def _report(missing: Mapping[str, str]) -> None:
    for name, reason in missing.items():
        _complain(f"no {Service(name).label} emulator ({reason})")


def _complain(text: str) -> None:
    print(f"emulators: {text}", file=sys.stderr)  # noqa: T201 — a command's complaint


def _status(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run *command*, passing on what signals we get, and return its exit status as a shell would."""
    forwarder = _Forwarder()
    try:
        child = subprocess.Popen(command, env=environment)  # noqa: S603 — the caller's own command, no shell
    except FileNotFoundError:
        _complain(f"{command[0]}: command not found")
        return _NOT_FOUND
    except OSError as error:
        _complain(f"{command[0]}: {error.strerror}")
        return _NOT_EXECUTABLE
    forwarder.attach(child)
    status = child.wait()
    return status if status >= 0 else _BY_SIGNAL - status


class _Forwarder:
    """Passes on signals, also those that come before there is a child to get them."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        for number in _FORWARDED:
            signal.signal(number, self._forward)

    def attach(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        for number in self._early:
            child.send_signal(number)

    def _forward(self, number: int, _: FrameType | None) -> None:
        if self._child is None:
            self._early.append(number)
        elif not (number in {signal.SIGINT, signal.SIGQUIT} and _is_foreground()):
            self._child.send_signal(number)


def _is_foreground() -> bool:
    """Whether a terminal's Ctrl-C reaches the command as it reaches us: then passing it on would double it."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(main())
