"""A transformer in which a few tokens and the map of an image attend to each other."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.layers.attention import Attention


class TwoWayTransformer(nn.Module):
    """Tokens attend to themselves and to the image, the image attends to the tokens; repeated.

    Args:
        width: channels of tokens and image.
        depth: number of layers.
        heads: of each attention; they divide `width // reduction`.
        hidden: channels in between the feed-forward layers of the tokens.
        reduction: how many times fewer channels attention between tokens and image has.

    Source: Segment Anything, appendix A, "lightweight mask decoder".
    """

    def __init__(
        self,
        width: int = 256,
        depth: int = 2,
        heads: int = 8,
        hidden: int = 2048,
        reduction: int = 2,
    ) -> None:
        super().__init__()
        narrow = width // reduction
        self.layers = nn.ModuleList(TwoWayLayer(width, heads, hidden, narrow) for _ in range(depth))
        self.final = Attention(width, heads, narrow)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, image: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Let tokens and image see each other.

        Args:
            tokens: (B, P, C); they are their own positions.
            image: (B, N, C).
            positions: (B, N, C) or (1, N, C), of the image.

        Returns:
            Tokens (B, P, C) and image (B, N, C).
        """
        places, seen = tokens, None
        for layer in self.layers:
            seen, image = layer(seen, places, image, positions)
        tokens = places if seen is None else seen
        tokens = tokens + self.final(tokens + places, image + positions, image)
        return self.norm(tokens), image


class TwoWayLayer(nn.Module):
    """One layer of a `TwoWayTransformer`.

    Args:
        width: channels of tokens and image.
        heads: of each attention.
        hidden: channels in between the feed-forward layers.
        narrow: channels of attention between tokens and image.
    """

    def __init__(self, width: int, heads: int, hidden: int, narrow: int) -> None:
        super().__init__()
        self.self_attention = Attention(width, heads, width)
        self.norm1 = nn.LayerNorm(width)
        self.token_to_image = Attention(width, heads, narrow)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.norm3 = nn.LayerNorm(width)
        self.image_to_token = Attention(width, heads, narrow)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor | None, places: Tensor, image: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let tokens see each other and the image, and the image see the tokens.

        Args:
            tokens: (B, P, C); None before the first layer, when there are but their places.
            places: (B, P, C), the positions of the tokens.
            image: (B, N, C).
            positions: (B, N, C) or (1, N, C), of the image.

        Returns:
            Tokens (B, P, C) and image (B, N, C).
        """
        if tokens is None:
            tokens = self.self_attention(places, places, places)
        else:
            placed = tokens + places
            tokens = tokens + self.self_attention(placed, placed, tokens)
        tokens = self.norm1(tokens)
        placed = image + positions
        tokens = self.norm2(tokens + self.token_to_image(tokens + places, placed, image))
        tokens = self.norm3(tokens + self.contract(F.relu(self.expand(tokens))))
        image = self.norm4(image + self.image_to_token(placed, tokens + places, tokens))
        return tokens, image
