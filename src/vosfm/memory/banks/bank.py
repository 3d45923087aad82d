"""What every bank promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vosfm.types import Contents, Entry, When


class Bank(nn.Module, ABC):
    """A rule for what is kept. What it keeps lies in `Contents`, outside of it."""

    def due(self, contents: Contents, when: When) -> bool:
        """Whether the bank wants the masks of this frame encoded; if no bank does, none are."""
        return True

    @abstractmethod
    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        """Offer an entry.

        Args:
            contents: what the bank holds so far.
            entry: of the frame that was just committed; without rows where no bank was due.
            when: the circumstances.

        Returns:
            The new contents, and what had to leave for it, if anything.
        """

    def absorb(self, contents: Contents, evicted: Contents, when: When) -> Contents:
        """Take what another bank evicted.

        Args:
            contents: what the bank holds so far.
            evicted: entries that left the other bank together, oldest first.
            when: the circumstances.

        Returns:
            The new contents; unchanged for banks that are not fed by others.
        """
        return contents

    def observe(self, contents: Contents, usage: Tensor) -> Contents:
        """Learn how much each token was looked at while a frame was read.

        Args:
            contents: what the bank holds.
            usage: (B, tokens).

        Returns:
            The new contents; unchanged for banks that do not count.
        """
        return contents
