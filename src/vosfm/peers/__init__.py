"""Methods that our models stand beside in MUG-VOS, Table 2, used as `vosfm.Tracker` is."""

from vosfm.peers.command import add_arguments, main
from vosfm.peers.consensus import consensus
from vosfm.peers.deva import Deva
from vosfm.peers.grid_iou import GridIou
from vosfm.peers.named import BASELINES, NAMES, build
from vosfm.peers.peer import Peer
from vosfm.peers.persam import PerSam
from vosfm.peers.persam_f import PerSamF
from vosfm.peers.points import FlowPoints, Moved, PointTracker
from vosfm.peers.sam_pt import SamPt

__all__ = [
    "BASELINES",
    "NAMES",
    "Deva",
    "FlowPoints",
    "GridIou",
    "Moved",
    "Peer",
    "PerSam",
    "PerSamF",
    "PointTracker",
    "SamPt",
    "add_arguments",
    "build",
    "consensus",
    "main",
]
