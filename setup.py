"""Top-down training for ESPnet."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# A Python is supported if there is a tested set of versions for it, and only then.
TESTED = sorted(
    int(path.stem.split(".")[-1])
    for path in (ROOT / "espnet_topdown" / "constraints").glob("python3.*.txt")
)
VERSION = {}
for line in (ROOT / "espnet_topdown" / "__init__.py").read_text().splitlines():
    if line.startswith("__version__"):
        VERSION["version"] = line.split('"')[1]

setup(
    name="espnet_topdown",
    **VERSION,
    description="Top-down training for ESPnet: train your classifier first",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=f">=3.{TESTED[0]},<3.{TESTED[-1] + 1}",
    packages=find_packages(include=["espnet_topdown", "espnet_topdown.*"]),
    package_data={
        "espnet_topdown": ["**/*.yaml", "**/*.j2", "**/*.css", "constraints/*.txt"]
    },
    install_requires=[
        "espnet>=202511",  # tasks, trainer, models: what is trained and decoded with
        "torch>=2.5",  # tensors; 2.5 is the first with torch.serialization.safe_globals
        "torchaudio",  # front ends of espnet (log-mel, SpecAugment)
        # espnet 202511 keeps torch at 2.12; this release cannot be loaded beside that
        "torchaudio!=2.11.1; python_version < '3.12'",
        "sentencepiece",  # BPE models, trained and applied
        "kaldiio",  # Kaldi archives (espnet 202611 no longer brings it)
        "numpy",  # scoring, resampling of utterances
        "scipy",  # quantiles of intervals over seeds (espnet brings it)
        "pyyaml",  # configs, layer stacks
        "jinja2",  # pages of the report (torch brings it)
        "soundfile",  # audio files, also plain SPHERE
        "soxr",  # resampling, speed perturbation (espnet brings it with librosa)
        "python-dateutil",  # espnet 202511 imports it without asking for it
        "editdistance",  # espnet 202611's error calculator while training
    ],
    extras_require={
        "plot": ["matplotlib"],  # figures of the report, attention plots of espnet
        "notebook": ["matplotlib", "pandas", "ipykernel"],  # docs/tutorial.ipynb
        "hub": ["huggingface_hub"],  # pack --hf_repo USER/NAME --yes
        "completion": ["argcomplete"],  # of commands, layers, folders in bash and zsh
        "test": [  # and what the Makefile uses
            "nbclient",  # runs the tutorial, nightly
            "ipykernel",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "matplotlib",
            "argcomplete",
            "huggingface_hub",
            "playwright",  # opens the report's pages in Debian's chromium, nightly
            "ruff",
            "mypy",
            "uv",
        ],
    },
    entry_points={"console_scripts": ["espnet-topdown = espnet_topdown.cli.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Operating System :: POSIX",
    ],
)
