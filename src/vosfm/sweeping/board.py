"""What a sweep shows of its trials: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vosfm.sweeping.folder import Record
from vosfm.sweeping.trials import Trial

_SHOWN = 12  # finished trials that the table holds; those that run or failed are always in it


class Board:
    """Shows trials while they run.

    Args:
        trials: of the sweep.
        metric: that they are compared by; None for none.
        console: where to.
    """

    def __init__(self, trials: Sequence[Trial], metric: str | None, console: Console) -> None:
        self.metric = metric
        self.console = console
        self.total = len(trials)
        self._begun: dict[str, float] = {}
        self._records: dict[str, Record] = {}
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Board:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def known(self, trial: Trial, record: Record) -> None:
        """A trial that was finished before."""
        self._records[trial.id] = record

    def started(self, trial: Trial) -> None:
        """A trial runs."""
        self._begun[trial.id] = time.monotonic()
        self._say(f"running   {trial.id}")

    def ended(self, trial: Trial, record: Record) -> None:
        """A trial is finished, or failed."""
        self._begun.pop(trial.id, None)
        self._records[trial.id] = record
        done = len(self._records)
        told = record.error if record.error is not None else f"{self._score(record)}"
        self._say(f"{record.status:9} {trial.id} ({done}/{self.total}): {told}")

    def tick(self) -> None:
        """Time goes by."""
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

    def _say(self, line: str) -> None:
        if self._live is None:
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)
        else:
            self.tick()

    def _score(self, record: Record) -> str:
        metrics = (record.result or {}).get("metrics", {})
        if self.metric is None:
            return "finished"
        return f"{self.metric} {metrics.get(self.metric, float('nan')):.4g}"

    def _table(self) -> Table:
        finished = [i for i, record in self._records.items() if record.status == "finished"]
        failed = [i for i, record in self._records.items() if record.status == "failed"]
        waiting = self.total - len(self._records) - len(self._begun)
        title = f"{len(finished)} of {self.total} finished, {len(failed)} failed, {waiting} waiting"
        table = Table(title=title, title_justify="left", box=None)
        for column in ("trial", "status", "seconds", self.metric or ""):
            table.add_column(column, overflow="fold")
        for one in (*finished[-_SHOWN:], *failed):
            record = self._records[one]
            seconds = (record.result or {}).get("cost", {}).get("seconds")
            told = record.error or self._score(record).removeprefix(f"{self.metric} ")
            table.add_row(
                one, record.status, "" if seconds is None else f"{seconds:.0f}", Text(told)
            )
        for one, begin in self._begun.items():
            table.add_row(one, "running", f"{time.monotonic() - begin:.0f}", "")
        return table
