"""Every kind of damage to a finished search is found, and what can be is repaired."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from finished_search import make_search

from espnet_topdown.bin.main import main
from espnet_topdown.cli.fsck import Report, fsck, stray
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock
from espnet_topdown.records import Journal

pytestmark = pytest.mark.espnet  # it reads the option names of ESPnet's trainer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search; tests work on copies."""
    return make_search(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def search(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "w", symlinks=True)
    monkeypatch.chdir(tmp_path / "w")
    return Path("exp/search")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("how", [["exp/search"], ["--search_dir", "exp/search"]])
def test_nothing_is_wrong_and_nothing_is_changed(search, how, capsys):
    before = contents(search)
    main(["fsck", *how])
    shown = capsys.readouterr().out
    assert "nothing wrong" in shown and "3 jobs" in shown
    assert contents(search) == before


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


FLIPPED = {
    "search.yaml": "E_DIGEST",
    "journal.jsonl": "E_JOURNAL_CORRUPT",
    "result.json": "E_DIGEST",
    "m1.2/retrain.yaml": "E_DIGEST",
    "m1.2/train.yaml": "E_DIGEST",
    "m1.2/config.yaml": "E_DIGEST",
    "m1.2/frozen.pth": "E_DIGEST",
    "m1.2/4epoch.pth": "E_DIGEST",
    "m1.2/score.json": "E_DIGEST",
    "m1.2/.done": "E_DIGEST",
    "m1.2/checkpoint.pth": "E_",
}


@pytest.mark.parametrize("name", FLIPPED)
def test_a_flipped_bit(search, name, capsys):
    flip(search / name)
    with pytest.raises(SystemExit) as e:
        main(["fsck", "--search_dir", str(search)])
    shown = capsys.readouterr()
    assert e.value.code == 65
    assert FLIPPED[name] in shown.out and name.split("/")[-1] in shown.out
    assert "E_FSCK: " in shown.err


def test_a_score_made_better_with_its_seal_and_journal_kept(search):
    from espnet_topdown.records import write_seal

    path = search / "m1.2" / "score.json"
    score = json.loads(path.read_text())
    score["cer"]["sub"] -= 5
    path.write_text(json.dumps(score))
    write_seal(search / "m1.2")
    found = "\n".join(fsck(search).found)
    assert "is not the one that was scored" in found
    assert "does not add up" in found or "differ" in found or "E_DIGEST" in found


def test_a_decoded_set_that_was_edited(search):
    place = search / "m1.2" / "decode_ctc_greedy" / "test"
    from made_up_search import write_decode

    write_decode(place, "test", 5, 7, files=True)
    assert fsck(search).found == []
    score = json.loads((place / "score.json").read_text())
    score["cer"]["sub"] += 1
    (place / "score.json").write_text(json.dumps(score))
    assert any("E_SCORE" in line for line in fsck(search).found)


def test_a_result_that_is_gone(search):
    (search / "result.json").unlink()
    assert any("E_RESULT_LOST" in line for line in fsck(search).found)


def test_the_end_of_the_journal_cut_off(search):
    path = search / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    assert any("E_JOURNAL_CUT" in line for line in fsck(search).found)


def test_repair_links_strays_and_a_torn_journal(search):
    (search / "best").unlink()
    link = search / "m1.2" / "valid.loss.best.pth"
    link.unlink()
    link.symlink_to("9epoch.pth")
    dead = search / "m1.2" / ".score.json.4194999.tmp"
    dead.write_text("half")
    with (search / "journal.jsonl").open("a") as f:
        f.write('{"seq": 99, "ti')
    assert len(fsck(search).found) >= 4
    report = fsck(search, repair=True)
    assert report.found == [] and len(report.repaired) == 4, report
    assert os.readlink(search / "best") == "m1.2"
    assert os.readlink(link) == "4epoch.pth"
    kept = sorted(p.read_bytes() for p in (search / "quarantine").iterdir())
    assert kept == [b"half", b'{"seq": 99, "ti']
    assert fsck(search, repair=True).repaired == []


def test_repair_keeps_the_good_part_of_a_damaged_journal(search):
    path = search / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"m", b"n", 1)
    path.write_bytes(b"".join(lines))
    fsck(search, repair=True)
    events = Journal(path).events()
    assert [e["event"] for e in events][-1] == "journal_cut" and len(events) == 5
    (kept,) = (search / "quarantine").glob("journal*")
    assert kept.read_bytes() == b"".join(lines[4:])


def test_a_search_that_runs_is_left_alone(search):
    with Lock(search / "lock"), pytest.raises(TopDownError, match="E_LOCKED"):
        fsck(search)


