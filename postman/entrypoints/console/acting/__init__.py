"""The pages that act: each does what a command does, by the same code (`postman.entrypoints.operating`)."""
