"""The demonstration: a whole cluster on this machine, with trouble, and a count at its end."""

from postman.entrypoints.demo.story import Story, play

__all__ = ["Story", "play"]
