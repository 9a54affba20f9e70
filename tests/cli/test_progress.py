"""Progress: plain lines every ten seconds where there is no terminal, a bar where there is one."""

import io
import os
import pty
import subprocess
import sys

from malmoi.cli.progress import Lines

SCRIPT = """
from malmoi.cli.progress import progress
with progress() as shown:
    shown.stage("reading [x]")
    shown.advance(5)
    shown.stage("training", 100)
    for done in range(101):
        shown.advance(done, {"loss": 2.5, "words/s": "12,345"})
    shown.note("step 3: [a note]")
"""


def test_lines():
    out, seconds = io.StringIO(), 0.0
    shown = Lines(out, now=lambda: seconds)

    def told():
        text = out.getvalue()
        out.seek(0)
        out.truncate()
        return text

    shown.stage("training", 100)
    assert told() == "training ...\n"
    seconds = 5.0
    shown.advance(10, {"loss": 5.21})
    assert told() == ""
    seconds = 10.0
    shown.advance(20, {"loss": 4.0, "words_per_second": 12345})
    assert told() == "training  20%  loss 4  words per second 12,345  0:40 left\n"
    seconds = 19.0
    shown.advance(30)
    assert told() == ""
    seconds = 65.0
    shown.advance(50)
    assert told() == "training  50%  loss 4  words per second 12,345  1:05 left\n"
    shown.stage("saving")
    assert told() == "training took 1:05  loss 4  words per second 12,345\nsaving ...\n"
    seconds = 4000.0
    shown.advance(3, {"files": "2"})
    shown.close()
    assert told() == "saving  files 2\nsaving took 1:05:35  files 2\n"
    shown.close()
    assert told() == ""


def test_without_a_terminal():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    assert ran.stderr.splitlines()[:3] == ["reading [x] ...", "reading [x] took 0:00", "training ..."]
    assert "step 3: [a note]" in ran.stderr and "\x1b" not in ran.stderr


def test_on_a_terminal():
    leader, follower = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "110"}
    child = subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=follower, stdout=subprocess.PIPE, env=env)
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert child.wait(60) == 0 and child.stdout.read() == b""
    text = shown.decode()
    for piece in ("reading [x]", "training", "100%", "loss 2.5", "words/s 12,345", "step 3: [a note]"):
        assert piece in text