def forge(path: Path, changes: dict) -> None:
    """Write a journal anew: (event, node) -> what is different; for this result."""
    from espnet_topdown.files import sha256

    result = {"result": sha256(path.parent / "result.json")}
    changes = {**changes, ("search_done", None): result}
    events = Journal(path).events()
    path.unlink()
    forged = Journal(path)
    for event in events:
        told = {k: v for k, v in event.items() if k not in ("seq", "time", "chain")}
        told.update(changes.get((event["event"], event.get("node")), {}))
        forged.append(told.pop("event"), **told)


def test_a_result_that_does_not_follow_from_the_scores(search):
    path = search / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "best": "m3"}))
    (search / "best").unlink()
    (search / "best").symlink_to("m3")
    forge(search / "journal.jsonl", {})
    (found,) = fsck(search).found
    assert found.startswith("E_RESULT: exp/search/result.json: m1.2 has 40 errors")


@pytest.mark.parametrize("name", ["config.yaml", "valid.loss.best.pth"])
def test_another_base_than_was_searched_from(search, name):
    with open(f"exp/joint/{name}", "ab") as file:
        file.write(b"\n")
    found = [x for x in fsck(search).found if "is not what was searched from" in x]
    assert len(found) == 1 and found[0].startswith(f"E_DIGEST: exp/joint/{name} is")


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError, OSError])
def test_what_a_check_does_not_understand_is_found(error):
    def check(path: Path) -> None:
        raise error("odd")

    report = Report()
    assert report.look(check, Path("a/b")) is None
    (found,) = report.found
    assert found.startswith(f"E_FSCK: a/b cannot be understood ({error.__name__}: ")


def test_no_search(tmp_path):
    with pytest.raises(TopDownError, match="E_NO_SEARCH"):
        fsck(tmp_path)


def test_temporaries_of_the_living_are_left(search):
    (search / f".x.{os.getpid()}.tmp").touch()
    assert list(stray(search)) == []


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "DIR is missing"),
        (
            ["exp/search", "--search_dir", "exp/x"],
            "DIR is given twice: exp/search",
        ),
        (["exp/search", "exp/x"], "unexpected argument 'exp/x'"),
    ],
)
def test_which_search_is_said_once(words, message, capsys):
    with pytest.raises(SystemExit) as e:
        main(["fsck", *words])
    assert e.value.code == 64
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search over a tiny model, trained and decoded by the real code."""
    from unittest import mock

    from finished_search import inside, run_here
    from tones import tiny_config, write_corpus

    from espnet_topdown.bin.asr_train import main as train
    from espnet_topdown.files import write_yaml
    from espnet_topdown.search import driver
    from espnet_topdown.search.request import SearchRequest

    root = tmp_path_factory.mktemp("trained")
    with inside(root):
        config = tiny_config(write_corpus(root / "tones"), max_epoch=1)
        write_yaml(Path("joint.yaml"), config)
        train(["--config", "joint.yaml", "--output_dir", "exp/joint"])
        with mock.patch.object(driver, "run_jobs", run_here):
            folders = Path("exp/joint"), Path("exp/search")
            driver.run_search(SearchRequest(*folders))
    return root


@pytest.fixture
def decodable(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path / "w", symlinks=True)
    monkeypatch.chdir(tmp_path / "w")
    return Path("exp/search")


@pytest.mark.nightly
def test_decoding_again_agrees(decodable, capsys):
    n = len({p.resolve() for p in decodable.glob("*/score.json")})
    main(["fsck", str(decodable), "--decode", "true"])
    shown = capsys.readouterr().out
    assert n >= 2 and f"{n} decoded" in shown and "nothing wrong" in shown


@pytest.mark.nightly
def test_a_score_that_only_decoding_again_disproves(decodable, capsys):
    """One error fewer, and everything that refers to it written anew."""
    from espnet_topdown.files import sha256
    from espnet_topdown.records import write_seal

    result = json.loads((decodable / "result.json").read_text())
    node = decodable / result["best"]
    score = json.loads((node / "score.json").read_text())
    counts = score[result["criterion"]]
    wrong = "sub" if counts["sub"] else "del"
    counts.update({wrong: counts[wrong] - 1, "corr": counts["corr"] + 1})
    (node / "score.json").write_text(json.dumps(score))
    write_seal(node)
    result["nodes"][node.name]["errors"] -= 1
    (decodable / "result.json").write_text(json.dumps(result))
    path = decodable / "journal.jsonl"
    known = ("scored", node.name)
    events = {(e["event"], e.get("node")): e for e in Journal(path).events()}
    fewer = events[known]["errors"] - 1
    forge(path, {known: {"errors": fewer, "done": sha256(node / ".done")}})
    assert fsck(decodable).found == []
    with pytest.raises(SystemExit) as e:
        main(["fsck", str(decodable), "--decode", "true"])
    shown = capsys.readouterr()
    assert e.value.code == 65 and "1 problems" in shown.err
    assert f"E_SCORE: {node}: decoding again gives" in shown.out
