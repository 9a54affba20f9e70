"""Tasks of words: their tags, their meaning in context, how alike two of them are."""

from __future__ import annotations

from functools import partial

from malmoi.tasks import submission
from malmoi.tasks.catalogue.entry import ACCURACY, KLUE, KOBEST, MACRO_F1, Language, Score, alike, entry, files, klue, kobest
from malmoi.tasks.catalogue.texts import TRUTH
from malmoi.tasks.formats import columns, contexts, similarity
from malmoi.tasks.formats.columns import WordColumns, bio
from malmoi.tasks.metrics import labels, spans
from malmoi.tasks.task import Task

WNUT = bio(("corporation", "creative-work", "group", "location", "person", "product"))
PEOPLE = bio(("PER", "ORG", "LOC", "MISC"))
CHUNKS = bio(("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"))
KLUE_NER = bio(columns.KLUE_KINDS)

ENTITIES: Score = (spans.entity_f1, "f1")
TAGS: Score = (spans.tag_accuracy, "accuracy")
UNIVERSAL = "Nivre et al. 2016, Universal Dependencies (any treebank)"


def _treebank(name: str, language: Language) -> Task:
    names = alike(r"-{}\.conllu$")
    return entry(name, "tagging", language, UNIVERSAL, columns.universal, names, TAGS, columns.UPOS, write=submission.universal)


def _similarity(name: str, language: Language, paper: str, file: str, *, high: float = 10.0) -> Task:
    parse, score = similarity.Pairs(high=high), (labels.word_similarity, "spearman")
    return entry(name, "similarity", language, paper, parse, {"test": file}, score, divides=False)


TAGGING = (
    entry(
        "klue-ner",
        "tagging",
        "ko",
        KLUE + "3.4",
        columns.klue_ner,
        klue("klue-ner", "tsv"),
        (partial(spans.klue_ner, labels=KLUE_NER), "entity_f1"),
        KLUE_NER,
        write=submission.klue_ner,
    ),
    entry(
        "conll2000",
        "tagging",
        "en",
        "Tjong Kim Sang and Buchholz 2000",
        WordColumns(CHUNKS, fields=(3,)),
        files(r"(^|/)train(\.txt)?$", r"(^|/)(dev|valid)(\.txt)?$", r"(^|/)test(\.txt)?$"),
        ENTITIES,
        CHUNKS,
    ),
    entry(
        "conll2003-ner",
        "tagging",
        "en",
        "Tjong Kim Sang and De Meulder 2003",
        WordColumns(PEOPLE, fields=(4,), fixed=columns.iob2),
        files(
            r"eng\.train$|(^|/)train(\.txt)?$",
            r"eng\.testa$|(^|/)(valid|dev|testa)(\.txt)?$",
            r"eng\.testb$|(^|/)(test|testb)(\.txt)?$",
        ),
        ENTITIES,
        PEOPLE,
    ),
    entry(
        "wnut17",
        "tagging",
        "en",
        "Derczynski et al. 2017",
        WordColumns(WNUT, separator="\t"),
        files(r"wnut17train\.conll$", r"emerging\.dev\.conll$", r"emerging\.test\.annotated$"),
        ENTITIES,
        WNUT,
        write=submission.wnut,
    ),
    entry(
        "wikigold",
        "tagging",
        "en",
        "Balasuriya et al. 2009",
        WordColumns(PEOPLE, separator=" ", fixed=columns.iob2),
        {"dev": r"wikigold\.conll(\.txt)?$"},
        ENTITIES,
        PEOPLE,
    ),
    _treebank("ud-pos", "en"),
    _treebank("ud-pos-ko", "ko"),
)

CONTEXTS = (
    Task("mcl-wic", "context", "en", "Martelli et al. 2021", contexts.mcl_wic, *ACCURACY, contexts.TRUE_FALSE, submission.mcl_wic),
    entry("kobest-wic", "context", "ko", KOBEST, contexts.kobest_wic, kobest("WiC"), MACRO_F1, TRUTH),
)

SIMILARITY = (
    _similarity(
        "wordsim353", "en", "Finkelstein et al. 2002", r"combined\.(csv|tab|txt)$|ws-?353(-all)?\.txt$|wordsim-?353\.(csv|tsv|txt)$"
    ),
    _similarity("wordsim353-ko", "ko", "Park et al. 2018", r"WS353_korean\.csv$"),
    _similarity("simlex", "en", "Hill et al. 2015", r"simlex-?999\.txt$"),
    _similarity("simverb", "en", "Gerz et al. 2016", r"simverb-?3500\.txt$"),
    _similarity("men", "en", "Bruni et al. 2014", r"MEN-TR-3k\.txt$", high=50.0),
    _similarity("rarewords", "en", "Luong et al. 2013", r"RW-STANFORD\.txt$"),
    _similarity("mturk771", "en", "Halawi et al. 2012", r"MTurk-771\.(txt|csv)$", high=5.0),
    _similarity("rg65", "en", "Rubenstein and Goodenough 1965", r"RG-65\.txt$", high=4.0),
)
