"""Artifacts: whole or absent, whatever happens while they are written; a changed file is refused by name."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.core import artifact
from malmoi.core.errors import MalmoiError


def write(directory, number, *, fail=False):
    with artifact.writing(directory, "thing") as (temporary, fields):
        (temporary / "a.txt").write_text(str(number))
        (temporary / "sub").mkdir()
        (temporary / "sub" / "b.bin").write_bytes(bytes([number % 256]) * 1000)
        fields["number"] = number
        if fail:
            raise RuntimeError("in the middle")


def test_what_was_written_is_verified(tmp_path):
    write(tmp_path / "deep" / "thing", 3)
    manifest = artifact.verify(tmp_path / "deep" / "thing", "thing")
    assert manifest["number"] == 3 and manifest["versions"]["torch"]
    assert {name: facts["bytes"] for name, facts in manifest["files"].items()} == {"a.txt": 1, "sub/b.bin": 1000}
    # sha256 of "3", from coreutils
    assert manifest["files"]["a.txt"]["sha256"] == "4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce"


def test_an_exception_leaves_the_old_state(tmp_path):
    with pytest.raises(RuntimeError):
        write(tmp_path / "thing", 1, fail=True)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "thing", 1)
    with pytest.raises(RuntimeError):
        write(tmp_path / "thing", 2, fail=True)
    assert artifact.verify(tmp_path / "thing", "thing")["number"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_it_can_be_replaced(tmp_path):
    for number in (1, 2):
        write(tmp_path / "thing", number)
    assert artifact.verify(tmp_path / "thing", "thing")["number"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


@pytest.mark.parametrize(
    ("harm", "code", "name"),
    [
        (lambda thing: (thing / "sub" / "b.bin").write_bytes(b"\3" * 999 + b"\2"), "M020", "b.bin"),
        (lambda thing: (thing / "a.txt").unlink(), "M021", "a.txt"),
        (lambda thing: (thing / "manifest.json").unlink(), "M006", "manifest.json"),
        (lambda thing: (thing / "manifest.json").write_text('{"kind": "thi'), "M006", "not JSON"),
        (lambda thing: (thing / "manifest.json").write_text('{"kind": "thing"}'), "M006", "has changed since"),
        (lambda thing: artifact.seal(thing / "manifest.json", {"kind": "vocabulary"}), "M007", "is not 'thing': it is a vocabulary"),
    ],
)
def test_damage_is_named(harm, code, name, tmp_path):
    write(tmp_path / "thing", 3)
    harm(tmp_path / "thing")
    with pytest.raises(MalmoiError, match=f"{code}: .*{name}.* next: train it again"):
        artifact.verify(tmp_path / "thing", "thing", next="train it again.")


def test_a_path_that_is_not_there_is_told_with_its_neighbour(tmp_path):
    write(tmp_path / "deep" / "thing", 3)
    artifact.refuse_absent(tmp_path / "deep" / "thing")
    with pytest.raises(MalmoiError, match="M010: .*deep/thng does not exist; did you mean 'thing'?"):
        artifact.refuse_absent(tmp_path / "deep" / "thng")
    with pytest.raises(MalmoiError, match="M010: .*dep/thing does not exist, because .*dep does not; did you mean 'deep'?"):
        artifact.refuse_absent(tmp_path / "dep" / "thing")


def test_the_kind_of_what_is_there(tmp_path):
    write(tmp_path / "thing", 3)
    assert artifact.kind_at(tmp_path / "thing") == "thing" and artifact.kind_at(tmp_path) is None
    (tmp_path / "thing" / "manifest.json").write_text("[")
    assert artifact.kind_at(tmp_path / "thing") is None and artifact.kind_at(tmp_path / "thing" / "a.txt") is None


def test_write_text_replaces_whole(tmp_path):
    path = tmp_path / "말모이.json"
    artifact.write_json(path, {"말": 1})
    artifact.write_json(path, {"말": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"말": 2} and len(list(tmp_path.iterdir())) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=10,
)


@given(json_values, json_values)
def test_fingerprint_is_that_of_the_value(one, other):
    again = json.loads(json.dumps(one))
    assert artifact.fingerprint(one) == artifact.fingerprint(again)
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (artifact.fingerprint(one) == artifact.fingerprint(other)) == same


WRITER = """
import sys
from pathlib import Path
from malmoi.core import artifact
number = 0
while True:
    number += 1
    with artifact.writing(Path(sys.argv[1]), "thing") as (temporary, fields):
        for name in ("a", "b", "c"):
            (temporary / name).write_text(str(number) * 2000)
        fields["number"] = number
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_it_whole_or_absent(tmp_path):
    thing, moments = tmp_path / "thing", random.Random(0)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(part) for part in sys.path if part)}
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, thing], stdout=subprocess.PIPE, env=env)
        assert writer.stdout.readline() == b"1\n"
        time.sleep(moments.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        if thing.exists():
            number = artifact.verify(thing, "thing")["number"]
            assert {(thing / name).read_text() for name in "abc"} == {str(number) * 2000}
    write(thing, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["thing"], "what killed writers left behind is swept away"


def test_a_writer_that_lives_is_left_alone(tmp_path):
    other = tmp_path / f".other.{os.getppid()}.malmoi-new"
    other.mkdir()
    (tmp_path / ".other.999999999.tmp").mkdir()  # not ours
    write(tmp_path / "thing", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".other.999999999.tmp", other.name, "thing"])


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    write(tmp_path / "thing", 1)
    os.replace(tmp_path / "thing", tmp_path / f".thing.{dead_process()}.malmoi-old")
    with pytest.raises(RuntimeError):
        write(tmp_path / "thing", 2, fail=True)
    assert artifact.verify(tmp_path / "thing", "thing")["number"] == 1


def dead_process():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid
