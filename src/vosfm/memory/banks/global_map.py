"""DDMemory's global memory: the whole past in a map of fixed size."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from vosfm.layers import ConvGRU
from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import depths, validity, widen
from vosfm.memory.banks.recurrence import AtLayers, BeforeLayers, Follows, Leaves, Recurrence
from vosfm.types import Contents, Entry, Size, When

Place = Literal["each_layer", "all_layers", "before_layers"]
IdentityIn = Literal["fused", "apart"]
Feed = Literal["evicted", "delayed", "written"]

_WAITING = "waiting_"


class Global(Bank):
    """One map per row that a recurrent unit moves on, frame by frame: G_t = GRU(G_{t-1}, f_{t-2}).

    It starts as the frame in which a row's first object is given, G_1 = f_1, and is one entry ever
    after: keys and values of every layer, which the long-term attention of an `LSTT` reads beside
    those of other banks. A frame that is given later moves the map of rows that exist as any other
    frame does, in its turn: a row is a group of up to ten objects, of which one may be given, and
    to begin again would lose the past of the others; `Reference` has the given frame as it is.

    The paper says no more than the equation, and cites GRU and ConvLSTM; its code was never
    released. All else is a choice. Costs are of 480x854, one thread, beside AOT-B, whose
    frame is 1 (`benchmarks/ddmemory.py`).

    Args:
        width: channels of keys and values.
        layers: of the reader.
        kernel: side of the units' convolutions. 3, as maps do not stand still: a unit that sees
            neighbours can tell what has moved from what has changed. 1 costs about as much.
        separable: whether they are depthwise, then pointwise (a frame of about 1.2), or dense
            (about 1.75), each in one group.
        groups: of channels, each with units of its own. As many as the reader has heads: heads look
            at their own channels alone, so each of them can remember alone, at two thirds of the
            units' cost. 1 for units that see all channels.
        place: "each_layer", a unit for every layer of the reader, as layers match on keys and
            values that differ in kind; "all_layers", the same weights in every layer, a third of
            them at the same cost; "before_layers", on the embedding and the encoded masks, which
            the bank projects for every layer with weights of its own: fewer units to pay for, but
            what is remembered was not refined by layers that had seen the memory.
        follows: "key", "value" or "both". Keys say what is looked for, values what is found there:
            with one of them alone, the other is the newest frame's, and a token no longer speaks of
            one thing, though units of one kind cost half as much.
        identity: how masks are in what the units of values see. In the layers of an LSTT this is
            the same question as what is followed: keys are made before the identity is fused,
            values after, V = W(t + id), "fused". Before the layers, "apart" follows appearance and
            identity as two maps, and "fused" their sum, with which keys cannot be followed: they
            would match by identity, and a query has none. None for the one that fits, "apart"
            before the layers.
        feed: "evicted", what another bank evicts and `Memory(spill=...)` hands on, f_{t-2} where
            that is `Local`; "written", every frame at once, f_{t-1}, for memories without
            Local; "delayed", every frame one later, so f_{t-2} with no Local, for which a frame is
            kept waiting.
        detach_after: updates that a gradient goes back through in training; None for all of a clip,
            as clips of a few frames are cheap, and the longest gradient teaches a unit the most.
        rate: share of what comes in that fresh units mix into the map. Of 0.25, after four other
            frames a third of the map is still the first, which no clip is too short to learn from.

    Raises:
        ValueError: if an argument is out of its range, or two of them contradict each other.

    Note:
        With clips of one or two frames no unit is ever used, and its weights get no gradient; train
        on three or more. A stream in bfloat16 keeps the map in it, too.

    Source: LVOS, section 4 (DDMemory, global memory).
    """

    capacity = 1

    def __init__(
        self,
        width: int = 256,
        layers: int = 3,
        kernel: int = 3,
        separable: bool = True,
        groups: int = 1,
        place: Place = "each_layer",
        follows: Follows = "both",
        identity: IdentityIn | None = None,
        feed: Feed = "evicted",
        detach_after: int | None = None,
        rate: float = 0.25,
    ) -> None:
        super().__init__()
        early = place == "before_layers"
        identity = identity or ("apart" if early else "fused")
        _check(place, follows, identity, feed)
        for name, count in (("layers", layers), ("detach_after", detach_after)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, not {count}")
        self.width = width
        self.layers = layers
        self.feed = feed
        self.detach_after = detach_after
        unit = partial(ConvGRU, width, kernel, separable, rate, groups)
        self.recurrence: Recurrence = (
            BeforeLayers(width, layers, follows, identity == "fused", unit)
            if early
            else AtLayers(layers, follows, place == "all_layers", unit)
        )

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        taken = self.recurrence.taken(entry)
        batch, rows = next(iter(taken.values())).shape[:2]
        height, width = entry.state["value"].shape[-2:]
        shared = {"size": torch.tensor([height, width]).expand(batch, 1, 2)}
        now = torch.full((batch, rows), when.time, dtype=torch.int64)
        if not contents.count:
            waiting = taken if self.feed == "delayed" else {}
            return self._hold(taken, waiting, now, shared), None
        contents = widen(contents, rows)
        known = validity(contents)[:, :, 0]
        held, waiting = _split(contents)
        moved, newest = held, contents.time[:, :, 0]
        if self.feed == "written":
            moved, newest = self._advance(held, taken, (height, width), when), now
        if self.feed == "delayed":
            late = {name: waiting[name] for name in taken}
            moved = self._advance(held, late, (height, width), when)
            newest, waiting = torch.full_like(now, when.time - 1), {**waiting, **taken}
        if not bool(known.all()):
            moved = {**moved, **_choose(known, moved, taken)}
            newest = torch.where(known, newest, now)
        return self._hold(moved, waiting, newest, shared), None

    def absorb(self, contents: Contents, evicted: Contents, when: When) -> Contents:
        evicted = widen(evicted, contents.time.shape[1])
        depth = int(depths(evicted)[-1])
        incoming = {
            f"{kind}{n}": evicted.rows[f"{kind}{n}"][:, :, -1]
            for n in range(min(depth, self.layers))
            for kind in ("key", "value")
        }
        held, waiting = _split(contents)
        height, width = contents.shared["size"][0, 0].tolist()
        moved = self._advance(held, incoming, (height, width), when)
        newest = evicted.time[:, :, -1]
        known = validity(evicted)[:, :, -1]
        if not bool(known.all()):
            moved = _choose(known, moved, held)
            newest = torch.where(known, newest, contents.time[:, :, 0])
        return self._hold(moved, waiting, newest, contents.shared)

    def _advance(self, held: Leaves, incoming: Leaves, size: Size, when: When) -> dict[str, Tensor]:
        """All maps after a frame; a clip's first update is that of its second frame."""
        updates = when.time - 1
        if self.training and self.detach_after and updates and updates % self.detach_after == 0:
            held = {name: leaf.detach() for name, leaf in held.items()}
        moved: dict[str, Tensor] = self.recurrence(held, incoming, size)
        return moved

    def _hold(self, moved: Leaves, waiting: Leaves, time: Tensor, shared: Leaves) -> Contents:
        late = {_WAITING + name: leaf for name, leaf in waiting.items()}
        leaves = {**moved, **self.recurrence.seen(moved), **late}
        rows = {name: leaf.unsqueeze(2) for name, leaf in leaves.items()}
        return Contents(rows, shared, time.unsqueeze(2))


