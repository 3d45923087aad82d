"""Videos, training clips and the loaders that deliver them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vosfm.data.clips import VideoClips
from vosfm.data.datasets import Clips, MixedClips, Videos, collate
from vosfm.data.drawer import ClipDrawer
from vosfm.data.drawing import overlay
from vosfm.data.file import VideoFile, VideoWriter
from vosfm.data.folder import FrameFolder
from vosfm.data.formats.burst import BURST
from vosfm.data.formats.davis import Davis
from vosfm.data.formats.long_videos import LongVideos
from vosfm.data.formats.lvos import LVOS
from vosfm.data.formats.mose import MOSE
from vosfm.data.formats.mug_vos import MUGVOS
from vosfm.data.formats.mug_vos_train import MUGVOSTrain
from vosfm.data.formats.pumavos import PUMaVOS
from vosfm.data.formats.sav import SAV
from vosfm.data.formats.sequences import Sequences
from vosfm.data.formats.shards import ShardVideos
from vosfm.data.formats.stills import Stills
from vosfm.data.formats.uvo import UVO
from vosfm.data.formats.vosw import VOSW
from vosfm.data.formats.youtube_vos import YouTubeVOS
from vosfm.data.images import read_image
from vosfm.data.masks import palette, read_labels, write_labels
from vosfm.data.memory import ArrayVideo
from vosfm.data.open import VideoList, open_video
from vosfm.data.procedural import (
    Absence,
    Difficulty,
    ProceduralClips,
    ProceduralVideo,
    ProceduralVideos,
)
from vosfm.data.shards.shard_clips import ShardClips
from vosfm.data.transforms import ColorJitter
from vosfm.data.video import VOID, Annotation, Image, Mask, Video
from vosfm.data.warps import BalancedCrop, RandomWarp, StillWarp, Warp

if TYPE_CHECKING:
    from vosfm.data.datamodules import VideoDataModule
    from vosfm.data.shard_stream import ShardStream

__all__ = [
    "BURST",
    "LVOS",
    "MOSE",
    "MUGVOS",
    "SAV",
    "UVO",
    "VOID",
    "VOSW",
    "Absence",
    "Annotation",
    "ArrayVideo",
    "BalancedCrop",
    "ClipDrawer",
    "Clips",
    "ColorJitter",
    "Davis",
    "Difficulty",
    "FrameFolder",
    "Image",
    "LongVideos",
    "MUGVOSTrain",
    "Mask",
    "MixedClips",
    "PUMaVOS",
    "ProceduralClips",
    "ProceduralVideo",
    "ProceduralVideos",
    "RandomWarp",
    "Sequences",
    "ShardClips",
    "ShardStream",
    "ShardVideos",
    "StillWarp",
    "Stills",
    "Video",
    "VideoClips",
    "VideoDataModule",
    "VideoFile",
    "VideoList",
    "VideoWriter",
    "Videos",
    "Warp",
    "YouTubeVOS",
    "collate",
    "open_video",
    "overlay",
    "palette",
    "read_image",
    "read_labels",
    "write_labels",
]


_WITH_LIGHTNING = {"VideoDataModule": "datamodules", "ShardStream": "shard_stream"}
"""Data modules, by the modules that they are in."""


def __getattr__(name: str) -> Any:
    """Import a data module when it is asked for: whoever reads masks needs no Lightning."""
    if name in _WITH_LIGHTNING:
        return getattr(import_module(f"vosfm.data.{_WITH_LIGHTNING[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
