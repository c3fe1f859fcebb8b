"""`python -m postman`, and the script `postman`, are the command."""

import gc

__all__ = ["main"]


def main() -> None:
    """Run the command; what it imports is no garbage, and to look for some would take a fifth of its start."""
    gc.disable()
    from postman.entrypoints.cli.app import main as command

    command()


if __name__ == "__main__":
    main()
