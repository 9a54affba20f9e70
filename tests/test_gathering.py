"""From a profile and its settings to the spec of a cleaning; which arguments go together."""

import sys
from types import ModuleType

import pytest

from malmoi import api
from malmoi.core.errors import MalmoiError
from malmoi.corpus.profiles import PROFILES, plain, web_ko
from malmoi.corpus.steps.spec import ExactSpec
from malmoi.gathering import KINDS, cleaning, settable


def kinds(spec):
    return [step.kind for step in spec.steps]


def test_without_settings_a_profile_is_what_its_function_says():
    assert [cleaning(name) for name in PROFILES] == [profile() for profile in PROFILES.values()]


def test_settings_change_one_field_each():
    spec = cleaning("web-ko", settings=["near.bands=20", "noise.news=true", "reading.document=line", "valid=0.01", "test=0"])
    usual = web_ko()
    changed = {path for path, value in settable(spec).items() if settable(usual)[path] != value}
    assert changed == {"near.bands", "noise.news", "reading.document", "valid", "test"} and kinds(spec) == kinds(usual)
    assert settable(spec)["near.bands"] == 20 and spec.reading.document == "line" and (spec.valid, spec.test) == (0.01, 0.0)


def test_every_field_that_is_shown_can_be_set_to_what_it_is():
    import json

    for name in PROFILES:
        fields = settable(cleaning(name))
        assert cleaning(name, settings=[f"{path}={json.dumps(value)}" for path, value in fields.items()]) == cleaning(name)


@pytest.mark.parametrize(
    ("profile", "setting", "expected"),
    [
        ("plain", "near.bands=20", ["repair", "normalize", "length", "exact", "near"]),
        ("plain", "noise.news=true", ["repair", "normalize", "length", "noise", "exact"]),
        ("plain", 'personal.types=["url"]', ["repair", "normalize", "length", "exact", "personal"]),
        ("plain", 'blocklist.words=["x"]', ["repair", "normalize", "length", "blocklist", "exact"]),
    ],
)
def test_a_step_that_the_profile_lacks_is_added_where_it_belongs(profile, setting, expected):
    assert kinds(cleaning(profile, settings=[setting])) == expected


def test_global_steps_come_before_personal_data_is_masked(monkeypatch):
    module = ModuleType("own_profiles")
    module.mine = lambda: plain().model_copy(update={"steps": tuple(s for s in web_ko().steps if s.kind in ("repair", "personal"))})
    monkeypatch.setitem(sys.modules, "own_profiles", module)
    assert kinds(cleaning("own_profiles:mine", settings=["near.bands=3", "length.words=2"])) == ["repair", "length", "near", "personal"]


