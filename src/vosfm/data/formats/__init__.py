"""Benchmarks as they lie on disk, one module each; importing them fills `format.FORMATS`."""

from vosfm.data.formats import (
    burst,
    davis,
    long_videos,
    lvos,
    mose,
    mug_vos,
    mug_vos_train,
    pumavos,
    sav,
    shards,
    uvo,
    vosw,
    youtube_vos,
)

__all__ = [
    "burst",
    "davis",
    "long_videos",
    "lvos",
    "mose",
    "mug_vos",
    "mug_vos_train",
    "pumavos",
    "sav",
    "shards",
    "uvo",
    "vosw",
    "youtube_vos",
]
