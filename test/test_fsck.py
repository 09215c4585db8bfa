"""Every kind of damage to a finished search is found, and what can be is repaired."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from finished_search import ERRORS, make_search, run_here
from made_up_search import write_decode
from tones import tiny_config, write_corpus

from espnet_topdown.bin import asr_train
from espnet_topdown.cli._fsck import fsck, stray
from espnet_topdown.cli.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock, read_json, sha256, write_yaml
from espnet_topdown.jobs import run
from espnet_topdown.records import Journal, write_seal
from espnet_topdown.scoring.counts import summary, write_counts
from espnet_topdown.scoring.score import write_scores
from espnet_topdown.search import driver
from espnet_topdown.search.request import SearchRequest

pytestmark = pytest.mark.espnet  # it reads the option names of ESPnet's trainer
JOB = Path("exp/search/m1.2")
SCORE = JOB / "score.json"
TEST = JOB / "decode_ctc_greedy" / "test"
OF_TEST = TEST / "score.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search with a decoded test set; tests work on copies."""
    root = make_search(tmp_path_factory.mktemp("finished"))
    write_decode(root / TEST, "test", 5, 7, files=True)
    return root


@pytest.fixture
def search(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "w", symlinks=True)
    monkeypatch.chdir(tmp_path / "w")
    return Path("exp/search")


def test_nothing_is_wrong_and_nothing_is_changed(search: Path, capsys) -> None:
    def contents() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in search.rglob("*") if p.is_file()}

    before = contents()
    main(["fsck", "exp/search"])
    out = capsys.readouterr().out
    assert "nothing wrong" in out and "3 trainings" in out and "1 scores" in out
    assert contents() == before


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DIGESTED = ["search.yaml", "result.json", "m1.2/retrain.yaml", "m1.2/train.yaml"]
DIGESTED += ["m1.2/config.yaml", "m1.2/frozen.pth", "m1.2/4epoch.pth"]
DIGESTED += ["m1.2/score.json", "m1.2/.done"]
OTHERS = {"journal.jsonl": "E_JOURNAL_CORRUPT", "m1.2/checkpoint.pth": "E_"}


@pytest.mark.parametrize("name", [*DIGESTED, *OTHERS])
def test_a_flipped_bit(search: Path, name: str, capsys) -> None:
    flip(search / name)
    with pytest.raises(SystemExit) as e:
        main(["fsck", "--search_dir", str(search)])
    out, err = capsys.readouterr()
    assert e.value.code == 65 and "E_FSCK: " in err
    assert OTHERS.get(name, "E_DIGEST") in out and name.split("/")[-1] in out


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def forge(search: Path, **changes: object) -> None:
    """Write the journal anew for what the files hold now."""
    digests = {("search_done", None): {"result": sha256(search / "result.json")}}
    for folder in search.glob("*/.done"):
        digests["scored", folder.parent.name] = {"done": sha256(folder)}
    digests["scored", "m1.2"].update(changes)
    journal = Journal(search / "journal.jsonl")
    events = journal.events()
    journal.path.unlink()
    for event in events:
        old = {k: v for k, v in event.items() if k not in ("seq", "time", "chain")}
        old.update(digests.get((event["event"], event.get("node")), {}))
        journal.append(old.pop("event"), **old)


def rescore(unit: str = "cer", **counts: object) -> None:
    """Another score of m1.2, with all that refers to it written anew."""
    old = json.loads(SCORE.read_text()).get(unit, {})
    edit(SCORE, **{unit: {**old, **counts}})
    write_seal(JOB)
    forge(JOB.parent)


def seal_anew(search: Path) -> None:
    edit(SCORE, x=1)
    write_seal(JOB)


def damaged_copy(search: Path) -> None:
    """No seal names it: a control's file of weights that was not there then."""
    shutil.copy(JOB / "4epoch.pth", JOB / "9.pth")
    flip(JOB / "9.pth")


def another_text(search: Path) -> None:
    edit(OF_TEST, hyp_sha256="0" * 64)
    (TEST / "text").write_text("u1 hello\n")


def without_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def another_best(search: Path) -> None:
    edit(search / "result.json", best="m3")
    point(search / "best", "m3")
    forge(search)


def another_error(search: Path) -> None:
    nodes = json.loads((search / "result.json").read_text())["nodes"]
    nodes["m1.1.1"]["errors"] = 39
    edit(search / "result.json", nodes=nodes)
    forge(search)


def point(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def speakers(exchanged: bool) -> None:
    """A set whose ids in .trn files begin with the speaker, unlike in counts.tsv."""
    ref, hyp = {"u1": "a b", "u2": "a"}, {"u1": "a c", "u2": "a"}
    shutil.rmtree(TEST)
    folder = TEST / "score_wer"
    counts = write_scores(folder, ref, hyp, str.split, {"u1": "zoe", "u2": "anna"})
    OF_TEST.write_text(json.dumps({"utts": 2, "wer": summary(counts)}))
    if exchanged:
        write_counts(folder, {"u1": counts["u2"], "u2": counts["u1"]})


def torn(search: Path) -> None:
    with (search / "journal.jsonl").open("a") as f:
        f.write('{"seq": 99, "ti')


def touch(path: str) -> Callable[[Path], object]:
    return lambda search: Path(path).write_bytes(Path(path).read_bytes() + b"\n")


HYP = TEST / "score_cer" / "hyp.trn"
MODEL = "exp/joint/valid.loss.best.pth"
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "seal": (lambda s: edit(SCORE, x=1), "score.json has changed"),
    "seal anew": (seal_anew, "E_DIGEST: .*m1.2/.done is not the one that was scored"),
    "sum": (lambda s: rescore(sub=39), "E_SCORE: .*score.json: cer does not add up"),
    "negative": (lambda s: rescore(ins=-1), "E_SCORE: .*: cer does not add up"),
    "text": (lambda s: rescore(ins="two"), "E_SCORE: .*'cer' .*no whole number"),
    "float": (lambda s: rescore(ins=0.0), "E_SCORE: .*'cer' .*no whole number"),
    "boolean": (lambda s: rescore(ins=False), "E_SCORE: .*no whole number"),
    "nats add up to nothing": (lambda s: rescore("ppl", ref=9, nll=1.5), ""),
    "journal": (lambda s: forge(s, errors=39), "E_SCORE: .* 40 errors, the journal 39"),
    "result gone": (lambda s: (s / "result.json").unlink(), "E_RESULT_LOST: "),
    "end cut off": (lambda s: without_last_line(s / "journal.jsonl"), "E_JOURNAL_CUT"),
    "torn": (torn, "E_JOURNAL_TORN: .* half-written"),
    "another best": (another_best, "E_RESULT: .*the best is m1.2 .m1.1.1 is worse"),
    "another error": (another_error, "E_RESULT: .*m1.1.1 has 41 errors in the journal"),
    "best": (lambda s: point(s / "best", "m3"), "E_BEST_LINK: .* is not m1.2"),
    "base's config": (touch("exp/joint/config.yaml"), "E_DIGEST: .*searched from"),
    "base's model": (touch(MODEL), f"E_DIGEST: {MODEL} is not what was searched from"),
    "link": (lambda s: point(JOB / "latest.pth", "7epoch.pth"), "E_LINK: .*7epoch.pth"),
    "archive": (damaged_copy, "E_DIGEST: .*9.pth.* stored checksum"),
    "stray": (lambda s: (JOB / ".x.4194999.tmp").touch(), "E_STRAY: .*killed process"),
    "counts of a set": (lambda s: edit(OF_TEST, cer={"ref": 1}), "E_SCORE: .* gives"),
    "size of a set": (lambda s: edit(OF_TEST, utts=4), "E_UTT_SETS: .*differ from"),
    "utterances of a set": (lambda s: without_last_line(HYP), "E_UTT_SETS"),
    "text of a set": (another_text, "E_SCORE: .*text is not what"),
    "speakers": (lambda s: speakers(exchanged=False), ""),
    "counts.tsv": (lambda s: speakers(exchanged=True), "E_SCORE: .*counts.tsv is not"),
    "a set without a score": (lambda s: OF_TEST.unlink(), ""),
    "no object": (
        lambda s: OF_TEST.write_text("[1]"),
        "E_FSCK: .*AttributeError: ",
    ),
    "no size": (lambda s: OF_TEST.write_text('{"cer": {}}'), "E_FSCK: .*KeyError: "),
}


