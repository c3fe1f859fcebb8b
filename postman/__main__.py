"""`python -m postman` is the command `postman`."""

from postman.entrypoints.cli.app import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
