"""Objects of rendered scenes that disappear for long and return."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning import LightningDataModule
from numpy.typing import NDArray

from vosfm import zoo
from vosfm.data import Absence, Difficulty, ProceduralClips, ProceduralVideo, ProceduralVideos
from vosfm.data.datamodules import VideoDataModule
from vosfm.data.procedural.motion import Excursion, Visit
from vosfm.data.procedural.scene import Scene

SIZE = (48, 80)
LENGTH = 320
CALM = Difficulty(speed=0.012, deformation=0.09, occlusion=0, look_alikes=0, noise=0)


def _knobs(**more: object) -> Difficulty:
    return replace(CALM, absence=Absence(**more))  # type: ignore[arg-type]


def _video(seed: int, knobs: Difficulty, length: int = LENGTH, objects: int = 2) -> ProceduralVideo:
    return ProceduralVideo(seed, length, SIZE, objects, knobs)


def _seen(video: ProceduralVideo) -> NDArray[np.bool_]:
    """(T, O)."""
    masks = (video.annotation(index).masks for index in range(len(video)))
    return np.stack([each.any(axis=(1, 2)) for each in masks])


def _longest_gap(seen: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and end of the longest run of frames without the object."""
    edges = np.flatnonzero(np.diff(np.r_[False, ~seen, False].astype(int))).reshape(-1, 2)
    return tuple(max(edges.tolist(), key=lambda run: run[1] - run[0]))


@pytest.mark.parametrize("covered", [0.0, 1.0])
@pytest.mark.parametrize("level", [0.3, 1.0])
def test_every_object_is_away_for_at_least_as_long_as_asked_and_returns(
    covered: float, level: float
) -> None:
    absence = Absence(away=(100, 110), stay=(15, 60), covered=covered, impostors=0)
    knobs = replace(Difficulty.level(level), occlusion=0, look_alikes=0, noise=0, absence=absence)
    for seed in range(2):
        seen = _seen(_video(seed, knobs))
        for k in range(2):
            start, end = _longest_gap(seen[:, k])
            assert seen[0, k]
            assert end - start >= 100
            assert end < LENGTH
            assert seen[end:, k].sum() >= 10


def test_the_motion_alone_keeps_what_left_out_of_sight_however_the_camera_moves() -> None:
    for seed in range(8):
        knobs = replace(Difficulty.level(1.0), absence=Absence(covered=0, impostors=0))
        scene = Scene((0, seed), SIZE, 2, knobs)
        for actor in scene._actors:
            trip = actor.motion.excursion
            if actor.object is None:
                continue
            assert isinstance(trip, Excursion)
            for time in np.linspace(trip.start + trip.ramp, trip.start + trip.ramp + trip.away, 9):
                frame, masks = np.zeros((*SIZE, 3), np.uint8), scene.render(0.0)[1] & False
                view = np.array([[scene.pixels_per_unit, 0, 40], [0, scene.pixels_per_unit, 24]])
                camera = np.vstack([scene._camera.view(time), [0, 0, 1]])
                actor.paint(frame, masks, view @ camera, time)
                assert not frame.any()
                assert not masks.any()


def test_what_left_the_frame_and_what_was_covered_may_return_elsewhere() -> None:
    for covered in (0.0, 1.0):
        moved = []
        for seed in range(2):
            video = _video(seed, _knobs(covered=covered, impostors=0, stay=(15, 60)), objects=1)
            start, end = _longest_gap(_seen(video)[:, 0])
            places = []
            for index in (start - 10, min(end + 20, LENGTH - 1)):
                y, x = np.nonzero(video.annotation(index).masks[0])
                places.append((y.mean(), x.mean()) if len(y) else (np.nan, np.nan))
            moved.append(np.hypot(*np.subtract(*places)))
        assert np.nanmax(moved) > 10


def test_an_object_stays_for_as_long_as_asked_between_two_absences() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        trip = Excursion.draw_long(rng, np.array([1.3, 0.75]), 0.2, (30, 50), (12, 20))
        shares = np.array([trip.share(t) for t in range(600)])
        assert shares[:12].max() == 0
        assert 12 <= trip.start <= 20
        assert (shares[: int(trip.start + trip.period)] == 1).sum() >= 29
        home = trip.start + 2 * trip.ramp + trip.away
        assert shares[int(np.ceil(home)) : int(home + 12)].max() == 0
        assert np.abs(np.diff(shares)).max() < 0.07


def test_a_visit_is_the_opposite_of_an_absence() -> None:
    rng = np.random.default_rng(0)
    extent = np.array([1.3, 0.75])
    trip = Excursion.draw_long(rng, extent, 0.2, (30, 50), (12, 20))
    visit = Visit.draw(rng, trip, extent, 0.2)
    for time in range(200):
        far = np.linalg.norm(visit(time)) / np.linalg.norm(visit.offset)
        assert far == pytest.approx(1 - trip.share(time))


