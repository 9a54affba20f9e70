"""What is predicted from what, as specs: the objectives of a run. Torch is not needed here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from malmoi.core.spec import Spec

Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class BiLMSpec(Spec):
    """Bidirectional language model (Peters et al. 2018, section 3.1)."""

    kind: Literal["bilm"] = "bilm"
    start: Literal["carried", "zero"] = "carried"
    """The state of a document that begins with a window: `carried` over from the document before, as bilm-tf does everywhere; or
    `zero`, so that the start of a text that is scored or embedded by itself is nothing that the model has never seen."""


Layout = Literal["causal", "single", "next", "order"]
"""How documents stand in the rows of training: behind a begin mark, between two marks, or as two segments between marks."""


class CausalSpec(Spec):
    """Language model from left to right (GPT; Radford et al. 2018, section 3.1)."""

    kind: Literal["causal"] = "causal"

    @property
    def layout(self) -> Layout:
        """Each document behind its begin mark."""
        return "causal"


class MaskedSpec(Spec):
    """Masked language model (BERT; Devlin et al. 2019, section 3.1), with or without a task on pairs of segments."""

    kind: Literal["masked"] = "masked"
    rate: Probability = 0.15
    """Share of a row's positions that are predicted, the same number in every row, drawn anew each time."""
    mask: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8
    """Share of those that read [MASK]."""
    random: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """Share of those that read another token; the rest reads its own."""
    whole_words: bool = False
    """All pieces of a word or none (as far as their number allows)."""
    pair: Literal["none", "next", "order"] = "none"
    """next: does B follow A, or does it come from another document (BERT)? order: do two segments stand in their order (ALBERT)?"""

    @model_validator(mode="after")
    def _shares_fit(self) -> MaskedSpec:
        if self.mask + self.random > 1.0:
            raise ValueError(f"mask + random is {self.mask + self.random:g}, more than 1")
        return self

    @property
    def layout(self) -> Layout:
        """Two segments where they are told apart."""
        return "single" if self.pair == "none" else self.pair


class ReplacedSpec(Spec):
    """Replaced-token detection (ELECTRA; Clark et al. 2020, section 2): a small masked model, the generator, fills the gaps with samples,
    and the model tells for every token whether it is the original. Both share their embeddings."""

    kind: Literal["replaced"] = "replaced"
    rate: Probability = 0.15
    mask: Annotated[float, Field(ge=0.0, le=1.0)] = 0.85
    """Share of the drawn positions that read [MASK]; the rest reads its own token (the original program)."""
    temperature: PositiveFloat = 1.0
    weight: PositiveFloat = 50.0
    """Of the discriminator's loss; the generator's counts once."""
    generator: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """Width of the generator (vectors, heads, feed-forward) as a share of the model's."""

    @property
    def layout(self) -> Layout:
        """One piece of a document between two marks."""
        return "single"


class SequenceSpec(Spec):
    """From one text to another (Vaswani et al. 2017): the model's spec is that of the encoder, the decoder is causal and attends to it."""

    kind: Literal["sequence"] = "sequence"
    smoothing: Probability = 0.1
    """Label smoothing (section 5.4)."""


class SkipGramSpec(Spec):
    """Skip-gram with negative sampling (Mikolov et al. 2013, "Distributed representations of words and phrases", section 2): the vector
    of a word tells the words around it from words that are drawn."""

    kind: Literal["skipgram"] = "skipgram"
    window: PositiveInt = 5
    """Words on each side, at most: for each word a number from 1 to this is drawn (word2vec.c)."""
    negatives: PositiveInt = 5
    """Drawn words for each true one."""
    power: Annotated[float, Field(ge=0.0)] = 0.75
    """They are drawn in proportion to their count raised to this."""
    sample: Annotated[float, Field(ge=0.0)] = 1e-3
    """Words with a larger share of the text than this are left out at random, sqrt(t/f) + t/f of them stay (word2vec.c); 0: none is."""
    minimum_count: PositiveInt = 5
    """Rarer words are left out of the text, and have no vector."""

    def known(self, counts: Any, size: int) -> int:
        """Words with a vector, the three marks included: of the `size` most frequent those that are frequent enough. counts (V,): by id."""
        return min(size, 3 + int((counts[3:] >= self.minimum_count).sum()))
