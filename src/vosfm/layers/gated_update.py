"""A hidden state per object, and what moves it on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vosfm.ops.resizing import shrink


class GatedUpdate(nn.Module):
    """A convolutional gated unit: h' = f * h * (1 - u) + u * v.

    The forget gate f, the update gate u and the new values v = tanh(.) are made by one
    convolution of cat(values, h). Unlike in a GRU, v does not depend on f.

    Args:
        inputs: channels of the values.
        hidden: channels of the state.

    Source: XMem, sensory memory (section 3.4), in the form of the released code.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.transform = nn.Conv2d(inputs + hidden, 3 * hidden, 3, padding=1)
        nn.init.xavier_normal_(self.transform.weight)

    def forward(self, values: Tensor, hidden: Tensor) -> Tensor:
        """Move the state on.

        Args:
            values: (B, R, Ci, h, w).
            hidden: (B, R, Ch, h, w); or (B, 1, Ch, h, w), the same for every row.

        Returns:
            (B, R, Ch, h, w).
        """
        hidden = hidden.expand(-1, values.shape[1], -1, -1, -1)
        made = self.transform(torch.cat((values, hidden), 2).flatten(0, 1))
        forget, update, new = made.unflatten(0, values.shape[:2]).chunk(3, 2)
        update = update.sigmoid()
        return forget.sigmoid() * hidden * (1 - update) + update * new.tanh()


class HiddenUpdate(nn.Module):
    """Moves a hidden state on by what maps of several scales show.

    Args:
        scales: channels of the maps of each scale.
        width: channels of their sum.
        hidden: channels of the state.

    Source: XMem, sensory memory (section 3.4): the decoder's update.
    """

    def __init__(self, scales: Sequence[int], width: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in scales)
        self.gate = GatedUpdate(width, hidden)

    def forward(self, scales: Sequence[Sequence[Tensor]], hidden: Tensor) -> Tensor:
        """Move the state on.

        Args:
            scales: the maps of each scale, (B, R, C, h_i, w_i), to be seen as one by their
                channels. They are averaged to the size of the state.
            hidden: (B, R, Ch, h, w).

        Returns:
            (B, R, Ch, h, w).
        """
        size = (hidden.shape[-2], hidden.shape[-1])
        values = sum(
            project(torch.cat([shrink(m.flatten(0, 1), size) for m in maps], 1))
            for project, maps in zip(self.project, scales, strict=True)
        )
        return self.gate(values.unflatten(0, hidden.shape[:2]), hidden)
