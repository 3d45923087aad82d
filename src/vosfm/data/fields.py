"""Fields of JSON files, looked at before they are used."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from vosfm.errors import InputError
from vosfm.files import read_bytes

T = TypeVar("T")

_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Read a JSON file.

    Args:
        path: of the file.
        what: it is, for messages.

    Raises:
        InputError: if the file is missing, cannot be read, or is no JSON.
    """
    data = read_bytes(path, what)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged JSON, {error}; unpack it again") from None


def field(content: Any, name: str, kind: type[T], whose: str) -> T:
    """Take a field of an object of a JSON file.

    Args:
        content: the object.
        name: of the field.
        kind: dict, list, str or int.
        whose: file and object, for messages.

    Raises:
        InputError: if there is no such field, or it is of another kind.
    """
    value = content.get(name) if isinstance(content, dict) else None
    return checked(value, kind, f'{whose}: "{name}"')


def checked(value: Any, kind: type[T], whose: str) -> T:
    """Take a value of a JSON file.

    Args:
        value: what it is.
        kind: dict, list, str or int.
        whose: file and field, for messages.

    Raises:
        InputError: if it is of another kind.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        found = "missing" if value is None else repr(value)[:40]
        raise InputError(f"{whose} is {found}, not {_KINDS[kind]}; unpack the file again")
    return value


def inside(folder: Path, name: str, whose: str) -> Path:
    """The path of a file or folder that a JSON file names.

    Args:
        folder: that it must lie in.
        name: relative to the folder, its parts parted by slashes.
        whose: file and field, for messages.

    Raises:
        InputError: if the name is empty or leads out of the folder.
    """
    path, foreign = PurePosixPath(name), PureWindowsPath(name)
    if (
        not path.parts
        or "\0" in name
        or path.is_absolute()
        or foreign.drive
        or foreign.root
        or ".." in {*path.parts, *foreign.parts}
    ):
        raise InputError(f"{whose} is {name!r}, which leads out of its folder; correct the file")
    return folder / path


def plain_name(name: str, whose: str) -> str:
    """Check that a JSON file names one file or folder, without a way to it.

    Raises:
        InputError: if it does not.
    """
    if len(inside(Path(), name, whose).parts) != 1:
        raise InputError(f"{whose} is {name!r}, not the name of one folder; correct the file")
    return name
