"""Journals: plain JSON lines in which every changed bit is found, and half a last line is none."""

import json

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.core.journal import Journal, read_journal

FACTS = [{"step": step, "loss": 1.0 / step, "note": "말모이", "nested": {"list": [1, 2]}} for step in range(1, 5)]


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl", after=0)
    for facts in FACTS:
        journal.write(facts)
    journal.close()
    return tmp_path / "metrics.jsonl"


def test_it_reads_as_plain_json_lines(path):
    plain = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [{key: value for key, value in each.items() if key != "seal"} for each in plain] == FACTS == read_journal(path)


def test_every_flipped_bit_is_found(path):
    data = path.read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            with pytest.raises(MalmoiError, match=r"M131: .*metrics\.jsonl is damaged: line \d is not"):
                read_journal(path)


def test_missing_and_exchanged_lines_are_found(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    for chosen in ([0, 2, 3], [1, 2, 3], [0, 2, 1, 3], [0, 1, 1, 2, 3]):
        path.write_text("".join(lines[each] + "\n" for each in chosen), encoding="utf-8")
        with pytest.raises(MalmoiError, match="M131"):
            read_journal(path)


def test_every_torn_end_is_dropped(path):
    data = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert read_journal(path) == FACTS[: sum(end <= length for end in ends)]


def test_going_on_drops_later_and_half_lines(path):
    path.write_bytes(path.read_bytes() + b'{"step": 5, "lo')
    journal = Journal(path, after=2)
    journal.write({"step": 3, "loss": 0.5})
    journal.close()
    assert read_journal(path) == [*FACTS[:2], {"step": 3, "loss": 0.5}]


def test_a_line_in_the_middle_can_be_dropped(tmp_path):
    """Events after a rollback stand at an earlier step than those before it."""
    path = tmp_path / "events.jsonl"
    journal = Journal(path, after=0)
    for step in (3, 9, 5):
        journal.write({"step": step})
    journal.close()
    journal = Journal(path, after=6)
    journal.write({"step": 7})
    journal.close()
    assert [facts["step"] for facts in read_journal(path)] == [3, 5, 7]


def test_going_on_with_a_damaged_one_is_refused(path):
    path.write_text(path.read_text(encoding="utf-8").replace('"step": 2', '"step": 6'), encoding="utf-8")
    with pytest.raises(MalmoiError, match="M131"):
        Journal(path, after=9)
