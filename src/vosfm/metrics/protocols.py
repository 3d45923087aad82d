"""What each benchmark counts and how it averages, one entry a benchmark.

A further benchmark is one more `Protocol`, registered under its name.
"""

from __future__ import annotations

from vosfm.metrics.averages import (
    COLUMNS,
    MEANS,
    STABLE_MEANS,
    Row,
    mean_by_category,
    mean_by_sequence,
    mean_of_kinds,
    mean_over_objects,
    mean_recall_decay,
    means,
    means_and_stability,
)
from vosfm.metrics.counting import (
    after_start,
    after_start_without_last,
    range_without_ends,
    without_ends,
)
from vosfm.metrics.protocol import PROTOCOLS, Protocol, named, register

__all__ = [
    "COLUMNS",
    "MEANS",
    "PROTOCOLS",
    "STABLE_MEANS",
    "Protocol",
    "Row",
    "mean_by_category",
    "mean_by_sequence",
    "mean_of_kinds",
    "mean_over_objects",
    "mean_recall_decay",
    "means",
    "means_and_stability",
    "named",
    "register",
]

davis2016 = register(
    Protocol(
        name="davis2016",
        rules=(
            "One object: every pixel that is not 0, in annotation and result alike. 255 is part of "
            "it, since the masks of DAVIS-2016 are 0 and 255; annotations of DAVIS-2017 are "
            "united. The first and the last frame are left out, as in the 2016 toolkit, which "
            "scores frames 2 to T-1 because the first is given to the method."
        ),
        format="davis",
        told_by="the first annotation",
        counted=without_ends,
        statistics=mean_recall_decay,
        overall=mean_over_objects,
        union=True,
    )
)

davis2017 = register(
    Protocol(
        name="davis2017",
        rules=(
            "Objects 1 to N, where N is the largest id of the first annotation; 255 is void and "
            "counts as background. An id above N in a result is an error; an object without "
            "pixels is an empty mask. The first and the last frame are left out. Every object "
            "weighs the same, whatever its sequence."
        ),
        format="davis",
        told_by="the first annotation",
        counted=without_ends,
        statistics=mean_recall_decay,
        overall=mean_over_objects,
    )
)

youtube_vos = register(
    Protocol(
        name="youtube_vos",
        rules=(
            "The objects that meta.json lists. Each counts from the annotated frame after its "
            "first one, in which it is given, to the end of the video. Objects of seen and of "
            "unseen categories are averaged apart, each object weighing the same; G is the mean "
            "of J and F of both. The code of the official server is not public. Ours to decide "
            "were: the last frame counts; in a frame without a pixel of an object, in truth and "
            "result, J and F are 1, as in DAVIS; an object that counts in no frame is left out; "
            "pixels of 255 are background; a result with an id that meta.json does not list is "
            "an error."
        ),
        format="youtube_vos",
        told_by="meta.json",
        counted=after_start,
        statistics=means,
        overall=mean_by_category,
        by_category=True,
    )
)

lvos = register(
    Protocol(
        name="lvos",
        rules=(
            "The objects that <split>_meta.json lists, each in its own range of frames, every "
            "fifth one from its start to its end, without the first and the last of them. Absent "
            "inside its range, an object scores 1 where the result has none of it either, else 0; "
            "outside nothing counts, not even a false mask. 255 is background. V is the standard "
            "deviation over time of the mean of J and F of an object, by Eq. 1 of the paper; lower "
            "is steadier. Every object weighs the same among the seen and among the unseen, and "
            "the whole is the mean of the two, as in the report of the official tool; the unseen "
            "videos are those of unseen_videos.txt, which comes with that tool. Where that list "
            "is not given or one side has no object, as in the first version of LVOS, which has "
            "no unseen part, that side is NaN and the whole is the plain mean over objects. The "
            "official tool rounds the variance to four decimals before the root "
            "(--official). Ours to decide were: a result with an id that the file does not list "
            "is an error; results of other frames are left alone, as the tool does."
        ),
        format="lvos",
        told_by="<split>_meta.json",
        counted=range_without_ends,
        statistics=means_and_stability,
        overall=mean_of_kinds,
        spare=True,
    )
)

mose = register(
    Protocol(
        name="mose",
        rules=(
            "The objects of the masks, each given in the first frame that shows it, which is the "
            "first frame of the video in the released masks; it counts in the frames after, "
            "without the last of the video, as in the public scorer of MOSEv2. Every object weighs "
            "the same. The masks of the validation videos are those of the first frame alone and "
            "are scored by the benchmark's server, whose code is not public; to score here, give "
            "a split with masks of all frames, such as train. Ours to decide were: J and F are "
            "those of DAVIS, 1 where truth and result are both without the object (the scorer of "
            "MOSEv2 adds 1 to both areas of J and narrows the tolerance of F for small objects); "
            "255 is background; an object that counts in no frame is left out; another id in a "
            "result is an error."
        ),
        format="mose",
        told_by="the annotation",
        counted=after_start_without_last,
        statistics=means,
        overall=mean_over_objects,
    )
)

sav = register(
    Protocol(
        name="sav",
        rules=(
            "The objects that have a folder of masks, which may overlap. Each counts in the frames "
            "of its own folder, at 6 frames per second, without the first and the last of them, "
            "and, as in the tool sav_evaluator, only from the frame on that first shows it in the "
            "truth or in the result; from there on J and F are 1 where both are without it. One "
            "that no counted frame of the truth shows is left out. Whatever is not 0 in a PNG is "
            "the object; there is no void. Every object weighs the same. Results lie in a folder "
            "for each object, named as in the annotation (000), which is how the authors' tool "
            "writes them, or by its id (1 for 000, as ids count from 1); those of frames between "
            "the annotated ones are left alone. Ours to decide was: a result with a folder of "
            "another object is an error."
        ),
        format="sav",
        told_by="the folders of the annotation",
        counted=range_without_ends,
        statistics=means,
        overall=mean_over_objects,
        first_seen=True,
        spare=True,
    )
)

