"""Find masks of all granularities in raw videos and follow them: the data engine of MUG-VOS.

Videos are cut into short clips; each clip becomes pictures and tracks, written once and whole. A
run that was stopped, however it was, goes on where it was; what fails is told in manifest.json and
tried again by the next run.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import the command when it is asked for: parts of the engine are used without it."""
    if name in ("add_arguments", "main"):
        from vosfm.collect import command

        return getattr(command, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
