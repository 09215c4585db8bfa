"""Top-down training for ESPnet."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
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
    python_requires=">=3.9,<3.14",
    packages=find_packages(include=["espnet_topdown", "espnet_topdown.*"]),
    package_data={"espnet_topdown": ["**/*.yaml"]},
    install_requires=[
        "espnet>=202511",  # tasks, trainer, models: what is trained and decoded with
        "torch>=2.5",  # tensors; 2.5 is the first with torch.serialization.safe_globals
        "torchaudio",  # front ends of espnet (log-mel, SpecAugment)
        "sentencepiece",  # BPE models, trained and applied
        "kaldiio",  # Kaldi archives (espnet 202611 no longer brings it)
        "numpy",  # scoring, resampling of utterances
        "pyyaml",  # configs, layer stacks
        "soundfile",  # audio files, also plain SPHERE
        "soxr",  # resampling, speed perturbation (espnet brings it with librosa)
        "python-dateutil",  # espnet 202511 imports it without asking for it
        "editdistance",  # espnet 202611's error calculator while training
    ],
    extras_require={
        "plot": ["matplotlib"],  # figures of the report, attention plots of espnet
        "test": ["pytest", "pytest-timeout", "hypothesis", "ruff", "matplotlib"],
    },
    entry_points={"console_scripts": ["espnet-topdown = espnet_topdown.bin.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Operating System :: POSIX",
    ],
)
