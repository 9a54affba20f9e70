"""Recipes: found by name or as module:function, and the original number for number."""

import json
from pathlib import Path

import pytest

from malmoi import recipes
from malmoi.core.errors import MalmoiError
from malmoi.core.recipe import RunSpec
from malmoi.core.spec import validate


@pytest.mark.parametrize("name", recipes.names())
def test_each_recipe_carries_its_name_paper_and_command(name):
    about = recipes.describe(name)
    assert about["spec"]["name"] == name
    assert f"malmoi pretrain {name} " in about["about"] and "Paper: " in about["about"]
    assert about["paper"] and len(about["summary"]) <= 140
    assert validate(RunSpec, json.loads(json.dumps(about["spec"]))) == recipes.find(name)


@pytest.mark.parametrize("name", recipes.names())
def test_exactly_one_thing_ends_a_run(name):
    training = recipes.find(name).training
    assert [training.steps, training.tokens, training.minutes, training.epochs].count(None) == 3


def test_unknown_name_names_the_nearest():
    with pytest.raises(MalmoiError, match=r"M001: .*'elmo-smal'; did you mean 'elmo-small'\?.*malmoi recipes"):
        recipes.find("elmo-smal")


def test_a_recipe_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_recipes.py").write_text(
        "from malmoi.recipes.elmo import elmo_tiny\ndef mine():\n    return elmo_tiny().model_copy(update={'name': 'mine'})\n"
        "def wrong():\n    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert recipes.find("my_recipes:mine").name == "mine"
    for reference, problem in {
        "my_recipes:wrong": "returns int",
        "my_recipes:mne": "did you mean 'mine'",
        "my_recipe:mine": "ModuleNotFoundError",
        "my_recipes:": "not of the form module:function",
    }.items():
        with pytest.raises(MalmoiError, match=f"M009: .*{problem}"):
            recipes.find(reference)


def test_original_is_that_of_the_released_options(shared: Path):
    """The toy fixture shares with the released model all that is not size; the sizes stand in the paper and in train_elmo.py."""
    options = json.loads((shared / "fixtures/elmo/bilm-tf/model/options.json").read_text())
    spec = recipes.find("elmo-original")
    lstm = spec.model.backbone.mixer
    assert (lstm.cell_clip, lstm.projection_clip) == (options["lstm"]["cell_clip"], options["lstm"]["proj_clip"])
    assert spec.characters.length == options["char_cnn"]["max_characters_per_token"]
    assert spec.model.frontend.activation == options["char_cnn"]["activation"]
    assert spec.model.frontend.highway == options["char_cnn"]["n_highway"]
    assert sum(count for _, count in spec.model.frontend.filters) == 2048
    assert (lstm.cell, spec.model.width, spec.model.head.size) == (4096, 512, 793_471)
    # bilm-tf: 3 GPUs x 128 rows x 20 words a step and direction
    assert spec.stream.streams * spec.stream.window == 3 * 128 * 20
    assert spec.training.loss_scale == spec.stream.window


def test_medium_differs_from_the_original_only_in_size():
    original, medium = recipes.find("elmo-original"), recipes.find("elmo-medium")
    assert medium.model_copy(update={"name": original.name, "model": original.model}) == original
    assert medium.model.backbone.mixer.model_copy(update={"cell": 4096}) == original.model.backbone.mixer
    assert medium.model.frontend.model_copy(update={"highway": 2}) == original.model.frontend
