"""Archives are fetched whole and opened without trusting their names."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random

import pytest
from packages import deb, fake_apt_get, tar

from espnet_topdown.data import archives
from espnet_topdown.errors import TopDownError


@pytest.mark.parametrize(
    "name, data",
    [
        ("a.tar.gz", tar({"a.wav": b"x", "d/b.wav": b"yy", "link": None})),
        ("a_1_all.deb", deb({"a.wav": b"x", "./d/b.wav": b"yy", "link": None})),
    ],
    ids=["tar", "deb"],  # else their bytes, in which the time is
)
def test_regular_members_only(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    found = {str(n): d for n, d in archives.members(tmp_path / name)}
    assert found == {"a.wav": b"x", "d/b.wav": b"yy"}


@pytest.mark.parametrize(
    "name, data, code",
    [
        ("a.tar.gz", tar({"../../x": b"x"}), "E_ARCHIVE_PATH"),
        ("a.tar.gz", tar({"/etc/x": b"x"}), "E_ARCHIVE_PATH"),
        ("a.deb", deb({"a/../../x": b"x"}), "E_ARCHIVE_PATH"),
        ("a.tar.gz", tar({"a": b"x" * 9999})[:-40], "E_ARCHIVE"),
        ("a.tar.gz", b"<html>not found</html>", "E_ARCHIVE"),
        ("a.tar.gz", b"", "E_ARCHIVE"),
        ("a.deb", b"!<arch>\n", "E_ARCHIVE"),
        ("a.deb", b"nothing", "E_ARCHIVE"),
        ("a.deb", deb({"a": b"x"}, "data.tar.zst"), "E_ARCHIVE"),
        ("a.deb", deb({"a": b"x"})[:-60], "E_ARCHIVE"),
    ],
    ids=["parent", "root", "parent_deb", "cut_off", "html", "empty", "no_members"]
    + ["nothing", "zstd", "cut_off_deb"],
)
def test_bad_archives(tmp_path, name, data, code):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TopDownError) as e:
        list(archives.members(tmp_path / name))
    assert e.value.code == code and e.value.status == 65


def test_an_archive_that_unpacks_to_too_much(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tar({"a": b"x" * 600, "b": b"x" * 600}))
    with pytest.raises(TopDownError, match="more than"):
        list(archives.members(tmp_path / "a.tar.gz", 1000))


def test_unpacking_goes_on_where_it_was_stopped(tmp_path):
    path, out = tmp_path / "a.tgz", tmp_path / "out"
    path.write_bytes(tar({"./a/b.wav": b"new", "a/c.wav": b"new", "link": None}))
    (out / "a").mkdir(parents=True)
    (out / "a/b.wav").write_bytes(b"old")  # whole, by its length
    (out / "a/c.wav").write_bytes(b"ne")
    archives.unpack(path, out)
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.*")}
    assert found == {"a/b.wav": b"old", "a/c.wav": b"new"}


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_digest(tmp_path, name):
    (tmp_path / "a").write_bytes(b"abc")
    digest = hashlib.new(name, b"abc").hexdigest()
    archives.check_digest(tmp_path / "a", digest)
    with pytest.raises(TopDownError, match="E_DIGEST") as e:
        archives.check_digest(tmp_path / "a", "0" * len(digest))
    assert f"a (3 bytes) {name} {digest[:12]}" in str(e.value)


def test_a_download_replaces_the_file_whole(tmp_path, site):
    address, folder = site
    (folder / "a.bin").write_bytes(b"new" * 1000)
    target = tmp_path / "a.bin"
    target.write_bytes(b"old and longer")
    with target.open("rb") as opened:
        archives.http_download(f"{address}/a.bin", target)
        assert opened.read() == b"old and longer"
    assert target.read_bytes() == b"new" * 1000


NO_HTTP = ["file:///etc/hostname", "ftp://127.0.0.1/a", "a"]


@pytest.mark.parametrize(
    "url", ["{}/missing", "{}/short", "{}/chunks", "http://127.0.0.1:9/a", *NO_HTTP]
)
def test_what_is_not_fetched(tmp_path, site, url):
    with pytest.raises(TopDownError, match="E_DOWNLOAD") as e:
        archives.http_download(url.format(site[0]), tmp_path / "a.bin")
    begun = {"{}/short": {"a.bin.part": b"123"}, "{}/chunks": {"a.bin.part": b""}}
    assert {p.name: p.read_bytes() for p in tmp_path.glob("a.bin*")} == begun.get(
        url, {}
    )
    assert ("not an http address" in str(e.value)) == (url in NO_HTTP)


def test_a_download_on_a_full_disk(tmp_path, site, monkeypatch):
    """What has come stays, and the same command goes on with it."""
    (site[1] / "whole").write_bytes(b"abc")

    def full(reply, file):
        file.write(reply.read(2))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as m, pytest.raises(TopDownError, match="E_DISK") as e:
        m.setattr(archives.shutil, "copyfileobj", full)
        archives.http_download(f"{site[0]}/whole", tmp_path / "a.bin")
    assert e.value.status == 74
    assert [p.name for p in tmp_path.glob("a.bin*")] == ["a.bin.part"]


@pytest.mark.parametrize(
    "path, begun, want",
    [
        ("ranges", b"01234", b"0123456789"),  # the rest, appended
        ("ranges", b"x123456789", b"0123456789"),  # nothing follows: from the start
        ("whole", b"01234", b"abc"),  # a server that sends all of it again
    ],
)
def test_a_download_goes_on_after_a_stop(tmp_path, site, path, begun, want):
    (site[1] / "whole").write_bytes(b"abc")
    (tmp_path / "a.bin.part").write_bytes(begun)
    archives.http_download(f"{site[0]}/{path}", tmp_path / "a.bin")
    assert {p.name: p.read_bytes() for p in tmp_path.glob("a.bin*")} == {"a.bin": want}


def test_what_apt_get_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    fake_apt_get(tmp_path, "echo 'E: no such package' >&2; exit 100")
    with pytest.raises(TopDownError, match="E_DOWNLOAD: apt-get: E: no such package"):
        archives.apt_download(["a"], tmp_path)


@pytest.mark.parametrize("status, left", [(0, ["a_1_all.deb"]), (100, [])])
def test_apt_get_leaves_no_part_of_a_package(tmp_path, monkeypatch, status, left):
    """On a full disk it gives the package's name to what there was room for."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    fake_apt_get(tmp_path, f"echo x >a_1_all.deb; exit {status}")
    (tmp_path / "downloads").mkdir()
    with contextlib.suppress(TopDownError):
        archives.apt_download(["a"], tmp_path / "downloads")
    assert [p.name for p in (tmp_path / "downloads").iterdir()] == left


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.xz", "a.deb"])
def test_damaged_archives_end_in_one_message(tmp_path, name):
    noise = random.Random(1).randbytes(3000) if name != "a.deb" else b"x" * 3000
    files = {"a.wav": noise, "b/c.txt": b"y" * 50}
    good = deb(files) if name == "a.deb" else tar(files, f"w:{name[-2:]}")
    dice = random.Random(0)
    for _ in range(150):
        data = bytearray(good)
        for _ in range(dice.randint(1, 8)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        (tmp_path / name).write_bytes(data[: dice.choice([len(data), 999, 2000])])
        try:
            list(archives.members(tmp_path / name))
        except TopDownError as e:
            assert e.code.startswith("E_ARCHIVE")
