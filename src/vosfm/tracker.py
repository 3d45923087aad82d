"""What a user of a finished model holds: frames in, masks out, for as long as the video lasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vosfm.checkpoints.state import load_stream, save_state
from vosfm.errors import InputError
from vosfm.memory.footprint import footprint
from vosfm.memory.turnover import evictions
from vosfm.pace import DepthRule, FixedDepth
from vosfm.prompters import Prompter
from vosfm.prompts import Given, check_any, check_end, to_masks
from vosfm.search import Beam, Final, Greedy, Search
from vosfm.segmenter import Segmenter
from vosfm.types import Box, Features, Points, State, When

Prompts = Mapping[int, Mapping[int, Given]]
"""Frame index -> object id -> what is given of it."""

Precision = Literal["32", "bf16"]
"""In what numbers a stream is computed: float32, or bfloat16 where that is safe."""


_TOLD = frozenset({"pointer", "presence", "quality"})  # of the decoder, whatever the precision


@dataclass(frozen=True)
class Result:
    """The masks of one frame.

    Attributes:
        frame: index of the frame in the stream.
        object_ids: the objects that are tracked, in the order of `masks`.
        masks: (O, H, W) bool at the size of the frame; empty where an object is not seen.
        scores: (O,) float32 confidence in [0, 1].
    """

    frame: int
    object_ids: tuple[int, ...]
    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]


class Tracker:
    """Tracks objects through a stream of frames.

    It holds the state of one stream and no frame; objects join with any prompt and leave with
    `remove`. A stream can be saved between two frames and resumed, with equal results bit by bit.

    Args:
        segmenter: the model; it is put into evaluation mode.
        search: which proposals become memory; None for `Greedy`.
        exclusive: whether a pixel belongs to one object at most. With False, masks may overlap.
        seed: of every random choice.
        precision: "32" for that of the weights; "bf16" to multiply in bfloat16 and remember in it:
            half the memory per frame, masks that differ at some edges, and faster only on
            processors that multiply bfloat16 (most GPUs; CPUs with AMX or AVX-512 BF16).
        prompter: what makes masks of boxes and points; it is put into evaluation mode, and where
            the model is. None for the model's own, if it has one.
        memory_limit: bytes that the banks may take once they are full, with all pathways of the
            search, checked when objects join; None for no limit. What decoding takes besides is
            bounded by `chunk` of the model's parts.
        depth: of a model with several depths: how many layers of its reader frames are read with,
            or a `vosfm.pace.Pace` that chooses frame by frame; None for all. Frames that something
            is given with are read with all. It is the tracker's own: a stream that is resumed goes
            on at this depth, whatever it was saved at.

    Attributes:
        evictions: how many frames the memory gave up so far to hold others, see
            `vosfm.memory.turnover`; a stream that is resumed counts anew.

    Raises:
        InputError: if there is no such precision, the limit is not above 0, or the model does not
            have the depth, or none to choose from.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        search: Search | None = None,
        exclusive: bool = True,
        seed: int = 0,
        precision: Precision = "32",
        prompter: Prompter | None = None,
        memory_limit: int | None = None,
        depth: int | DepthRule | None = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise InputError(f"precision is {precision!r}: give one of {get_args(Precision)}")
        if memory_limit is not None and memory_limit <= 0:
            raise InputError(f"memory_limit is {memory_limit}: give a number of bytes above 0")
        self.segmenter = segmenter.eval()
        self.search = search or Greedy()
        self.exclusive = exclusive
        self.seed = seed
        self.precision = precision
        self.prompter = None if prompter is None else prompter.to(segmenter.device).eval()
        self.memory_limit = memory_limit
        self.depth = FixedDepth(depth) if isinstance(depth, int) else depth
        if self.depth is not None:
            self.depth.check(segmenter.depths)
        self.evictions = 0
        self._beam: Beam | None = None
        self._skipped = 0

    @property
    def time(self) -> int:
        """Index of the next frame."""
        return self._skipped if self._beam is None else self._beam.state.time

    @property
    def reported(self) -> int:
        """Index of the first frame without a result; a search may hold some back."""
        return self._skipped if self._beam is None else self.search.reported(self._beam)

    @property
    def beam(self) -> Beam | None:
        """All that is known of the stream; None before the first prompt. It never changes."""
        return self._beam

    @property
    def state(self) -> State | None:
        """Of the stream; None before the first prompt."""
        return None if self._beam is None else self._beam.state

    def track(
        self, frames: Iterable[NDArray[np.uint8]], prompts: Prompts | None = None
    ) -> Iterator[Result]:
        """Track through frames; a second call goes on where the first one ended.

        Args:
            frames: (H, W, 3) uint8 RGB each, any iterable, read one at a time.
            prompts: what is given, by the frame's index in the stream. Frames before the first
                prompt give results without objects.

        Yields:
            The masks of each frame.

        Raises:
            InputError: if nothing is ever given, a prompt lies past the end, a frame has another
                size than the first, a prompt does not fit its frame, or the memory will not fit
                the limit.
        """
        prompts = dict(prompts or {})
        if self._beam is None:
            check_any(prompts)
        if isinstance(frames, Sized):
            check_end(prompts, self.time + len(frames))
        for frame in frames:
            results = self.step(frame, prompts.get(self.time))
            del frame  # before the caller works on the masks, and before the next one is read
            yield from results
        check_end(prompts, self.time)
        if self._beam is not None:
            self._beam, finals = self.search.flush(self.segmenter, self._beam)
            yield from map(_result, finals)

    @torch.inference_mode()
    def step(
        self, frame: NDArray[np.uint8], prompts: Mapping[int, Given] | None = None
    ) -> list[Result]:
        """Track through one more frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            prompts: what is given with it, by object id.

        Returns:
            The frames that became final with it.

        Raises:
            InputError: as `track`.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise InputError(
                f"frame {self.time}: {frame.dtype} of shape {frame.shape}, need uint8 (H, W, 3)"
            )
        size = (frame.shape[0], frame.shape[1])
        if self._beam is None and prompts:
            state = self.segmenter.start(size, exclusive=self.exclusive, seed=self.seed)
            self._beam = self.search.start(replace(state, time=self._skipped))
        if self._beam is None:
            self._skipped += 1
            return [nothing(self.time - 1, size)]
        state = self._beam.state
        if size != state.size:
            raise InputError(
                f"frame {state.time} is {size[0]}x{size[1]}, the stream {state.size[0]}x"
                f"{state.size[1]}: resize the frames, or start another tracker"
            )
        if not prompts and not bool(state.objects.alive.any()):
            beam, finals = self.search.flush(self.segmenter, self._beam)
            self._beam = replace(beam, state=replace(state, time=state.time + 1))
            return [*map(_result, finals), nothing(state.time, size)]
        depth = None
        if self.depth is not None and not prompts:
            depth = self.depth.choose(self.segmenter.depths)
        beam = replace(self._beam, state=replace(state, depth=depth))
        with self._timed(depth):
            image = torch.from_numpy(np.ascontiguousarray(frame)).to(self.segmenter.device)
            image = image.permute(2, 0, 1)[None].float() / 255
            with self._numbers():
                features = self.segmenter.encode(image)
            prompts = self._drawn(state, image, features, prompts)
            with self._numbers():
                beam, finals = self.search.step(self.segmenter, beam, features, prompts)
        self._check_footprint(beam.state)
        when = When(state.time, given=bool(prompts), seed=state.seed)
        self.evictions += evictions(self.segmenter.memory, state.banks, beam.state.banks, when)
        self._beam = beam
        return [_result(final) for final in finals]

    @torch.inference_mode()
    def remove(self, *object_ids: int) -> None:
        """Stop tracking objects, from the next frame on.

        Raises:
            InputError: if one of them is not tracked.
        """
        if self._beam is None:
            raise InputError(f"object {object_ids[0]} is not tracked: the stream has not begun")
        self._beam = self.search.remove(self.segmenter, self._beam, object_ids)

    def save(self, path: str | Path, beam: Beam | None = None) -> None:
        """Save the stream between two frames, as one safetensors file.

        Args:
            path: of the file.
            beam: what was once `beam`, to go on from there; None for now.

        Raises:
            InputError: if nothing is tracked yet.
        """
        beam = beam or self._beam
        if beam is None:
            raise InputError("nothing to save: the stream has not begun")
        save_state(beam.state, path, self.search.pack(beam))

    def resume(self, path: str | Path) -> None:
        """Go on with a stream that `save` wrote.

        Raises:
            InputError: if the file does not hold a stream of this model and precision.
        """
        state, beside = load_stream(path, self.segmenter.device)
        expected = sorted(self.segmenter.start(state.size).banks)
        if sorted(state.banks) != expected:
            raise InputError(
                f"{path}: banks {sorted(state.banks)}, this model has {expected}: "
                "resume with the model that saved it"
            )
        saved = {
            leaf.dtype
            for name, contents in state.banks.items()
            if getattr(self.segmenter.memory.banks[_bank(name)], "dtype", None) is None
            for kind, leaf in contents.rows.items()
            if leaf.is_floating_point() and kind not in _TOLD
        }
        if saved - {self._dtype}:
            raise InputError(
                f"{path}: its memory is of {', '.join(sorted(map(str, saved)))}, that of this "
                f"tracker of {self._dtype}: resume with the precision that saved it"
            )
        self._beam = self.search.unpack(state, beside)

    @property
    def _dtype(self) -> torch.dtype:
        """Of what is remembered."""
        return torch.bfloat16 if self.precision == "bf16" else self.segmenter.encoder.mean.dtype

    def _numbers(self) -> AbstractContextManager[object]:
        """Within it, parts compute in the precision that was asked for."""
        if self.precision == "32":
            return nullcontext()
        return torch.autocast(self.segmenter.device.type, torch.bfloat16)

    @contextmanager
    def _timed(self, depth: int | None) -> Iterator[None]:
        """Tell the rule how long a frame took at this depth; None if nobody asks."""
        if self.depth is None or depth is None:
            yield
            return
        begin = self._now(self.depth)
        yield
        self.depth.took(depth, self._now(self.depth) - begin)

    def _now(self, rule: DepthRule) -> float:
        device = self.segmenter.device
        if device.type == "cuda":  # which works on after a call has returned
            torch.cuda.synchronize(device)
        return rule.clock()

    def _drawn(
        self,
        state: State,
        image: Tensor,
        features: Features,
        prompts: Mapping[int, Given] | None,
    ) -> Mapping[int, Given] | None:
        """Prompts with masks for their boxes and points, if that is this tracker's to do."""
        prompter = self.prompter
        if prompter is None or not prompts:
            return prompts
        if not any(isinstance(given, Box | Points) for given in prompts.values()):
            return prompts

        def predict(given: Sequence[Box | Points]) -> Tensor:
            seen = features if prompter.encoder is None else prompter.encoder(image)
            return prompter(seen, given)

        exclusive = state.objects.exclusive
        return to_masks(prompts, state.size, state.time, exclusive, image.device, predict)

    def _check_footprint(self, state: State) -> None:
        limit, rows = self.memory_limit, state.objects.count
        if limit is None:
            return
        count = len(set(state.objects.ids[0].tolist()))
        needed = footprint(self.segmenter.memory, state.banks)
        if self.search.pathways > 1:  # not all of them may have parted yet
            needed = needed * count * self.search.pathways // max(1, rows)
        if needed > limit:
            raise InputError(
                f"frame {state.time - 1}: the memory of {count} objects takes {_mebibytes(needed)} "
                f"when it is full, the limit is {_mebibytes(limit)}: lower the capacity of the "
                "banks, track fewer objects at once, or raise the limit"
            )


def _bank(name: str) -> str:
    """The bank's own name; a view of an augmented model goes before it."""
    return name.rpartition("/")[2]


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def nothing(time: int, size: tuple[int, int]) -> Result:
    """The result of a frame (H, W) without objects."""
    return Result(time, (), np.zeros((0, *size), bool), np.zeros(0, np.float32))


def _result(final: Final) -> Result:
    alive = final.objects.alive[0]
    return Result(
        final.time,
        tuple(final.objects.ids[0][alive].tolist()),
        final.masks.cpu()[alive].numpy(),
        final.scores.cpu()[alive].float().numpy(),
    )
