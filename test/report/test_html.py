"""report.html: self-contained, well-formed, escaped, readable without colours."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_up_search import LAYERS, write_search

from espnet_topdown.report.gains import gains
from espnet_topdown.report.html import page
from espnet_topdown.report.rows import read_search

NASTY = '<script>alert("1")</script>&\'x'


def html(folder: Path) -> str:
    search = read_search(folder)
    return page(search, gains(search), ["figures/errors.svg"])


@pytest.fixture(scope="module")
def finished(finished_exp: Path) -> str:
    """The page of the finished search."""
    return html(finished_exp / "asr_base_topdown")


class Balance(HTMLParser):
    """Collects tags, and complains about one that is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(text: str) -> Balance:
    parser = Balance()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def states(tmp_path: Path) -> list[Path]:
    return [
        write_search(tmp_path / "1" / "s"),
        write_search(tmp_path / "2" / "s", tests=False),
        write_search(tmp_path / "3" / "s", models=("m5",), finished=False),
        write_search(tmp_path / "4" / "s", models=(), finished=False, failed=False),
    ]


def test_pages_are_well_formed_and_load_nothing(tmp_path: Path):
    for folder in states(tmp_path):
        text = html(folder)
        tags = parsed(text).seen
        names = {tag for tag, _ in tags}
        assert not names & {"script", "link", "img", "iframe", "object"}
        assert not any("src" in a or "onclick" in a for _, a in tags)
        hrefs = [a["href"] for _, a in tags if "href" in a]
        assert all(h.startswith("figures/") for h in hrefs)
        assert "url(" not in text
        assert "@import" not in text


def test_drawings_are_xml_with_words_beside_them(finished: str):
    drawings = re.findall(r"<svg.*?</svg>", finished, flags=re.S)
    spoken = [ElementTree.fromstring(d) for d in drawings if 'role="img"' in d]
    assert len(spoken) == 2
    ids = [e.get("id") for d in spoken for e in d.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for drawing in spoken:
        named = drawing.get("aria-labelledby").split()
        words = [e.text for e in drawing if e.get("id") in named]
        assert len(words) == 2
        assert "M_{1,1,3}" in words[1]
    silent = [d for d in drawings if 'role="img"' not in d]
    assert all('aria-hidden="true"' in d for d in silent)


def test_tables_have_headers(finished: str):
    tags = parsed(finished).seen
    scopes = [a.get("scope") for tag, a in tags if tag == "th"]
    assert set(scopes) == {"col", "row"}
    assert scopes.count("row") == 3 * 7


@pytest.mark.parametrize(
    "said",
    [
        "Freezing the top 2 of 5 layers and retraining the rest lowered the CER",
        "M<sub>5</sub> \u2192 M<sub>1,4</sub> \u2192 M<sub>1,1,3</sub>",
        "M<sub>1,1,1,2</sub> (rejected)",
        "a difference of \u22121.55 points (95 % interval \u22122.30 to \u22120.89).",
        "points CER against control.joint",
        "<td>not run</td>",
        "\u2605 best",
        "blstm3: frozen, trained in M_{1,4}",
        "blstm2: re-initialised and retrained",
        "softmax: copied from the joint training and trained on",
        "M<sub>2,3</sub> failed: exit status 70",
        "prefers-color-scheme:dark",
        "@media print",
        "2026-01-31T08:30:00Z",
    ],
)
def test_the_page_says(finished: str, said: str):
    assert said in finished.replace("\u00a0", " ").replace(
        '<td class="t none">', "<td>"
    )


def test_an_unfinished_search_has_a_banner(tmp_path: Path):
    folder = write_search(
        tmp_path / "s", models=("m5", "m1.4"), finished=False, failed=False
    )
    text = html(folder)
    assert 'role="status">Running, or interrupted; the same command continues' in text
    assert "\u2605 best" not in text


def test_what_users_name_is_never_markup(tmp_path: Path):
    folder = write_search(
        tmp_path / NASTY.replace("/", "_") / "s",
        layers=[NASTY, *LAYERS[1:]],
        stack=NASTY,
        strategy=NASTY,
        controls=[NASTY],
    )
    text = html(folder)
    tags = {tag for tag, _ in parsed(text).seen}
    assert "script" not in tags
    assert text.count("&lt;script&gt;") >= 5


@pytest.mark.parametrize("n", [1, 2, 18, 60])
def test_any_number_of_layers_can_be_drawn(tmp_path: Path, n: int):
    names = [f"encoder.layer{i}" for i in range(n)]
    folder = write_search(tmp_path / "s", layers=names, finished=False)
    drawings = re.findall(r"<svg.*?</svg>", html(folder), flags=re.S)
    for drawing in drawings:
        ElementTree.fromstring(drawing)
    assert drawings


def test_the_page_says_where_the_other_layers_began(search: Path) -> None:
    for node in ("m1.4", "m1.1.3"):
        with (search / node / "retrain.yaml").open("a") as f:
            f.write("start: keep\n")
    with (search / "search.yaml").open("a") as f:
        f.write("reinit: keep\n")
    said = html(search)
    assert "blstm2: begun with --reinit keep and retrained" in said
    assert "begun with --reinit keep, retrained</li>" in said, "the legend"
