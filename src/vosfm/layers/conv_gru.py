"""A gated recurrent unit on maps."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn


class ConvGRU(nn.Module):
    """A gated recurrent unit whose products are convolutions: h' = (1 - z) * h + z * n.

    The update gate z and the reset gate r are made of (x, h), the candidate of (x, r * h):
    n = x + tanh(.). In a GRU it is the tanh alone, which lies in (-1, 1); what is followed here,
    keys and values of an attention, does not, and a state that starts as one of them would be drawn
    out of their range. So the candidate is what comes in, corrected: the state stays within 1 of
    the range of its inputs whatever the weights and however long the video, and with fresh weights
    it is a running mix, z being `rate` and the correction small.

    Args:
        channels: of the maps and of the state.
        kernel: side of the convolutions, odd.
        separable: whether each is a depthwise convolution and then a pointwise one; with kernel 1
            there is nothing to separate.
        rate: share of what comes in that a fresh unit mixes into its state, in (0, 1).
        groups: of channels, each a unit of its own.

    Raises:
        ValueError: if the kernel is even, the rate not in (0, 1), or the channels cannot be split
            into so many groups.

    Source: Cho et al. 2014 (GRU), Ballas et al. 2016, Eq. 10-13 (its convolutional form).
    """

    def __init__(
        self,
        channels: int,
        kernel: int = 3,
        separable: bool = True,
        rate: float = 0.25,
        groups: int = 1,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"kernel is {kernel}: give an odd number, so that maps keep their size"
            )
        if not 0 < rate < 1:
            raise ValueError(f"rate is {rate}: give a share in (0, 1)")
        if groups < 1 or channels % groups:
            raise ValueError(f"groups is {groups}: give a divisor of the {channels} channels")
        self.groups = groups
        self.gates = _convolution(2 * channels, 2 * channels, kernel, separable, groups)
        self.candidate = _convolution(2 * channels, channels, kernel, separable, groups)
        with torch.no_grad():
            bias = self.gates[-1].bias
            assert isinstance(bias, Tensor)
            bias.view(groups, 2, -1)[:, 0] = log(rate / (1 - rate))

    def forward(self, incoming: Tensor, hidden: Tensor) -> Tensor:
        """Move the state on.

        Args:
            incoming: (B, C, h, w).
            hidden: the same.

        Returns:
            The same.
        """
        # Channels last, as the tokens lie that these maps are made of.
        incoming, hidden = incoming.permute(0, 2, 3, 1), hidden.permute(0, 2, 3, 1)
        gates = self._of(self.gates, incoming, hidden).sigmoid()
        update, reset = gates.unflatten(3, (self.groups, 2, -1)).unbind(4)
        reset = reset.flatten(3) * hidden
        candidate = self._of(self.candidate, incoming, reset).tanh() + incoming
        return torch.lerp(hidden, candidate, update.flatten(3)).permute(0, 3, 1, 2)

    def _of(self, made: nn.Module, incoming: Tensor, hidden: Tensor) -> Tensor:
        """What a convolution makes of two maps (B, h, w, C), those of each group side by side."""
        both = [maps.unflatten(3, (self.groups, -1)) for maps in (incoming, hidden)]
        together = torch.cat(both, 4).flatten(3)
        return made(together.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _convolution(
    inputs: int, outputs: int, kernel: int, separable: bool, groups: int
) -> nn.Sequential:
    """A convolution with small weights that starts out looking at its own position."""
    if kernel == 1 or not separable:
        mix = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)
        spread = nn.Sequential(mix)
    else:
        around = nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs, bias=False)
        nn.init.dirac_(around.weight, inputs)
        mix = nn.Conv2d(inputs, outputs, 1, groups=groups)
        spread = nn.Sequential(around, mix)
    nn.init.xavier_normal_(mix.weight, gain=0.1)
    assert mix.bias is not None
    nn.init.zeros_(mix.bias)
    return spread
