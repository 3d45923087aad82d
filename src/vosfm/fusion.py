"""A model for inference alone: what its encoder can compute at once, it does."""

from __future__ import annotations

from copy import deepcopy

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vosfm.decoders.per_object import PerObject
from vosfm.decoders.sam import SamDecoder
from vosfm.encoders import Encoder
from vosfm.errors import InputError
from vosfm.mask_encoders.value_encoder import ValueEncoder
from vosfm.segmenter import Segmenter
from vosfm.types import Features


def fuse(segmenter: Segmenter) -> Segmenter:
    """Make a model faster at inference; results differ by rounding.

    Batch normalisations of the encoder become part of the convolutions before them. On a CPU, the
    convolutions of encoder, decoder and value encoder are laid out pixel by pixel, and objects that
    are decoded or encoded alone have their turns one by one, unless a `chunk` is given: large maps
    cost more to allocate than to compute with. These parts are copied for that, the others are
    shared. Weights loaded into the original later do not reach the copies, and training makes no
    sense.

    Args:
        segmenter: the model, on the device it shall run on; it is put into evaluation mode.

    Returns:
        The model to track with.

    Raises:
        InputError: if the model is more than its four parts, as one that `vosfm.augment` made is.

    Example:
        >>> import vosfm
        >>> tracker = vosfm.Tracker(vosfm.fuse(vosfm.build("aot_t")))
    """
    if type(segmenter) is not Segmenter:
        raise InputError(f"cannot fuse {type(segmenter).__name__}: fuse the model it was made of")
    segmenter.eval()
    encoder, decoder = _folded(segmenter.encoder), deepcopy(segmenter.decoder)
    mask_encoder = segmenter.mask_encoder
    if segmenter.device.type == "cpu":
        if isinstance(mask_encoder, ValueEncoder):
            mask_encoder = deepcopy(mask_encoder)
            _lay_out(mask_encoder)
        _lay_out(encoder)
        _lay_out(decoder)
        for part in (mask_encoder, decoder):
            if isinstance(part, ValueEncoder | PerObject | SamDecoder):
                part.chunk = part.chunk or 1
    return Segmenter(encoder, mask_encoder, segmenter.memory, decoder, segmenter.prompter).eval()


def _lay_out(part: nn.Module) -> None:
    """Lay convolutions out pixel by pixel; embeddings of positions, of four axes too, stay."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=torch.channels_last)


@torch.no_grad()
def _folded(encoder: Encoder) -> Encoder:
    """A copy in which batch normalisations are part of the convolutions before them.

    Where something else, too, reads what such a convolution makes, nothing is folded.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules()):
        return deepcopy(encoder)  # an encoder that sees everything at 1024 pixels runs for long
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    image = image.to(encoder.mean)
    folded = deepcopy(encoder)
    for conv, norm in _pairs(folded, image):
        _replace(folded, conv, fuse_conv_bn_eval(conv, norm))
        after = [norm.drop, norm.act] if isinstance(norm, BatchNormAct2d) else []
        _replace(folded, norm, nn.Sequential(*after))
    return folded if _agree(folded(image), encoder(image)) else deepcopy(encoder)


def _pairs(encoder: Encoder, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions with the normalisation that their output goes to, as an image shows."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # tensors are held, so that none takes its id
    runs: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        runs[module] = runs.get(module, 0) + 1

    def remember(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(output)] = module, output

    def meet(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    hooks = []
    for module in encoder.modules():
        if type(module) is nn.Conv2d:
            hooks.append(module.register_forward_hook(remember))
        elif type(module) in (nn.BatchNorm2d, BatchNormAct2d):
            hooks.append(module.register_forward_pre_hook(meet))
        else:
            continue
        hooks.append(module.register_forward_pre_hook(count))
    encoder(image)
    for hook in hooks:
        hook.remove()
    return [(conv, norm) for conv, norm in pairs if runs[conv] == runs[norm] == 1]


def _agree(one: Features, other: Features) -> bool:
    """Whether two encoders see the same, but for rounding."""
    maps = [(one.embedding, other.embedding)]
    maps += [(one.pyramid[stride], level) for stride, level in other.pyramid.items()]
    return all(bool((a - b).abs().max() <= 1e-3 * b.abs().max()) for a, b in maps)


def _replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for module in root.modules():
        for name, child in module.named_children():
            if child is old:
                setattr(module, name, new)
