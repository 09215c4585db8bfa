"""A real Slurm: two nodes on this machine, started and stopped here."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import slurm_cluster

REPOSITORY = Path(__file__).parents[2]
CONF = (REPOSITORY / "egs2/TEMPLATE/asr1/conf/slurm.conf").read_text()


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
    monkeypatch.chdir(tmp_path)
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("TOPDOWN_CLUSTER_ASK", "2")
    monkeypatch.setenv("TOPDOWN_CLUSTER_GRACE", "3")
    Path("conf").mkdir()
    Path("conf/slurm.conf").write_text(CONF)
    return tmp_path
