"""``espnet-topdown decode``: which models of which folder, and where they write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from espnet_topdown.bin.main import main
from espnet_topdown.report import write
from espnet_topdown.scoring import decode

GOLDEN = Path(__file__).parents[1] / "golden" / "finished"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A finished search in the current folder; gets what is decoded."""
    shutil.copytree(GOLDEN, tmp_path / "exp", symlinks=True)
    monkeypatch.chdir(tmp_path)
    calls = []

    def decode_models(models, data, **options):
        calls.append((str(data), {str(k): v for k, v in models.items()}))
        counts = {"ref": 10, "corr": 9, "sub": 1, "del": 0, "ins": 0}
        return {folder: {"cer": counts, "wer": counts} for folder in models}

    monkeypatch.setattr(decode, "decode_models", decode_models)
    monkeypatch.setattr(write, "write_report", lambda folder: calls.append(folder))
    monkeypatch.setattr("espnet_topdown.cli.installation.check", lambda: None)
    return calls


def test_the_models_of_a_search(asked, capsys):
    main(["decode", "exp/search", "--data", "dump/raw/test", "dump/raw/org/dev"])
    (test, models), (dev, _), report = asked
    assert (test, dev, report) == (
        "dump/raw/test",
        "dump/raw/org/dev",
        Path("exp/search"),
    )
    base, *others = models.items()
    assert base[0] == "exp/search/m3/decode_ctc_greedy/test"
    assert base[1][0] == Path("exp/joint")
    names = {Path(place).parts[2]: exp for place, (exp, _) in others}
    best = Path("exp/search/best").resolve().name
    assert best in names and all(e == Path("exp/search", n) for n, e in names.items())
    assert {n for n in names if n != best} == {"control.joint", "control.warm"}
    out = capsys.readouterr().out
    assert "m3 test: CER 10.0 % (1 errors of 10)" in out and "m3 org/dev: " in out
    assert "exp/search/report.html" in out


def test_an_experiment(asked, capsys):
    main(["decode", "exp/joint", "--data", "dump/raw/test", "--model_file", "1"])
    place = "exp/joint/decode_ctc_greedy/test"
    assert asked == [("dump/raw/test", {place: (Path("exp/joint"), "1")})]
    assert capsys.readouterr().out.startswith("test: CER")


@pytest.mark.parametrize(
    "words", [[], ["--wav_scp", "a"], ["--data", "a", "--wav_scp"]]
)
def test_which_set(asked, capsys, words):
    with pytest.raises(SystemExit) as e:
        main(["decode", "exp/search", *words])
    assert e.value.code == 64 and asked == []
