"""The command as a process: how fast it starts, closed pipes, odd encodings, signals, files in the current directory."""

import json
import os
import resource
import signal
import subprocess
import sys

COMMAND = [sys.executable, "-c", "import sys; from malmoi.cli import main; sys.exit(main())"]


def run(*arguments, **named):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, encoding="utf-8", timeout=180, **named)


def test_help_and_recipes_never_import_torch():
    code = """
import sys
from malmoi.cli import main
main(["--help"]), main(["recipes"]), main(["recipes", "elmo-tiny", "--json"]), main(["pretrain", "--help"])
sys.exit(" ".join({"torch", "numpy", "pyarrow"} & set(sys.modules)) or None)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_recipes_is_quick():
    """Processor time, since the wall clock measures the neighbours: 0.4 s on a quiet machine, several seconds if torch were imported."""

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("recipes").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 1.0


def test_a_closed_pipe_is_silent():
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # with a buffer there is a last flush at exit
    reader = subprocess.Popen([*COMMAND, "recipes", "elmo-tiny"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    reader.stdout.close()
    assert reader.stderr.read() == b""
    assert reader.wait(60) == 141


def test_names_outside_the_encoding_of_the_terminal():
    ran = run("recipes", "말모이", "--json", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 1
    assert "말모이" in json.loads(ran.stdout)["error"]["message"] and "M001" in ran.stderr


def from_directory(path):
    """Arguments of subprocess that run the command in `path`, where `malmoi` is found as an installed package is."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(part) for part in sys.path if part), "PYTHONSAFEPATH": "1"}
    return {"cwd": path, "env": env, "text": True}


def test_a_recipe_in_the_current_directory(tmp_path):
    (tmp_path / "pydantic.py").write_text("raise SystemExit('a file of the user hides an installed module')")
    (tmp_path / "mine.py").write_text("from malmoi.recipes.elmo import elmo_tiny as small\n")
    ran = subprocess.run([*COMMAND, "recipes", "mine:small"], capture_output=True, timeout=180, **from_directory(tmp_path))
    assert ran.returncode == 0 and ran.stdout.startswith('name: "elmo-tiny"')


def test_ctrl_c(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ndef recipe():\n    print('ready', flush=True)\n    time.sleep(60)\n")
    command = [*COMMAND, "recipes", "slow:recipe"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **from_directory(tmp_path))
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=180)
    assert child.returncode == 130 and err == "malmoi: interrupted\n"
