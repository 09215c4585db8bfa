"""A scoring folder as asr.sh leaves it: ``score_cer/{ref.trn,hyp.trn,result.txt}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from espnet_topdown.data.kaldi_dir import c_sorted, read_pairs
from espnet_topdown.files import write_bytes
from espnet_topdown.scoring.result import render
from espnet_topdown.scoring.trn import write_trn
from espnet_topdown.scoring.units import check_same_utterances


def write_scores(
    folder: Path,
    ref: Mapping[str, str],
    hyp: Mapping[str, str],
    cut: Callable[[str], list[str]],
    utt2spk: Mapping[str, str],
) -> None:
    """Write the three files.

    Args:
        folder: Where to, for example ``score_cer``.
        ref: Utterance id -> text that was said.
        hyp: Utterance id -> text that was recognised; the same ids.
        cut: From a text to the tokens that are scored.
        utt2spk: Speaker of each utterance; its own id where there is none.
    """
    check_same_utterances(ref, hyp)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    utts = c_sorted(ref)
    speaker = {utt: utt2spk.get(utt, utt) for utt in utts}
    sides = [{utt: cut(side[utt]) for utt in utts} for side in (ref, hyp)]
    write_trn(folder / "ref.trn", sides[0], speaker)
    write_trn(folder / "hyp.trn", sides[1], speaker)
    text = render(str(folder / "hyp.trn"), *sides, speaker)
    write_bytes(folder / "result.txt", text.encode())


def speakers(utt2spk: Path | None, beside: Path) -> dict[str, str]:
    """``utt2spk``, or the one next to the file ``beside``, or nothing."""
    found = Path(utt2spk) if utt2spk else Path(beside).with_name("utt2spk")
    return read_pairs(found) if utt2spk or found.is_file() else {}
