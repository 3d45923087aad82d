"""What cannot be combined, in one table.

Any encoder, mask encoder, memory and decoder make a segmenter, unless a rule of this table says why
not. Rules speak of whole parts; a model that passes them all can be run, trained and saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vosfm.decoders import Decoder
from vosfm.encoders import Encoder
from vosfm.errors import InputError
from vosfm.mask_encoders import MaskEncoder
from vosfm.memory import Global, Memory, Sensory, Sequential


@dataclass(frozen=True)
class Parts:
    """The parts of a segmenter."""

    encoder: Encoder
    mask_encoder: MaskEncoder
    memory: Memory
    decoder: Decoder


Rule = Callable[[Parts], str | None]
"""Says what is wrong with a combination and what to do; None if nothing is."""


def _embedding(parts: Parts) -> str | None:
    given = parts.encoder.width
    for name, part in (("reader", parts.memory.reader), ("decoder", parts.decoder)):
        if part.embedding != given:
            return (
                f"the {name} takes an embedding of {part.embedding} channels, the encoder gives "
                f"{given}: set them to the same"
            )
    return None


def _skips(parts: Parts) -> str | None:
    given = dict(parts.encoder.channels)
    for stride, channels in parts.decoder.skips.items():
        if given.get(stride) != channels:
            return (
                f"the decoder takes {channels} channels at stride {stride}, the encoder gives "
                f"{given.get(stride, 'none')}; it has {given}: set `skips` to what it has, or "
                "choose an encoder with this level"
            )
    return None


def _values(parts: Parts) -> str | None:
    given = parts.mask_encoder.width
    wanted = {"reader": parts.memory.reader.encoding}
    for name, bank in parts.memory.banks.items():
        if isinstance(bank, Sequential):
            wanted[f"bank {name!r}"] = bank.value
    for name, channels in wanted.items():
        if channels != given:
            return (
                f"the {name} takes encoded masks of {channels} channels, the mask encoder gives "
                f"{given}: set them to the same"
            )
    return None


def _readouts(parts: Parts) -> str | None:
    given, taken = parts.memory.reader.widths, parts.decoder.readouts
    if tuple(given) == tuple(taken):
        return None
    return (
        f"the decoder takes readouts of {tuple(taken)} channels, the reader gives {tuple(given)}: "
        "set `readouts` to these"
    )


def _corners(parts: Parts) -> str | None:
    wanted = getattr(parts.mask_encoder, "align_corners", None)
    given = getattr(parts.encoder, "align_corners", False)
    if wanted is None or wanted == given:
        return None
    return (
        f"the mask encoder has align_corners={wanted}, the encoder {given}: their maps would "
        "differ by one token; set both to the same"
    )


def _identities(parts: Parts) -> str | None:
    kept, told = parts.mask_encoder.identities, parts.decoder.identities
    if (kept or 1) == (told or 1):
        return None
    if told is None:
        return (
            f"the memory keeps {kept} objects in one readout, {type(parts.decoder).__name__} sees "
            f"one object: wrap it in PerIdentity(decoder, identities={kept})"
        )
    return (
        f"the decoder tells {told} objects of a readout apart, the mask encoder puts {kept or 1} "
        f"into one: set identities of the decoder to {kept or 1}"
    )


def _moved_on(parts: Parts) -> str | None:
    for name, bank in parts.memory.banks.items():
        if isinstance(bank, Sensory) and not parts.decoder.updates:
            return (
                f"bank {name!r} holds a state that a decoder moves on in every frame, and "
                f"{type(parts.decoder).__name__} does not: choose a decoder with a hidden state, "
                "or Sequential for the bank"
            )
    return None


def _of_layers(parts: Parts) -> str | None:
    given = tuple(parts.memory.reader.widths)
    for name, bank in parts.memory.banks.items():
        if isinstance(bank, Global) and (bank.width,) * bank.layers != given:
            return (
                f"bank {name!r} follows {bank.layers} layers of {bank.width} channels, the reader "
                f"has layers of {given}: set width and layers to these"
            )
    return None


def _fed(parts: Parts) -> str | None:
    taking = set(parts.memory.spill.values())
    for name, bank in parts.memory.banks.items():
        if not isinstance(bank, Global):
            continue
        if bank.feed == "evicted" and name not in taking:
            return (
                f"bank {name!r} takes what another evicts, and nothing spills into it: add it to "
                "spill, or set its feed to written"
            )
        if bank.feed != "evicted" and name in taking:
            return (
                f"bank {name!r} takes every frame by itself, and another spills into it: it would "
                "take them twice; set its feed to evicted, or take it out of spill"
            )
    return None


def _of_a_group(parts: Parts) -> str | None:
    if parts.decoder.updates and parts.decoder.identities is not None:
        return (
            "the decoder moves a hidden state of every object on, the memory keeps one of a whole "
            "group: set hidden of the decoder to null"
        )
    return None


RULES: dict[str, Rule] = {
    "channels of the embedding": _embedding,
    "levels of the pyramid": _skips,
    "channels of the encoded masks": _values,
    "maps of the readout": _readouts,
    "corners of the maps": _corners,
    "objects of a row": _identities,
    "a hidden state that somebody moves on": _moved_on,
    "a hidden state of one object": _of_a_group,
    "layers that a bank follows": _of_layers,
    "what feeds a bank": _fed,
}
"""What must fit, by what it is about."""


def check(encoder: Encoder, mask_encoder: MaskEncoder, memory: Memory, decoder: Decoder) -> None:
    """Check that parts make a segmenter.

    Args:
        encoder: from frames to features.
        mask_encoder: from masks to what the memory keeps of them.
        memory: what of the past is kept, and how it is looked at.
        decoder: from readout to mask logits.

    Raises:
        InputError: if a rule speaks against it; the message says what to change.
    """
    parts = Parts(encoder, mask_encoder, memory, decoder)
    for rule in RULES.values():
        if (objection := rule(parts)) is not None:
            raise InputError(objection)