@pytest.mark.parametrize("case", CASES)
def test_damage(search: Path, case: str) -> None:
    damage, message = CASES[case]
    damage(search)
    problems = "\n".join(fsck(search).problems)
    assert re.search(message, problems) if message else not problems, problems


@pytest.mark.parametrize("best", ["", "m3"])
def test_repair_links_strays_and_a_torn_journal(search: Path, best: str) -> None:
    (search / "best").unlink()
    if best:
        point(search / "best", best)
    point(JOB / "valid.loss.best.pth", "9epoch.pth")
    (JOB / ".score.json.4194999.tmp").write_text("half")
    (search / f".x.{os.getpid()}.tmp").touch()  # of a process that lives
    torn(search)
    assert len(fsck(search).problems) >= 4
    report = fsck(search, repair=True)
    assert report.problems == [] and len(report.repaired) == 4, report
    assert os.readlink(search / "best") == "m1.2"
    assert os.readlink(JOB / "valid.loss.best.pth") == "4epoch.pth"
    kept = sorted(p.read_bytes() for p in (search / "quarantine").iterdir())
    assert kept == [b"half", b'{"seq": 99, "ti']
    assert fsck(search, repair=True).repaired == [] == list(stray(search))


def test_repair_keeps_the_good_part_of_a_damaged_journal(
    search: Path, capsys, caplog
) -> None:
    path = search / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"m", b"n", 1)
    path.write_bytes(b"".join(lines))
    with pytest.raises(SystemExit):
        main(["fsck", str(search), "--repair"])
    assert "repaired: exp/search/journal.jsonl: " in capsys.readouterr().out
    assert "half-written" not in caplog.text
    events = Journal(path).events()
    assert [e["event"] for e in events][-1] == "journal_cut" and len(events) == 5
    (kept,) = (search / "quarantine").glob("journal*")
    assert kept.read_bytes() == b"".join(lines[4:])


def test_repair_sets_a_wrong_result_aside(search: Path) -> None:
    edit(search / "result.json", best="m3")
    (repaired,) = fsck(search, repair=True).repaired
    assert repaired.endswith("run the search to write it again")
    assert (search / "quarantine" / "result.json").is_file()


def test_a_search_that_runs_is_left_alone(search: Path) -> None:
    with Lock(search / "lock"), pytest.raises(TopDownError, match="E_LOCKED"):
        fsck(search)


@pytest.mark.parametrize("key", ["cer", "utts", "hyp_sha256", ""])
def test_decoding_again(search: Path, monkeypatch, key: str) -> None:
    def score(folder: Path, job: dict) -> dict:
        old = json.loads((folder / "score.json").read_text())
        return {**old, "seconds": 1, **({key: 0} if key else {})}

    for name in ERRORS:
        edit(search / name / "score.json", hyp_sha256="a")
        write_seal(search / name)
    forge(search)
    monkeypatch.setattr(run, "score", score)
    report = fsck(search, decode=True)
    if key:
        assert any(f"decoding again gives {key} 0" in p for p in report.problems)
    else:
        assert report.problems == [] and report.compared["decoded"] == len(ERRORS)


@pytest.mark.nightly
def test_decoding_again_for_real(tmp_path: Path, monkeypatch, capsys) -> None:
    """A tiny model agrees with itself; one error fewer is found, whatever is forged."""
    with contextlib.chdir(tmp_path):
        config = tiny_config(write_corpus(tmp_path / "tones"), max_epoch=1)
        write_yaml(Path("joint.yaml"), config)
        asr_train.main(["--config", "joint.yaml", "--output_dir", "exp/joint"])
        search = Path("exp/search")
        with mock.patch.object(driver, "run_jobs", run_here):
            result = driver.run_search(SearchRequest(Path("exp/joint"), search))
        assert fsck(search, decode=True).problems == []
        job = search / result["best"]
        score = read_json(job / "score.json")
        counts = score[result["criterion"]]
        wrong = "sub" if counts["sub"] else "del"
        counts.update({wrong: counts[wrong] - 1, "corr": counts["corr"] + 1})
        edit(job / "score.json", **score)
        write_seal(job)
        (problem,) = fsck(search, decode=True).problems[-1:]
        assert "decoding again gives" in problem
