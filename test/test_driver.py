from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from toys import rnn_weights, write_experiment

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import Lock, read_yaml
from espnet_topdown.records import Journal

pytestmark = pytest.mark.espnet  # reads the option names of ESPnet's trainer
OUT = Path("exp/search")


@pytest.mark.parametrize(
    "errors, best, trained",
    [
        ({"m3": 50, "m1.2": 40, "m1.1.1": 30}, "m1.1.1", ["m3", "m1.2", "m1.1.1"]),
        ({"m3": 50, "m1.2": 40, "m1.1.1": 41}, "m1.2", ["m3", "m1.2", "m1.1.1"]),
        ({"m3": 50, "m1.2": 51}, "m3", ["m3", "m1.2"]),
        ({"m3": 50, "m1.2": 50, "m1.1.1": 50}, "m1.1.1", ["m3", "m1.2", "m1.1.1"]),
    ],
)
def test_greedy_search(search, errors, best, trained):
    result, calls = search(errors)
    assert result["best"] == best
    assert calls == trained
    assert os.readlink(OUT / "best") == best
    assert json.loads((OUT / "result.json").read_text()) == result
    assert {n: v["errors"] for n, v in result["nodes"].items()} == errors


def test_full_search_with_jobs_side_by_side(search):
    errors = {"m3": 50, "m1.2": 40, "m2.1": 30, "m1.1.1": 35}
    result, calls = search(errors, strategy="full", max_jobs=3)
    assert result["best"] == "m2.1"
    assert sorted(calls) == sorted(errors)


def test_frozen_layers_come_from_the_parent(search):
    search({"m3": 50, "m1.2": 40, "m1.1.1": 30})
    job = read_yaml(OUT / "m1.1.1" / "retrain.yaml")
    assert job["frozen"] == ["softmax", "blstm1"]
    assert job["frozen_from"] == "exp/search/m1.2/valid.loss.best.pth"
    first = read_yaml(OUT / "m1.2" / "retrain.yaml")
    assert first["frozen_from"] == "exp/joint/valid.loss.best.pth"


def test_every_retraining_has_its_own_seed(search):
    search({"m3": 50, "m1.2": 40, "m1.1.1": 30})
    seeds = [read_yaml(OUT / n / "train.yaml")["seed"] for n in ("m1.2", "m1.1.1")]
    assert seeds == [1000, 3000]


def test_same_seed_repeats_the_baselines(search):
    search({"m3": 50, "m1.2": 60}, retrain_seed="same")
    assert read_yaml(OUT / "m1.2" / "train.yaml")["seed"] == 0


def test_the_config_freezes_exact_names_and_loads_one_file(search):
    search({"m3": 50, "m1.2": 60})
    train = read_yaml(OUT / "m1.2" / "train.yaml")
    assert train["init_param"] == ["exp/search/m1.2/frozen.pth"]
    assert train["freeze_param"] == ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"]
    assert train["max_epoch"] == 4
    assert "required" not in train


def test_a_finished_search_does_nothing(search):
    errors = {"m3": 50, "m1.2": 40, "m1.1.1": 41}
    first, _ = search(errors, controls=("joint",))
    before = {p: p.stat().st_mtime_ns for p in OUT.rglob("*") if p.name != "lock"}
    again, calls = search(errors, controls=("joint",))
    assert calls == [] and again == first
    after = {p: p.stat().st_mtime_ns for p in OUT.rglob("*") if p.name != "lock"}
    assert after == before


def test_a_failed_job_is_said_and_the_same_command_continues(search):
    with pytest.raises(TopDownError, match="E_JOB_FAILED.*m1.2.*train.log") as e:
        search({"m3": 50, "m1.2": "fail"})
    assert e.value.status == 70
    assert not (OUT / "result.json").exists()
    result, calls = search({"m3": 50, "m1.2": 40, "m1.1.1": 60})
    assert calls == ["m1.2", "m1.1.1"], "the finished m3 is not done again"
    assert result["best"] == "m1.2"


def test_a_second_search_in_the_same_folder(search):
    OUT.mkdir(parents=True)
    with Lock(OUT / "lock"), pytest.raises(TopDownError, match="E_LOCKED") as e:
        search({"m3": 50, "m1.2": 60})
    assert e.value.status == 75


@pytest.mark.parametrize(
    "options, says",
    [
        ({"cmd": "", "cmd_backend": "slurm"}, "E_CLUSTER_CMD: there is no 'sbatch'"),
        ({"cmd": "", "cmd_backend": "local", "ngpu": 1}, "E_GPU: --ngpu 1"),
        ({"cmd": "no_such.pl"}, "E_CLUSTER_CMD.*'no_such.pl'"),
    ],
)
def test_what_is_missing_here_is_said_before_the_folder_is_begun(
    search, monkeypatch, options, says
):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(TopDownError, match=says):
        search({"m3": 50}, **options)
    assert not OUT.exists()


