"""A sweep as a study: one arm for each choice of parameters, its seeds together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from vosfm.errors import InputError
from vosfm.report.published import Published, PublishedStudy, published, short, study_of
from vosfm.report.results import SEED, Results, Trial

_BESIDE = ("J", "F", "V")  # shown with J&F where they were logged
_METRICS = ("test/J&F", "val/J&F")  # compared by if the sweep does not say
_PERCENT = ("J&F", "J", "F", "V")  # logged from 0 to 1
_BINDING = ("capacity", "policy")  # parameters that decide nothing while a memory is not full


@dataclass(frozen=True)
class Spread:
    """A number measured with several seeds.

    Attributes:
        mean: of them.
        deviation: standard deviation of the sample (n - 1); None of a single seed.
        count: of seeds.
    """

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """The spread of some values; None of none."""
        if not values:
            return None
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Arm:
    """One choice of parameters.

    Attributes:
        parameters: by dotted names, without the seed.
        trials: that finished, one for each seed.
        failed: trials that did not.
        published: numbers of the paper for the same choice.
    """

    parameters: Mapping[str, Any]
    trials: tuple[Trial, ...]
    failed: tuple[Trial, ...]
    published: tuple[Published, ...]

    @property
    def name(self) -> str:
        """As the paper calls it; empty if it does not."""
        return self.published[0].arm if self.published else ""

    def values(self, metric: str) -> list[float]:
        """Of a metric, for every seed that has it; scores in percent, as papers write them."""
        return list(self.by_seed(metric).values())

    def by_seed(self, metric: str) -> dict[str, float]:
        """Of a metric, as `values`; the seed in words -> value."""
        factor = 100 if bare(metric) in _PERCENT else 1
        return {
            _canonical(trial.parameters.get(SEED)): factor * trial.metrics[metric]
            for trial in self.trials
            if metric in trial.metrics
        }

    def spread(self, metric: str) -> Spread | None:
        """Of a metric over seeds; None if no trial has it."""
        return Spread.of(self.values(metric))

    @property
    def evictions(self) -> list[int] | None:
        """Frames that the memory gave up, for every seed; None if that is not known of all."""
        known = [trial.evictions for trial in self.trials if trial.evictions is not None]
        return known if known and len(known) == len(self.trials) else None

    @property
    def filled(self) -> bool | None:
        """Whether the memory was ever full; None if that is not known."""
        return None if self.evictions is None else any(self.evictions)

    @property
    def fps(self) -> float | None:
        """Frames tracked per second, mean over seeds."""
        known = [trial.fps for trial in self.trials if trial.fps is not None]
        return fmean(known) if known else None

    @property
    def memory_mib(self) -> float | None:
        """The most memory that any seed took, in MiB."""
        return max((t.memory_mib for t in self.trials if t.memory_mib is not None), default=None)


@dataclass(frozen=True)
class Study:
    """What one sweep has measured.

    Attributes:
        name: of the sweep, system/study.
        sources: folders, or places at W&B.
        metric: that arms are compared by.
        arms: in the order of the sweep.
        paper: the table that it repeats; None if there is none.
    """

    name: str
    sources: tuple[str, ...]
    metric: str
    arms: tuple[Arm, ...]
    paper: PublishedStudy | None

    @property
    def title(self) -> str:
        """What the study asks."""
        return self.name if self.paper is None else f"{self.name}: {self.paper.title}"

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Dotted names of the parameters that differ between arms."""
        names = dict.fromkeys(name for arm in self.arms for name in arm.parameters)
        return tuple(
            name
            for name in names
            if len({_canonical(arm.parameters.get(name)) for arm in self.arms}) > 1
        )

    def gain(self, arm: Arm) -> Spread | None:
        """How much more of the metric an arm has than the first one, of seeds that both have.

        Arms of one seed share what it decides, such as the checkpoint that all of them are tested
        with, so that their differences spread less than they do. None of the first arm, and of
        fewer than two seeds.
        """
        first, own = self.arms[0].by_seed(self.metric), arm.by_seed(self.metric)
        both = [seed for seed in own if seed in first]
        if arm is self.arms[0] or len(both) < 2:
            return None
        return Spread.of([own[seed] - first[seed] for seed in both])

    @property
    def indifferent(self) -> bool:
        """Whether what varies changed nothing: every arm has the very numbers of the first."""
        known = [arm.by_seed(self.metric) for arm in self.arms if arm.trials]
        return len(known) > 1 and all(own == known[0] for own in known)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metric, and those that belong beside it."""
        stage, slash, name = self.metric.rpartition("/")
        beside = (f"{stage}{slash}{other}" for other in _BESIDE if name == "J&F")
        logged = {one for arm in self.arms for trial in arm.trials for one in trial.metrics}
        return (self.metric, *(one for one in beside if one in logged))

    @property
    def needs_evictions(self) -> bool:
        """Whether an arm whose memory never filled says nothing."""
        if self.paper is not None:
            return self.paper.needs_evictions
        return any(name.rpartition(".")[2] in _BINDING for name in self.varied)

    def informative(self, arm: Arm) -> bool:
        """Whether an arm says something of what the study asks; so it seems if it is not known."""
        return not (self.needs_evictions and arm.filled is False)

    def parameter(self, name: str) -> str:
        """The dotted name of a parameter that varies, found by the end of it.

        Raises:
            ValueError: if none is called so.
        """
        names = parameter_names(self.varied)
        for dotted, told in names.items():
            if name in (dotted, told):
                return dotted
        known = ", ".join(names.values()) or "none"
        raise ValueError(f"no parameter {name!r} varies in {self.name}; there are: {known}")

    def choice(self, arm: Arm, without: str | None = None) -> str:
        """The parameters of an arm in words, one of them left out if it is given."""
        names = parameter_names(self.varied)
        return ", ".join(
            f"{told} = {label(arm.parameters.get(name))}"
            for name, told in names.items()
            if name != without
        )

    @property
    def unmatched(self) -> tuple[Published, ...]:
        """Published numbers that no arm repeats."""
        ours = {number for arm in self.arms for number in map(_key, arm.published)}
        numbers = () if self.paper is None else self.paper.numbers
        return tuple(number for number in numbers if _key(number) not in ours)


def studies(results: Iterable[Results], name: str | None = None) -> list[Study]:
    """Bring the trials of sweeps together, sweeps of one name as one study.

    Args:
        results: of sweeps.
        name: of the published study that they are set beside, whatever they are called; None for
            the one that is called as they are.

    Raises:
        InputError: if no study of that name is published; nothing has finished; a trial stands in
            two sweeps; or sweeps of one study are compared by different metrics.
    """
    if name is not None and name not in published():
        known = ", ".join(published())
        raise InputError(f"--study {name}: no such study is published; there are: {known}")
    groups: dict[str, list[Results]] = {}
    for one in results:
        groups.setdefault(name or one.name, []).append(one)
    return [_study(called, group) for called, group in groups.items()]


def of_paper(found: Iterable[Study], table: str) -> Study:
    """The study that repeats a table of a paper.

    Args:
        found: all studies; of several for one table, one at full size goes before a small one.
        table: name of the published study, system/study.

    Returns:
        That study; one without arms if there is none, so that the paper's numbers stand alone.

    Raises:
        InputError: if no such study is published.
    """
    known = published().get(table)
    if known is None:
        raise InputError(
            f"{table}: no such study is published; there are: {', '.join(published())}"
        )
    ours = [study for study in found if study.paper is known]
    ours.sort(key=lambda study: study.name != table)
    return ours[0] if ours else Study(table, (), _METRICS[0], (), known)


def bare(metric: str) -> str:
    """A metric without the stage that it was logged in."""
    return metric.rpartition("/")[2]


def label(value: Any) -> str:
    """A parameter's value in few words: a class by its name, a path by that of its file."""
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        name = value["class_path"].rpartition(".")[2]
        inner = value.get("init_args")
        told = ", ".join(f"{key}={label(one)}" for key, one in (inner or {}).items())
        return f"{name}({told})" if told else name
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {label(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(label, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value)


def parameter_names(names: Sequence[str]) -> dict[str, str]:
    """Each dotted name by as few of its last parts as tell it from the others."""
    parts = {name: short(name).split(".") for name in names}
    told = {}
    for name, own in parts.items():
        for count in range(1, len(own) + 1):
            shortest = own[-count:]
            if sum(other[-count:] == shortest for other in parts.values()) == 1:
                break
        told[name] = ".".join(shortest)
    return told


def _study(name: str, group: Sequence[Results]) -> Study:
    sources = tuple(one.source for one in group)
    metric = _metric(name, group)
    paper = study_of(name)
    numbers = () if paper is None else paper.numbers
    arms: dict[str, Mapping[str, Any]] = {}
    for parameters in (p for one in group for p in one.arms):
        arms.setdefault(_canonical(parameters), parameters)
    finished: dict[str, dict[str, tuple[str, Trial]]] = {}
    failed: dict[str, list[Trial]] = {}
    for one in group:
        for trial in one.trials:
            own = {key: value for key, value in trial.parameters.items() if key != SEED}
            arm = _canonical(own)
            arms.setdefault(arm, own)
            if trial.error is not None:
                failed.setdefault(arm, []).append(trial)
                continue
            seeds = finished.setdefault(arm, {})
            seed = _canonical(trial.parameters.get(SEED))
            if seed in seeds:
                raise InputError(
                    f"{one.source}: trial {trial.id} stands in {seeds[seed][0]} too, with the same "
                    "parameters and seed; give one of them"
                )
            seeds[seed] = (one.source, trial)
    if not finished:
        raise InputError(f"{', '.join(sources)}: no trial has finished; run vosfm sweep again")
    return Study(
        name,
        sources,
        metric,
        tuple(
            Arm(
                parameters,
                tuple(trial for _, trial in finished.get(key, {}).values()),
                tuple(failed.get(key, ())),
                tuple(number for number in numbers if number.matches(parameters)),
            )
            for key, parameters in arms.items()
        ),
        paper,
    )


def _metric(name: str, group: Sequence[Results]) -> str:
    told = {one.metric for one in group if one.metric is not None}
    if len(told) > 1:
        raise InputError(
            f"{name}: its sweeps are compared by different metrics, {', '.join(sorted(told))}; "
            "report them one by one"
        )
    logged = {metric for one in group for trial in one.trials for metric in trial.metrics}
    for metric in (*told, *_METRICS):
        if metric in logged or told:
            return metric
    sources = ", ".join(one.source for one in group)
    raise InputError(
        f"{sources}: sweep.yaml names no metric, and J&F was not logged; put the sweep file there"
    )


def _canonical(value: Any) -> str:
    """The same for the same value; whole numbers are what they are, however they were written."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _key(number: Published) -> tuple[str, str, str]:
    return number.arm, number.benchmark, number.metric
