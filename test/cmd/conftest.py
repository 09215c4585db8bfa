"""A real Slurm: two nodes on this machine, started and stopped here."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import slurm_cluster
from launching import go_to


@pytest.fixture(scope="session")
def cluster():
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        cluster = slurm_cluster.Cluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def on_slurm(cluster, tmp_path, monkeypatch):
    """The current folder, with ESPnet's conf/slurm.conf."""
    go_to(tmp_path, monkeypatch, cluster.env, "slurm.conf", ask=2)
    return tmp_path
