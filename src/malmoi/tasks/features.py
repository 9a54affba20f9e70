"""Vectors of a frozen model, all layers of them, computed once and kept on disk.

N vectors, L layers (layer 0 = without context), n vectors of one text, D width. A file is (L, N, D) float32, mapped into memory when
it is read, so that one layer is read without the others; its name is a fingerprint of the weights and of the texts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from malmoi import __version__
from malmoi.core.artifact import fingerprint, refuse_full, sweep, sync_file
from malmoi.core.progress import Progress, Silent
from malmoi.run import Run
from malmoi.tasks.places import Places, within
from malmoi.use import encoder_of
from malmoi.vocab import UNK, Subwords
from malmoi.vocab.tokenizer_file import nfc

Span = tuple[int, int]
Stream = Iterator[tuple[list[str], np.ndarray]]
TOLD = 500
"""Texts between two words of progress."""


class Features:
    """The vectors of a run's encoder: a biLM's a word, a Transformer's a piece; each text by itself.

    cache: the folder of the files, which may be removed at any time; by default `features` in the run.
    A file's views are read-only arrays; they stay valid as long as somebody holds them.
    """

    def __init__(self, run: Run, *, cache: Path | None = None, progress: Progress | None = None) -> None:
        self.cache = cache or run.path / "features"
        self._run = run
        self._progress = progress or Silent()
        self._encoder = encoder_of(run)
        self._places = Places(run.vocabulary) if isinstance(run.vocabulary, Subwords) else None
        self._weights = weights_of(run)

    @property
    def layers(self) -> int:
        """L."""
        return self._encoder.layers

    @property
    def width(self) -> int:
        """D."""
        return self._encoder.width

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self._run.objective.parameters()).device

    def words(self, sentences: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(L, n, D) of each sentence of n words: of a Transformer, the means of their pieces."""
        wanted = [tuple(map(nfc, words)) for words in sentences]
        distinct = list(dict.fromkeys(wanted))
        counts = [len(words) for words in distinct]
        found = dict(zip(distinct, self._kept("words", distinct, counts, lambda: self._encoder.words(distinct, layer="all")), strict=True))
        return [found[words] for words in wanted]

    def texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """(L, 1, D) of each text: the mean over its words or pieces; zeros for a text without any."""
        distinct = list(dict.fromkeys(texts))

        def means() -> Stream:
            return ((units, pooled[:, None]) for units, pooled in self._streamed(distinct, pool="mean"))

        found = dict(zip(distinct, self._kept("texts", distinct, [1] * len(distinct), means), strict=True))
        return [found[text] for text in texts]

    def units(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """((L, n, D), where each stands (n, 2)) of each text: its words or pieces, and the characters [begin, end) of each."""
        distinct = list(dict.fromkeys(texts))
        places = self.places(distinct)
        views = self._kept("units", distinct, [len(each) for each in places], lambda: self._streamed(distinct))
        found = dict(zip(distinct, zip(views, places, strict=True), strict=True))
        return [found[text] for text in texts]

    def spans(self, texts: Sequence[str], spans: Sequence[Span]) -> list[np.ndarray]:
        """(L, 1, D) for each part [begin, end) of a text: the mean of the words or pieces that it touches, or the one before it."""
        asked = list(zip(texts, spans, strict=True))
        wanted: dict[str, list[Span]] = {}
        for text, span in dict.fromkeys(asked):
            wanted.setdefault(text, []).append(span)

        def means() -> Stream:
            places = self.places(list(wanted))
            for of_text, where, (units, vectors) in zip(wanted.values(), places, self._streamed(wanted), strict=True):
                yield units, np.stack([_mean(vectors[:, touched(where, span)]) for span in of_text], axis=1)

        keys = list(wanted.items())
        views = dict(zip(wanted, self._kept("spans", keys, [len(of_text) for of_text in wanted.values()], means), strict=True))
        order = {text: {span: place for place, span in enumerate(of_text)} for text, of_text in keys}
        return [views[text][:, order[text][span] : order[text][span] + 1] for text, span in asked]

    def places(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The characters [begin, end) of each word or piece of each text, (n, 2) int64."""
        if self._places is not None:
            return [edges for _, edges in self._places.of(texts)]
        return [found_words(self._encoder.split(nfc(text)), text) for text in texts]

    def known(self, words: Sequence[str]) -> list[bool]:
        """Whether the model has vectors of its own for these words: not so if it knows them as unknown alone."""
        vocabulary = self._run.vocabulary
        if isinstance(vocabulary, Subwords):
            return [bool(len(ids)) and bool((ids != vocabulary.marks.unknown).any()) for ids in vocabulary.encode_batch(words)]
        if self._run.spec.model.frontend.kind == "character_cnn":
            return [bool(word) for word in words]
        size = self._run.objective.output_size  # the words past it share the vector of the unknown one, or have none
        return [UNK < vocabulary.id_of(word) < size for word in words]

    def _streamed(self, texts: Iterable[str], *, pool: str = "none") -> Stream:
        return self._encoder.stream(map(nfc, texts), layer="all", pool=pool)

    def _kept(self, what: str, keys: Sequence[object], counts: Sequence[int], make: Callable[[], Stream]) -> list[np.ndarray]:
        """(L, count, D) views of the file for each key; `make` is asked for its vectors, in order, where there is no such file."""
        shape = self.layers, sum(counts), self.width
        name = fingerprint([__version__, self._weights, what, keys])
        path = self.cache / f"{what}-{name[:24]}.npy"
        if not path.is_file():
            self._write(path, shape, counts, make())
        whole = np.load(path, mmap_mode="r") if shape[1] else np.zeros(shape, np.float32)
        assert whole.shape == shape, f"{path} is {whole.shape}, not {shape}"
        edges = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).tolist()
        return [whole[:, first:last] for first, last in zip(edges[:-1], edges[1:], strict=True)]

    def _write(self, path: Path, shape: tuple[int, int, int], counts: Sequence[int], stream: Stream) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        sweep(self.cache)
        refuse_full(self.cache, int(np.prod(shape)) * 4, what="the vectors of the texts")
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._progress.stage("reading", total=len(counts))
        try:
            whole = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape) if shape[1] else None
            first = 0
            for done, (count, (_, vectors)) in enumerate(zip(counts, stream, strict=True)):
                assert vectors.shape[1] == count, f"{vectors.shape[1]} vectors where {count} were announced"
                if whole is not None:
                    whole[:, first : first + count] = vectors
                first += count
                if done % TOLD == 0:
                    self._progress.advance(done + 1, {"vectors": first})
            if whole is not None:
                whole.flush()
                sync_file(temporary)
                os.replace(temporary, path)
            self._progress.advance(len(counts), {"vectors": first})
        finally:
            temporary.unlink(missing_ok=True)


def weights_of(run: Run) -> str:
    """SHA-256 over all weights of a run, its vocabulary and its way to split words: whatever decides a vector."""
    digest = hashlib.sha256(f"{run.vocabulary.fingerprint} {run.spec.text.words} {run.spec.stream.model_dump_json()}".encode())
    for name, tensor in sorted(run.objective.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def touched(places: np.ndarray, span: Span) -> np.ndarray:
    """The units (numbers) that share a character with `span`; where none does, the last one that begins before its end, or the first."""
    inside = within(places, *span)
    before = np.flatnonzero(places[:, 0] < span[1])
    return inside if len(inside) else before[-1:] if len(before) else np.arange(min(len(places), 1))


def found_words(words: Sequence[str], text: str) -> np.ndarray:
    """Where each word stands in the text, one after the other, (n, 2). One that a splitter has rewritten has no characters of its own."""
    places, at = np.zeros((len(words), 2), np.int64), 0
    for number, word in enumerate(words):
        start = text.find(word, at)
        places[number] = (start, start + len(word)) if start >= 0 else (at, at)
        at = int(places[number, 1])
    return places


def _mean(vectors: np.ndarray) -> np.ndarray:
    """(L, n, D) -> (L, D); zeros where there are none."""
    return vectors.mean(axis=1) if vectors.shape[1] else np.zeros((vectors.shape[0], vectors.shape[2]), np.float32)
