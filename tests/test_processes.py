"""Work in several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from vosfm.processes import each

WORK = """
import time
from vosfm.processes import each
if __name__ == "__main__":
    list(each(time.sleep, [600, 600], 2, "vosfm.errors"))
"""


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    own = [int(child) for child in path.read_text().split()] if path.is_file() else []
    return own + [below for child in own for below in children(child)]


def living(pids: list[int]) -> list[int]:
    states = {pid: Path(f"/proc/{pid}/stat") for pid in pids}
    return [pid for pid, file in states.items() if file.is_file() and ") Z" not in file.read_text()]


def test_answers_come_in_the_order_of_the_items() -> None:
    words = ["one", "two", "three"]
    assert list(each(len, words, 1, "vosfm.errors")) == [3, 3, 5]
    assert list(each(len, words, 2, "vosfm.errors")) == [3, 3, 5]


def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(WORK)
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    below: list[int] = []
    deadline = time.monotonic() + 60
    while len(below) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
        below = children(process.pid)
    assert len(below) == 4, "two workers, their server and the tracker of resources"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while living(below) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not living(below)
