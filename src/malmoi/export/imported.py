"""A run directory made from someone else's checkpoint: step 0, the three marks as vocabulary, and no head."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from malmoi.core.artifact import write_json, write_text, writing
from malmoi.export.allennlp import KEPT
from malmoi.export.allennlp import Checkpoint as Read
from malmoi.export.layout import CHARACTERS
from malmoi.objectives import BiLM, build
from malmoi.train import checkpoint
from malmoi.vocab import Vocabulary

MARKS = 3


def objective_of(read: Read) -> BiLM:
    """The biLM with the weights that were read, in evaluation mode.

    Its head is a stand-in, fresh weights for the three marks: gradients pass, so that the checks for leaks can be made, but its
    likelihoods mean nothing.
    """
    objective = build(read.spec, words=MARKS, characters=CHARACTERS)
    missing = objective.load_state_dict(read.state, strict=False)
    strange = [name for name in missing.missing_keys if ".heads." not in name and not name.startswith("backward_model.frontend.")]
    assert not missing.unexpected_keys and not strange, (missing.unexpected_keys, strange)
    return objective.eval()


def write_run(out: Path, read: Read) -> Path:
    """spec.json, metrics.jsonl, vocab/, checkpoints/step-00000000/, and `head: false` in the manifest, whole or not at all."""
    objective = objective_of(read)
    with writing(out, "run") as (temporary, fields):
        write_json(temporary / "spec.json", read.spec.model_dump(mode="json"))
        write_text(temporary / "metrics.jsonl", "")
        write_json(temporary / KEPT, {"options": read.options, "dropped": list(read.dropped)})
        Vocabulary.build(Counter(), read.spec.characters).save(temporary / "vocab")
        checkpoint.save(temporary / "checkpoints", checkpoint.Checkpoint(step=0), objective)
        fields.update(imported="allennlp", head=False)
    return out
