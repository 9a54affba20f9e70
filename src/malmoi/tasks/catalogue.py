"""Every task by its name: how its files are read, and how it is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from malmoi.core.errors import MalmoiError, nearest
from malmoi.tasks import submission
from malmoi.tasks.formats import choices, columns, contexts, nsmc, similarity, snli, texts
from malmoi.tasks.formats.columns import WordColumns, bio
from malmoi.tasks.formats.questions import Squad, by_title
from malmoi.tasks.formats.reader import Reader, by_first, by_id
from malmoi.tasks.formats.source import Source
from malmoi.tasks.formats.texts import Records, Table
from malmoi.tasks.metrics import answers, labels, spans
from malmoi.tasks.submission import Writer
from malmoi.tasks.task import Kind, Metric, Task

SPLITS = ("train", "dev", "test")
GLUE = {"train": r"(^|/)train(_full)?\.tsv$", "dev": r"(^|/)dev\.tsv$", "test": r"(^|/)test\.tsv$"}
TREEBANK = {split: rf"-{split}\.conllu$" for split in SPLITS}
YNAT = ("IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치")
WNUT = bio(("corporation", "creative-work", "group", "location", "person", "product"))
PEOPLE = bio(("PER", "ORG", "LOC", "MISC"))
CHUNKS = bio(("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"))
KLUE_NER = bio(columns.KLUE_KINDS)
BINARY = ("0", "1")
TRUTH = ("False", "True")
SPELLED = {"TRUE": "True", "FALSE": "False", "1": "True", "0": "False"}
ENTAILED = ("entailment", "not_entailment")
CODAH = {split: rf"(^|fold_0/){split}\.tsv$" for split in SPLITS}
FOLD = "fold 0 of the five published ones, unless the folder of another one is given"

ACCURACY = (labels.accuracy, "accuracy")
MACRO_F1 = (labels.macro_f1, "macro_f1")

KLUE = "Park et al. 2021, KLUE, section "
KOBEST = "Kim et al. 2022, KoBEST"
KORNLU = "Ham et al. 2020, KorNLI and KorSTS"
GLUED = "; GLUE, Wang et al. 2019"
UNIVERSAL = "Nivre et al. 2016, Universal Dependencies (any treebank)"


def _klue(name: str, ending: str) -> dict[str, str]:
    return {split: rf"{name}-v1(\.1)?_{split}\.{ending}$" for split in SPLITS}


def _kobest(name: str) -> dict[str, str]:
    return {split: rf"(^|{name}/){split}\.tsv$" for split in SPLITS}


def _words(example: Any) -> str:
    """The group of a sentence that occurs twice."""
    return " ".join(example.words)


def _context(example: Any) -> str:
    """The group of choices that go on from the same words."""
    return str(example.context)


def _task(
    name: str,
    kind: Kind,
    language: Literal["ko", "en"],
    paper: str,
    parse: Callable[[Source], Sequence[Any]],
    names: Mapping[str, str],
    metric: Metric,
    main: str,
    kinds: tuple[str, ...] = (),
    *,
    group: Callable[[Any], str] = by_first,
    divides: bool = True,
    joined: bool = False,
    said: Mapping[str, str] | None = None,
) -> Task:
    reader = Reader(name, parse, names, group=group, divides=divides, joined=joined, said=said or {})
    return Task(name, kind, language, paper, reader, metric, main, kinds)


def _similarity(name: str, language: Literal["ko", "en"], paper: str, file: str, *, high: float = 10.0) -> Task:
    parse = similarity.Pairs(high=high)
    return _task(name, "similarity", language, paper, parse, {"test": file}, labels.word_similarity, "spearman", divides=False)


SENTENCES = (
    _task("klue-tc", "sentence", "ko", KLUE + "3.1", Records("title", labels=YNAT), _klue("ynat", "json"), *MACRO_F1, YNAT),
    Task("nsmc", "sentence", "ko", "Park 2015, github.com/e9t/nsmc", nsmc.nsmc, *ACCURACY, BINARY),
    _task(
        "kobest-sentineg",
        "sentence",
        "ko",
        KOBEST,
        Table("Text", label="Label", id="ID", labels=BINARY),
        _kobest("SentiNeg"),
        *MACRO_F1,
        BINARY,
    ),
    _task("sst2", "sentence", "en", "Socher et al. 2013" + GLUED, Table("sentence", id="index", labels=BINARY), GLUE, *ACCURACY, BINARY),
    _task(
        "sst5",
        "sentence",
        "en",
        "Socher et al. 2013",
        texts.sst5,
        {split: rf"(^|/)(stsa\.fine\.)?{split}(\.txt)?$" for split in SPLITS},
        *ACCURACY,
        tuple("01234"),
    ),
    _task(
        "cola",
        "sentence",
        "en",
        "Warstadt et al. 2019" + GLUED,
        Table("sentence", label="label", labels=BINARY, header=("source", "label", "mark", "sentence")),
        {
            "train": r"(^|raw/)in_domain_train\.tsv$|(^|CoLA/)train\.tsv$",
            "dev": r"(^|raw/)in_domain_dev\.tsv$|(^|CoLA/)dev\.tsv$",
            "test": r"(^|raw/)out_of_domain_dev\.tsv$|(^|CoLA/)test\.tsv$",
        },
        labels.matthews,
        "matthews",
        BINARY,
        said={"test": "of cola_public, the out-of-domain dev set (GLUE's dev set holds both)"},
    ),
)

PAIRS = (
    _task(
        "klue-nli",
        "pair",
        "ko",
        KLUE + "3.3",
        Records("premise", "hypothesis", ("gold_label",), labels=snli.LABELS),
        _klue("klue-nli", "json"),
        *ACCURACY,
        snli.LABELS,
    ),
    _task(
        "kornli",
        "pair",
        "ko",
        KORNLU,
        Table("sentence1", "sentence2", "gold_label", labels=snli.LABELS),
        {"train": r"(multinli|snli_1\.0)[^/]*train\.ko\.tsv$", "dev": r"xnli\.dev\.ko\.tsv$", "test": r"xnli\.test\.ko\.tsv$"},
        *ACCURACY,
        snli.LABELS,
        joined=True,
    ),
    _task(
        "kobest-boolq",
        "pair",
        "ko",
        KOBEST,
        Table("Text", "Question", "Answer", "ID", TRUTH, spelled=SPELLED),
        _kobest("BoolQ"),
        *MACRO_F1,
        TRUTH,
    ),
    _task(
        "mrpc",
        "pair",
        "en",
        "Dolan and Brockett 2005" + GLUED,
        Table("#1 String", "#2 String", "Quality", labels=BINARY),
        {
            "train": r"(^|/)(train\.tsv|msr_paraphrase_train\.txt)$",
            "dev": r"(^|/)dev\.tsv$",
            "test": r"(^|/)(test\.tsv|msr_paraphrase_test\.txt)$",
        },
        labels.accuracy_f1,
        "f1",
        BINARY,
    ),
    _task(
        "rte",
        "pair",
        "en",
        "Dagan et al. 2005 and later" + GLUED,
        Table("sentence1", "sentence2", "label", "index", ENTAILED),
        GLUE,
        *ACCURACY,
        ENTAILED,
    ),
    Task("snli", "pair", "en", "Bowman et al. 2015", snli.snli, *ACCURACY, snli.LABELS),
    _task(
        "mnli",
        "pair",
        "en",
        "Williams et al. 2018" + GLUED,
        snli.inference,
        {
            "train": r"(^|/)(train\.tsv|multinli_1\.0_train\.jsonl)$",
            "dev": r"dev_matched\.(tsv|jsonl)$",
            "test": r"test_matched\.(tsv|jsonl)$",
        },
        *ACCURACY,
        snli.LABELS,
    ),
)

REGRESSIONS = (
    _task(
        "klue-sts",
        "regression",
        "ko",
        KLUE + "3.2",
        Records("sentence1", "sentence2", ("labels", "real-label")),
        _klue("klue-sts", "json"),
        labels.klue_sts,
        "pearson",
        divides=False,
    ),
    _task(
        "korsts",
        "regression",
        "ko",
        KORNLU,
        Table("sentence1", "sentence2", "score"),
        {split: rf"sts-{split}\.tsv$" for split in SPLITS},
        labels.correlations,
        "spearman",
    ),
    _task(
        "stsb",
        "regression",
        "en",
        "Cer et al. 2017" + GLUED,
        texts.stsb,
        {split: rf"(^|/)(stsb-en-|sts-)?{split}\.(csv|tsv)$" for split in SPLITS},
        labels.correlations,
        "spearman",
    ),
)

TAGGING = (
    _task(
        "klue-ner",
        "tagging",
        "ko",
        KLUE + "3.4",
        columns.klue_ner,
        _klue("klue-ner", "tsv"),
        partial(spans.klue_ner, labels=KLUE_NER),
        "entity_f1",
        KLUE_NER,
        group=_words,
    ),
    _task(
        "conll2000",
        "tagging",
        "en",
        "Tjong Kim Sang and Buchholz 2000",
        WordColumns(CHUNKS, fields=(3,)),
        {"train": r"(^|/)train(\.txt)?$", "dev": r"(^|/)(dev|valid)(\.txt)?$", "test": r"(^|/)test(\.txt)?$"},
        spans.entity_f1,
        "f1",
        CHUNKS,
        group=_words,
    ),
    _task(
        "conll2003-ner",
        "tagging",
        "en",
        "Tjong Kim Sang and De Meulder 2003",
        WordColumns(PEOPLE, fields=(4,), fixed=columns.iob2),
        {
            "train": r"eng\.train$|(^|/)train(\.txt)?$",
            "dev": r"eng\.testa$|(^|/)(valid|dev|testa)(\.txt)?$",
            "test": r"eng\.testb$|(^|/)(test|testb)(\.txt)?$",
        },
        spans.entity_f1,
        "f1",
        PEOPLE,
        group=_words,
    ),
    _task(
        "wnut17",
        "tagging",
        "en",
        "Derczynski et al. 2017",
        WordColumns(WNUT, separator="\t"),
        {"train": r"wnut17train\.conll$", "dev": r"emerging\.dev\.conll$", "test": r"emerging\.test\.annotated$"},
        spans.entity_f1,
        "f1",
        WNUT,
        group=_words,
    ),
    _task(
        "wikigold",
        "tagging",
        "en",
        "Balasuriya et al. 2009",
        WordColumns(PEOPLE, separator=" ", fixed=columns.iob2),
        {"dev": r"wikigold\.conll(\.txt)?$"},
        spans.entity_f1,
        "f1",
        PEOPLE,
        group=_words,
    ),
    _task("ud-pos", "tagging", "en", UNIVERSAL, columns.universal, TREEBANK, spans.tag_accuracy, "accuracy", columns.UPOS, group=_words),
    _task("ud-pos-ko", "tagging", "ko", UNIVERSAL, columns.universal, TREEBANK, spans.tag_accuracy, "accuracy", columns.UPOS, group=_words),
)

QUESTIONS = (
    _task(
        "squad1",
        "span",
        "en",
        "Rajpurkar et al. 2016; SQuAD-shifts, Miller et al. 2020; XQuAD, Artetxe et al. 2020",
        Squad(),
        {"train": r"train-v1\.1\.json$|new_wiki_v1\.0\.json$", "dev": r"dev-v1\.1\.json$", "test": r"xquad\.en\.json$"},
        answers.squad1,
        "f1",
        group=by_title,
    ),
    _task(
        "squad2",
        "span",
        "en",
        "Rajpurkar et al. 2018",
        Squad(unanswerable=True),
        {split: rf"{split}-v2\.0\.json$" for split in SPLITS},
        answers.squad2,
        "f1",
        group=by_title,
    ),
    _task(
        "korquad",
        "span",
        "ko",
        "Lim et al. 2019, KorQuAD 1.0",
        Squad(),
        {split: rf"KorQuAD_v1\.0_{split}\.json$" for split in SPLITS},
        answers.korquad,
        "f1",
        group=by_title,
    ),
    _task(
        "klue-mrc",
        "span",
        "ko",
        KLUE + "3.7",
        Squad(unanswerable=True, id="guid"),
        _klue("klue-mrc", "json"),
        answers.klue_mrc,
        "rouge_w",
        group=by_title,
    ),
)

CHOICES = (
    _task(
        "swag",
        "choice",
        "en",
        "Zellers et al. 2018",
        choices.swag,
        {"train": r"(^|/)train\.csv$", "dev": r"(^|/)val\.csv$", "test": r"(^|/)test\.csv$"},
        *ACCURACY,
        group=_context,
    ),
    _task(
        "codah", "choice", "en", "Chen et al. 2019", choices.codah_rows, CODAH, *ACCURACY, group=_context, said=dict.fromkeys(SPLITS, FOLD)
    ),
    _task(
        "commonsenseqa",
        "choice",
        "en",
        "Talmor et al. 2019",
        choices.commonsense,
        {
            "train": r"train_(data|rand_split)\.jsonl$",
            "dev": r"dev_(data|rand_split)\.jsonl$",
            "test": r"test_(data|rand_split_no_answers)\.jsonl$",
        },
        *ACCURACY,
        group=_context,
    ),
    _task("kobest-copa", "choice", "ko", KOBEST, choices.copa, _kobest("COPA"), *MACRO_F1, group=_context),
    _task("kobest-hellaswag", "choice", "ko", KOBEST, choices.hellaswag, _kobest("HellaSwag"), *MACRO_F1, group=_context),
)

CONTEXTS = (
    Task("mcl-wic", "context", "en", "Martelli et al. 2021", contexts.mcl_wic, *ACCURACY, contexts.TRUE_FALSE),
    _task("kobest-wic", "context", "ko", KOBEST, contexts.kobest_wic, _kobest("WiC"), *MACRO_F1, TRUTH, group=by_id),
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

WRITERS: dict[str, Writer] = {
    "klue-tc": submission.klue_tc,
    "klue-sts": submission.klue_sts,
    "klue-nli": submission.klue_nli,
    "klue-ner": submission.klue_ner,
    "korsts": submission.korsts,
    "kornli": submission.kornli,
    "nsmc": submission.nsmc,
    "wnut17": submission.wnut,
    "ud-pos": submission.universal,
    "ud-pos-ko": submission.universal,
    "mcl-wic": submission.mcl_wic,
    "commonsenseqa": submission.commonsenseqa,
}
"""Forms of a task's own."""
USUAL: dict[str, Writer] = {"tagging": submission.conll, "span": submission.squad, "similarity": submission.similarity}
"""Forms of a kind; GLUE's for the others."""

TASKS: dict[str, Task] = {
    task.name: replace(task, write=WRITERS.get(task.name) or USUAL.get(task.kind) or submission.glue)
    for task in (*SENTENCES, *PAIRS, *REGRESSIONS, *TAGGING, *QUESTIONS, *CHOICES, *CONTEXTS, *SIMILARITY)
}


def find_task(name: str) -> Task:
    """The task of this name. Raises MalmoiError M151, which tells the nearest name."""
    if name not in TASKS:
        raise MalmoiError("M151", name=name, nearest=nearest(name, TASKS))
    return TASKS[name]
