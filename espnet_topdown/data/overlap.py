"""Are the sets different? The search chooses models by the validation set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.data.wav_io import Source, audio_path
from espnet_topdown.errors import DATA, TopDownError


def audio_digests(wav_scp: Path, root: Path = Path(".")) -> dict[str, str]:
    """Digest of each file -> an utterance that names it; commands are left out."""
    digests = {}
    for utt, value in read_pairs(wav_scp).items():
        source = Source(utt, value, f"utt {utt} ({wav_scp})")
        if not source.is_pipe:
            data = audio_path(source, root).read_bytes()
            digests[hashlib.sha256(data).hexdigest()] = utt
    return digests


def check_overlap(
    sets: Sequence[Path], audio: bool = True, speakers: bool = False
) -> None:
    """E_OVERLAP when two data directories share utterances, audio or speakers.

    Speakers are only compared when asked: a corpus of one speaker is a fair corpus.
    """
    ids = {p: dict.fromkeys(read_pairs(Path(p) / "wav.scp"), "") for p in sets}
    _compare(ids, "utterances")
    if speakers:
        _compare({p: _speakers(Path(p)) for p in sets}, "speakers")
    if audio:
        digests = {p: audio_digests(Path(p) / "wav.scp") for p in sets}
        _compare(digests, "recordings")


def _speakers(folder: Path) -> dict[str, str]:
    return dict.fromkeys(read_pairs(folder / "utt2spk").values(), "")


def _compare(sets: Mapping[Path, Mapping[str, str]], what: str) -> None:
    folders = list(sets)
    for i, a in enumerate(folders):
        for b in folders[i + 1 :]:
            both = sets[a].keys() & sets[b].keys()
            if both:
                names = sorted(sets[a][key] or key for key in both)[:3]
                raise TopDownError(
                    "E_OVERLAP",
                    f"{len(both)} {what} in both {a} and {b} ({', '.join(names)})",
                    "split the data again, or give --allow_overlap true",
                    DATA,
                )
