"""What schedulers say, and what a job that we run in has put into our environment."""

from __future__ import annotations

import pytest

from espnet_topdown.cmd._scheduler import kind_of, option_of, without_job
from espnet_topdown.cmd.sge import GridEngine
from espnet_topdown.cmd.slurm import Slurm
from espnet_topdown.errors import TopDownError

FAILED = "sbatch: error: Batch job submission failed: "
POLICY = FAILED + "Job violates accounting/QOS policy (job submit limit, user's size "
POLICY += "and/or time limits)"  # what Slurm says of everything; a line above says why
SRC = "sbatch: fatal: Could not establish a configuration source"
NOT_RUN = "Unable to run job: "


@pytest.mark.parametrize(
    "kind, option, said",
    [
        # the request is wrong, and stays so
        ("wrong", "", FAILED + "Invalid qos specification"),
        ("wrong", "--gpu", FAILED + "Invalid generic resource (gres) specification"),
        ("wrong", "--time", FAILED + "Requested time limit is invalid (missing or e"),
        ("wrong", "--mem", FAILED + "Memory specification can not be satisfied"),
        ("wrong", "--num_threads", FAILED + "CPU count per node can not be satisfied"),
        ("wrong", "", FAILED + "Requested node configuration is not available"),
        ("wrong", "", FAILED + "Access/permission denied"),
        ("wrong", "", "sbatch: unrecognized option '--mme'"),
        ("wrong", "", NOT_RUN + "Job was rejected because job requests unknown queue"),
        ("wrong", "--gpu", NOT_RUN + 'unknown resource "gpu".'),
        ("wrong", "", NOT_RUN + "denied: host vm is no submit host"),
        ("wrong", "--time", "sbatch: error: QOSMaxWallDurationPerJobLimit " + POLICY),
        ("wrong", "--num_threads", "sbatch: error: QOSMaxCpuPerJobLimit " + POLICY),
        ("wrong", "--mem", "sbatch: error: AssocMaxMemPerJob " + POLICY),
        ("wrong", "--gpu", "sbatch: error: QOSMinGRES " + POLICY),
        # there is no room for it now
        ("full", "", POLICY),
        ("full", "", "sbatch: error: AssocGrpSubmitJobsLimit " + POLICY),
        ("full", "", "sbatch: error: QOSMaxJobsPerUserLimit"),
        ("full", "", "sbatch: error: Slurm job queue full, sleeping and retrying"),
        ("full", "", FAILED + "System submissions disabled"),
        ("full", "", FAILED + "Job violates accounting policy (AssocMaxSubmitJobs)"),
        ("full", "", FAILED + "QOSMaxSubmitJobPerUserLimit"),
        ("full", "", FAILED + "Required partition not available (inactive or drain)"),
        ("full", "", "sbatch: error: Slurm temporarily unable to accept job, sleeping"),
        ("full", "", NOT_RUN + "job rejected: only 10 jobs are allowed per user (cur"),
        # nobody answers
        ("away", "", FAILED + "Unexpected message received"),
        ("away", "", FAILED + "Unable to contact slurm controller (connect failure)"),
        ("away", "", FAILED + "Zero Bytes were transmitted or received"),
        ("away", "", FAILED + "Protocol authentication error"),
        ("away", "", FAILED + "Slurm backup controller in standby mode"),
        ("away", "", "scancel: error: Kill job error on job id 5: Connection refused"),
        ("away", "", "error: commlib error: got select error (Connection refused)"),
        ("away", "", FAILED + "Message send failure"),
        ("away", "", FAILED + "Unable to connect to database"),
        ("away", "", FAILED + "I/O error writing script/environment to file"),
        ("away", "", "sbatch: error: res_nsearch error: Unknown host " + SRC),
        ("away", "", 'error: cannot get connection to "qmaster"'),
        ("away", "", "error: unable to send message to qmaster using port 6444"),
        ("away", "", "squeue did not answer in 120 s"),
        # a site's own words
        ("unknown", "", FAILED + "Please name your project with -A, see the wiki"),
    ],
)
def test_what_a_refusal_means(kind: str, option: str, said: str) -> None:
    assert (kind_of(said), option_of(said) if kind == "wrong" else "") == (kind, option)


