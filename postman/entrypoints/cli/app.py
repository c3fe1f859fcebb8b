"""The command `postman`.

Exit status: 0 done, 1 failed, 2 wrong use or settings, 3 (a worker only) unfit,
to be replaced; the reason stands on stderr.
"""

import errno
import sys
from typing import Final

import typer

from postman.entrypoints.cli.commands import CommandGroup
from postman.entrypoints.cli.output import complain, give_up_stdout
from postman.errors import ConfigError, InvalidMailError, PostmanError

__all__ = ["app", "main"]

_WRONG_USE: Final = 2
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a file says that the output goes to, where it takes no more."""

app = typer.Typer(
    name="postman",
    help="Sends e-mail through whichever provider works now.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(cls=CommandGroup)
def postman() -> None:
    """Send e-mail through whichever provider works now."""


def main() -> None:
    """Run the command; never shows a traceback for what the user can mend."""
    try:
        app(prog_name="postman")
    except (ConfigError, InvalidMailError) as error:
        complain(str(error))
        sys.exit(_WRONG_USE)
    except PostmanError as error:
        complain(str(error))
        sys.exit(1)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        give_up_stdout()
        complain(f"what was done cannot be told: {error.strerror}")
        sys.exit(1)
