"""Where shards are read from: files, URLs and commands, all of them named by the user."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from subprocess import SubprocessError
from types import TracebackType
from typing import IO

from webdataset.gopen import Pipe, gopen, gopen_schemes

from vosfm.errors import InputError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+]*:")
_PIPE, _HOLE = "pipe:", "{}"
_CHUNK = 2**20


def local_folder(root: str) -> Path | None:
    """The folder of this machine that a root is; None for URLs and commands."""
    if root.startswith("file://"):
        return Path(root.removeprefix("file://"))
    return None if _SCHEME.match(root) else Path(root)


def url_of(root: str, name: str) -> str:
    """Where a file of a root is.

    Args:
        root: a folder; a URL that names are appended to; or "pipe:" and a command that writes a
            file to its standard output, with {} for the name.
        name: of the file; letters, digits, - _ and . alone, so that a shell reads nothing in it.

    Raises:
        InputError: if the root is a command without a place for the name.

    Example:
        >>> url_of("https://host/corpus/", "a.tar"), url_of("pipe:ssh host cat {}", "a.tar")
        ('https://host/corpus/a.tar', 'pipe:ssh host cat a.tar')
    """
    folder = local_folder(root)
    if folder is not None:
        return str(folder / name)
    if not root.startswith(_PIPE):
        return f"{root.rstrip('/')}/{name}"
    if _HOLE not in root:
        raise InputError(f'{root}: a command needs {{}} for the name, such as "pipe:cat dir/{{}}"')
    return root.replace(_HOLE, name)


class Source:
    """An open file, URL or command; whatever it cannot do is told clearly.

    Args:
        where: as `url_of` gives it; webdataset opens URLs and commands.
        what: it is, for messages.

    Raises:
        InputError: if it cannot be opened.
    """

    def __init__(self, where: str, what: str) -> None:
        self._where = where
        self._at = 0
        self._is_file = local_folder(where) is not None
        try:
            self._file = _open(where)
        except FileNotFoundError as error:
            lack = f"no such {what}" if self._is_file else f"no program {error.filename}"
            raise InputError(f"{where}: {lack}; check the path") from None
        except (OSError, ValueError, SubprocessError, ImportError) as error:
            raise InputError(f"{where}: cannot be opened ({error}); check the root") from None

    def read(self, count: int) -> bytes:
        """Read so many bytes; fewer at the end alone.

        Raises:
            InputError: if reading fails, or it ends with an error.
        """
        try:
            data = self._file.read(count)
            if len(data) < count and isinstance(self._file, Pipe):
                self._file.wait_for_child()
        except (OSError, SubprocessError) as error:
            raise InputError(f"{self._where}: cannot be read ({error}); check the root") from None
        self._at += len(data)
        return data

    def go_to(self, offset: int) -> None:
        """Go on to so many bytes from the beginning, or to the end; files can go back, too.

        Raises:
            InputError: as `read`.
        """
        if self._is_file:
            self._at = self._file.seek(offset)
        while self._at < offset and self.read(min(_CHUNK, offset - self._at)):
            pass

    def close(self) -> None:
        """Close it; a command that was not read to its end may complain as it likes."""
        with suppress(OSError, SubprocessError):
            self._file.close()

    def __enter__(self) -> Source:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def _open(where: str) -> IO[bytes]:
    folder = local_folder(where)
    if folder is not None:
        return folder.open("rb")
    if where.startswith("s3://") and "s3" not in gopen_schemes:
        command = ["aws", "s3", "cp", "--only-show-errors", where, "-"]
        pipe: IO[bytes] = Pipe(command, mode="rb")
        return pipe
    stream: IO[bytes] = gopen(where, "rb")
    return stream
