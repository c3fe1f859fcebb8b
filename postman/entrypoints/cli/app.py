"""The command `postman`.

Exit status: 0 done, 1 failed, 2 wrong use or settings, 3 (a worker only) unfit,
to be replaced; the reason stands on stderr.
"""

import errno
import sys
from typing import Final

import typer

from postman.entrypoints.cli import (
    dead,
    demo,
    functions,
    init,
    providers,
    proxy,
    publish,
    reshard,
    sandbox,
    serve,
    shards,
    show,
    status,
    suppressions,
    worker,
)
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
app.command("init")(init.init)
app.command("publish")(publish.publish)
app.command("worker")(worker.worker)
app.command("proxy")(proxy.proxy)
app.command("show")(show.show)
app.command("serve")(serve.serve)
app.command("functions")(functions.functions)
app.command("status")(status.status)
app.command("reshard")(reshard.reshard)
app.add_typer(shards.app, name="shards")
app.add_typer(dead.app, name="dead")
app.add_typer(suppressions.app, name="suppressions")
app.add_typer(providers.app, name="providers")
app.add_typer(sandbox.app, name="sandbox")
app.command("demo")(demo.demo)


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
