from __future__ import annotations

import subprocess
import sys
from itertools import islice

import pytest

from malmoi.corpus.reading.builtin import builtin_documents, docstrings, prose

SOURCE = b'''
"""Of the module."""
class A:
    """Of the class."""
    def f(self):
        """Of the method."""
        def g(): "Of a function in it."
        x = "not documentation"
add_docstr(A.f, """
first line
second line
""" + more)
'''


def test_docstrings_at_any_depth_and_in_calls() -> None:
    found = dict(docstrings(SOURCE))
    assert found == {
        "": "Of the module.", "A": "Of the class.", "A.f": "Of the method.", "A.f.g": "Of a function in it.",
        "@9": "\nfirst line\nsecond line\n",
    }  # fmt: skip
    assert list(docstrings(b"def (")) == [] == list(docstrings(b"\0"))


def test_prose_is_kept_and_code_is_not() -> None:
    text = """Read the ``next`` line, as :func:`~io.open` does.

        It goes on
        over lines.

        Parameters
        ----------

        >>> read(x)
        'y'

        .. note:: hidden
        x = f(a[0])**2 + {1: 2}
    """
    assert prose(text) == "Read the next line, as io.open does.\nIt goes on over lines.\nParameters"


def test_the_order_is_the_same_in_another_process_and_nothing_is_imported() -> None:
    code = (
        "import sys, itertools, hashlib; from malmoi.corpus.reading.builtin import builtin_documents; before = set(sys.modules)\n"
        "ids = [(d.id, d.text) for d in itertools.islice(builtin_documents(), 400)]\n"
        "print(hashlib.sha256(repr(ids).encode()).hexdigest(), sorted(set(sys.modules) - before - {'pydoc_data', 'pydoc_data.topics'}))"
    )
    outputs = set()
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-c", code]
        outputs.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert len(outputs) == 1 and outputs.pop().endswith(" []\n")


def test_documents_are_distinct_and_have_words() -> None:
    documents = list(islice(builtin_documents(), 1500))
    assert len({document.text for document in documents}) == 1500 == len(documents)
    assert min(len(document.text.split()) for document in documents) >= 6
    assert documents[0].id.startswith("topics:")


@pytest.mark.slow
def test_there_is_enough_of_it() -> None:
    documents = list(builtin_documents())
    size = sum(len(document.text.encode()) for document in documents)
    assert 3_000_000 < size < 7_000_000
    for word in ("class", "string", "key", "return"):
        assert sum(word in document.text.split() for document in documents) > 100
