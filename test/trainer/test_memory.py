from __future__ import annotations

import subprocess
import sys

import pytest

from espnet_topdown.trainer.fast import memory

SIZE = 40 << 20  # bytes; by itself glibc gives blocks of over 32 MiB back
# In a process of its own: the setting is for a whole process, and where malloc has once
# failed (a truncated checkpoint asks for too much) glibc leaves the heap that it keeps.
FAULTS = f"""
import resource
import sys

import torch

from espnet_topdown.trainer.fast import memory

if sys.argv[1] == "keep" and not memory.keep_memory():
    sys.exit(3)
for blocks in (50, 10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        torch.ones({SIZE}, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*words: str) -> int:
    """Pages, huge or not, that ten blocks fetch after fifty have settled."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *words], stdout=subprocess.PIPE, text=True
    )
    if done.returncode == 3:
        pytest.skip("another C library")
    assert done.returncode == 0
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_a_large_block_is_not_fetched_again():
    assert faults("keep") * 10 < faults("give")


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_memory()
