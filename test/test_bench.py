"""bench/harness.py runs each of its works, and stops where results differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from launching import survivors, wait_until

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import gpu  # noqa: E402
import harness  # noqa: E402


@pytest.fixture
def full_search(tmp_path) -> Path:
    """Three layers, epochs and errors made up; greedy stops after its second step."""
    trained = {"m3": (9, 50), "m1.2": (3, 48), "m2.1": (4, 40), "m1.1.1": (2, 49)}
    for name, (epochs, errors) in trained.items():
        (tmp_path / name).mkdir()
        counts = {"ref": 100, "corr": 100 - errors, "sub": errors, "del": 0, "ins": 0}
        (tmp_path / name / "score.json").write_text(json.dumps({"cer": counts}))
        lines = [json.dumps({"epoch": e + 1, "seconds": 1}) for e in range(epochs)]
        (tmp_path / name / "curve.jsonl").write_text("\n".join(lines) + "\n")
    layers = "layers: [a, b, c]\nmax_frozen: 2\ncriterion: cer\n"
    (tmp_path / "search.yaml").write_text(layers)
    return tmp_path


@pytest.mark.espnet
@pytest.mark.nightly
def test_every_work_runs(full_search):
    """A process of its own: the harness changes how it treats memory."""
    out = full_search / "out.json"
    call = [sys.executable, BENCH / "harness.py", "--size", "tiny", "--threads", "1"]
    call += ["--folder", full_search, "--json", out]
    done = subprocess.run(call, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    lacking = set(harness.WORKS) - set(found)
    assert lacking <= {"score"} and all("sclite" in done.stdout for _ in lacking)
    assert all(figures["ratio"] > 0 for figures in found.values())
    replayed = found["search_replay"]
    assert (replayed["stock"], replayed["ours"], replayed["ratio"]) == (9, 5, 1.8)


def test_results_that_differ_end_the_run(monkeypatch, tmp_path):
    (tmp_path / "made_up.py").write_text(
        "from harness import Pair\n"
        "def check(a, b):\n    assert a == b, 'differ'\n"
        "def pairs(ours):\n    yield Pair(lambda: 1, lambda: ours, check)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    works = {n: harness.Work("made_up:pairs", {}, {"ours": n}, 1, 1) for n in (1, 2)}
    assert harness.measure(works[1], "tiny", {})["ratio"] > 0
    with pytest.raises(AssertionError, match="differ"):
        harness.measure(works[2], "tiny", {})


def test_without_a_gpu_every_work_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    gpu.main(["--json", str(tmp_path / "out.json")])
    figures = json.loads((tmp_path / "out.json").read_text())
    assert all(figures[name] == {"not run": "no GPU"} for name in gpu.NAMES)
    assert capsys.readouterr().out.count("not run no GPU") == len(gpu.NAMES)


FOUND = "echo '{\"1\": 2.5}' > $0; "


@pytest.mark.parametrize(
    "script, seconds, failed",
    [
        (FOUND, 60, {}),
        (FOUND + "echo no memory; exit 1", 60, {"failed": "no memory"}),
        (FOUND + "sleep TAG & sleep 60", 10.5, {"failed": "not ready after 10 s"}),
    ],
)
def test_a_work_ends_in_its_time_and_keeps_what_it_found(
    tmp_path, script, seconds, failed
):
    tag = f"4{os.getpid()}"
    call = ["sh", "-c", script.replace("TAG", tag), tmp_path / "out.json"]
    assert gpu._call(call, tmp_path / "out.json", seconds) == {"1": 2.5, **failed}
    assert wait_until(lambda: not survivors(tag), 10)  # killed is not gone yet


@pytest.mark.espnet
@pytest.mark.nightly
@pytest.mark.timeout(1300)
def test_the_script_for_a_gpu_runs_on_a_cpu(tmp_path):
    call = [sys.executable, BENCH / "gpu.py", "--device", "cpu", "--size", "tiny"]
    call += ["--minutes", "20", "--json", tmp_path / "out.json"]
    subprocess.run(call, check=True, timeout=1200)
    figures = json.loads((tmp_path / "out.json").read_text())
    assert all(figures[name]["ratio"] > 0 for name in gpu.WORKS)
    assert all(figures["candidates"][n] > 0 for n in ("1", "2"))
    assert figures["candidates_mps"] == {"not run": "no nvidia-cuda-mps-control"}
