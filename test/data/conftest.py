"""Small data directories with generated audio."""

from __future__ import annotations

import functools
import http.server
import threading

import pytest
import soundfile
from tones import sine

from espnet_topdown.data.kaldi_dir import write_dir


@pytest.fixture
def make_set(tmp_path):
    """``make_set("train", {"a-1": "uno"})``: a data directory, one second a line."""

    def make(name="train", texts=None, fs=8000, seconds=1.0, suffix="wav"):
        texts = {"a-1": "uno", "a-2": "dos"} if texts is None else texts
        folder = tmp_path / name
        (folder / "wav").mkdir(parents=True)
        wavs = {}
        for i, utt in enumerate(texts):
            path = folder / "wav" / f"{utt}.{suffix}"
            hz = 300 + 7 * i + sum(map(ord, name))
            soundfile.write(path, sine(seconds, fs, hz), fs, "PCM_16")
            wavs[utt] = str(path)
        speakers = {utt: utt.split("-")[0] for utt in texts}
        write_dir(folder, {"wav.scp": wavs, "text": texts, "utt2spk": speakers})
        return folder

    return make


@pytest.fixture
def refuses(capsys):
    """``refuses(lambda: main(...), 65, "E_X")``: the command ends so, and says so."""

    def check(command, status, *parts):
        with pytest.raises(SystemExit, match=f"^{status}$"):
            command()
        said = capsys.readouterr().err
        assert all(part in said for part in parts), said

    return check


@pytest.fixture
def site(tmp_path):
    """A web server on this machine; yields (address, folder)."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            if self.path == "/ranges":
                return self.send_rest(b"0123456789")
            if self.path not in ("/short", "/chunks"):
                return super().do_GET()
            self.send_response(200)
            head = {
                "/short": "Content-Length: 99",
                "/chunks": "Transfer-Encoding: chunked",
            }
            self.send_header(*head[self.path].split(": "))
            self.end_headers()
            self.wfile.write(b"123" if self.path == "/short" else b"9\r\n123")

        def send_rest(self, data):
            first = int(self.headers.get("Range", "bytes=0-")[6:-1])
            ok = 206 if first else 200
            self.send_response(ok if first < len(data) else 416)
            self.end_headers()
            self.wfile.write(data[first:])

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
