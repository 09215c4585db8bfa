"""python -m espnet_topdown.bin.asr_inference --config decode.yaml --output_dir DIR ...

ESPnet's ``espnet2.bin.asr_inference``, which knows the encoders td_rnn and td_vgg_rnn.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(cmd: Sequence[str] | None = None) -> None:
    """Decode."""
    from espnet_topdown.trainer.dropout import decode_by_espnet

    decode_by_espnet(cmd)


if __name__ == "__main__":
    main()