def test_a_base_that_was_not_trained_to_its_end(search):
    base = write_experiment(Path("exp/short"), rnn_weights(), epochs=3, max_epoch=9)
    with pytest.raises(TopDownError, match="E_NOT_CONVERGED.*epoch 3 of 9"):
        search({}, base_exp=base)


def test_a_changed_validation_set_is_no_comparison(search, monkeypatch):
    errors = {"m3": 50, "m1.2": 40, "m1.1.1": 41}
    search(errors, max_frozen=1)
    score = OUT / "m1.2" / "score.json"
    data = json.loads(score.read_text())
    data["utts"] = 9
    score.write_text(json.dumps(data))
    (OUT / "result.json").unlink()
    with pytest.raises(TopDownError, match="E_EVAL_SET"):
        search(errors, max_frozen=1)


def test_the_journal_tells_the_story(search):
    search({"m3": 50, "m1.2": 60})
    events = Journal(OUT / "journal.jsonl").events()
    story = [(e["event"], e.get("node")) for e in events]
    assert story == [
        ("search_open", None),
        ("started", "m3"),
        ("trained", "m3"),
        ("scored", "m3"),
        ("started", "m1.2"),
        ("trained", "m1.2"),
        ("scored", "m1.2"),
        ("search_done", None),
    ]


def test_epoch_takes_classifiers_of_several_epochs(search, toy_experiment):
    from espnet_topdown.models.weights import load_weights, save_weights

    weights = load_weights(toy_experiment / "4epoch.pth")
    classifier = {n: t + 1 for n, t in weights.items() if n.startswith("ctc.")}
    (toy_experiment / "harvest").mkdir()
    save_weights(classifier, toy_experiment / "harvest" / "2.pth")
    errors = {"m3": 50, "m1.2": 40, "m1.2@2": 30}
    result, calls = search(errors, strategy="epoch", epochs=(2,), max_jobs=2)
    assert (result["best"], sorted(calls)) == ("m1.2@2", sorted(errors))
    job = read_yaml(OUT / "m1.2@2" / "retrain.yaml")
    assert job["frozen_from"] == "exp/joint/harvest/2.pth"
    frozen = load_weights(OUT / "m1.2@2" / "frozen.pth")
    assert all((frozen[n] == classifier[n]).all() for n in classifier)


def test_an_epoch_that_was_not_kept(search):
    with pytest.raises(TopDownError, match="E_HARVEST.*epoch 3; it has 4") as e:
        search({}, strategy="epoch", epochs=(3,))
    assert e.value.status == 66
    assert not OUT.exists(), "before anything is written"


@pytest.mark.parametrize("reinit", ["keep", "shrink:0.4,0.1", "rewind:4"])
def test_reinit_starts_the_lower_layers_elsewhere(search, toy_experiment, reinit):
    from espnet_topdown.models.weights import load_weights

    search({"m3": 50, "m1.2": 60}, reinit=reinit)
    start = load_weights(OUT / "m1.2" / "start.pth")
    base = load_weights(toy_experiment / "4epoch.pth")
    assert set(start) == {n for n in base if n.startswith("encoder.")}
    same = all((start[n] == base[n]).all() for n in start)
    assert same == (reinit != "shrink:0.4,0.1")
    train = read_yaml(OUT / "m1.2" / "train.yaml")
    assert train["init_param"][1] == "exp/search/m1.2/start.pth"
    with pytest.raises(TopDownError, match="E_CONFIG_CHANGED"):
        search({"m3": 50, "m1.2": 60})


def test_the_joint_model_is_scored_beside_the_first_retrainings(search):
    errors = {"m3": 50, "m1.2": 51, "m2.1": 30, "m1.1.1": 35}
    search(errors, strategy="full", max_jobs=3)
    events = [json.loads(x) for x in (OUT / "journal.jsonl").open()]
    began = [e["node"] for e in events if e["event"] == "started"]
    scored = [e["node"] for e in events if e["event"] == "scored"]
    assert began[:3] == ["m3", "m1.2", "m2.1"], "they do not depend on its error"
    assert scored[0] == "m3", "but nothing is compared before it is known"
    assert events.index(next(e for e in events if e["event"] == "scored")) > 3


def test_one_job_at_a_time_waits_for_the_joint_models_score(search):
    search({"m3": 50, "m1.2": 51}, max_jobs=1)
    events = [json.loads(x) for x in (OUT / "journal.jsonl").open()]
    order = [(e["event"], e["node"]) for e in events if "node" in e]
    assert order.index(("scored", "m3")) < order.index(("started", "m1.2"))