SITE = {
    "PATH": "/bin",
    "SLURM_CONF": "/etc/slurm.conf",
    "SLURM_CLUSTERS": "big",
    "SBATCH_ACCOUNT": "speech",
    "SGE_ROOT": "/opt/sge",
    "SGE_CELL": "default",
    "OMP_NUM_THREADS": "4",
    "JOBS": "8",
    "QUEUES": "mine",
}


OF_A_JOB = """
    SLURM_JOB_ID SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID SLURM_RESTART_COUNT
    SLURM_MEM_PER_CPU SLURM_CPU_BIND SLURM_PROCID SLURMD_NODENAME
    SBATCH_ARRAY_INX SBATCH_WAIT SBATCH_CPU_BIND
    JOB_ID JOB_NAME SGE_TASK_ID SGE_TASK_FIRST SGE_O_HOME NSLOTS PE PE_HOSTFILE QUEUE
    RESTARTED ENVIRONMENT PBS_JOBID LSB_JOBID LS_JOBPID
    PMI_RANK PMI_FD PMIX_RANK OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE MPIRUN_RANK
    MV2_COMM_WORLD_RANK PALS_RANKID PALS_LOCAL_RANKID ALPS_APP_PE FLUX_TASK_RANK
    FLUX_JOB_ID RANK WORLD_SIZE MASTER_ADDR MASTER_PORT GROUP_WORLD_SIZE ROLE_RANK
    TORCHELASTIC_RUN_ID
""".split()


@pytest.mark.parametrize(
    "job",
    [
        *({name: "1"} for name in OF_A_JOB),
        {"SLURM_JOB_ID": "106", "CUDA_VISIBLE_DEVICES": "3", "GPU_DEVICE_ORDINAL": "3"},
        {"PBS_JOBID": "5.n", "CUDA_VISIBLE_DEVICES": "3"},
        {"LSB_JOBID": "5", "CUDA_VISIBLE_DEVICES": "3"},
        {"JOB_ID": "5", "TMPDIR": "/tmp/5.7.all.q", "TMP": "/tmp/5.7.all.q"},
        {"SLURM_JOB_ID": "106", "TMPDIR": "/scratch/slurm.106"},
    ],
    ids=" ".join,
)
def test_what_of_an_outer_job_does_not_reach_ours(job: dict[str, str]) -> None:
    assert without_job({**SITE, **job}) == SITE


def test_a_choice_of_gpus_outside_of_a_job_is_the_users() -> None:
    """And that of a folder everywhere, if it is not the job's own."""
    chosen = {**SITE, "CUDA_VISIBLE_DEVICES": "1", "TMPDIR": "/scratch/1067"}
    assert without_job(chosen) == chosen
    folder = {**SITE, "TMPDIR": "/scratch/1067"}
    assert without_job({**folder, "SLURM_JOB_ID": "106"}) == folder


@pytest.mark.parametrize(
    "backend, output, job",
    [
        (Slurm, "12\n", "12"),
        (Slurm, "Welcome\n12;cluster\n", "12;cluster"),
        (Slurm, "sbatch: error: x\n", None),
        (GridEngine, "12\n", "12"),
        (GridEngine, "12.1-3:1\n", "12"),
        (GridEngine, "Your job was not submitted\n", None),
        (GridEngine, "", None),
    ],
)
def test_the_id_of_a_job(backend, output, job):
    if job is not None:
        assert backend().job_of(output) == job
        return
    with pytest.raises(TopDownError, match="E_CLUSTER_SUBMIT.* printed no job id"):
        backend().job_of(output)
