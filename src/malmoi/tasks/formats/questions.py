"""Questions about paragraphs: SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018) and what is written like them, KorQuAD 1.0, KLUE-MRC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from malmoi.tasks.formats.source import Source
from malmoi.tasks.task import Question


def by_title(example: Question) -> str:
    """Questions on one article stay together; where there are no titles, those on one paragraph."""
    return example.title or example.context


@dataclass(frozen=True)
class Squad:
    """{"data": [{"title", "paragraphs": [{"context", "qas": [{id, "question", "answers": [{"text", "answer_start"}]}]}]}]}.

    id: the key of a question's id. unanswerable: whether a question may have no answer. An answer that does not stand where it says
    is an error: the paragraph was changed.
    """

    unanswerable: bool = False
    id: str = "id"

    def __call__(self, source: Source) -> list[Question]:
        """Raises MalmoiError M152 where it is not of this form, M153 for a question that is broken."""
        document = source.document()
        if not isinstance(document, dict) or not isinstance(document.get("data"), list):
            raise source.of_another_task('it has no list under "data"')
        found: list[Question] = []
        for place, title, context, asked in _asked(source, document["data"]):
            try:
                id, question = str(asked[self.id]), str(asked["question"])
                answers = tuple((str(answer["text"]), int(answer["answer_start"])) for answer in asked.get("answers", ()))
            except (KeyError, TypeError, ValueError) as failure:
                problem = f"a question has no {failure}"
                raise source.of_another_task(f"{place}: {problem}") if not found else source.broken(place, problem) from None
            impossible = bool(asked.get("is_impossible", False))
            self._check(source, place, context, answers=answers, impossible=impossible, known="answers" in asked)
            found.append(Question(id, question, context, answers, title))
        return found

    def _check(
        self, source: Source, place: str, context: str, *, answers: tuple[tuple[str, int], ...], impossible: bool, known: bool
    ) -> None:
        if impossible and not self.unanswerable:
            raise source.of_another_task(f"{place}: a question is marked as one without an answer")
        if known and not answers and not self.unanswerable and source.split != "test":
            raise source.of_another_task(f"{place}: a question has no answers")
        for text, begin in answers:
            if context[begin : begin + len(text)] != text:
                raise source.broken(place, f"the answer {text[:40]!r} does not stand at character {begin} of its paragraph")


def _asked(source: Source, articles: list[Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(where, title, paragraph, question) in the order of the file."""
    for number, article in enumerate(articles, 1):
        try:
            title = str(article.get("title", ""))
            for part, paragraph in enumerate(article["paragraphs"], 1):
                place, context, questions = f"article {number}, paragraph {part}", str(paragraph["context"]), paragraph["qas"]
                for asked in questions:
                    yield place, title, context, asked
        except (KeyError, TypeError, AttributeError) as failure:
            raise source.broken(f"article {number}", f"it has no {failure}") from None
