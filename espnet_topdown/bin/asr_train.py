"""python -m espnet_topdown.bin.asr_train --config train.yaml --output_dir exp/asr

Train an ASR model as ``espnet2.bin.asr_train`` does, with its options and a few more.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from espnet_topdown.errors import command
from espnet_topdown.trainer.fast.process import limit_spinning


def get_parser() -> argparse.ArgumentParser:
    """Return ESPnet's parser with one more group of options."""
    from espnet_topdown.trainer.task import TopDownASRTask

    return TopDownASRTask.get_parser()


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Train."""
    limit_spinning()
    from espnet_topdown.trainer.task import TopDownASRTask

    TopDownASRTask.main(cmd=cmd)


if __name__ == "__main__":
    main()
