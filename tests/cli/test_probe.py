"""`malmoi probe`: what it hands on, what it shows, what it refuses."""

import inspect
import json

import pytest

ROW = {"layer": "0", "weights": "trained", "epochs": [3, 4], "dev": {"mean": 0.5, "half": 0.01, "seeds": [0.5, 0.5], "all": {}}}
MIX = {**ROW, "layer": "mix", "above_layer_0": {"mean": 0.125, "half": 0.02}, "mix": {"weights": [0.25, 0.75], "gamma": 1.5}}
ANSWER = {
    "task": "ud-pos",
    "metric": "accuracy",
    "compared_on": "dev",
    "rows": [ROW, MIX],
    "examples": {"train": 2000, "dev": 100, "test": 0},
    "limit": 2000,
    "seeds": 2,
    "head": "linear",
    "learned": True,
    "made": {"dev": "100 of the 2,100 examples for train"},
    "baselines": {"majority": {"said": "always NOUN", "scores": {"accuracy": 0.25}}},
    "out": "p",
}
ARGUMENTS = ["r", "ud-pos", "--data", "d", "--layer", "2", "--head", "crf", "--seeds", "2", "--set", "dropout=0.2", "--out", "p"]
ARGUMENTS += ["--limit", "2000", "--baselines", "--cache", "c", "--device", "cpu"]


@pytest.fixture
def probed(api):
    """The recording api, with the verb."""

    def probe(*positional, **named):
        api.calls.append((positional, named))
        return ANSWER

    api.probe = probe
    return api


def test_hands_on_its_arguments(probed, malmoi_command):
    ran = malmoi_command("probe", *ARGUMENTS)
    assert ran.status == 0
    [(positional, named)] = probed.calls
    named.pop("progress")
    assert positional == ("r", "ud-pos")
    assert named == {
        "data": "d",
        "layer": 2,
        "head": "crf",
        "seeds": 2,
        "settings": ["dropout=0.2"],
        "out": "p",
        "limit": 2000,
        "baselines": True,
        "cache": "c",
        "device": "cpu",
    }


def test_the_real_function_takes_them(probed, malmoi_command, monkeypatch):
    malmoi_command("probe", *ARGUMENTS)
    [(positional, named)] = probed.calls
    monkeypatch.undo()
    from malmoi import api

    inspect.signature(api.probe).bind(*positional, **named)


def test_says_when_nothing_is_learned(probed, malmoi_command, monkeypatch):
    cosines = {**ANSWER, "head": "cosine", "learned": False}
    monkeypatch.setattr(probed, "probe", lambda *positional, **named: cosines)
    out = malmoi_command("probe", "r", "korsts", "--data", "d", "--head", "cosine").out
    assert "; cosines of mean vectors, nothing is learned\n" in out and "seeds" not in out
    random = {**ROW, "weights": "random"}
    monkeypatch.setattr(probed, "probe", lambda *positional, **named: {**cosines, "rows": [ROW, random]})
    out = malmoi_command("probe", "r", "korsts", "--data", "d", "--head", "cosine", "--baselines").out
    assert "nothing is learned; random weights drawn 2 times\n" in out


def test_shows_a_table(probed, malmoi_command):
    out = malmoi_command("probe", "r", "ud-pos", "--data", "d").out
    assert "ud-pos: 2,000 train, 100 dev examples (at most 2,000 of each split: --limit); linear head, 2 seeds" in out
    assert "dev: 100 of the 2,100 examples for train" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["0", "0.5000", "±", "0.0100"] in lines and ["mix", "0.5000", "±", "0.0100", "+0.1250", "±", "0.0200"] in lines
    assert ["majority", "0.2500"] in lines and "mix weights  0: 0.250  1: 0.750  gamma: 1.50" in out and "written to p" in out


def test_json_is_one_object(probed, malmoi_command):
    assert json.loads(malmoi_command("probe", "r", "ud-pos", "--data", "d", "--json").out)["rows"][1]["mix"]["gamma"] == 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["r", "ud-po", "--data", "d"], "M151: there is no task named 'ud-po'; did you mean 'ud-pos'?"),
        (["r", "sst2", "--data", "d", "--set", "learning.epoch=3"], "did you mean 'learning.epochs'?"),
        (["nowhere", "sst2", "--data", "d"], "M010: nowhere does not exist"),
        (["r", "sst2"], "Missing option '--data'"),
        (["r", "sst2", "--data", "d", "--seeds", "0"], "--seeds"),
    ],
)
def test_refuses(arguments, message, malmoi_command):
    ran = malmoi_command("probe", *arguments)
    assert ran.status == 1 and message in ran.err.replace("\n", " "), ran.err


def test_help_has_an_example(malmoi_command):
    ran = malmoi_command("probe", "--help")
    assert ran.status == 0 and "Example: malmoi probe" in ran.out and "--layer" in ran.out
