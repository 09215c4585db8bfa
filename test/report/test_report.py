"""RESULTS.md as recorded in each state of a search, and a page that says the same.

``PYTHONPATH=test/fixtures python test/report/test_report.py`` records ``expected/``
again, after a look at them.
"""

from __future__ import annotations

import html
import json
import logging
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_up_search import LAYERS, write_decode, write_result, write_search, write_seeds

from espnet_topdown.cli.main import main, parser_of
from espnet_topdown.files import read_json, read_yaml, write_json, write_yaml
from espnet_topdown.report import write
from espnet_topdown.report._figures import Chart, Point, Series, charts, draw
from espnet_topdown.report._palette import LIGHT, numbered
from espnet_topdown.report._study import differences, read_study
from espnet_topdown.report._text import commands
from espnet_topdown.search.state import read_state

EXPECTED = Path(__file__).parent / "expected"
CHROMIUM = shutil.which("chromium")
# What a reader could not get at: wider than the page and in no region that scrolls.
CUT_OFF = """() => [...document.body.querySelectorAll('*')].filter(e =>
    e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.wide')
).map(e => e.outerHTML.slice(0, 80))"""
NASTY = '<script>alert("1")</script>&\'x'


def finished(folder: Path) -> None:
    write_search(folder)


def joint_best(folder: Path) -> None:
    write_search(folder, failed=False)
    (folder / "best").unlink()
    write_result(folder, best="m5")


def undecoded(folder: Path) -> None:
    write_search(folder, tests=False)


def interrupted(folder: Path) -> None:
    write_search(folder, models=("m5", "m1.4"), finished=False, failed=False)
    (folder / "m1.1.3").mkdir()
    job = {"node": "m1.1.3", "frozen": LAYERS[:2], "seed": 6000}
    job["layers"] = {name: 1000 + len(name) for name in LAYERS}
    write_yaml(folder / "m1.1.3" / "retrain.yaml", job)
    state = {"epoch": 3, "max_epoch": 14, "processor": "A CPU", "threads": 2}
    write_json(folder / "m1.1.3" / "progress.json", state)
    base, shapes = folder.parent / "asr_base", folder.parents[1] / "shapes"
    sound = {"train_data_path_and_name_and_type": [["wav.scp", "speech", "sound"]]}
    sound.update(train_shape_file=["shapes"], frontend_conf={"fs": "8k"}, seed=1)
    write_yaml(base / "config.yaml", sound)
    shapes.write_text("a 28800000\nb 14400000\n")


def not_run(folder: Path) -> None:
    write_search(folder, models=(), finished=False, failed=False)


def few(folder: Path) -> None:
    """Two utterances, a tie, empty hypotheses: nothing that may look like a result."""
    write_search(folder)
    for name, errors in (("m5", 9), ("m1.4", 2), ("m1.1.3", 2)):
        shutil.rmtree(folder / name / "decode_ctc_greedy")
        write_decode(folder / name / "decode_ctc_greedy/test", "test", 2, errors, True)
        write_decode(folder / name, "dev", 2, errors, files=False)
    write_json(folder / "m1.4" / "progress.json", {"processor": "threads unknown"})
    path = folder / "control.warm" / "score.json"
    score = read_json(path)
    ref = score["cer"]["ref"]
    score["cer"] = {"ref": ref, "corr": 0, "sub": 0, "del": ref, "ins": 0}
    write_json(path, score)


def language_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    request = {"base_exp": "exp/lm", "stack": "lm_awd_lstm", "strategy": "greedy"}
    request.update(criterion="ppl", decoder="perplexity", layers=["softmax", "lstm0"])
    write_yaml(folder / "search.yaml", request)
    controls = {"control.joint": 380.0, "control.warm": 390.0, "control.long": 395.0}
    for name, nats in {"m2": 400.0, "m1.1": 390.0, **controls}.items():
        job = {"node": name, "frozen": ["softmax"] if name == "m1.1" else []}
        job["control"] = name.partition(".")[2] if name in controls else None
        (folder / name).mkdir()
        write_yaml(folder / name / "retrain.yaml", job)
        score = {"set": "dev", "decoder": "perplexity", "epoch": 3, "utts": 10}
        write_json(
            folder / name / "score.json", {**score, "ppl": {"ref": 100, "nll": nats}}
        )
    point = {"epoch": 1, "seconds": 1.0, "train": {}, "valid": {"loss": 3.9}}
    (folder / "m1.1" / "curve.jsonl").write_text(json.dumps(point) + "\n")
    test = folder / "m1.1" / "decode_perplexity" / "test"
    test.mkdir(parents=True)
    write_json(test / "score.json", {"set": "test", "ppl": {"ref": 10, "nll": 20.0}})
    result = {"best": "m1.1", "path": ["m2", "m1.1"], "reason": "r", "finished": "now"}
    write_json(folder / "result.json", {**result, "nodes": {}})


