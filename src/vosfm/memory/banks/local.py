"""The newest frame."""

from __future__ import annotations

from dataclasses import replace

import torch

from vosfm.errors import InputError
from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import append
from vosfm.types import Contents, Entry, When


class Local(Bank):
    """The newest frame; of each layer of the reader, the newest frame that was read with it.

    So its entry has all layers at any time. What a frame that was read with some layers alone
    replaces is handed on with the depth of that frame.

    Source: AOT, section 4.2 (short-term memory).
    """

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        """Offer an entry; see `Bank.write`.

        Raises:
            InputError: if the entry lacks layers that nothing is kept of.
        """
        newest, _ = append(Contents(), entry, when.time)
        if entry.depth is None:
            return newest, contents if contents.count else None
        known = contents.time.shape[1] if contents.count else 0
        if known < newest.time.shape[1]:
            raise InputError(
                f"frame {when.time} was read with {entry.depth} layers, and nothing is kept of "
                "deeper ones for all its objects: read the frame in which objects join with all"
            )
        kept = {name: newest.rows.get(name, leaf) for name, leaf in contents.rows.items()}
        gone = {name: contents.rows[name] for name in newest.rows}
        return (
            replace(newest, rows=kept, depth=None),
            replace(contents, rows=gone, depth=torch.tensor([entry.depth])),
        )
