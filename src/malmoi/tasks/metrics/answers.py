"""Of answers to questions: SQuAD 1.1 and 2.0, KorQuAD 1.0, KLUE-MRC, each with its own normalization."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

from malmoi.core.errors import MalmoiError
from malmoi.tasks.task import Prediction, Question

PUNCTUATION = str.maketrans("", "", string.punctuation)
KOREAN_MARKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
Score = Callable[[str, str], float]


def squad_normal(text: str) -> str:
    """Small letters; without ASCII punctuation, then without a, an, the; single spaces (evaluate-v1.1.py)."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(PUNCTUATION)).split())


def korquad_normal(text: str) -> str:
    """Quotation marks and brackets become spaces; small letters, without ASCII punctuation, single spaces (KorQuAD 1.0's script)."""
    return " ".join(text.translate(KOREAN_MARKS).lower().translate(PUNCTUATION).split())


def klue_normal(text: str) -> str:
    """Small letters, without ASCII punctuation, single spaces. (KLUE-baseline also has a pattern for marks that become spaces; it
    fits one of them only before `()‘’`, which is kept.)"""
    return " ".join(re.sub(r"['\"《》<>〈〉]\(\)‘’", " ", text.lower()).translate(PUNCTUATION).split())


def overlap(gold: Sequence[str], told: Sequence[str]) -> float:
    """F1 of two bags."""
    same = sum((Counter(gold) & Counter(told)).values())
    return 2 * same / (len(gold) + len(told)) if same else 0.0


def token_f1(gold: str, told: str) -> float:
    """Of words, SQuAD 2.0: where one side has none, 1 if neither has."""
    known, said = squad_normal(gold).split(), squad_normal(told).split()
    return overlap(known, said) if known and said else float(known == said)


def character_f1(gold: str, told: str) -> float:
    """Of characters without spaces (KorQuAD 1.0)."""
    return overlap(korquad_normal(gold).replace(" ", ""), korquad_normal(told).replace(" ", ""))


def rouge_w(gold: str, told: str) -> float:
    """What KLUE-baseline calls ROUGE-W: F1 of the longest run of characters that both have (spaces count), after normalization."""
    known, said = klue_normal(gold), klue_normal(told)
    if not known or not said:
        return float(known == said) if not known else 0.0
    run = SequenceMatcher(None, said, known).find_longest_match(0, len(said), 0, len(known)).size
    return 2 * run / (len(said) + len(known))


def _told(examples: Sequence[Question], predictions: Sequence[Prediction]) -> list[str]:
    if len(examples) != len(predictions) or not examples:
        raise MalmoiError("M156", done="scored", problem=f"there are {len(predictions)} for {len(examples)} questions")
    for example, told in zip(examples, predictions, strict=True):
        if not isinstance(told, str):
            raise MalmoiError("M156", done="scored", problem=f"there is none for {example.id!r}")
    return [str(told) for told in predictions]


def _best(example: Question, told: str, score: Score, *, normal: Callable[[str], str] | None = None) -> float:
    """The best over the answers; "" is the answer of a question without any. normal: answers of which it leaves nothing do not count."""
    golds = [text for text, _ in example.answers if normal is None or normal(text)]
    return max(score(gold, told) for gold in golds or [""])


def squad1(examples: Sequence[Question], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Exact match and F1 of SQuAD 1.1, the best over the answers of each question. Raises M156 where they are not known."""
    unknown = next((example.id for example in examples if not example.answers), None)
    if unknown is not None:
        raise MalmoiError("M156", done="scored", problem=f"the answer of {unknown!r} is not known")
    told, total = _told(examples, predictions), len(examples)
    pairs = list(zip(examples, told, strict=True))
    exact = sum(_best(example, one, lambda gold, said: float(squad_normal(gold) == squad_normal(said))) for example, one in pairs)
    f1 = sum(
        _best(example, one, lambda gold, said: overlap(squad_normal(gold).split(), squad_normal(said).split())) for example, one in pairs
    )
    return {"exact": exact / total, "f1": f1 / total}


def squad2(
    examples: Sequence[Question],
    predictions: Sequence[Prediction],
    *,
    no_answer: Sequence[float] | None = None,
    threshold: float = 1.0,
) -> dict[str, float]:
    """SQuAD 2.0 (evaluate-v2.0.py): exact match and F1, over all, over questions with an answer (has_) and without (no_).

    no_answer: a number for each question, higher where it is believed to have none; above `threshold` the prediction is "". With it,
    best_exact, best_f1 and the thresholds that give them are told too.
    """
    told = _told(examples, predictions)
    pairs = list(zip(examples, told, strict=True))
    exact = [_best(one, said, lambda a, b: float(squad_normal(a) == squad_normal(b)), normal=squad_normal) for one, said in pairs]
    f1 = [_best(one, said, token_f1, normal=squad_normal) for one, said in pairs]
    answerable = [bool(example.answers) for example in examples]
    found = {}
    for name, raw in (("exact", exact), ("f1", f1)):
        scores = raw
        if no_answer is not None:
            pressed = zip(raw, no_answer, answerable, strict=True)
            scores = [float(not has) if doubt > threshold else score for score, doubt, has in pressed]
        found[name] = sum(scores) / len(scores)
        for part, wanted in (("has", True), ("no", False)):
            some = [score for score, has in zip(scores, answerable, strict=True) if has is wanted]
            if some:
                found[f"{part}_{name}"] = sum(some) / len(some)
        if no_answer is not None:
            found[f"best_{name}"], found[f"best_{name}_threshold"] = best_threshold(raw, no_answer, answerable, told)
    return found


def best_threshold(
    scores: Sequence[float], no_answer: Sequence[float], answerable: Sequence[bool], predictions: Sequence[Prediction]
) -> tuple[float, float]:
    """(mean score, the number above which "" is predicted) that is best, as evaluate-v2.0.py finds it.

    Beginning with no question answered, they are answered in the order of `no_answer`; an answer where none exists loses a point.
    """
    best = now = float(sum(not has for has in answerable))
    threshold = 0.0
    for place in sorted(range(len(scores)), key=lambda place: no_answer[place]):
        now += scores[place] if answerable[place] else -1.0 if predictions[place] else 0.0
        if now > best:
            best, threshold = now, float(no_answer[place])
    return best / len(scores), threshold


def korquad(examples: Sequence[Question], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Exact match and character F1 of KorQuAD 1.0 (Lim et al. 2019)."""
    told, total = _told(examples, predictions), len(examples)
    pairs = list(zip(examples, told, strict=True))
    exact = sum(_best(example, one, lambda gold, said: float(korquad_normal(gold) == korquad_normal(said))) for example, one in pairs)
    return {"exact": exact / total, "f1": sum(_best(example, one, character_f1) for example, one in pairs) / total}


def klue_mrc(examples: Sequence[Question], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Exact match and "ROUGE-W" of KLUE-MRC (Park et al. 2021, section 3.7; KLUE-baseline metrics/utils.py)."""
    told, total = _told(examples, predictions), len(examples)
    pairs = list(zip(examples, told, strict=True))
    exact = sum(_best(example, one, lambda gold, said: float(klue_normal(gold) == klue_normal(said))) for example, one in pairs)
    return {"exact": exact / total, "rouge_w": sum(_best(example, one, rouge_w) for example, one in pairs) / total}