def seeds(folder: Path) -> None:
    """The second has a page; it lacks a control and a decoded model."""
    second = write_seeds(folder)[1]
    (second / "report.html").touch()
    shutil.rmtree(second / "control.joint")
    shutil.rmtree(second / "control.warm")
    shutil.rmtree(second / "m1.4/decode_ctc_greedy")


def unfinished_seeds(folder: Path) -> None:
    for search in write_seeds(folder):
        for path in ("result.json", "best"):
            (search / path).unlink()
        for place in search.glob("*/decode_ctc_greedy"):
            shutil.rmtree(place)


STATES = [finished, joint_best, undecoded, interrupted, not_run, few, language_model]
STATES += [seeds, unfinished_seeds]


def markdown(make: Callable[[Path], None], root: Path) -> str:
    """RESULTS.md of a search in some state, or of several, without times."""
    folder = root / "exp" / "s"
    make(folder)
    searches = sorted(folder.glob("s?/*_topdown"), reverse=True)
    text = write.write_report(searches or [folder], folder)
    text = text.removesuffix(f"\n{folder / 'RESULTS.md'}\n{folder / 'report.html'}")
    assert text == (folder / "RESULTS.md").read_text()
    text = text.replace(str(root), "ROOT").replace(os.path.relpath(root), "ROOT")
    return re.sub(r"(?<= at )2\d\d\d-[\d:T-]*Z", "TIME", text)


class Page(HTMLParser):
    """Collects tags and text, and complains about a tag that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def plain(text: str) -> str:
    """Letters and digits, as Markdown and page have them."""
    text = html.unescape(text).replace("M_{", "M").replace("control.", "control ")
    return re.sub(r"[^\w]+", "", text.replace("\u2212", "-").replace("_", ""))


@pytest.fixture(scope="module", params=STATES)
def written(request, tmp_path_factory) -> tuple[Path, str]:
    """A search's folder and RESULTS.md; its name says the state."""
    pytest.importorskip("matplotlib")
    root = tmp_path_factory.mktemp("report") / request.param.__name__
    return root / "exp" / "s", markdown(request.param, root)


def test_results_are_as_recorded_and_the_page_says_the_same(written):
    folder, text = written
    assert text == (EXPECTED / f"{folder.parents[1].name}.txt").read_text()
    shown = plain(Page((folder / "report.html").read_text()).text)
    lines = text[: text.index("## How it was made")].splitlines()[2:]
    for line in lines:
        line = re.sub(r"^(#+|-|\*\*) ?(Warning:)?|\|( -+:? \|)+", "", line)
        for part in line.strip("| ").split(" | "):
            assert plain(part) in shown or part[:1] == "!" or "TIME" in part, part


def test_pages_are_well_formed_and_load_nothing(written):
    folder, _ = written
    text = (folder / "report.html").read_text()
    page = Page(text)
    names = {tag for tag, _ in page.seen}
    assert not names & {"script", "link", "img", "iframe", "object"}
    assert not any("src" in a or "onclick" in a for _, a in page.seen)
    links = [a["href"] for tag, a in page.seen if tag == "a"]
    assert all((folder / link).exists() for link in links)
    outside = re.findall(r"url\((?!#)|@import|https?://(?!www.w3.org)", text)
    assert outside == []
    ids = [a["id"] for _, a in page.seen if "id" in a]
    assert len(ids) == len(set(ids))
    figures = sum(a.get("role") == "img" for tag, a in page.seen if tag == "svg")
    assert figures == len(list(folder.glob("figures/*.svg")))
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.S)
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "aria-label" in drawing or "aria-hidden" in drawing
        assert not any(colour in drawing for colour in LIGHT.values())


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Debian's Chromium; playwright brings none of its own."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    with api.sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        yield browser
        browser.close()


