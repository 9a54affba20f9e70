"""A small honest run in memory: 60 word types with a tendency to follow one another, characters, two layers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from malmoi.core.recipe import (
    BackboneSpec,
    CharacterCNNSpec,
    CharacterSpec,
    FullSoftmaxSpec,
    LSTMSpec,
    ModelSpec,
    RunSpec,
    StreamSpec,
    TokenEmbeddingSpec,
    TrainingSpec,
    VocabularyHeadSpec,
)
from malmoi.objectives import build
from malmoi.shards import Shards, Streams
from malmoi.vocab import Vocabulary

CHARACTERS = CharacterSpec(unit="byte", length=12)


def make_spec(*, frontend="characters", tied=False, softmax=None, dropout=0.1, depth=2, backbone=None, size=100, **training):
    front = CharacterCNNSpec(width=4, filters=((1, 8), (2, 12)), highway=1) if frontend == "characters" else TokenEmbeddingSpec()
    return RunSpec(
        name="test",
        characters=CHARACTERS,
        model=ModelSpec(
            width=8,
            dropout=dropout,
            frontend=front,
            backbone=backbone or BackboneSpec(depth=depth, mixer=LSTMSpec(cell=12)),
            head=VocabularyHeadSpec(size=size, softmax=softmax or FullSoftmaxSpec(), tied=tied),
        ),
        stream=StreamSpec(streams=4, window=6),
        training=TrainingSpec(**{"steps": 10, "loss_scale": 6.0, **training}),
    )


def make_documents(count=200, *, types=60, seed=0):
    """Documents of words w0, w1, ...: after word k often stands word k + 1."""
    generator = np.random.default_rng(seed)
    documents = []
    for length in generator.integers(1, 20, count):
        here = int(generator.integers(types))
        words = []
        for _ in range(length):
            here = (here + 1) % types if generator.random() < 0.7 else int(types * generator.random() ** 2)
            words.append(f"w{here}")
        documents.append(words)
    return documents


@pytest.fixture(scope="session")
def spec():
    return make_spec


@pytest.fixture(scope="session")
def documents():
    return make_documents


@pytest.fixture(scope="session")
def text():
    """vocabulary, shards, ids and ends of the small corpus."""
    documents = make_documents()
    counts = {}
    for word in (word for document in documents for word in document):
        counts[word] = counts.get(word, 0) + 1
    vocabulary = Vocabulary.build(counts, CHARACTERS)
    ids = [vocabulary.encode(document) for document in documents]
    shards = Shards.of(np.concatenate(ids), np.cumsum([len(part) for part in ids]))
    return SimpleNamespace(vocabulary=vocabulary, shards=shards, documents=documents)


@pytest.fixture
def honest(text):
    """(settings of make_spec) -> a fresh objective for the small corpus."""

    def make(**settings):
        torch.set_num_threads(1)
        return build(make_spec(**settings), words=len(text.vocabulary), characters=text.vocabulary.characters.size)

    return make


@pytest.fixture
def streams(text):
    def make(rows=4, window=6, seed=0, *, spelt=True):
        return Streams(text.shards, text.vocabulary.spelling.__getitem__ if spelt else None, rows, window, seed)

    return make


@pytest.fixture
def levels():
    """findings -> {code: level}, the good ones left out."""
    return lambda findings: {finding.code: finding.level for finding in findings if finding.code != "M100"}