def test_an_impostor_looks_like_the_object_and_is_there_while_it_is_away_only() -> None:
    knobs = _knobs(covered=0, impostors=1.0, stay=(15, 60))
    for seed in range(3):
        with_it = Scene((0, seed), SIZE, 1, knobs)
        without = Scene((0, seed), SIZE, 1, _knobs(covered=0, impostors=0, stay=(15, 60)))
        (trip,) = (d.trip for d in with_it._disappearances.values())
        assert trip.start == without._disappearances[0].trip.start
        middle = trip.start + trip.ramp + trip.away / 2
        changed = np.any(with_it.render(middle)[0] != without.render(middle)[0], axis=2)
        assert changed.mean() > 0.02
        assert not with_it.render(middle)[1].any()  # nobody asks for it
        for time in (0.0, trip.start):
            np.testing.assert_array_equal(with_it.render(time)[0], without.render(time)[0])
        colors = []
        for scene, time in ((with_it, 0.0), (with_it, middle)):
            inside = scene.render(time)[1][0] if time == 0 else changed
            colors.append(np.median(scene.render(time)[0][inside], axis=0))
        assert np.abs(np.subtract(*colors)).max() < 60


def test_frames_are_a_function_of_the_seed_and_of_the_time() -> None:
    video, again = _video(5, _knobs()), _video(5, _knobs(), length=250)
    late = next(video.frames(200))
    np.testing.assert_array_equal(next(again.frames(200)), late)
    np.testing.assert_array_equal(video.annotation(200).masks, again.annotation(200).masks)
    assert not np.array_equal(next(_video(6, _knobs()).frames(200)), late)


def test_absences_that_nobody_draws_change_nothing() -> None:
    """The knobs are drawn apart: what else is in a scene does not depend on them."""
    plain = replace(CALM, leaving=0.0, look_alikes=1.0, occlusion=2.0)
    never = replace(plain, absence=Absence(chance=0.0))
    for time in (0.0, 30.0):
        for seed in range(3):
            scenes = [Scene((0, seed), SIZE, 3, knobs) for knobs in (plain, never)]
            frames = [scene.render(time) for scene in scenes]
            np.testing.assert_array_equal(frames[0][0], frames[1][0])
            np.testing.assert_array_equal(frames[0][1], frames[1][1])


def test_clips_leap_over_absences() -> None:
    absence = Absence(away=(10, 30), stay=(8, 30))
    clips = ProceduralClips(
        4, SIZE, max_gap=3, clips=40, longest_leap=60, leaps=0.6, absence=absence
    )
    found = []
    for clip in clips:
        seen = clip.masks[0].any(dim=(2, 3))
        assert seen[0].all()
        found += [tuple(column) for column in seen.T.tolist()]
    back = [seen for seen in found if (False, True) in pairwise(seen)]
    assert len(back) >= 5
    torch.testing.assert_close(clips[3].frames, clips[3].frames, rtol=0, atol=0)
    others = ProceduralClips(4, SIZE, max_gap=3, clips=40)
    assert torch.equal(others[0].frames, ProceduralClips(4, SIZE, clips=40)[0].frames)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"chance": 1.2}, "chance"),
        ({"covered": -0.1}, "covered"),
        ({"impostors": 2.0}, "impostors"),
        ({"away": (0.0, 10.0)}, "away"),
        ({"stay": (20.0, 10.0)}, "stay"),
    ],
)
def test_knobs_out_of_range(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Absence(**knobs)  # type: ignore[arg-type]


def test_leaps_out_of_range() -> None:
    with pytest.raises(ValueError, match="longest_leap"):
        ProceduralClips(max_gap=5, longest_leap=3)
    with pytest.raises(ValueError, match="leaps"):
        ProceduralClips(longest_leap=30, leaps=1.5)


def test_the_config_builds_long_videos_with_absences_and_look_alikes() -> None:
    parser = ArgumentParser(parser_mode="omegaconf+", exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    path = zoo.CONFIGS / "data" / "procedural_long.yaml"
    data = parser.instantiate(parser.parse_path(path)).data
    assert isinstance(data, VideoDataModule)
    assert isinstance(data.test, ProceduralVideos)
    assert isinstance(data.train, ProceduralClips)
    assert data.train.absence is not None
    assert not {v.name for v in data.test} & {v.name for v in data.validate or ()}
    returned = impostors = 0
    for video in data.test:
        assert len(video) >= 300
        scene = video._scene
        for disappearance in scene._disappearances.values():
            impostors += disappearance.impostor is not None
            # At least 100 frames away, and back before the end.
            trip = disappearance.trip
            assert trip.away >= 100
            returned += trip.start + 2 * trip.ramp + trip.away < len(video)
    assert returned >= 8
    assert impostors >= 3