@pytest.mark.nightly
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut_off_or_fails_in_a_browser(written, browser, width, colours):
    size = {"width": width, "height": 900}
    page = browser.new_page(viewport=size, color_scheme=colours)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.goto((written[0] / "report.html").as_uri())
    assert problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(background[4:].split(",")[0]) < 128) == (colours == "dark")
    page.close()


def test_names_below_a_figure_do_not_touch(tmp_path: Path):
    figures = pytest.importorskip("matplotlib.figure")
    study = read_study(write_seeds(tmp_path))
    for chart in charts(study, differences(study)):
        figure = figures.Figure(figsize=(len(chart.ticks) + 1, 3.2))
        axes = figure.subplots()
        draw(chart, axes)
        figure.canvas.draw()
        boxes = [t.get_window_extent() for t in axes.get_xticklabels()]
        assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:])), chart.name


def test_the_drawing_of_the_layers(search: Path, no_figures):
    for path, line in (("m1.4/retrain.yaml", "start"), ("search.yaml", "reinit")):
        with (search / path).open("a") as f:
            f.write(f"{line}: keep\n")
    write.write_report([search], search)
    page = (search / "report.html").read_text()
    for expected in (
        '<span class="layer">blstm3</span>',
        'title="blstm3: frozen, trained in M_{1,4}"',
        'title="blstm2: re-initialised and retrained"',
        'title="softmax: copied from the joint training and trained on"',
        'title="blstm2: begun with --reinit keep and retrained"',
        "begun with --reinit keep, retrained</li>",  # the legend
        "\u2605 best",
        "prefers-color-scheme:dark",
        "@media print",
    ):
        assert expected in page


def test_the_drawing_does_not_say_where_a_control_has_its_frozen_layers_from(
    search: Path, no_figures
):
    path = search / "control.joint/retrain.yaml"
    asked = {**read_yaml(path), "control": "random"}
    write_yaml(path, {**asked, "frozen": ["softmax"], "frozen_params": ["w"]})
    write.write_report([search], search)
    page = (search / "report.html").read_text()
    assert 'title="softmax: frozen"' in page and 'trained in "' not in page


def test_the_drawing_says_that_restart_trains_the_joint_model_on(
    search: Path, no_figures
):
    path = search / "control.joint/retrain.yaml"
    path.write_text(path.read_text().replace("control: joint", "control: restart"))
    write.write_report([search], search)
    title = 'title="blstm2: copied from the joint training and trained on"'
    assert title in (search / "report.html").read_text()


@pytest.mark.parametrize("n", [1, 60])
def test_any_number_of_layers(tmp_path: Path, no_figures, n: int):
    names = [f"encoder.layer{i}" for i in range(n)]
    write_search(tmp_path / "s", layers=names, finished=False, tests=False)
    write.write_report([tmp_path / "s"], tmp_path / "s")
    page = Page((tmp_path / "s/report.html").read_text())
    assert sum(a.get("class") == "layer" for _, a in page.seen) == 8 * n


def test_what_users_name_is_never_markup(tmp_path: Path, no_figures):
    folder = tmp_path / NASTY.replace("/", "_") / "s"
    named = {"stack": NASTY, "strategy": NASTY, "controls": [NASTY]}
    write_search(folder, layers=[NASTY, "a|b`c`*", *LAYERS[2:]], **named)
    text = write.write_report([folder], folder)
    assert "<script" not in text.split("~~~~")[0] and r"a\|b\`c\`\*" in text
    page = (folder / "report.html").read_text()
    assert "script" not in {tag for tag, _ in Page(page).seen}
    assert page.count("&lt;script&gt;") >= 5


def test_the_search_command_asks_for_the_same_search(tmp_path: Path):
    folder = tmp_path / "exp" / "a b's"
    write_search(folder, base_exp="exp/asr_base", max_frozen=3, fix_eval_dropout=True)
    words = shlex.split(commands(read_state(folder))[0])
    args = parser_of("search").parse_args(words[2:])
    assert str(args.output_dir) == "exp/a b's"
    assert (str(args.base_exp), args.strategy) == ("exp/asr_base", "greedy")
    assert (args.max_frozen, args.controls, args.max_epoch) == (3, "joint,warm", None)
    assert args.fix_eval_dropout


def test_a_set_that_lacks_only_the_best_model_is_named(search: Path, no_figures):
    """As after a wider search: the set is decoded with the models it had before."""
    shutil.rmtree(search / "m1.1.3/decode_ctc_greedy")
    text = write.write_report([search], search)
    says = "- The best model on a test set: not run. Decode one: espnet-topdown decode "
    assert says in text


