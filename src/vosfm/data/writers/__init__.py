"""Layouts of benchmarks that truths can be written in, one module each."""

from collections.abc import Mapping

from vosfm.data.writers.davis import DavisWriter
from vosfm.data.writers.mug_vos import MUGVOSWriter
from vosfm.data.writers.sav import SAVWriter
from vosfm.data.writers.writer import Plan, Writer
from vosfm.data.writers.youtube_vos import YouTubeVOSWriter

__all__ = [
    "WRITERS",
    "DavisWriter",
    "MUGVOSWriter",
    "Plan",
    "SAVWriter",
    "Writer",
    "YouTubeVOSWriter",
]

WRITERS: Mapping[str, type[Writer]] = {
    writer.format: writer for writer in (DavisWriter, YouTubeVOSWriter, SAVWriter, MUGVOSWriter)
}
"""By the name of the format that reads them."""
