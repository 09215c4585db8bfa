"""python3 utils/nodes.py exp/asr_x_topdown exp/asr_x best

Prints the models of a finished search that are to be decoded, the baseline first: one
line each, `node <tab> experiment folder <tab> model file`. `best` is the baseline, the
best one and the controls; `all` adds every other one, also those that were rejected.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def chosen(result: dict, which: str) -> list[str]:
    """The nodes, in the order of the search; controls last."""
    models = [node for node in result["nodes"] if not node.startswith("control.")]
    if which == "best":
        models = [result["best"]]
    controls = [node for node in result["nodes"] if node.startswith("control.")]
    return list(dict.fromkeys([result["path"][0], *models, *controls]))


def main(folder: Path, base_exp: str, which: str) -> None:
    """Print the table."""
    result = json.loads((folder / "result.json").read_text())
    for i, node in enumerate(chosen(result, which)):
        score = json.loads((folder / node / "score.json").read_text())
        exp = base_exp if i == 0 else folder / node
        print(node, exp, score["model_file"], sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
