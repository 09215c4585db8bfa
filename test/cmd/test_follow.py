"""Output of running tasks, shown as it comes."""

from __future__ import annotations

from pathlib import Path

from local_launcher import call, output


def test_follow_shows_whole_lines_with_the_name_of_the_log(tmp_path: Path) -> None:
    script = "printf 'one\\ntw'; sleep 0.5; printf 'o\\n\\nend'"
    done = call(
        tmp_path,
        *("--follow", "1", "JOB=1:2", "a.JOB.log", "sh", "-c", f"{script}JOB"),
    )
    assert done.returncode == 0, done.stderr
    for n in (1, 2):
        mine = [s for s in done.stdout.splitlines() if s.startswith(f"[a.{n}] ")]
        # the last line has no end of its own: it stands in the log
        assert mine[:3] == [f"[a.{n}] one", f"[a.{n}] two", f"[a.{n}] "]
        assert output(tmp_path / f"a.{n}.log").startswith(f"one\ntwo\n\nend{n}")
