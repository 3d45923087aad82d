"""A convolution split into the image's share and the rows' equals that of both together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vosfm.layers import convolve_image, convolve_rows


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (7, 2, 3), (4, 4, 0)])
def test_equals_the_convolution_of_the_concatenation(
    kernel: int, stride: int, padding: int, bias: bool
) -> None:
    conv = nn.Conv2d(5, 4, kernel, stride, padding, bias=bias).double()
    image = torch.randn(2, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    rows = torch.randn(2, 3, 2, 9, 8, dtype=torch.float64, requires_grad=True)
    ours = convolve_rows(conv, convolve_image(conv, image), rows)
    both = torch.cat((image[:, None].expand(-1, 3, -1, -1, -1), rows), 2)
    whole = conv(both.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(ours, whole)
    towards = torch.randn_like(whole)
    leaves = [image, rows, *conv.parameters()]
    gradients = torch.autograd.grad((ours * towards).sum(), leaves)
    expected = torch.autograd.grad((whole * towards).sum(), leaves)
    torch.testing.assert_close(gradients, expected)
