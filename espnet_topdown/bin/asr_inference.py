"""python -m espnet_topdown.bin.asr_inference --lm_train_config LM/config.yaml ...

``espnet2.bin.asr_inference`` with its options, for which --lm_train_config and
--lm_file may be a model of ``lm_for_asr``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from espnet_topdown.errors import command


def get_parser() -> argparse.ArgumentParser:
    """ESPnet's parser."""
    from espnet_topdown.lm.fusion import asr_inference_parser

    return asr_inference_parser()


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Decode."""
    from espnet_topdown.lm.fusion import asr_inference

    asr_inference(cmd)


if __name__ == "__main__":
    main()
