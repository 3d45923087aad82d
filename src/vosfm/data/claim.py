"""Folders that long work is written into: whose they are, so that it goes on after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vosfm.data.fields import read_json
from vosfm.errors import InputError
from vosfm.files import whole


def claim(folder: Path, name: str, record: dict[str, Any], work: str) -> None:
    """Say in a folder what is written into it, or see that an earlier run said the same.

    Args:
        folder: to write into; made if it is not there.
        name: of the file that says it.
        record: what decides what is written, as JSON gives it back.
        work: what it is called, such as "conversion", for messages.

    Raises:
        InputError: if the folder is that of other work, or holds anything else.
    """
    path = folder / name
    if path.is_file():
        before = read_json(path, f"record of a {work}")
        if before == record:
            return
        fields = before if isinstance(before, dict) else {}
        other = next((key for key in record if fields.get(key) != record[key]), "form")
        raise InputError(
            f"{path}: tells of another {work} (its {other} is not that of this one); give "
            "another folder, or empty this one"
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: holds what no {work} wrote; give a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
