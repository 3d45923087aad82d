"""A study as a table: an arm in each row, what papers published in columns of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vosfm.report.published import Published
from vosfm.report.study import Arm, Spread, Study, bare, label, parameter_names

Value = str | int | float | Spread | None
"""What stands in a cell; None for nothing."""

NOT_INFORMATIVE = "not informative"
"""The mark of an arm whose memory never filled."""

_DIGITS = {"speed": 2, "memory_gb": 2}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: of it.
        digits: behind the point.
        text: whether it holds words.
    """

    title: str
    digits: int = 1
    text: bool = False


@dataclass(frozen=True)
class Table:
    """A table, of values rather than of letters.

    Attributes:
        name: of the study.
        title: of the table.
        columns: of it.
        rows: a value for each column.
        notes: sentences below it.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    notes: tuple[str, ...] = ()

    def _repr_markdown_(self) -> str:
        """How notebooks show it."""
        from vosfm.report.rendering import markdown

        return markdown(self)

    def column(self, title: str) -> tuple[Value, ...]:
        """The values of a column.

        Raises:
            ValueError: if there is none of this title.
        """
        index = [column.title for column in self.columns].index(title)
        return tuple(row[index] for row in self.rows)


def shown(value: Value, column: Column) -> str:
    """A cell as it is read; nothing as an empty one."""
    if value is None:
        return ""
    if isinstance(value, Spread):
        mean = f"{value.mean:.{column.digits}f}"
        if value.deviation is None:
            return mean
        return f"{mean} ± {value.deviation:.{column.digits}f}"
    return f"{value:.{column.digits}f}" if isinstance(value, float) else str(value)


def tabulate(study: Study) -> Table:
    """Lay out a study: a row for each arm, then one for each that only the paper has.

    Args:
        study: of one or more sweeps.

    Returns:
        Parameters that vary; metrics as mean and deviation over seeds, scores in percent; the gain
        over the first arm; the number of seeds, evictions, speed and memory; the mark of an arm
        whose memory never filled; and the paper's numbers, in columns marked so.
    """
    makers = _columns(study)
    rows = [tuple(make(arm) for _, make in makers) for arm in study.arms]
    columns = [column for column, _ in makers]
    theirs = _published_columns(study)
    rows = [
        (*row, *(_theirs(arm.published, one) for one in theirs))
        for row, arm in zip(rows, study.arms, strict=True)
    ]
    for name in dict.fromkeys(number.arm for number in study.unmatched):
        of = tuple(number for number in study.unmatched if number.arm == name)
        blank: list[Value] = [None] * len(columns)
        blank[0] = name
        rows.append((*blank, *(_theirs(of, one) for one in theirs)))
    columns += [
        Column(f"{metric}, published, {benchmark}", _DIGITS.get(metric, 1))
        for metric, benchmark in theirs
    ]
    kept = [i for i, column in enumerate(columns) if _kept(column, [row[i] for row in rows])]
    return Table(
        study.name,
        study.title,
        tuple(columns[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in rows),
        _notes(study),
    )


def pivot(study: Study, across: str, metric: str | None = None) -> Table:
    """Lay out a study of several parameters as papers do: the values of one as columns.

    Args:
        study: of one or more sweeps.
        across: the parameter that goes across, by its name or the end of it.
        metric: that is shown; None for the one that arms are compared by.

    Returns:
        A row for each choice of the other parameters; a cell whose arm says nothing is marked by a
        star.

    Raises:
        ValueError: if no parameter that varies is called so.
    """
    names = parameter_names(study.varied)
    across = study.parameter(across)
    metric = metric or study.metric
    others = [name for name in names if name != across]
    values = list(dict.fromkeys(label(arm.parameters.get(across)) for arm in study.arms))
    rows: dict[tuple[str, ...], dict[str, Value]] = {}
    column = Column(metric)
    for arm in study.arms:
        key = tuple(label(arm.parameters.get(name)) for name in others)
        told = shown(arm.spread(metric), column)
        star = "" if study.informative(arm) or not told else " *"
        rows.setdefault(key, {})[label(arm.parameters.get(across))] = f"{told}{star}"
    notes = [f"{bare(metric)}: mean ± standard deviation over {_seeds(study)}."]
    if any(not study.informative(arm) for arm in study.arms):
        notes.append(f"* {NOT_INFORMATIVE}: the memory never filled.")
    return Table(
        study.name,
        f"{study.title}; {bare(metric)}",
        (
            *(Column(names[name], text=True) for name in others),
            *(Column(f"{names[across]} = {value}") for value in values),
        ),
        tuple((*key, *(cells.get(value) for value in values)) for key, cells in rows.items()),
        tuple(notes),
    )


Maker = Callable[[Arm], Value]


def _columns(study: Study) -> list[tuple[Column, Maker]]:
    """What is known of our arms; the first column is also where an arm of the paper is named."""

    def parameter(name: str) -> Maker:
        return lambda arm: label(arm.parameters[name]) if name in arm.parameters else None

    def measured(metric: str) -> Maker:
        return lambda arm: arm.spread(metric)

    def evictions(arm: Arm) -> Value:
        if arm.evictions is None:
            return None
        least, most = min(arm.evictions), max(arm.evictions)
        return least if least == most else f"{least}–{most}"

    def mark(arm: Arm) -> Value:
        if not arm.trials:
            return "no trial finished" if arm.failed else "not run"
        return None if study.informative(arm) else NOT_INFORMATIVE

    names = parameter_names(study.varied)
    return [
        (Column("arm", text=True), lambda arm: arm.name or None),
        *((Column(names[name], text=True), parameter(name)) for name in study.varied),
        *((Column(bare(metric)), measured(metric)) for metric in study.metrics),
        (Column(f"{bare(study.metric)}, gain"), study.gain),
        (Column("seeds", 0), lambda arm: len(arm.trials)),
        (Column("failed", 0), lambda arm: len(arm.failed)),
        (Column("evictions", 0), evictions),
        (Column("", text=True), mark),
        (Column("fps"), lambda arm: arm.fps),
        (Column("memory MiB", 0), lambda arm: arm.memory_mib),
    ]


def _kept(column: Column, values: list[Any]) -> bool:
    """Whether a column says something."""
    if column.title == "failed":
        return any(values)
    return any(value is not None for value in values)


def _published_columns(study: Study) -> list[tuple[str, str]]:
    numbers = () if study.paper is None else study.paper.numbers
    return list(dict.fromkeys((number.metric, number.benchmark) for number in numbers))


def _theirs(numbers: tuple[Published, ...], column: tuple[str, str]) -> Value:
    return next((n.value for n in numbers if (n.metric, n.benchmark) == column), None)


def _seeds(study: Study) -> str:
    counts = sorted({len(arm.trials) for arm in study.arms if arm.trials})
    told = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{told} seed{'' if counts == [1] else 's'}"


def _notes(study: Study) -> tuple[str, ...]:
    notes = ["None of its arms was run here."]
    if any(arm.trials for arm in study.arms):
        notes = [
            f"Ours: {study.metric}, mean ± standard deviation over {_seeds(study)}; scores in "
            "percent."
        ]
    if any(study.gain(arm) for arm in study.arms):
        notes.append("Gain: over the first arm, seed by seed, mean ± standard deviation.")
    if any(arm.evictions is not None for arm in study.arms):
        notes.append("Evictions: frames that the memory gave up, in a run over all its videos.")
    if any(not study.informative(arm) for arm in study.arms):
        notes.append(f"Marked {NOT_INFORMATIVE}: the memory never filled, nothing was chosen.")
    if study.indifferent:
        notes.append("What varies changed nothing here, so that nothing is shown by it.")
    if study.paper is not None and study.paper.numbers:
        notes.append(
            f"Published: {study.paper.source}; on other data after far more training: compare the "
            "order of its arms, not their height."
        )
    elif study.paper is not None:
        notes.append(f"The numbers of {study.paper.source} have not been entered.")
    failures = [trial for arm in study.arms for trial in arm.failed]
    if failures:
        notes.append(f"{len(failures)} failed, the first one: {failures[0].error}")
    return tuple(notes)
