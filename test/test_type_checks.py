"""ESPnet's functions are not rewritten in our processes, and are in its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ASK = """
import sys
{first}
from typeguard import typechecked
@typechecked
def f(x: int) -> int:
    return x
@typechecked(forward_ref_policy=None)
def g(x: int) -> int:
    return x
try:
    print(f("text"), g("text"))
except Exception as e:
    print(type(e).__name__)
"""


@pytest.mark.parametrize(
    "first, said",
    [
        ("", "TypeCheckError"),
        ("import espnet_topdown.trainer", "text text"),
    ],
)
def test_type_checks_are_left_out_where_espnet_is_ours(first, said, tmp_path):
    pytest.importorskip("typeguard")
    script = tmp_path / "ask.py"  # typeguard needs the source
    script.write_text(ASK.format(first=first))
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == said, done.stderr
