"""python -m espnet_topdown.bin.lm_train --config train.yaml --output_dir exp/lm

Train a language model on continuous text, with the options of ``espnet2.bin.lm_train``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from espnet_topdown.errors import command
from espnet_topdown.trainer.fast.process import limit_spinning


def get_parser() -> argparse.ArgumentParser:
    """Return ESPnet's parser with one more group of options."""
    from espnet_topdown.trainer.lm_task import TopDownLMTask

    return TopDownLMTask.get_parser()


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Train."""
    limit_spinning()
    from espnet_topdown.trainer.lm_task import TopDownLMTask

    TopDownLMTask.main(cmd=cmd)


if __name__ == "__main__":
    main()
