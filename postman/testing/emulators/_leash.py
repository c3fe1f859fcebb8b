"""Becomes another program that the kernel kills when its parent dies.

Run as a script: `python _leash.py PARENT COMMAND…`, on Linux. It asks for
SIGKILL at the parent's death and then becomes *COMMAND*, keeping its process
id. A `preexec_fn` would do the same by a bare fork, which gRPC's threads
do not survive.
"""

import ctypes
import os
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def main(arguments: list[str]) -> None:
    """Become the command in *arguments*, unless the parent died before it could be watched."""
    parent, *command = arguments
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() == int(parent):
        os.execvp(command[0], command)  # noqa: S606 — the arguments come from our own parent


if __name__ == "__main__":
    main(sys.argv[1:])
