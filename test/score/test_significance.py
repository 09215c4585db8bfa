from __future__ import annotations

import math
import random
import re

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.scoring.align import Counts, align, path
from espnet_topdown.scoring.significance import mapsswe, paired_bootstrap, segments
from espnet_topdown.scoring.trn import write_trn


def by_errors(errors: list[int], ref: int = 10) -> dict[str, Counts]:
    return {f"u{i}": Counts(ref, ref - e, e, 0, 0) for i, e in enumerate(errors)}


def test_bootstrap_of_the_same_system_is_zero() -> None:
    a = by_errors([1, 2, 3, 4])
    assert paired_bootstrap(a, a) == (0.0, 0.0)


def test_bootstrap_of_a_constant_difference_is_that_difference() -> None:
    a, b = by_errors([3] * 20), by_errors([1] * 20)
    assert paired_bootstrap(a, b) == pytest.approx((20.0, 20.0))
    assert paired_bootstrap(b, a) == pytest.approx((-20.0, -20.0))


def test_bootstrap_is_near_the_normal_interval() -> None:
    rng = random.Random(1)
    a = by_errors([rng.randrange(4) for _ in range(400)])
    b = by_errors([rng.randrange(5) for _ in range(400)])
    d = [10.0 * (a[u].errors - b[u].errors) for u in a]
    mean = sum(d) / 400
    half = 1.96 * math.sqrt(sum((x - mean) ** 2 for x in d) / 399 / 400)
    low, high = paired_bootstrap(a, b, n=20_000)
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_bootstrap_depends_on_its_seed_alone() -> None:
    a, b = by_errors([1, 2, 3, 0, 5]), by_errors([2, 2, 1, 1, 4])
    assert paired_bootstrap(a, b, seed=1) == paired_bootstrap(a, b, seed=1)
    shuffled = {u: a[u] for u in sorted(a, reverse=True)}
    assert paired_bootstrap(shuffled, b, seed=1) == paired_bootstrap(a, b, seed=1)
    assert paired_bootstrap(a, b, 200, seed=1) != paired_bootstrap(a, b, 200, seed=2)


def test_bootstrap_in_blocks_is_as_in_one(monkeypatch) -> None:
    a, b = by_errors([1, 2, 3, 0, 5]), by_errors([2, 2, 1, 1, 4])
    whole = paired_bootstrap(a, b, n=1000)
    monkeypatch.setattr("espnet_topdown.scoring.significance._BLOCK", 70)
    assert paired_bootstrap(a, b, n=1000) == whole


def test_systems_must_have_the_same_utterances() -> None:
    with pytest.raises(TopDownError, match="E_UTT_SETS.*system B lacks 1"):
        paired_bootstrap(by_errors([1, 2]), by_errors([1]))
    with pytest.raises(TopDownError, match="E_UTT_SETS.*system B lacks 1"):
        mapsswe({"a": ["x"]}, {"a": ["x"]}, {})
    with pytest.raises(TopDownError, match="E_UTT_SETS.*system A lacks 1"):
        mapsswe({"a": ["x"]}, {}, {"a": ["x"]})


@pytest.mark.parametrize(
    "a, b, want",
    [
        ("CCCC", "CCCC", []),
        ("SCCC", "CCCC", [1]),
        ("SCSC", "CCCC", [2]),  # one good token does not end a segment
        ("SCCSC", "CCCCC", [1, 1]),
        ("CCICC", "CCCC", [1]),  # the token after an insertion is good
        ("CCICCICC", "CCCCCC", [1, 1]),
        ("CCI", "CC", [1]),
        ("", "II", [-2]),
        ("SCCCDC", "CCCCSIC", [1, -1]),
    ],
)
def test_segments(a: str, b: str, want: list) -> None:
    assert segments(a, b) == want


@pytest.mark.parametrize("seed", range(4))
def test_equals_nists_mapsswe(sclite, sc_stats, corpus, tmp_path, seed: int) -> None:
    random = corpus(150, seed)
    other = corpus(150, seed + 100)
    a = random.hyp
    b = {u: (other.hyp[u] if i % 9 == 0 else a[u][1:]) for i, u in enumerate(a)}
    write_trn(tmp_path / "r.trn", random.ref, random.speaker)
    for name, hyp in {"a": a, "b": b}.items():
        write_trn(tmp_path / f"{name}.trn", hyp, random.speaker)
        out = ("-o", "sgml", "-O", str(tmp_path), "-n", name)
        sclite(tmp_path / "r.trn", tmp_path / f"{name}.trn", *out)
    text = sc_stats(tmp_path / "a.sgml", tmp_path / "b.sgml")
    n, z = re.search(r"# segs: (\d+)\).*Z Stat: ([-\d.]+)", text).groups()
    got = mapsswe(random.ref, a, b)
    assert got.segments == int(n) > 100
    assert f"{got.z:.3f}" == z


def test_mapsswe_by_hand() -> None:
    ref = {u: list("abcdef") for u in "uvw"}
    worse = {"u": list("xbcdef"), "v": list("xbcxef"), "w": list("abcdef")}
    got = mapsswe(ref, worse, ref)
    assert [segments(path(ref[u], worse[u]), "C" * 6) for u in "uvw"] == [
        [1],
        [1, 1],
        [],
    ]
    assert (got.segments, got.mean) == (3, 1.0)
    assert got.z == math.inf and got.p == 0.0  # all segments differ alike
    same = mapsswe(ref, worse, worse)
    assert (same.segments, same.z, same.p) == (3, 0.0, 1.0)
    assert mapsswe(ref, ref, ref).p == 1.0
    assert align("abc", "abc").errors == 0
