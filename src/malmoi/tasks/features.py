"""Vectors of a frozen model, all layers of them, computed once and kept on disk.

N vectors, L layers (layer 0 = without context), n vectors of one text, D width. A file is (L, N, D) float32, mapped into memory when
it is read, so that one layer is read without the others; its name is a fingerprint of the weights and of the texts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from malmoi import __version__
from malmoi.core.artifact import fingerprint, refuse_full, sweep, sync_file
from malmoi.core.progress import Progress, Silent
from malmoi.run import Run
from malmoi.use import encoder_of
from malmoi.vocab import Subwords
from malmoi.vocab.tokenizer_file import engine, nfc

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
        self._engine = engine(run.vocabulary.json) if isinstance(run.vocabulary, Subwords) else None
        self._weights = weights_of(run)

    @property
    def layers(self) -> int:
        """L."""
        return self._encoder.layers

    @property
    def width(self) -> int:
        """D."""
        return self._encoder.width

    def words(self, sentences: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(L, n, D) of each sentence of n words: of a Transformer, the means of their pieces."""
        wanted = [tuple(map(nfc, words)) for words in sentences]
        distinct = list(dict.fromkeys(wanted))
        counts = [len(words) for words in distinct]
        found = dict(zip(distinct, self._kept("words", distinct, counts, lambda: self._encoder.words(distinct, layer="all")), strict=True))
        return [found[words] for words in wanted]

    def texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """(L, 1, D) of each text: the mean over its words or pieces; zeros for a text without any."""
        wanted = [nfc(text) for text in texts]
        distinct = list(dict.fromkeys(wanted))

        def means() -> Stream:
            return ((units, pooled[:, None]) for units, pooled in self._encoder.stream(distinct, layer="all", pool="mean"))

        found = dict(zip(distinct, self._kept("texts", distinct, [1] * len(distinct), means), strict=True))
        return [found[text] for text in wanted]

    def units(self, texts: Sequence[str]) -> list[tuple[np.ndarray, list[Span]]]:
        """((L, n, D), where each stands) of each text: its words or pieces, and the characters [begin, end) of each.

        Places are those in the text in NFC.
        """
        wanted = [nfc(text) for text in texts]
        distinct = list(dict.fromkeys(wanted))
        places = self.places(distinct)
        views = self._kept("units", distinct, [len(each) for each in places], lambda: self._encoder.stream(distinct, layer="all"))
        found = dict(zip(distinct, zip(views, places, strict=True), strict=True))
        return [found[text] for text in wanted]

    def spans(self, texts: Sequence[str], spans: Sequence[Span]) -> list[np.ndarray]:
        """(L, 1, D) for each part [begin, end) of a text: the mean of the words or pieces that it touches, or of the nearest one."""
        asked = [(nfc(text), nfc_span(text, span)) for text, span in zip(texts, spans, strict=True)]
        wanted: dict[str, list[Span]] = {}
        for text, span in dict.fromkeys(asked):
            wanted.setdefault(text, []).append(span)

        def means() -> Stream:
            places = self.places(list(wanted))
            for of_text, where, (units, vectors) in zip(wanted.values(), places, self._encoder.stream(wanted, layer="all"), strict=True):
                yield units, np.stack([_mean(vectors[:, touched(where, span)]) for span in of_text], axis=1)

        keys = list(wanted.items())
        found = self._kept("spans", keys, [len(of_text) for of_text in wanted.values()], means)
        views = dict(zip(wanted, found, strict=True))
        places = {text: {span: place for place, span in enumerate(of_text)} for text, of_text in keys}
        return [views[text][:, places[text][span] : places[text][span] + 1] for text, span in asked]

    def places(self, texts: Sequence[str]) -> list[list[Span]]:
        """The characters [begin, end) of each word or piece of each text (in NFC, without the white space around it)."""
        normal = [nfc(text) for text in texts]
        if self._engine is None:
            return [found_words(self._encoder.split(text), text) for text in normal]
        encoded = self._engine.encode_batch(normal, add_special_tokens=False)
        return [[_trimmed(text, span) for span in each.offsets] for text, each in zip(normal, encoded, strict=True)]

    def known(self, words: Sequence[str]) -> list[bool]:
        """Whether the model has vectors of its own for these words: not so if it knows them as unknown alone."""
        vocabulary = self._run.vocabulary
        if isinstance(vocabulary, Subwords):
            return [bool(len(ids)) and bool((ids != vocabulary.marks.unknown).any()) for ids in vocabulary.encode_batch(words)]
        if self._run.spec.model.frontend.kind == "character_cnn":
            return [bool(word) for word in words]
        return [bool((vocabulary.encode([word]) != vocabulary.encode(["\n"])).all()) for word in words]

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


def touched(places: Sequence[Span], span: Span) -> list[int]:
    """The units that share a character with `span`; where there is none, the last one that begins before its end, or the first."""
    begin, end = span
    inside = [index for index, (first, last) in enumerate(places) if first < end and last > begin]
    before = [index for index, (first, _) in enumerate(places) if first < end]
    return inside or before[-1:] or list(range(min(len(places), 1)))


def found_words(words: Sequence[str], text: str) -> list[Span]:
    """Where each word stands in the text, one after the other. One that a splitter has rewritten has no characters of its own."""
    places, at = [], 0
    for word in words:
        start = text.find(word, at)
        places.append((start, start + len(word)) if start >= 0 else (at, at))
        at = places[-1][1]
    return places


def nfc_span(text: str, span: Span) -> Span:
    """Where a part of a text stands in the text in NFC."""
    return span if text.isascii() else (len(nfc(text[: span[0]])), len(nfc(text[: span[1]])))


def _trimmed(text: str, span: Span) -> Span:
    begin, end = span
    part = text[begin:end]
    begin += len(part) - len(part.lstrip())
    return begin, begin + len(part.strip())


def _mean(vectors: np.ndarray) -> np.ndarray:
    """(L, n, D) -> (L, D); zeros where there are none."""
    return vectors.mean(axis=1) if vectors.shape[1] else np.zeros((vectors.shape[0], vectors.shape[2]), np.float32)
