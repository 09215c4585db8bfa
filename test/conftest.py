"""Small ESPnet experiments and a launcher that only pretends to train."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests share the cores

import pytest
from toys import toys_pass, write_joint

# Under nohup, or in the background of a script, signals are ignored, and so they would
# be by every process that a test starts and then interrupts.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared" / "data"
FAKE_JOB = REPO / "test" / "fixtures" / "fake_job.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts a real cluster is for the night."""
    for item in items:
        if {"cluster", "cell"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("nightly")


@pytest.fixture(autouse=True)
def toys_may_be_searched() -> Iterator[None]:
    """See ``toys_pass``."""
    with toys_pass():
        yield


@pytest.fixture(autouse=True)
def threads_stay() -> Iterator[None]:
    """A fork of a process that had two threads hangs, and sums are in another order."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and (left := torch.get_num_threads()) != 1:
        torch.set_num_threads(1)
        pytest.fail(f"the test leaves {left} threads to those after it")


@pytest.fixture
def toy_experiment(tmp_path, monkeypatch) -> Path:
    """A finished joint training of three layers: softmax, blstm1, blstm0."""
    monkeypatch.chdir(tmp_path)
    return write_joint()


@pytest.fixture
def fake_cmd(monkeypatch, tmp_path) -> str:
    """A launcher that writes what a job would write; see fixtures/fake_job.py."""
    monkeypatch.setenv("FAKE_DIR", str(tmp_path))
    return f"{sys.executable} {FAKE_JOB}"


@pytest.fixture
def search(toy_experiment, fake_cmd, tmp_path) -> Callable:
    """Run a search with the errors given; returns its result and what was trained."""
    from espnet_topdown.search.driver import run_search
    from espnet_topdown.search.request import SearchRequest

    out = Path("exp/search")

    def run(errors: dict, **options: object) -> tuple[dict, list[str]]:
        (tmp_path / "errors.json").write_text(json.dumps({"root": "m3", **errors}))
        (tmp_path / "calls").write_text("")
        base = options.pop("base_exp", toy_experiment)
        cmd = options.pop("cmd", fake_cmd)
        request = SearchRequest(base, out, cmd=cmd, **options)
        result = run_search(request)
        return result, (tmp_path / "calls").read_text().split("\n")[:-1]

    return run


@pytest.fixture(scope="session")
def shared() -> Path:
    """Genuine data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared/data with genuine experiments is not here")
    return SHARED