long_videos = register(
    Protocol(
        name="long_videos",
        rules=(
            "Objects 1 to N, where N is the largest id of the first annotation; 255 is background. "
            "Only the few annotated frames count, without the first and the last of them, as the "
            "DAVIS tool counts, by which XMem and those after it scored this data; the tool of "
            "AFB-URR, from which the data comes, counts the last one too. Every object weighs the "
            "same. An id above N in a result is an error; results of frames without annotation "
            "are left alone."
        ),
        format="long_videos",
        told_by="the first annotation",
        counted=without_ends,
        statistics=mean_recall_decay,
        overall=mean_over_objects,
        spare=True,
    )
)

pumavos = register(
    Protocol(
        name="pumavos",
        rules=(
            "The objects of the masks, each given in the first frame that shows it. It counts in "
            "the frames after, without the last of the video. Every object weighs the same. The "
            "authors published no scorer: all of this is ours to decide and follows the way of "
            "DAVIS, with J and F of 1 where truth and result are both without the object, 255 as "
            "background, and an error for another id in a result; an object that counts in no "
            "frame is left out."
        ),
        format="pumavos",
        told_by="the annotation",
        counted=after_start_without_last,
        statistics=means,
        overall=mean_over_objects,
    )
)

mug_vos = register(
    Protocol(
        name="mug_vos",
        rules=(
            "The tracks, which may overlap: track_000 is object 1, track_001 object 2 and so on. "
            "Each counts alone, in the frames of its own masks, without the first that shows it, "
            "in which it is given, and without the last, as in DAVIS, from which the videos come. "
            "Every track weighs the same, whatever its video; the means of each video's tracks "
            "stand beside. The authors published no scorer: all of this is ours to decide, and so "
            "is that J and F are 1 where truth and result are both without the track, that "
            "whatever is not 0 in a PNG is the track, that there is no void, that a track which "
            "counts in no frame is left out, and that a result with a folder of another object is "
            "an error."
        ),
        format="mug_vos",
        told_by="the folders of the tracks",
        counted=range_without_ends,
        statistics=means,
        overall=mean_over_objects,
    )
)

vosw = register(
    Protocol(
        name="vosw",
        rules=(
            "Things and stuff of VIPSeg are objects, each given in the first frame that shows it. "
            "It counts from the frame after, at 5 frames per second, to the last of the video. "
            "Every object weighs the same, whatever its video. Neither the list of the 348 videos "
            "nor a script was published: the videos are those of the user's list, and ours to "
            "decide were: connected parts (8 neighbours) of an object below 0.0001 of the frame "
            "are noise and no part of it; pixels of no object, noise and the void of VIPSeg, are "
            "background; the value 200 is void, as the authors of VIPSeg say; the last frame "
            "counts; J and F are 1 where truth and result are both without the object; an object "
            "that counts in no frame is left out; ids are shuffled with seed 0, and another id in "
            "a result is an error. Results have the size of VIPSeg's masks, whatever the model "
            "saw."
        ),
        format="vosw",
        told_by="the panoptic masks",
        counted=after_start,
        statistics=means,
        overall=mean_over_objects,
    )
)

uvo = register(
    Protocol(
        name="uvo",
        rules=(
            "The objects of the densely annotated videos, numbered from 1 in each, in the order of "
            "their ids in the file; each is given in the first frame that shows it and counts from "
            "the frame after to the last. Every object weighs the same, whatever its video. UVO "
            "itself measures detections without prompts (average precision and recall over tracks "
            "by YTVOSeval), which this is not: J and F of given objects, as VOS papers tell them. "
            "So all of this is ours to decide, and so is that crowds are left out, that J and F "
            "are 1 where truth and result are both without the object, that there is no void, that "
            "an object which counts in no frame is left out, and that another id in a result is an "
            "error. Objects may overlap: results lie in a folder for each, or, of a model that "
            "lets none overlap, in index PNGs."
        ),
        format="uvo",
        told_by="the annotations",
        counted=after_start,
        statistics=means,
        overall=mean_over_objects,
        flat=True,
    )
)

burst = register(
    Protocol(
        name="burst",
        rules=(
            "The tracks of all_classes.json by their ids; each is given by its mask in the first "
            "annotated frame that shows it and counts in the annotated frames after, 1 a second in "
            "val and test, to the last. Every track weighs the same, whatever its sequence and "
            "category. This is not the measure of BURST: its tool, TrackEval, tells HOTA and "
            "track mAP, each averaged over categories, and leaves the tracks of 45 distractor "
            "categories out. Ours are J and F of given objects, as VOS papers tell them; so all of "
            "this is ours to decide, and so is that all categories count, that J and F are 1 where "
            "truth and result are both without the object, that there is no void, that a track "
            "which counts in no frame is left out, and that another id in a result is an error. "
            "Results of frames between the annotated ones are left alone. They lie in a folder for "
            "each object, or, of a model that lets none overlap, in index PNGs."
        ),
        format="burst",
        told_by="the annotations",
        counted=after_start,
        statistics=means,
        overall=mean_over_objects,
        spare=True,
        flat=True,
    )
)
