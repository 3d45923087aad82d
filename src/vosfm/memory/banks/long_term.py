"""XMem's long-term memory: prototypes of what was often used."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vosfm.errors import InputError
from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import join, refuse_depth, validity
from vosfm.memory.banks.usage import counted, rate, uncounted
from vosfm.ops.affinity import similarity
from vosfm.types import Contents, Entry, When

_NEEDED = {"key", "shrinkage", "selection", "usage", "life"}


class LongTerm(Bank):
    """The most used tokens of what the working memory evicts, each with a value of them all.

    Every prototype is an entry: keys (B, M, Ck), values (B, R, M, Cv).

    Args:
        prototypes: how many tokens are kept of what leaves the working memory together.
        capacity: how many tokens are kept in all; the least used make room.

    Raises:
        ValueError: if there is not at least one prototype, or no room for more of them.

    Source: XMem, section 3.3 (long-term memory: prototype selection, memory potentiation, removal
        of obsolete features).
    """

    def __init__(self, prototypes: int = 128, capacity: int = 10000) -> None:
        super().__init__()
        if prototypes < 1 or capacity <= prototypes:
            raise ValueError(
                f"{prototypes} prototypes, capacity {capacity}: give at least 1, and a capacity "
                "above it"
            )
        self.prototypes = prototypes
        self.capacity = capacity

    def due(self, contents: Contents, when: When) -> bool:
        return False

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        return contents, None

    def observe(self, contents: Contents, usage: Tensor) -> Contents:
        return counted(contents, usage)

    def absorb(self, contents: Contents, evicted: Contents, when: When) -> Contents:
        """Add prototypes of what was evicted.

        Args:
            contents: what the bank holds so far.
            evicted: keys (B, M, N, Ck), selections likewise, shrinkages, usages and lives
                (B, M, N), values (B, R, M, N, Cv).
            when: the circumstances.

        Raises:
            InputError: if several streams are batched, which may not need equal room; if something
                is missing that tells which tokens are used.
        """
        refuse_depth(evicted, "LongTerm")
        if missing := sorted(_NEEDED - set(evicted.shared)):
            raise InputError(
                f"LongTerm got entries without {missing[0]!r}: feed it from Working, read by "
                "Affinity with anisotropic similarity that has both banks among those `counted`"
            )
        if evicted.time.shape[0] > 1:
            raise InputError(
                f"LongTerm got a batch of {evicted.time.shape[0]} streams: consolidate one stream "
                "at a time, or give training clips shorter than the working memory"
            )
        if contents.count >= self.capacity - self.prototypes:
            contents = _most_used(contents, self.capacity - self.prototypes)
        return join(contents, self._consolidate(evicted))

    def _consolidate(self, evicted: Contents) -> Contents:
        key = evicted.shared["key"].flatten(1, 2)  # (1, C, Ck), C candidates
        shrinkage = evicted.shared["shrinkage"].flatten(1)
        selection = evicted.shared["selection"].flatten(1, 2)
        tokens = evicted.shared["key"].shape[2]
        count = min(self.prototypes, key.shape[1])
        chosen = rate(evicted).flatten(1).topk(count, sorted=True).indices[0]
        # (1, P, C): every prototype looks at all candidates.
        alike = similarity(key[:, chosen], key, selection[:, chosen], shrinkage, kind="anisotropic")
        value = evicted.rows["value"].flatten(2, 3)
        frames = chosen.cpu() // tokens
        valid = validity(evicted)
        values = []
        for r in range(value.shape[1]):
            seen = valid[0, r].repeat_interleave(tokens).to(alike.device)
            if not seen.any():
                values.append(value.new_zeros(1, count, value.shape[-1]))
                continue
            values.append(alike.masked_fill(~seen, float("-inf")).softmax(-1) @ value[:, r])
        potentiated = alike.softmax(-1) @ shrinkage[..., None]
        entry = Entry(shared={"key": key[:, chosen], "shrinkage": potentiated[..., 0]})
        return Contents(
            {"value": torch.stack(values, 1)},
            uncounted(entry).shared,
            evicted.time[:, :, frames],
            valid[:, :, frames],
        )


def _most_used(contents: Contents, room: int) -> Contents:
    """Forget the least used tokens until no more than so many are left."""
    leaving = contents.count - room
    if leaving <= 0:
        return contents
    rates = rate(contents)[0]
    threshold = rates.topk(leaving, largest=False).values.max()
    stay = rates > threshold
    on_cpu = stay.cpu()
    return replace(
        contents,
        rows={name: leaf[:, :, stay] for name, leaf in contents.rows.items()},
        shared={name: leaf[:, stay] for name, leaf in contents.shared.items()},
        time=contents.time[:, :, on_cpu],
        valid=None if contents.valid is None else contents.valid[:, :, on_cpu],
    )
