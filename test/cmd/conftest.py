"""Schedulers: made-up ones, and real ones that are started and stopped here."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import sge_cluster
import slurm_cluster
from launching import Place, RealPlace


def running(kind):
    """A scheduler of that kind, while its tests last."""
    with tempfile.TemporaryDirectory(prefix="sched") as folder:
        scheduler = kind(Path(folder))
        try:
            scheduler.start_all()
            yield scheduler
        finally:
            scheduler.stop()


@pytest.fixture(scope="session")
def cluster():
    yield from running(slurm_cluster.Cluster)


@pytest.fixture(scope="session")
def cell():
    yield from running(sge_cluster.Cell)


NIGHT = pytest.mark.nightly
REAL_SLURM = pytest.param("real slurm", marks=[NIGHT, slurm_cluster.needed])
REAL_SGE = pytest.param("real sge", marks=[NIGHT, sge_cluster.needed])


def place_of(request, tmp_path: Path) -> Place:
    backend = request.param.split()[-1]
    if backend == request.param:
        return Place(tmp_path, backend)
    started = request.getfixturevalue({"slurm": "cluster", "sge": "cell"}[backend])
    return RealPlace(tmp_path, backend, started)


@pytest.fixture(params=["slurm", "sge", REAL_SLURM, REAL_SGE])
def anywhere(request, tmp_path) -> Place:
    """A place to submit from to each scheduler, made up or real."""
    return place_of(request, tmp_path)


@pytest.fixture(params=["slurm", REAL_SLURM, REAL_SGE])
def requeuing(request, tmp_path) -> Place:
    """One whose scheduler runs a job again; the made-up Grid Engine does not."""
    return place_of(request, tmp_path)


@pytest.fixture(params=[REAL_SLURM, REAL_SGE])
def real(request, tmp_path) -> Place:
    """A place to submit from to each real scheduler."""
    return place_of(request, tmp_path)


@pytest.fixture
def real_slurm(cluster, tmp_path) -> Place:
    return RealPlace(tmp_path, "slurm", cluster)
