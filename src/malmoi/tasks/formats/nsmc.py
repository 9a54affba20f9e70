"""NSMC, the Naver sentiment movie corpus (Park 2015, github.com/e9t/nsmc): ratings_train.txt and ratings_test.txt, or the raw crawl.

The published protocol makes the former from the latter: ratings 1-4 are negative, 9-10 positive, 5-8 are left out; white space becomes
one space; 100,000 of each class are drawn; three quarters are for training. Nothing is done about texts that occur several times or
are empty. The draw depends on an order of files that is not published, so this one is another, with a seed of its own.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from malmoi.core.seeds import permutation
from malmoi.tasks.formats.reader import Reader, by_id, completed
from malmoi.tasks.formats.source import Source, sources
from malmoi.tasks.formats.texts import Table
from malmoi.tasks.task import Splits, Texts

LABELS = ("0", "1")
A_CLASS = 100_000
TRAINING = 0.75
OFFICIAL = Reader("nsmc", Table("document", label="label", id="id", labels=LABELS), {"train": r"ratings_train", "test": r"ratings_test"})
MOVIE = re.compile(r"(^|/)\d+\.json$")


def nsmc(path: Path) -> Splits:
    """Raises MalmoiError M152 where it is neither, M153 for a review without a rating."""
    found = sources(Path(path), task="nsmc")
    raw = [source for source in found if source.name.endswith(".tar") or MOVIE.search(source.name)]
    if not raw or any("ratings_" in source.name for source in found):
        return OFFICIAL(path)
    return drawn(list(_reviews(raw)), where=str(path))


def drawn(reviews: list[Texts], *, where: str, a_class: int = A_CLASS) -> Splits:
    """Reviews with a label -> train, dev and test by the protocol. a_class: the most that is taken of each; both have equally many."""
    order = [reviews[place] for place in permutation(len(reviews), "nsmc", 1234)]
    size = min(a_class, *(sum(review.label == label for review in order) for label in LABELS))
    kept = [review for label in LABELS for review in [one for one in order if one.label == label][:size]]
    mixed = [kept[place] for place in permutation(len(kept), "nsmc", 1234, "split")]
    border = round(TRAINING * len(mixed))
    how = (
        f"drawn anew from the raw crawl ({len(reviews):,} reviews with a rating of 1-4 or 9-10; {size:,} of each class; 3:1; seed 1234): "
        "near the published split, not the same"
    )
    return completed({"train": mixed[:border], "test": mixed[border:]}, group=by_id, made={"train": how, "test": how}, where=where)


def _reviews(raw: list[Source]) -> Iterator[Texts]:
    """Sorted by their ids, so that the order of the files is of no account."""
    found = [review for source in raw for review in _of_file(source)]
    return iter(sorted(found, key=lambda review: (len(review.id), review.id)))


def _of_file(source: Source) -> Iterator[Texts]:
    if not source.name.endswith(".tar"):
        yield from _of_movie(source, source.document(), at="")
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(source.read())) as archive:
            for member in archive:
                if member.isfile() and MOVIE.search(member.name):
                    content = archive.extractfile(member)
                    assert content is not None, "it is a file"
                    yield from _of_movie(source, json.loads(content.read()), at=member.name + " ")
    except (tarfile.TarError, json.JSONDecodeError) as failure:
        raise source.broken("archive", str(failure)) from failure


def _of_movie(source: Source, reviews: Any, *, at: str) -> Iterator[Texts]:
    if not isinstance(reviews, list):
        raise source.of_another_task("it is not a list of reviews")
    for number, review in enumerate(reviews, 1):
        try:
            rating, id, text = int(review["rating"]), str(review["review_id"]), str(review["review"])
        except (KeyError, TypeError, ValueError):
            raise source.broken(f"{at}review {number}", "it has no rating, review_id or review") from None
        if not 5 <= rating <= 8:
            yield Texts(id, re.sub(r"\s+", " ", text).strip(), label=LABELS[rating > 8])
