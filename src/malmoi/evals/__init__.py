"""What a trained model is worth on a text.

`evaluate` (biLM), `evaluate_causal`, `evaluate_masked`, `evaluate_pairs`: exact. `validate`: quick scores during training. `unigram`,
`unigram_of`: the distribution to hold against them.
"""

from malmoi.evals.perplexity import Evaluation, evaluate, unigram
from malmoi.evals.pieces import (
    CausalEvaluation,
    MaskedEvaluation,
    SequenceEvaluation,
    evaluate_causal,
    evaluate_masked,
    evaluate_pairs,
    unigram_of,
)
from malmoi.evals.sample import validate

__all__ = [
    "CausalEvaluation",
    "Evaluation",
    "MaskedEvaluation",
    "SequenceEvaluation",
    "evaluate",
    "evaluate_causal",
    "evaluate_masked",
    "evaluate_pairs",
    "unigram",
    "unigram_of",
    "validate",
]
