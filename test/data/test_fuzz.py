"""Damaged data folders and audio: refused by a message, never a crash.

Sizes and figures as in test/test_fuzz.py.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import SCALE, attempt, done
from mutants import mutate

pytestmark = pytest.mark.usefixtures("fuzz_log")


@pytest.fixture
def data(tmp_path, monkeypatch):
    from bad_inputs.data import sets

    monkeypatch.chdir(tmp_path)
    sets()
    return tmp_path


def test_data_folders(data):
    """A damaged list is refused, or what it says is still the same set."""
    from espnet_topdown.data.validate import validate_set
    from espnet_topdown.models.text import TextReader

    cut = TextReader.of({"token_type": "char"}, "test").tokens
    rng = random.Random(2)
    lists = [Path("train/wav.scp"), Path("train/text"), Path("tokens.txt")]
    whole = {p: p.read_bytes() for p in lists}
    for _ in range(250 * SCALE):
        path = rng.choice(lists)
        path.write_bytes(mutate(whole[path], rng))

        def check():
            tokens = Path("tokens.txt").read_bytes().decode("utf-8", "replace")
            known = tokens.split("\n")[:-1]
            return validate_set(
                *lists[:2], fs=8000, cut=cut, token_list=known, full=False
            )

        report = attempt("data folders", check, data)
        assert report is None or len(report.texts) <= 4
        path.write_bytes(whole[path])


FORMATS = {"wav": "WAV", "flac": "FLAC", "sph": "NIST"}


def test_audio_headers(data):
    """In a child process: no crash, and nothing accepted that is not finite."""
    import numpy as np
    import soundfile

    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 2000)
    for suffix, kind in FORMATS.items():
        soundfile.write(f"a.{suffix}", noise, 8000, "PCM_16", format=kind)
    code = "import fuzz_audio as c; c.main()"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran_ = subprocess.run(
        [sys.executable, "-c", code, str(300 * SCALE), *FORMATS],
        capture_output=True,
        text=True,
        env=env,
    )
    assert ran_.returncode == 0, ran_.stderr[-2000:]
    tried, refused = map(int, ran_.stdout.split())
    done["audio"], done["audio, refused"] = tried, refused
    assert tried == 3 * 300 * SCALE and refused > tried / 5
