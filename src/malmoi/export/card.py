"""README.md of an exported directory: what it is, what it was trained on, how it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from malmoi.core.artifact import versions
from malmoi.core.recipe import RunSpec

LOADS = {
    "bert": ("AutoModelForMaskedLM", "."),
    "albert": ("AutoModelForMaskedLM", "."),
    "distilbert": ("AutoModelForMaskedLM", "."),
    "gpt2": ("AutoModelForCausalLM", "."),
    "openai-gpt": ("AutoModelForCausalLM", "."),
    "electra": ("AutoModelForPreTraining", "./discriminator"),
}
"""Family -> how its directory is opened: the class, and where."""
FACTS = {
    "documents": "documents",
    "tokens": "tokens read in training",
    "step": "steps of training",
    "seconds": "seconds of training",
    "corpus": "SHA-256 of the corpus",
    "imported": "imported from a directory of",
}
"""What is told of a run's manifest."""
WAYS = {
    "bi": "both texts read by the same encoder (Reimers and Gurevych 2019)",
    "simcse": "by contrast with the other texts of a batch (Gao et al. 2021)",
}
"""How vectors of texts were trained, by the encoder of fine-tuning."""


def card(spec: RunSpec, *, family: str, format: str, facts: Mapping[str, Any]) -> str:
    """The text. facts: of the run's manifest."""
    sentences = format == "sentence-transformers"
    told = [f"- {said}: {_number(facts[name])}" for name, said in FACTS.items() if name in facts]
    lines = [
        "---",
        f"library_name: {format}",
        f"pipeline_tag: {_task(spec, sentences)}",
        "tags: [malmoi]",
        "---",
        "",
        f"# {spec.name}",
        "",
        f"A model of the family {family}, pre-trained with malmoi {versions()['malmoi']}"
        + (f" after: {spec.paper.rstrip('.')}." if spec.paper else "."),
        "",
        f"Objective: {spec.objective.kind}. Width {spec.model.width}, {getattr(spec.model.backbone, 'depth', '?')} layers.",
        "",
        "## Corpus",
        "",
        *(told or ["No facts were kept."]),
        "",
        *_trained(facts.get("sentences")),
        "## Use",
        "",
        "```python",
        *_use(family, sentences, bare=facts.get("head") is False),
        "```",
        "",
        "The tokenizer is tokenizer.json as it stands: open it with AutoTokenizer, not with a class of another model. It brings text",
        "to NFC by itself.",
    ]
    return "\n".join(lines) + "\n"


def _trained(facts: Mapping[str, Any] | None) -> list[str]:
    """Which sentence task the vectors of texts learned, with what, and how well."""
    if facts is None:
        return []
    learned = facts["settings"]["learning"]
    scores = ", ".join(f"{split} {value['mean']:.4f}" for split, value in facts["mean"].items())
    return [
        "## Sentence vectors",
        "",
        f"- trained on: {facts['task']}, {WAYS[facts['encoder']]}" + (", from fresh weights" if facts["from_scratch"] else ""),
        f"- examples: {_number(facts['examples']['train'])}, at most {learned['epochs']} epochs, {learned['batch']} a batch",
        f"- {facts['metric']}: {scores}",
        "",
    ]


def _number(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def _task(spec: RunSpec, sentences: bool) -> str:
    if sentences:
        return "sentence-similarity"
    return {"causal": "text-generation", "masked": "fill-mask"}.get(spec.objective.kind, "feature-extraction")


def _use(family: str, sentences: bool, *, bare: bool) -> list[str]:
    if sentences:
        return [
            "from sentence_transformers import SentenceTransformer",
            "",
            'vectors = SentenceTransformer(".").encode(["a text", "한 문장"])  # the mean over the tokens',
        ]
    name, place = ("AutoModel", ".") if bare else LOADS[family]
    return [
        f"from transformers import {name}, AutoTokenizer",
        "",
        f'tokenizer, model = AutoTokenizer.from_pretrained("{place}"), {name}.from_pretrained("{place}")',
        'output = model(**tokenizer("a text", return_tensors="pt"), output_hidden_states=True)',
    ]
