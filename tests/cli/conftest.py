"""An api that only records how it was called, so that the command can be tested without training."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

import malmoi
from malmoi.cli import main


def neighbour(text, word):
    return {"score": 0.5, "line": 6, "position": 1, "word": word, "text": text}


LONG = "words " * 20 + "[a] *shore* here " + "words " * 20
ANSWERS = {
    "quickstart": {
        "run": "runs/q",
        "evaluation": {"perplexity": 123.4567, "unigram_perplexity": 1034.2},
        "doctor": {"ok": True, "findings": []},
        "neighbours": {"queries": [{"text": "the *class* body", "neighbours": [neighbour("a *class* statement", "class")]}]},
        "next": ["malmoi doctor runs/q"],
    },
    "corpus": {"tokens": 12345, "unknown_rate": 0.25, "coverage": [[1000, 0.5], [2000, 0.75]]},
    "explain": {"id": "a:1", "sentences": ["It is kept, in train."], "text": "글 [b]\n둘", "characters": 70},
    "profile": {"profile": "plain", "steps": ["repair", "exact"], "fields": {"repair.broken": 0.5, "valid": 0.005}},
    "pretrain": {"run": "runs/a", "steps": 12, "perplexity": float("nan"), "stopped": "done"},
    "evaluate": {"perplexity": 19.256, "tokens": 139},
    "embed": {"lines": 3},
    "neighbours": {"queries": [{"text": "the *bank* of", "neighbours": [neighbour(LONG, "shore")]}]},
    "generate": {"run": "r", "prompt": "a [b]", "texts": ["a [b] c", "a [b] d"]},
    "doctor": {"ok": True, "findings": [{"code": "M060", "level": "info", "message": "12 [documents]", "next": ""}]},
    "import_": {"run": "runs/i"},
    "export": {"files": ["weights.hdf5"]},
}


@pytest.fixture
def api(monkeypatch):
    """`api.calls` collects (verb, positional, named); `api.answers[verb]` is what it returns, or raises when it is an exception."""
    fake = ModuleType("malmoi.api")
    fake.calls, fake.answers = [], dict(ANSWERS)

    def recorder(verb):
        def function(*positional, **named):
            fake.calls.append((verb, positional, named))
            result = fake.answers[verb]
            if isinstance(result, BaseException):
                raise result
            return result(named) if callable(result) else result

        return function

    for verb in ANSWERS:
        setattr(fake, verb, recorder(verb))
    monkeypatch.setitem(sys.modules, "malmoi.api", fake)
    monkeypatch.setattr(malmoi, "api", fake, raising=False)
    return fake


@pytest.fixture
def malmoi_command(capsys):
    """Run a command line in this process: `.status`, `.out`, `.err`."""

    def run(*arguments):
        status = main(arguments)
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out, err=captured.err)

    return run
