"""Specs: JSON and flat text lose nothing, every field can be set by its path, and a slip of the pen names what was meant."""

import json
import re
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi import recipes
from malmoi.core.errors import MalmoiError, nearest
from malmoi.core.recipe import RunSpec
from malmoi.core.spec import flat, leaves, override, validate

BASE = RunSpec(name="base")

specs = st.builds(
    lambda name, settings: override(recipes.find(name), settings),
    st.sampled_from(recipes.names()),
    st.lists(
        st.one_of(
            st.integers(1, 10**6).map("model.width={}".format),
            st.floats(0, 0.99).map("model.dropout={!r}".format),
            st.sampled_from(["model.frontend.kind=token_embedding", "model.head.softmax.kind=full", "training.optimizer.kind=adamw"]),
            st.sampled_from(["model.head.softmax.kind=adaptive", 'model.backbone={"kind":"custom","build":"a:b","arguments":{"x":[1]}}']),
            st.sampled_from(["training.steps=7", "training.minutes=null", "characters.unit=jamo"]),
            st.lists(st.tuples(st.integers(1, 9), st.integers(1, 99)), min_size=1, max_size=3).map(
                lambda filters: "model.frontend=" + json.dumps({"kind": "character_cnn", "filters": filters})
            ),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(lambda text: "paper=" + json.dumps(text)),
        ),
        max_size=5,
    ),
)


def settings_of(text):
    """The settings that flat text stands for, read by a regular expression (an independent reader of the format)."""
    return [f"{path}={value}" for path, value in re.findall(r"(?m)^([\w.]+): (.*)$", text)]


@given(specs)
def test_json_loses_nothing(spec):
    assert validate(RunSpec, json.loads(spec.model_dump_json())) == spec


@given(specs)
def test_flat_text_loses_nothing(spec):
    kinds_first = sorted(settings_of(flat(spec)), key=lambda setting: not setting.split("=")[0].endswith("kind"))
    assert override(BASE, kinds_first) == spec


@given(specs)
def test_flat_has_one_line_a_leaf(spec):
    assert len(flat(spec).split("\n")) - 1 == len(list(leaves(spec))) == len({path for path, _ in leaves(spec)})


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("model.width=64", lambda spec: spec.model.width == 64),
        (" training.clip_norm = null ", lambda spec: spec.training.clip_norm is None),
        ("training.clip_norm=None", lambda spec: spec.training.clip_norm is None),
        ("model.head.tied=True", lambda spec: spec.model.head.tied is True),
        ("text.words=my.module:split", lambda spec: spec.text.words == "my.module:split"),
        ("name=a=b", lambda spec: spec.name == "a=b"),
        ("model.frontend.filters=[[1,8],[2,8]]", lambda spec: spec.model.frontend.filters == ((1, 8), (2, 8))),
    ],
)
def test_values(setting, found):
    assert found(override(BASE, [setting]))


def test_the_original_is_not_touched():
    before = BASE.model_dump_json()
    assert override(BASE, ["model.width=3"]) != BASE
    assert BASE.model_dump_json() == before
    with pytest.raises(ValueError, match="frozen"):
        BASE.seed = 3


def test_another_kind_starts_anew_and_takes_its_own_fields():
    spec = override(BASE, ["training.optimizer.kind=adamw", "training.optimizer.weight_decay=0.5"])
    assert (spec.training.optimizer.kind, spec.training.optimizer.weight_decay) == ("adamw", 0.5)
    with pytest.raises(MalmoiError, match="M002: training.optimizer.initial is not a field"):
        override(BASE, ["training.optimizer.kind=adamw", "training.optimizer.initial=1"])
    same = override(BASE, ["training.optimizer.initial=0.5", "training.optimizer.kind=adagrad"])
    assert same.training.optimizer.initial == 0.5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.wdith=3", "model.wdith is not a field; did you mean 'model.width'? next: `malmoi recipes elmo-x`"),
        ("modle.width=3", "modle.width is not a field; did you mean 'model.width'?"),
        ("model.backbone.mixer.cel=3", "did you mean 'model.backbone.mixer.cell'?"),
        ("model.width.size=3", "model.width.size is not a field"),
        ("model.width", "is not of the form path=value"),
        ("model.width=wide", "model.width does not fit: Input should be a valid integer"),
        ("model.width=-1", "model.width does not fit"),
        ("model.dropout=1.0", "model.dropout does not fit"),
        ("model.frontend.kind=chracter_cnn", "'character_cnn', 'token_embedding'"),
        ('model.head.softmax={"kind":"sampled","sample":3}', "model.head.softmax.sample is not a field"),
        ("characters.unit=byt", "characters.unit does not fit: Input should be 'byte'"),
    ],
)
def test_a_wrong_setting(setting, message):
    with pytest.raises(MalmoiError) as caught:
        override(BASE, [setting], shown="recipes elmo-x")
    assert caught.value.code == "M002" and message in str(caught.value) and "\n" not in str(caught.value)


def test_free_arguments_can_be_set_one_by_one():
    settings = ["model.backbone.kind=custom", "model.backbone.build=a:b", "model.backbone.arguments.x=1"]
    spec = override(BASE, settings)
    assert override(spec, ["model.backbone.arguments.y.z=[2]"]).model.backbone.arguments == {"x": 1, "y": {"z": [2]}}


@given(st.sampled_from([path for path, _ in leaves(BASE)]), st.data())
def test_a_slip_in_a_path_names_the_path(path, data):
    place = data.draw(st.integers(0, len(path) - 2))
    before, one, two, after = path[:place], path[place], path[place + 1], path[place + 2 :]
    slips = (before + two + after, before + two + one + after, before + "q" + one + two + after)
    slip = data.draw(st.sampled_from(slips))
    if slip in {leaf for leaf, _ in leaves(BASE)}:
        return
    hint = nearest(slip, [leaf for leaf, _ in leaves(BASE)])
    assert hint.startswith("; did you mean '")
    named = hint.split("'")[1]  # an equally close path may win, but never one that is further away
    assert SequenceMatcher(None, named, slip).ratio() >= SequenceMatcher(None, path, slip).ratio() - 1e-9


def test_nearest_says_nothing_when_nothing_is_near():
    assert nearest("zzz", ["model.width"]) == ""