def test_evaluation_sets_and_samples_are_steps_before_the_global_ones(tmp_path):
    for name in ("a.txt", "b.txt", "good.txt", "bad.txt"):
        (tmp_path / name).write_text("글\n", encoding="utf-8")
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    spec = cleaning("web-ko", decontaminate=files, good=tmp_path / "good.txt", bad=tmp_path / "bad.txt", settings=["decontaminate.ngram=5"])
    steps = {step.kind: step for step in spec.steps}
    assert steps["decontaminate"].files == tuple(map(str, files)) and steps["decontaminate"].ngram == 5
    assert (steps["quality"].good, steps["quality"].bad) == (str(tmp_path / "good.txt"), str(tmp_path / "bad.txt"))
    order = kinds(spec)
    assert order.index("length") < order.index("quality") < order.index("exact") > order.index("decontaminate")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("naer.bands=3", "naer.bands is not a field; did you mean 'near.bands'?"),
        ("near.bandz=3", "near.bandz is not a field; did you mean 'near.bands'?"),
        ("near.bands=0", "near.bands does not fit"),
        ("near.bands=many", "near.bands does not fit"),
        ("near=3", "near is not a field"),
        ("valid=1", "valid does not fit"),
        ("valid.x=1", "valid.x is not a field"),
        ("vald=0.1", "vald is not a field; did you mean 'valid'?"),
        ("reading.documnt=line", "did you mean 'reading.document'?"),
        ("reading.document=page", "reading.document does not fit"),
        ("near.bands", "--set 'near.bands' is not of the form path=value"),
        ("near.kind=exact", "near.kind does not fit"),
        ("test=0.999", "nothing would be left to train on"),
    ],
)
def test_a_wrong_setting_names_the_nearest_and_says_where_all_are_shown(setting, message):
    with pytest.raises(MalmoiError) as caught:
        cleaning("web-ko", settings=[setting])
    assert caught.value.code == "M002" and message in str(caught.value)
    assert "`malmoi corpus --profile web-ko` shows every field" in caught.value.next


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "web-k"}, "did you mean 'web-ko'?"),
        ({"profile": "os:getcwd"}, "it returns str"),
        ({"profile": "plain", "words": "kiwi"}, "--words is 'kiwi', but with --profile nothing is counted"),
        ({"profile": "plain", "subwords": "bpe"}, "--subwords is 'bpe'"),
        ({"settings": ["valid=0.1"]}, "--set is 'valid=0.1', but without --profile nothing is cleaned"),
        ({"workers": 2}, "--workers is 2"),
        ({"good": "a.txt"}, "--good is 'a.txt', but without --profile"),
        ({"profile": "plain", "address": "h:1"}, "only Ray has addresses"),
        ({"profile": "plain", "engine": "rey", "address": "h:1"}, "there is no such engine; did you mean 'ray'?"),
        ({"profile": "plain", "bad": "a.txt"}, "give --good FILE too"),
        ({"profile": "plain", "decontaminate": ["no.txt"]}, "M010: no.txt does not exist"),
        ({"profile": "plain", "good": "no.txt", "bad": "no.txt"}, "M010: no.txt does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(arguments, message, tmp_path):
    (tmp_path / "a.txt").write_text("글 하나\n", encoding="utf-8")
    with pytest.raises(MalmoiError) as caught:
        api.corpus([tmp_path / "a.txt"], out=tmp_path / "out", **arguments)
    assert message in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["texts", "texts/out", "texts/../texts/deep/out"])
def test_what_is_written_does_not_lie_in_what_is_read(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("글 하나\n", encoding="utf-8")
    with pytest.raises(MalmoiError, match="M009: --out .* lies in the source texts"):
        api.corpus(["texts"], out=out, profile="plain")
    assert [path.name for path in (tmp_path / "texts").iterdir()] == ["a.txt"]


def test_a_profile_is_described_by_what_can_be_set():
    found = api.profile("plain", settings=["valid=0.1"])
    assert found["steps"] == ["repair", "normalize", "length", "exact"] and found["fields"]["valid"] == 0.1
    assert list(found["fields"])[0] == "reading.document" and "normalize.repeats" in found["fields"]


def test_every_step_can_be_set():
    assert "exact" in KINDS and KINDS["exact"] is ExactSpec and len(KINDS) >= 15


def test_a_cleaning_answers_with_its_page_and_what_is_next(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"content": "글 하나 둘"}\n' * 5, encoding="utf-8")
    wrong = api.corpus([tmp_path / "a.jsonl"], out=tmp_path / "wrong", profile="plain")
    assert wrong["kept"] == 0 and "5 could not be read" in wrong["next"][0] and "'content'" in wrong["next"][0]
    assert "reading.field=NAME" in wrong["next"][0] and "nothing is kept" in wrong["next"][1]
    right = api.corpus([tmp_path / "a.jsonl"], out=tmp_path / "right", profile="plain", settings=["reading.field=content"])
    assert right["kept"] == 1 and right["next"][0] == f"malmoi doctor {tmp_path / 'right'}"
    assert (tmp_path / "right" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>") and right["page"].endswith(
        ".html"
    )
    assert api.explain("a.jsonl:2", out=tmp_path / "right")["duplicate_of"] == "a.jsonl:1"
