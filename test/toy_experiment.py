"""A set of made-up sounds, and small ESPnet experiments with random weights for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

TOKENS = ["<blank>", "<unk>", *"ABCD", "<space>", *"EFGH", "<sos/eos>"]
RNN = {"num_layers": 2, "hidden_size": 6, "output_size": 5}
BLOCKS = {"num_blocks": 2, "output_size": 8, "attention_heads": 2, "linear_units": 8}
ENCODERS = {
    "rnn": ("rnn", RNN),
    "rnn_plain": ("rnn", {**RNN, "use_projection": False, "rnn_type": "gru"}),
    "vgg_rnn": ("vgg_rnn", RNN),
    "td_rnn": ("td_rnn", {**RNN, "dropout": 0.5}),
    "transformer": ("transformer", BLOCKS),
    "conformer": ("conformer", {**BLOCKS, "cnn_module_kernel": 7}),
}


class Set:
    """Random sounds of several lengths, and an experiment made for them."""

    def __init__(self, folder: Path) -> None:
        import soundfile

        self.folder = folder
        rng = np.random.default_rng(0)
        lengths = rng.integers(3000, 16000, size=9).tolist()
        self.sounds = {f"u{i}": self._sound(rng, n) for i, n in enumerate(lengths)}
        lines = {"wav.scp": "", "text": "", "utt2spk": ""}
        data = folder / "dump" / "dev"
        data.mkdir(parents=True)
        for utt, samples in self.sounds.items():
            file = data / f"{utt}.wav"
            soundfile.write(file, samples, 16000, subtype="FLOAT")
            lines["wav.scp"] += f"{utt} {file}\n"
            lines["text"] += f"{utt} {'ABC DE'[int(utt[1]) % 3 :]}\n"
            lines["utt2spk"] += f"{utt} spk{int(utt[1]) % 2}\n"
        for name, text in lines.items():
            (data / name).write_text(text)
        self.wav_scp, self.text = data / "wav.scp", data / "text"

    @staticmethod
    def _sound(rng, n: int) -> np.ndarray:  # type: ignore[no-untyped-def]
        """Noise that swells and falls, so that frames differ."""
        swell = np.interp(
            np.arange(n), np.arange(0, n + 800, 800), rng.random(n // 800 + 2)
        )
        return (0.3 * swell**3 * rng.standard_normal(n)).astype(np.float32)

    def experiment(self, kind: str, sure: float = 60.0, **changes: object) -> Path:
        """A folder with config.yaml and 1epoch.pth, made as stage 11 leaves it."""
        import torch

        from espnet_topdown.trainer.task import TopDownASRTask as ASRTask
        from espnet_topdown.weights import save_weights
        from espnet_topdown.yaml_io import write_yaml

        folder = self.folder / "exp" / f"{kind}{len(changes)}"
        folder.mkdir(parents=True, exist_ok=True)
        args = ASRTask.get_parser().parse_args(["--output_dir", str(folder)])
        args.encoder, args.encoder_conf = ENCODERS[kind]
        args.token_list, args.token_type, args.bpemodel = TOKENS, "char", None
        args.model_conf, args.normalize = {"ctc_weight": 1.0}, "utterance_mvn"
        args.frontend_conf = {
            "fs": "16k",
            "n_mels": 12,
            "n_fft": 256,
            "hop_length": 100,
        }
        args.valid_data_path_and_name_and_type = [
            [str(self.wav_scp), "speech", "sound"],
            [str(self.text), "text", "text"],
        ]
        for key, value in changes.items():
            setattr(args, key, value)
        write_yaml(folder / "config.yaml", json.loads(json.dumps(vars(args))))
        torch.manual_seed(1)
        state = ASRTask.build_model(args).state_dict()
        if "ctc.ctc_lo.weight" in state:
            # tokens change often, and every frame is clear; no <unk>, no <sos/eos>
            for name, value in state.items():
                if ".birnn" in name or ".bt" in name or "nbrnn" in name:
                    value *= 4.0
            state["ctc.ctc_lo.weight"] *= sure
            state["ctc.ctc_lo.bias"][[1, -1]] = -1e6
        save_weights(state, folder / "1epoch.pth")
        return folder
