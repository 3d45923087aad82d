"""The engine Ray: the same bytes as in this process, bounded, and its errors in one line."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from filmed import save_davis_scenes
from scenes import contents

from vosfm.cli import main
from vosfm.collect import engines
from vosfm.collect.engines import Processes, Ray
from vosfm.errors import InputError


class FakeRay:
    """Ray as far as the engine asks it; a task is done as soon as somebody waits for it."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            def __init__(self, cause: Exception) -> None:
                self.cause = cause

    def __init__(self, cpus: int) -> None:
        self.cpus = cpus
        self.flying = self.most = 0
        self.dead: set[Any] = set()

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cpus)}

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **options: Any) -> Any:
        return lambda call: type("Task", (), {"remote": staticmethod(partial(self.begin, call))})

    def begin(self, call: Any, function: Any, item: Any) -> Any:
        self.flying += 1
        self.most = max(self.most, self.flying)
        return partial(self.end, call, function, item)

    def end(self, call: Any, function: Any, item: Any) -> Any:
        if item in self.dead:
            raise self.exceptions.RayError
        try:
            return call(function, item)
        except InputError as error:
            raise self.exceptions.RayTaskError(error) from None

    def wait(self, tasks: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        self.flying -= 1
        return tasks[-1:], tasks[:-1]

    def get(self, task: Any) -> Any:
        return task()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    ray = FakeRay(cpus=2)
    monkeypatch.setattr(engines.importlib, "import_module", lambda name: ray)
    return ray


def lost(item: int, reason: str) -> str:
    return f"{item}: {reason}"


def test_every_job_is_done_once_and_few_are_in_flight(fake: FakeRay) -> None:
    fake.dead = {7}
    with Ray() as engine:
        answers = list(engine.each(str, range(20), lost))
    assert sorted(answers) == sorted(
        "7: RayError: its process died" if n == 7 else str(n) for n in range(20)
    )
    assert fake.most == 4
    with Ray(workers=3) as engine:
        assert len(list(engine.each(str, range(20), lost))) == 20
    assert fake.most == 4


def test_errors_of_a_task_end_the_run(fake: FakeRay) -> None:
    def refuse(item: int) -> str:
        raise InputError(f"no weights for {item}")

    with Ray() as engine, pytest.raises(InputError, match=r"^no weights for 0$"):
        list(engine.each(refuse, [0], lost))
    fake.cpus = 0
    with Ray() as engine, pytest.raises(InputError, match="cluster has no CPU"):
        list(engine.each(str, [0], lost))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(engines.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'vosfm\[ray\]'"):
        Ray()


def test_processes_tell_answers_in_order() -> None:
    with Processes() as engine:
        assert list(engine.each(str, range(3), lost)) == ["0", "1", "2"]
    with pytest.raises(InputError, match="workers is 0"):
        Processes(0)


@pytest.mark.slow
def test_ray_writes_the_bytes_of_a_local_run(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    root = save_davis_scenes(tmp_path / "davis")
    given = ("collect", str(root), "--format", "davis", "--oracle", "--length", "4")
    assert main([*given, "--out", str(tmp_path / "local")]) == 0
    assert main([*given, "--out", str(tmp_path / "ray"), "--engine", "ray", "--workers", "2"]) == 0
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
