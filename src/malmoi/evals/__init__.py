"""What a trained model is worth on a text: `evaluate`, and the `unigram` distribution to hold against it."""

from malmoi.evals.perplexity import Evaluation, evaluate, unigram

__all__ = ["Evaluation", "evaluate", "unigram"]
