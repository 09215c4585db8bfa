from __future__ import annotations

from espnet_topdown.scoring.record import hypothesis_digest, record
from espnet_topdown.scoring.units import characters, words


def test_record() -> None:
    ref, hyp = {"a": "X Y", "b": "Z"}, {"a": "X", "b": "Z W"}
    got = record(ref, hyp, {"cer": characters, "wer": words})
    assert got["utts"] == 2
    assert got["wer"] == dict(zip(KEYS, (3, 2, 0, 1, 1, 2)))
    assert got["cer"] == dict(zip(KEYS, (4, 2, 0, 2, 2, 2)))
    assert got["hyp_sha256"] == hypothesis_digest(hyp)


KEYS = ("ref", "corr", "sub", "del", "ins", "err_utts")


def test_the_digest_sees_every_character_and_no_order() -> None:
    digest = hypothesis_digest({"a": "X", "b": "Y"})
    assert digest == hypothesis_digest({"b": "Y", "a": "X"})
    assert digest == "baaeee5d185ccb2480c1954c12b1fbc1979192eb4bc74061609dadb8588475dc"
    assert digest != hypothesis_digest({"a": "X", "b": "y"})
    assert digest != hypothesis_digest({"a": "X", "c": "Y"})
