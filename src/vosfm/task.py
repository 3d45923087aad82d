"""Training and testing a segmenter under Lightning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import blake2b

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from vosfm.augmentation import augment
from vosfm.checkpoints.backbones import load_backbone
from vosfm.checkpoints.loading import load
from vosfm.cost import forget_peak, measured, peak_mib
from vosfm.data.truth import Truth
from vosfm.data.video import Video, in_order
from vosfm.data.video_truth import VideoTruth
from vosfm.errors import InputError
from vosfm.fusion import fuse
from vosfm.losses import ClipLoss, SegmentationLoss
from vosfm.metrics import VideoSegmentation
from vosfm.metrics.cost import TrackingCost
from vosfm.metrics.protocol import Protocol
from vosfm.optimisation import parameter_groups
from vosfm.oracle import Oracle, inform, truth_of
from vosfm.schedules import Polynomial, Schedule
from vosfm.search import Search
from vosfm.segmenter import Segmenter, check_depth
from vosfm.tracker import Result, Tracker
from vosfm.types import Clip


class SegmentationTask(L.LightningModule):
    """Fits a segmenter on clips, and measures J and F of it on videos.

    Args:
        segmenter: the model.
        lr: highest learning rate.
        lowest_lr: learning rate at the start and the end.
        encoder_lr: factor of the encoder's learning rate.
        weight_decay: of AdamW, except where `parameter_groups` exempts.
        warm_up: share of the training in which the learning rate rises.
        schedule: of the learning rate between the lowest and the highest; None for `Polynomial`
            with this warm-up.
        own_predictions: share of the training after which the model's own masks enter its memory
            instead of the true ones; 1 for never. Where they are hardened for it, and so lead no
            gradient, the mask encoder then stays as it is.
        shuffle_identities: give every object of every training clip a random identity. The seeds
            are also those of what a memory does by chance.
        loss: what is minimised; None for `SegmentationLoss`.
        hardest: see `SegmentationLoss`; of no effect with another loss.
        protocol: by which validation and test count, a name of `vosfm.metrics.protocols`.
        exclusive: whether a pixel belongs to one object at most when videos are tracked.
        scales: of the frame, at which videos are seen; masks are the mean over them. See
            `vosfm.augment`.
        flip: look at every scale mirrored, too.
        search: which proposals become memory when videos are tracked; None for `Greedy`.
        oracle: what the model is told of every frame when videos are tracked, see `vosfm.inform`;
            None for nothing.
        depth: of a model with several depths: how many layers of its reader videos are tracked
            with; None for all. Training supervises all depths, with a loss that does so.
        weights: checkpoint to start from, of any kind that `vosfm.checkpoints.load` reads; None for
            the weights that the segmenter was built with.
        backbone: checkpoint of an image classifier, or of a segmenter with the same encoder, to
            start the encoder from, as `vosfm.checkpoints.load_backbone` reads it; None for the
            encoder's own.
        channels_last: lay out convolutions pixel by pixel, which is faster on CPUs and, in mixed
            precision, on GPUs; results differ by rounding.

    Source: AOT, section 5.1.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        lr: float = 2e-4,
        lowest_lr: float = 2e-5,
        encoder_lr: float = 0.1,
        weight_decay: float = 0.07,
        warm_up: float = 0.05,
        schedule: Schedule | None = None,
        own_predictions: float = 0.5,
        shuffle_identities: bool = True,
        loss: ClipLoss | None = None,
        hardest: float = 0.15,
        protocol: str = "davis2017",
        exclusive: bool = True,
        scales: tuple[float, ...] = (1.0,),
        flip: bool = False,
        search: Search | None = None,
        oracle: Oracle | None = None,
        depth: int | None = None,
        weights: str | None = None,
        backbone: str | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.exclusive = exclusive
        augment(segmenter, scales, flip)  # a wrong scale shows before the training
        self.scales = scales
        self.flip = flip
        self.search = search
        self.oracle = oracle
        if depth is not None:
            check_depth(depth, segmenter.depths)
        self.depth = depth
        if backbone is not None:
            load_backbone(segmenter, backbone)
        if weights is not None:
            load(segmenter, weights)
        if channels_last:
            segmenter.to(memory_format=torch.channels_last)
        self.lr = lr
        self.lowest_lr = lowest_lr
        self.encoder_lr = encoder_lr
        self.weight_decay = weight_decay
        self.schedule = schedule or Polynomial(warm_up=warm_up)
        self.own_predictions = own_predictions
        self.shuffle_identities = shuffle_identities
        self.loss = loss or SegmentationLoss(hardest)
        self.scores = torch.nn.ModuleDict(
            {stage: VideoSegmentation(protocol) for stage in ("val", "test")}
        )
        self.costs = torch.nn.ModuleDict({stage: TrackingCost() for stage in ("val", "test")})

    @property
    def progress(self) -> float:
        """How much of the training is done, in [0, 1]."""
        return min(1.0, self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches))

    def training_step(self, clip: Clip, index: int) -> Tensor:
        """The loss of a batch of clips."""
        feed = "truth" if self.progress < self.own_predictions else "prediction"
        shuffle = self._seeds(clip.frames.shape[0]) if self.shuffle_identities else None
        proposals = self.segmenter(clip, feed=feed, shuffle=shuffle)
        loss: Tensor = self.loss(proposals, clip, self.progress)
        self.log("train/loss", loss, prog_bar=True, sync_dist=True, batch_size=clip.frames.shape[0])
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave a mask encoder as it is once the model's own masks are hardened for it."""
        mask_encoder = self.segmenter.mask_encoder
        if not mask_encoder.soft and self.progress >= self.own_predictions:
            for parameter in mask_encoder.parameters():
                parameter.grad = None

    def validation_step(self, video: Video | None, index: int) -> None:
        """Track a video and score every annotated frame; None evens out the ranks' steps."""
        self._score(video, "val")

    def test_step(self, video: Video | None, index: int) -> None:
        """Track a video and score every annotated frame; None evens out the ranks' steps."""
        self._score(video, "test")

    def predict_step(self, video: Video, index: int) -> Iterator[Result]:
        """Track a video, frame by frame as the results are taken."""
        return self.tracker(video).track(video.frames(), video.prompts())

    def tracker(self, video: Video) -> Tracker:
        """A tracker for one video, as validation, test and prediction use it.

        Raises:
            InputError: if there is an oracle, and the video has no truth that it could tell.
        """
        segmenter = fuse(self.segmenter)
        if self.oracle is not None:
            segmenter = inform(segmenter, truth_of(video), self.oracle)
        augmented = augment(segmenter, self.scales, self.flip)
        return Tracker(augmented, self.search, self.exclusive, depth=self.depth)

    def on_validation_epoch_start(self) -> None:
        """Count the memory of the validation from here on."""
        forget_peak(self.device)

    def on_test_epoch_start(self) -> None:
        """Count the memory of the test from here on."""
        forget_peak(self.device)

    def on_validation_epoch_end(self) -> None:
        """Log J and F of the validation videos, and what tracking them cost."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log J and F of the test videos, and what tracking them cost."""
        self._log_scores("test")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, and the schedule of its learning rate."""
        groups = parameter_groups(self.segmenter, self.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=self.lr)
        steps = int(self.trainer.estimated_stepping_batches)

        def relative(step: int, factor: float) -> float:
            height = factor * self.schedule(step, steps)
            return (self.lowest_lr + (self.lr - self.lowest_lr) * height) / self.lr

        factors = [self.encoder_lr if g["encoder"] else 1.0 for g in optimizer.param_groups]
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, [partial(relative, factor=factor) for factor in factors]
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _seeds(self, batch: int) -> list[int]:
        """Others for every sample of every step, but the same ones however many processes train.

        A sampler deals the samples of a step out to the ranks in turn.
        """
        first = self.trainer.global_step * batch
        ranks, rank = self.trainer.world_size, self.trainer.global_rank
        return [(first + b) * ranks + rank for b in range(batch)]

    def _score(self, video: Video | None, stage: str) -> None:
        if video is None:
            return
        metric, cost = self.scores[stage], self.costs[stage]
        assert isinstance(metric, VideoSegmentation)
        assert isinstance(cost, TrackingCost)
        score(metric, video, measured(self.tracker(video), video, cost))

    def _log_scores(self, stage: str) -> None:
        metric, cost = self.scores[stage], self.costs[stage]
        assert isinstance(metric, VideoSegmentation)
        assert isinstance(cost, TrackingCost)
        cost.update(memory_mib=peak_mib(self.device))
        for name, value in (metric.compute() | cost.compute()).items():
            self.log(f"{stage}/{name}", value.float(), prog_bar=name == "J&F")
        metric.reset()
        cost.reset()


def score(metric: VideoSegmentation, video: Video, results: Iterable[Result]) -> None:
    """Score every annotated frame of a video.

    Args:
        metric: takes the scores, under a number made of the video's name.
        video: with the truth of its benchmark, or masks of its own, by which then those objects
            count that are prompted.
        results: of its frames.

    Raises:
        InputError: if the protocol tells objects apart by category and the video does not, or no
            annotated frame counts, or it lacks masks.
    """
    truth = video.truth or VideoTruth(video)
    _check(metric.protocol, video, truth)
    # The same number in all processes, whichever of them a sampler gave the video to.
    sequence = int.from_bytes(blake2b(video.name.encode(), digest_size=7).digest(), "big")
    places = {name: place for place, name in enumerate(truth.frame_names)}
    for result in results:
        place = places.get(video.frame_names[result.frame])
        if place is None:
            continue
        told = truth.ids(place)
        metric.update(
            in_order(truth.object_ids, result.object_ids, result.masks, video.size),
            truth.masks(place),
            truth.object_ids,
            sequence,
            place,
            void=truth.void(place) if metric.protocol.void else None,
            given=[truth.starts[i] for i in truth.object_ids],
            unseen=truth.unseen,
            told=None if truth.ranges is None else [i in told for i in truth.object_ids],
        )


def _check(rules: Protocol, video: Video, truth: Truth) -> None:
    """Check that the video can be scored by a protocol."""
    if rules.by_category:
        if truth.unseen is None:
            raise InputError(
                f"{video.name}: which of its objects are of unseen categories is not known; test "
                "on YouTubeVOS with a meta.json that tells categories, or by another protocol"
            )
        annotated = frozenset(truth.frame_names)
        first = truth.frame_names[min(truth.starts.values())]
        start = video.frame_names.index(first)
        names = [video.frame_names[i] for i in video.reported() if i >= start]
        if bare := [name for name in names if name not in annotated]:
            raise InputError(
                f"{video.name}: {len(bare)} frames have no mask to score by, the first is "
                f"{bare[0]}; predict it for the benchmark's server, or leave it out"
            )
    if video.truth is not None and not any(rules.counted(truth, i) for i in truth.object_ids):
        raise InputError(
            f"{video.name}: {len(truth.frame_names)} annotated frames, none of which {rules.name} "
            "counts; predict it for the benchmark's server, or leave it out"
        )
