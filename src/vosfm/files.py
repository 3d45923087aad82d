"""Files that are read with a clear word, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vosfm.errors import InputError


def read_bytes(path: str | os.PathLike[str], what: str) -> bytes:
    """Read a file.

    Args:
        path: of the file.
        what: it is, for messages.

    Raises:
        InputError: if there is no such file, or it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such {what}; check the path") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under a temporary name; it gets its own when the block ends without an error.

    Args:
        path: of the file; an existing one is replaced at once.

    Yields:
        The temporary name, beside the file.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
