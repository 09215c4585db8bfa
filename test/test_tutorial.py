"""The notebook of docs: what is shown in it, and that it runs from top to bottom."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


def test_what_the_notebook_shows() -> None:
    """Outputs of one run without an error, small, that name no machine's folders."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    shown = json.dumps(outputs)
    assert len(shown) < 200_000
    assert re.findall(r"(?<![\w+/<.])/\w+/\w\S*", shown) == []
    html = [output["data"]["text/html"] for output in outputs if "data" in output]
    pages = ["".join(lines) for lines in html]
    for what in ("blstm1", "re-initialised", "finished, best", "<th>errors</th>"):
        assert any(what in page for page in pages), what
    assert "data:image/svg+xml" in pages[-1]


@pytest.mark.nightly
@pytest.mark.espnet
@pytest.mark.timeout(1800)
def test_the_notebook_runs(tmp_path: Path) -> None:
    client = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=1500, resources=place).execute()
    result = json.loads((tmp_path / "exp/search/result.json").read_text())
    assert result["best"] in ("m3", "m1.2")
    outputs = [o for o in notebook.cells[-2].outputs if o.get("name") == "stdout"]
    said = "".join(output["text"] for output in outputs)
    reference, hypothesis = re.findall(r": +(.*)", said)
    assert reference and len(set(reference) & set(hypothesis)) > 1
