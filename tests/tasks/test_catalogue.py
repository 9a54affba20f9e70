"""The catalogue and its page say the same; every task can be read, scored and handed in."""

import re
from pathlib import Path

import pytest

from malmoi.core.errors import MalmoiError
from malmoi.tasks import TASKS, find_task
from malmoi.tasks.formats.reader import Reader

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


def test_the_page_lists_every_task_as_it_is():
    rows = re.findall(r"(?m)^\| `([\w-]+)` \| (\w+) \| (\w+) \| (\w+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"))
    assert rows == [(task.name, task.kind, task.language, task.main, task.paper) for task in TASKS.values()]


def test_every_task_is_entered_whole():
    for name, task in TASKS.items():
        assert name == task.name and task.write is not None and len(set(task.labels)) == len(task.labels)
        if isinstance(task.read, Reader):
            assert task.read.task == name and set(task.read.names) <= {"train", "dev", "test"}
            for pattern in task.read.names.values():
                re.compile(pattern)
            assert len(set(task.read.names.values())) == len(task.read.names)  # no file serves for two splits
            known = getattr(task.read.parse, "labels", task.labels)
            assert set(known) == set(task.labels)  # those that are read are those that are learned


def test_a_wrong_name_is_told_the_nearest():
    with pytest.raises(MalmoiError, match="M151: there is no task named 'klue-nil'; did you mean 'klue-nli'"):
        find_task("klue-nil")
