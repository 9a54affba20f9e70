"""Each verb calls the function of its name with its arguments, and answers in text or as one JSON object."""

import inspect
import json
import sys

import pytest

NONE = ("profile", "extractor", "good", "bad", "workers", "engine", "address")
COUNTS = {**dict.fromkeys(NONE), "settings": (), "decontaminate": ()}
"""What `corpus` is given beside its own options when it only counts."""

RUNS = {
    "quickstart": (["--out", "runs/q", "--minutes", "0.5"], ("runs/q",), {"minutes": 0.5}),
    "corpus": (
        ["a.txt", "b.txt", "--out", "c", "--document", "line", "--subwords", "bpe", "--size", "500"],
        (["a.txt", "b.txt"],),
        {"out": "c", "document": "line", "words": None, "subwords": "bpe", "size": 500, **COUNTS},
    ),
    "pretrain": (
        ["elmo-tiny", "--corpus", "a.txt", "b.txt", "--out", "r", "--valid", "v.txt", "--steps", "5", "--set", "model.width=8"]
        + ["--set", "seed=3", "--document", "line", "--seed", "7", "--device", "cpu", "--resume", "--allow-unknown", "--dry-run"],
        ("elmo-tiny",),
        {
            "corpus": ["a.txt", "b.txt"],
            "pairs": (),
            "out": "r",
            "valid": ["v.txt"],
            "minutes": None,
            "steps": 5,
            "tokens": None,
            "settings": ["text.document=line", "model.width=8", "seed=3"],
            "seed": 7,
            "device": "cpu",
            "resume": True,
            "allow_unknown": True,
            "shard": False,
            "deterministic": False,
            "dry_run": True,
        },
    ),
    "evaluate": (
        ["r", "--on", "a.txt", "b.txt", "--state", "warm", "--batch-tokens", "64", "--device", "cpu"],
        ("r",),
        {"on": ["a.txt", "b.txt"], "pairs": (), "state": "warm", "batch_tokens": 64, "document": None, "device": "cpu"},
    ),
    "embed": (
        ["r", "--input", "i.txt", "--output", "o.npz", "--layer", "1", "--pool", "mean", "--state", "compat", "--batch-size", "3"],
        ("r",),
        {"input": "i.txt", "output": "o.npz", "layer": 1, "pool": "mean", "state": "compat", "batch_size": 3, "device": "auto"},
    ),
    "neighbours": (
        ["r", "a *b*", "*c* d", "--among", "f.txt", "--count", "2", "--layer", "mix", "--same-word"],
        ("r",),
        {"texts": ["a *b*", "*c* d"], "among": "f.txt", "count": 2, "layer": "mix", "same_word": True, "device": "auto"},
    ),
    "generate": (
        ["r", "a b", "--source", "x", "--tokens", "5", "--temperature", "0.5", "--top-k", "3", "--top-p", "0.9", "--greedy"]
        + ["--beam", "2", "--seed", "7", "--count", "2", "--device", "cpu"],
        ("r", "a b"),
        {"source": "x", "tokens": 5, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "greedy": True, "beam": 2, "seed": 7, "count": 2}
        | {"device": "cpu"},
    ),
    "doctor": (["r"], ("r",), {}),
    "import": (["allennlp", "o.json", "w.hdf5", "--out", "r"], ("allennlp",), {"paths": ["o.json", "w.hdf5"], "out": "r"}),
    "export": (["r", "allennlp", "--out", "d"], ("r",), {"format": "allennlp", "out": "d"}),
}


def function_name(verb):
    return "import_" if verb == "import" else verb


@pytest.mark.parametrize("verb", RUNS)
def test_verb_calls_the_function_of_its_name(verb, api, malmoi_command):
    arguments, positional, named = RUNS[verb]
    ran = malmoi_command(verb, *arguments)
    assert (ran.status, ran.err.replace("\n", "")) == (0, "")
    [(called, found_positional, found_named)] = api.calls
    found_named.pop("progress", None)
    assert (called, found_positional, found_named) == (function_name(verb), positional, named)


@pytest.mark.parametrize("verb", RUNS)
def test_json_is_one_object_alone(verb, api, malmoi_command):
    name = function_name(verb)
    before = api.answers[name]
    api.answers[name] = lambda named: sys.stdout.write("chatter of a library\n") and before
    ran = malmoi_command(verb, *RUNS[verb][0], "--json")
    assert ran.status == 0
    assert isinstance(json.loads(ran.out, parse_constant=pytest.fail), dict)
    assert ran.out.count("\n") == 1 and "chatter" in ran.err


@pytest.mark.parametrize("verb", RUNS)
def test_the_real_functions_take_these_arguments(verb, request):
    from malmoi import api as real

    api = request.getfixturevalue("api")
    request.getfixturevalue("malmoi_command")(verb, *RUNS[verb][0])
    [(name, positional, named)] = api.calls
    inspect.signature(getattr(real, name)).bind(*positional, **named)


def test_without_options_the_defaults_of_the_functions_hold(api, malmoi_command):
    malmoi_command("embed", "r", "--input", "i", "--output", "o.npz")
    malmoi_command("evaluate", "r", "--on", "x")
    (_, _, embed), (_, _, evaluate) = api.calls
    assert "batch_size" not in embed and "batch_tokens" not in evaluate


def test_text_answers(api, malmoi_command):
    assert "perplexity  19.26\ntokens      139\n" in malmoi_command("evaluate", "r", "--on", "x").out
    corpus = malmoi_command("corpus", "x", "--out", "c").out
    assert "12,345" in corpus and "1,000: 0.5  2,000: 0.75" in corpus
    neighbours = malmoi_command("neighbours", "r", "the *bank* of", "--among", "f").out
    first, second = neighbours.splitlines()
    assert first == "the *bank* of" and second.startswith("   0.500  7: ... words words") and second.endswith(" words ...")
    assert " [a] *shore* here " in second and len(second) < 160
    assert malmoi_command("generate", "r", "a [b]").out == "a [b] c\n---\na [b] d\n"
    quickstart = malmoi_command("quickstart").out
    for piece in ("123.5", "1034", "healthy", "a *class* statement", "next: malmoi doctor runs/q"):
        assert piece in quickstart


def test_doctor_fails_on_an_error_and_shows_the_worst_first(api, malmoi_command):
    finding = {"code": "M060", "message": "a [thing]", "next": "do this."}
    api.answers["doctor"] = {"ok": False, "findings": [finding | {"level": level} for level in ("info", "error", "warning")]}
    ran = malmoi_command("doctor", "r")
    assert ran.status == 1 and ran.err == ""
    assert [line[0] for line in ran.out.splitlines() if "M060" in line] == ["✗", "!", "✓"]
    assert "a [thing]" in ran.out and ran.out.count("next: do this.") == 2 and "1 error, 1 warning" in ran.out
    ran = malmoi_command("doctor", "r", "--json")
    assert ran.status == 1 and json.loads(ran.out)["ok"] is False


@pytest.mark.parametrize(("signal", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_run_says_how_to_go_on(signal, status, api, malmoi_command):
    api.answers["pretrain"] = {"stopped": signal, "next": ["the same command with --resume goes on"]}
    ran = malmoi_command("pretrain", "elmo-tiny", "--corpus", "a", "--out", "r")
    assert ran.status == status and "next: the same command with --resume goes on\n" in ran.out and signal in ran.out


def test_json_has_no_nan(api, malmoi_command):
    assert json.loads(malmoi_command("pretrain", "elmo-tiny", "--corpus", "a", "--out", "r", "--json").out)["perplexity"] is None
