"""`malmoi corpus` with a profile: what it hands on, what it refuses, how it answers."""

import json

import pytest

from malmoi.corpus.report.tally import Tally


@pytest.fixture
def report():
    tally = Tally(["read", "length", "near"])
    read, length, near = tally.steps.values()
    read.before, read.after = [2000, 90_000, 9000], [1990, 89_000, 8900]
    length.before, length.after, length.changed = [1990, 89_000, 8900], [1500, 80_000, 8000], 7
    near.before, near.after = [1500, 80_000, 8000], [1234, 70_000, 7000]
    length.reasons = {"short": [400, 9000], "few_words": [90, 100]}
    near.reasons = {"near_duplicate": [266, 10_000]}
    read.reasons = {"charset": [10, 1000]}
    tally.splits = {"train": [1200, 1, 1], "valid": [20, 1, 1], "test": [14, 1, 1]}
    facts = {"corpus": "c", "page": "c/report.html", "documents": 2000, "kept": 1234, "next": ["malmoi doctor c"]}
    return {**facts, **tally.json()}


def test_every_option_of_a_cleaning_is_handed_on(api, report, malmoi_command):
    api.answers["corpus"] = report
    options = ["--profile", "web-ko", "--set", "near.bands=20", "--set", "valid=0.01", "--document", "line", "--extractor", "precise"]
    options += ["--decontaminate", "x.tsv", "y.json", "--good", "g", "--bad", "b", "--workers", "3", "--engine", "ray", "--address", "h:1"]
    ran = malmoi_command("corpus", "a.txt", "pages/", "--out", "c", *options)
    assert ran.status == 0, ran.err
    [(_, positional, named)] = api.calls
    named.pop("progress")
    assert positional == (["a.txt", "pages/"],)
    assert named == {
        "out": "c",
        "document": "line",
        "words": None,
        "subwords": None,
        "size": None,
        "profile": "web-ko",
        "settings": ["near.bands=20", "valid=0.01"],
        "extractor": "precise",
        "decontaminate": ["x.tsv", "y.json"],
        "good": "g",
        "bad": "b",
        "workers": 3,
        "engine": "ray",
        "address": "h:1",
    }


def test_the_answer_is_a_funnel_with_reasons_and_the_page(api, report, malmoi_command):
    api.answers["corpus"] = report
    ran = malmoi_command("corpus", "a.txt", "--out", "c", "--profile", "plain")
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["step", "documents", "removed", "changed", "characters"] in lines
    assert ["read", "1,990", "99.5%", "10", "-", "89k", "98.9%"] in lines
    assert ["length", "1,500", "75.0%", "490", "7", "80k", "88.9%"] in lines
    assert ["near", "1,234", "61.7%", "266", "-", "70k", "77.8%"] in lines
    reasons = [line for line in ran.out.splitlines() if ":" in line and line.startswith("  ")]
    assert [line.split(maxsplit=1) for line in reasons] == [
        ["400", "length: short"],
        ["266", "near: near duplicate"],
        ["90", "length: few words"],
        ["10", "read: charset"],
    ]
    assert "kept 1,234 of 2,000 documents (61.7%): train 1,200, valid 20, test 14" in ran.out
    assert ran.out.endswith("look at c/report.html\nnext: malmoi doctor c\n")


def test_json_is_the_whole_report(api, report, malmoi_command):
    api.answers["corpus"] = report
    assert json.loads(malmoi_command("corpus", "a.txt", "--out", "c", "--profile", "plain", "--json").out) == report


def test_a_corpus_of_which_nothing_is_left_is_a_failure(api, report, malmoi_command):
    api.answers["corpus"] = {**report, "kept": 0, "next": ["nothing is kept"]}
    ran = malmoi_command("corpus", "a.txt", "--out", "c", "--profile", "plain")
    assert ran.status == 1 and "next: nothing is kept" in ran.out


def test_a_profile_alone_is_shown(api, malmoi_command):
    ran = malmoi_command("corpus", "--profile", "plain", "--set", "valid=0.1")
    assert ran.status == 0 and ran.out == "steps: repair, exact\nrepair.broken=0.5\nvalid=0.005\n"
    assert api.calls == [("profile", ("plain",), {"settings": ["valid=0.1"]})]


def test_the_story_of_a_document(api, malmoi_command):
    ran = malmoi_command("corpus", "--explain", "a:1", "--out", "c")
    assert ran.out == "a:1\n  It is kept, in train.\n\n    글 [b]\n    둘…\n"
    assert api.calls == [("explain", ("a:1",), {"out": "c"})]
    assert json.loads(malmoi_command("corpus", "--explain", "a:1", "--out", "c", "--json").out)["id"] == "a:1"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--out", "c"], "'SOURCE...' is missing"),
        (["a.txt"], "'--out' is missing"),
        (["a.txt", "--profile", "plain"], "'--out' is missing"),
        (["--explain", "a:1"], "'--out' is missing"),
        (["--explain", "a:1", "--out", "c", "--profile", "plain", "--workers", "2"], "without --profile, --workers"),
        (["--explain", "a:1", "--out", "c", "a.txt"], "without SOURCE"),
        (["--profile", "plain", "--workers", "2"], "without --workers"),
        (["a.txt", "--out", "c", "--engine", "rai"], "'rai' is not one of 'local', 'ray'"),
        (["a.txt", "--out", "c", "--workers", "0"], "greater than or equal to 1"),
        (["a.txt", "--out", "c", "--profil", "plain"], "did you mean '--profile'?"),
    ],
)
def test_a_wrong_command_line(arguments, problem, api, malmoi_command):
    ran = malmoi_command("corpus", *arguments)
    assert ran.status == 1 and ran.err.startswith("malmoi: M098: ") and problem in ran.err and api.calls == []