def snapshot(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_the_same_folders_give_the_same_bytes(search: Path, monkeypatch, caplog):
    pytest.importorskip("matplotlib")
    before = snapshot(search)
    with caplog.at_level(logging.INFO):
        write.write_report([search], search.parent / "out/here")
    assert caplog.records == []  # fontTools tells of every glyph of a PDF
    assert snapshot(search) == before
    monkeypatch.chdir(search.parent)
    write.write_report([Path(search.name)], Path(search.name))
    report = snapshot(Path("out/here"))
    assert snapshot(search) == {**before, **report}
    figures = ("rates", "learning_curves", "differences")
    names = {f"figures/{n}.{e}" for n in figures for e in ("svg", "pdf", "png", "tsv")}
    assert set(report) == names | {"RESULTS.md", "report.html"}
    curves = (search / "figures/learning_curves.tsv").read_text().splitlines()
    assert curves[0] == "model\tepoch\tcer_ctc" and len(curves) == 1 + 6 * 12
    rows = [x.split("\t") for x in (search / "figures/rates.tsv").open()]
    assert [row[:2] for row in rows[-2:]] == [
        ["test", "control.joint"],
        ["test", "control.warm"],
    ]


def test_without_matplotlib(search: Path, no_figures, caplog):
    with caplog.at_level(logging.WARNING):
        write.write_report([search], search)
    (warning,) = [r.getMessage() for r in caplog.records]
    assert warning.startswith("W_NO_MATPLOTLIB") and "[plot]" in warning
    assert {p.suffix for p in search.glob("figures/*")} == {".tsv"}
    text = (search / "report.html").read_text()
    assert "No figure: matplotlib is not installed" in text and "blstm3" in text
    assert "figures/rates.svg" not in (search / "RESULTS.md").read_text()


def test_commands_write_over_our_own_reports(three: list[Path], no_figures, capsys):
    our_first_release = (
        "# RESULTS\n\n```sh\nespnet-topdown report --search_dir s\n```\n"
    )
    (three[0] / "RESULTS.md").write_text(our_first_release)
    main(["report", str(three[0])])
    assert "| **M_{1,1,3}** |" in capsys.readouterr().out
    out = three[0].parent / "out"
    for _ in range(2):
        main(["seeds", *map(str, three), "--output_dir", str(out)])
        assert capsys.readouterr().out.rstrip().endswith(f"{out}/report.html")


@pytest.mark.parametrize(
    "words, status, message",
    [
        ("report", 64, "E_USAGE"),
        ("report nowhere", 66, "E_NO_SEARCH"),
        ("report SEARCH --output_dir taken", 73, "E_CREATE: taken is not.*File exists"),
    ],
)
def test_the_commands_refuse(search, monkeypatch, capsys, words, status, message):
    """See also test_output_dir.py."""
    monkeypatch.chdir(search.parent)
    Path("taken").mkdir()
    Path("taken/figures").touch()
    before = snapshot(Path())
    with pytest.raises(SystemExit) as error:
        main(words.replace("SEARCH", search.name).split())
    assert error.value.code == status
    assert re.match(message, capsys.readouterr().err)
    assert snapshot(Path()) == before


def test_a_figure_of_differences_has_one_unit(tmp_path: Path, no_figures):
    """Also where no set is counted in the unit of the search."""
    folder = write_search(tmp_path / "exp" / "search", criterion="ter")
    write.write_report([folder], folder)
    rows = (folder / "figures" / "differences.tsv").read_text()
    assert "cer" in rows and "wer" not in rows


def test_a_legend_has_as_many_lines_as_are_read():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    points = [Point(1, 2.0), Point(2, 1.0)]
    lines = [Series("one", "", numbered(0), points)] * 30
    lines += [Series(f"m{n}", f"m{n}", numbered(n % 3), points) for n in range(170)]
    axes = figure.subplots()
    draw(Chart("curves", ("model", "epoch", "cer"), "epoch", "CER", lines), axes)
    legend = axes.get_legend()
    assert len(legend.get_texts()) == 24 and len(axes.get_lines()) == 200
    assert legend.get_title().get_text() == "the first 24; all are in curves.tsv"


if __name__ == "__main__":
    import tempfile

    for one in STATES:
        with tempfile.TemporaryDirectory() as place:
            (EXPECTED / f"{one.__name__}.txt").write_text(markdown(one, Path(place)))
