"""``espnet-topdown pack``: an archive for ESPnet's model zoo, and the Hub."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from record import unpack

from espnet_topdown import TopDownError, load_search
from espnet_topdown.cli.main import main
from espnet_topdown.report import pack

GOLDEN = Path(__file__).parents[1] / "golden"
KEYS = {"encoder", "frontend_conf", "normalize_conf", "bpemodel", "token_list"}


@pytest.fixture
def finished(tmp_path: Path, monkeypatch, request) -> Path:
    """A finished search in which every path is one of this machine."""
    monkeypatch.chdir(tmp_path)
    unpack("finished")
    monkeypatch.setattr(pack, "model_options", lambda module: KEYS)
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    (tmp_path / "stats").mkdir()
    (tmp_path / "stats" / "feats_stats.npz").write_bytes(b"stats")
    change(
        Path("exp/search/m1.2"),
        output_dir=str(tmp_path / "exp/search/m1.2"),
        normalize_conf={"stats_file": str(tmp_path / "stats/feats_stats.npz")},
        token_list=["<blank>", "<unk>", "/", str(Path("stats/feats_stats.npz"))],
        wandb_entity="somebody",
    )
    asked = yaml.safe_load(Path("exp/search/search.yaml").read_text())
    asked["base_exp"] = str(tmp_path / "exp/joint")
    Path("exp/search/search.yaml").write_text(yaml.safe_dump(asked))
    return Path("exp/search")


def change(exp: Path, **keys: object) -> None:
    config = yaml.safe_load((exp / "config.yaml").read_text())
    (exp / "config.yaml").write_text(yaml.safe_dump({**config, **keys}))


def files_of(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def test_what_is_packed(finished: Path, tmp_path: Path, capsys) -> None:
    main(["pack", str(finished)])
    archive = finished / "search_m1.2.zip"
    assert capsys.readouterr().out.startswith(f"packed: {archive} (")
    files = files_of(archive)
    inside = ("config.yaml", "feats_stats.npz", "valid.loss.best.pth")
    assert {*files} == {"meta.yaml", "README.md", *(f"topdown/{n}" for n in inside)}
    config = yaml.safe_load(files["topdown/config.yaml"])
    assert {*config} == KEYS - {"bpemodel"}
    assert config["normalize_conf"] == {"stats_file": "topdown/feats_stats.npz"}
    assert config["token_list"][2:] == ["/", "stats/feats_stats.npz"]
    said = Path(finished, "m1.2/decode_ctc_greedy/test/score_wer/ref.trn").read_text()
    for secret in (str(tmp_path), "somebody", said.splitlines()[0][:20]):
        assert not [n for n, data in files.items() if secret.encode() in data]
    card = files["README.md"].decode()
    head = yaml.safe_load(card.split("---")[1])
    assert head["library_name"] == "espnet" and "license" not in head
    for text in (
        "LICENCE: to be chosen",
        'Speech2Text.from_pretrained("search_m1.2")',
        "# 8000 Hz",
        "training set: train",
        "| **M_{1,2}** | **top-down** | **softmax** |",
        "| control.joint |",
        "95 % interval over utterances",
        "espnet-topdown search joint search --strategy greedy",
    ):
        assert text in card
    assert not re.search(r"[ (]/\w+/", card)
    unpack = pack.import_quietly("espnet2.main_funcs.pack_funcs").unpack
    unpacked = unpack(archive, tmp_path / "model")
    config = yaml.safe_load(Path(unpacked["asr_train_config"]).read_text())
    assert Path(config["normalize_conf"]["stats_file"]).read_bytes() == b"stats"
    file = archive.stat().st_ino
    main(["pack", str(finished)])  # its own archive is written anew
    assert archive.stat().st_ino != file, "whoever reads the old one has all of it"


def test_the_joint_model_is_that_of_the_base(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    unpack("joint_best")
    monkeypatch.setattr(pack, "model_options", lambda module: KEYS)
    files = load_search("exp/search").model
    assert files == {
        "asr_train_config": "exp/joint/config.yaml",
        "asr_model_file": "exp/joint/valid.loss.best.pth",
    }
    main(["pack", "exp/search", "--output", "made/new/m.zip"])
    weights = files_of(Path("made/new/m.zip"))["topdown/valid.loss.best.pth"]
    assert weights == Path(files["asr_model_file"]).read_bytes()
    Path("exp/search/result.json").unlink()
    with pytest.raises(TopDownError, match="E_UNFINISHED"):
        assert load_search("exp/search").model


READY = "--hf_repo me/model --license cc-by-4.0 --yes"


def no_token(exp: Path, monkeypatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "get_token", lambda: None)


def no_hub(exp: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


def not_ours(exp: Path, monkeypatch) -> None:
    Path("mine.zip").write_text("mine")


def unfinished(exp: Path, monkeypatch) -> None:
    (exp / "result.json").unlink()


def no_weights(exp: Path, monkeypatch) -> None:
    (exp / "m1.2/valid.loss.best.pth").unlink()


def no_bpemodel(exp: Path, monkeypatch) -> None:
    change(exp / "m1.2", bpemodel="gone/bpe.model")


@pytest.mark.parametrize(
    "spoil, options, code, text",
    [
        (None, "--license CC BY", "E_USAGE", "unexpected argument 'BY'"),
        (None, "--license CC-BY", "E_LICENCE", "write it as the Hub does"),
        (None, "--hf_repo model", "E_HF_REPO", "give --hf_repo USER/NAME"),
        (None, "--hf_repo a/b/c", "E_HF_REPO", "'a/b/c' is no repository"),
        (None, "--hf_repo a/-b", "E_HF_REPO", "USER/NAME"),
        (None, "--yes", "E_HF_REPO", "'' is no repository"),
        (None, "--hf_repo me/model --yes", "E_LICENCE", "give --license NAME"),
        (no_hub, READY, "E_INSTALL", "pip install 'espnet_topdown[hub]'"),
        (no_token, READY, "E_HF_TOKEN", "set HF_TOKEN"),
        (None, "--output model.tar", "E_CREATE", "give --output FILE.zip"),
        (not_ours, "--output mine.zip", "E_CREATE", "mine.zip is there and not ours"),
        (None, "--output exp/search/search.yaml/m.zip", "E_CREATE", "another folder"),
        (unfinished, "", "E_UNFINISHED", "let it finish first"),
        (no_weights, "", "E_MODEL", "Do: bring that file back"),
        (no_bpemodel, "", "E_MISSING", "bpemodel 'gone/bpe.model', which is not"),
    ],
)
def test_refusals(finished, monkeypatch, capsys, spoil, options, code, text) -> None:
    if spoil:
        spoil(finished, monkeypatch)
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit):
        main(["pack", str(finished), *options.split()])
    said = capsys.readouterr().err
    assert said.startswith(f"{code}: ") and text in said and "Do: " in said
    assert sorted(Path().rglob("*")) == before


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as an upload asks for; ``server.refuses`` is a status."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        answer: dict = {"url": f"{self.server.address}/me/model", "warnings": []}
        if "/preupload/" in self.path:
            files = [{**f, "uploadMode": "regular"} for f in json.loads(body)["files"]]
            answer = {"files": [{**f, "shouldIgnore": False} for f in files]}
        elif "/commit/" in self.path:
            answer = {"commitUrl": f"{self.server.address}/me/model/commit/1"}
            answer |= {"commitOid": "1", "success": True}
        data = json.dumps(answer).encode()
        self.send_response(self.server.refuses or 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch) -> Iterator[http.server.ThreadingHTTPServer]:
    constants = pytest.importorskip("huggingface_hub.constants")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.asked, server.refuses = [], 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)  # HF_ENDPOINT
    yield server
    server.shutdown()
    server.server_close()


def test_an_upload(finished: Path, hub, capsys) -> None:
    main(["pack", str(finished), "--hf_repo", "me/model"])
    said = capsys.readouterr().out
    assert "would be uploaded to me/model:\n  README.md  " in said
    assert "  topdown/config.yaml  " in said and "  meta.yaml  " in said
    assert "nothing was uploaded; --yes does it" in said and not hub.asked
    main(["pack", str(finished), *READY.split()])
    assert f"uploaded: {hub.address}/me/model" in capsys.readouterr().out
    made, *_, (path, token, commit) = hub.asked
    assert made[0] == "/api/repos/create" and b"private" in made[2]
    assert path.startswith("/api/models/me/model/commit/main")
    assert token == "Bearer hf_made_up"
    sent = [json.loads(line) for line in commit.splitlines()]
    names = {line["value"]["path"] for line in sent if line["key"] == "file"}
    files = files_of(finished / "search_m1.2.zip")
    assert names == {*files} and b"license: cc-by-4.0" in files["README.md"]


def test_a_hub_that_refuses(finished: Path, hub, capsys) -> None:
    hub.refuses = 403
    with pytest.raises(SystemExit, match="^74$"):
        main(["pack", str(finished), *READY.split()])
    said = capsys.readouterr().err
    assert said.startswith(f"E_HUB: {hub.address} did not take me/model: ")
    assert "403" in said and Path(finished, "search_m1.2.zip").is_file()


@pytest.mark.espnet
@pytest.mark.parametrize("kind", ["rnn", "td_rnn"])
def test_the_best_model_recognises(tmp_path: Path, monkeypatch, kind) -> None:
    """In ESPnet's own class, from the search and from its archive."""
    from random_models import Set

    monkeypatch.chdir(tmp_path)
    made = Set(tmp_path)
    exp = made.experiment(kind)
    shutil.copytree(GOLDEN / "finished", tmp_path / "exp", True, dirs_exist_ok=True)
    best = Path("exp/search/m1.2")
    shutil.copy(exp / "config.yaml", best / "config.yaml")
    change(best, train_data_path_and_name_and_type=[["data/a/text", "text", "text"]])
    shutil.copy(exp / "1epoch.pth", best / "valid.loss.best.pth", follow_symlinks=True)
    files = load_search("exp/search").model
    main(["pack", "exp/search", "--output", "m.zip"])
    packed = pack.import_quietly("espnet2.main_funcs.pack_funcs")
    unpacked = packed.unpack("m.zip", tmp_path / "away")
    recognise = pack.import_quietly("espnet2.bin.asr_inference").Speech2Text
    texts = [
        recognise(**kwargs, ctc_weight=1.0, beam_size=2)(made.sounds["u0"])[0][0]
        for kwargs in (files, unpacked)
    ]
    assert texts[0] == texts[1]
    config = yaml.safe_load(Path(unpacked["asr_train_config"]).read_text())
    assert not {"output_dir", "valid_data_path_and_name_and_type"} & {*config}