def _check(place: str, follows: str, identity: str, feed: str) -> None:
    for name, given, known in (
        ("place", place, Place),
        ("follows", follows, Follows),
        ("identity", identity, IdentityIn),
        ("feed", feed, Feed),
    ):
        if given not in get_args(known):
            raise ValueError(f"{name} is {given!r}: give one of {', '.join(get_args(known))}")
    if place != "before_layers":
        if identity == "apart":
            raise ValueError(
                "identity is 'apart' in the layers: their keys have none and their values have it "
                "fused; give follows='key' to follow what is before it, or place='before_layers'"
            )
        return
    if identity == "fused" and follows != "value":
        raise ValueError(
            f"follows is {follows!r}, identity 'fused' before the layers: keys of such a map would "
            "match by identity, and queries have none; give follows='value', or identity='apart'"
        )
    if feed == "evicted":
        raise ValueError(
            "feed is 'evicted' before the layers: what a bank evicts is keys and values of layers; "
            "give 'delayed' to take the same frame, or 'written'"
        )


def _split(contents: Contents) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Maps (B, R, N, C), and those that wait."""
    leaves = {name: leaf[:, :, 0] for name, leaf in contents.rows.items()}
    waiting = {n.removeprefix(_WAITING): v for n, v in leaves.items() if n.startswith(_WAITING)}
    return {n: v for n, v in leaves.items() if not n.startswith(_WAITING)}, waiting


def _choose(rows: Tensor, these: Leaves, others: Leaves) -> dict[str, Tensor]:
    """The first where rows (B, R) say so, else the others, of what both have."""
    return {
        name: torch.where(rows.to(leaf.device)[..., None, None], these[name], leaf)
        for name, leaf in others.items()
    }
