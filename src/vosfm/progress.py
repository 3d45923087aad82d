"""How far long work is, on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def shown(items: Iterable[Item], doing: str, total: int) -> Iterator[Item]:
    """Pass items on, and show on a terminal's standard error how many have passed.

    Args:
        items: as they come.
        doing: what is done to them, such as "converting".
        total: how many there will be.
    """
    console = Console(stderr=True)
    yield from track(
        items,
        doing,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
