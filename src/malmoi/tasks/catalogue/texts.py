"""Tasks of whole texts: a label of one, a label of two, a number of two."""

from __future__ import annotations

from malmoi.tasks import submission
from malmoi.tasks.catalogue.entry import ACCURACY, KLUE, KOBEST, MACRO_F1, alike, entry, files, klue, kobest
from malmoi.tasks.formats import nsmc, snli, texts
from malmoi.tasks.formats.texts import Records, Table
from malmoi.tasks.metrics import labels
from malmoi.tasks.task import Task

YNAT = ("IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치")
BINARY = ("0", "1")
TRUTH = ("False", "True")
SPELLED = {"TRUE": "True", "FALSE": "False", "1": "True", "0": "False"}
ENTAILED = ("entailment", "not_entailment")
COLA = ("source", "label", "mark", "sentence")

KORNLU = "Ham et al. 2020, KorNLI and KorSTS"
GLUED = "; GLUE, Wang et al. 2019"
GLUE = files(r"(^|/)train(_full)?\.tsv$", r"(^|/)dev\.tsv$", r"(^|/)test\.tsv$")

SENTENCES = (
    entry("klue-tc", "sentence", "ko", KLUE + "3.1", Records("title", labels=YNAT), klue("ynat"), MACRO_F1, YNAT, write=submission.klue_tc),
    Task("nsmc", "sentence", "ko", "Park 2015, github.com/e9t/nsmc", nsmc.nsmc, *ACCURACY, BINARY, submission.nsmc),
    entry("kobest-sentineg", "sentence", "ko", KOBEST, Table("Text", None, "Label", "ID", BINARY), kobest("SentiNeg"), MACRO_F1, BINARY),
    entry("sst2", "sentence", "en", "Socher et al. 2013" + GLUED, Table("sentence", id="index", labels=BINARY), GLUE, ACCURACY, BINARY),
    entry("sst5", "sentence", "en", "Socher et al. 2013", texts.sst5, alike(r"(^|/)(stsa\.fine\.)?{}(\.txt)?$"), ACCURACY, tuple("01234")),
    entry(
        "cola",
        "sentence",
        "en",
        "Warstadt et al. 2019" + GLUED,
        Table("sentence", labels=BINARY, header=COLA),
        files(
            r"(^|raw/)in_domain_train\.tsv$|(^|CoLA/)train\.tsv$",
            r"(^|raw/)in_domain_dev\.tsv$|(^|CoLA/)dev\.tsv$",
            r"(^|raw/)out_of_domain_dev\.tsv$|(^|CoLA/)test\.tsv$",
        ),
        (labels.matthews, "matthews"),
        BINARY,
        said={"test": "of cola_public, the out-of-domain dev set (GLUE's dev set holds both)"},
    ),
)

PAIRS = (
    entry(
        "klue-nli",
        "pair",
        "ko",
        KLUE + "3.3",
        Records("premise", "hypothesis", ("gold_label",), labels=snli.LABELS),
        klue("klue-nli"),
        ACCURACY,
        snli.LABELS,
        write=submission.klue_nli,
    ),
    entry(
        "kornli",
        "pair",
        "ko",
        KORNLU,
        Table("sentence1", "sentence2", "gold_label", labels=snli.LABELS),
        files(r"(multinli|snli_1\.0)[^/]*train\.ko\.tsv$", r"xnli\.dev\.ko\.tsv$", r"xnli\.test\.ko\.tsv$"),
        ACCURACY,
        snli.LABELS,
        write=submission.kornli,
        joined=True,
    ),
    entry(
        "kobest-boolq",
        "pair",
        "ko",
        KOBEST,
        Table("Text", "Question", "Answer", "ID", TRUTH, spelled=SPELLED),
        kobest("BoolQ"),
        MACRO_F1,
        TRUTH,
    ),
    entry(
        "mrpc",
        "pair",
        "en",
        "Dolan and Brockett 2005" + GLUED,
        Table("#1 String", "#2 String", "Quality", labels=BINARY),
        files(r"(^|/)(train\.tsv|msr_paraphrase_train\.txt)$", r"(^|/)dev\.tsv$", r"(^|/)(test\.tsv|msr_paraphrase_test\.txt)$"),
        (labels.accuracy_f1, "f1"),
        BINARY,
    ),
    entry(
        "rte",
        "pair",
        "en",
        "Dagan et al. 2005 and later" + GLUED,
        Table("sentence1", "sentence2", "label", "index", ENTAILED),
        GLUE,
        ACCURACY,
        ENTAILED,
    ),
    Task("snli", "pair", "en", "Bowman et al. 2015", snli.snli, *ACCURACY, snli.LABELS, submission.glue),
    entry(
        "mnli",
        "pair",
        "en",
        "Williams et al. 2018" + GLUED,
        snli.inference,
        files(r"(^|/)(train\.tsv|multinli_1\.0_train\.jsonl)$", r"dev_matched\.(tsv|jsonl)$", r"test_matched\.(tsv|jsonl)$"),
        ACCURACY,
        snli.LABELS,
    ),
)

REGRESSIONS = (
    entry(
        "klue-sts",
        "regression",
        "ko",
        KLUE + "3.2",
        Records("sentence1", "sentence2", ("labels", "real-label")),
        klue("klue-sts"),
        (labels.klue_sts, "pearson"),
        write=submission.klue_sts,
        divides=False,
    ),
    entry(
        "korsts",
        "regression",
        "ko",
        KORNLU,
        Table("sentence1", "sentence2", "score"),
        alike(r"sts-{}\.tsv$"),
        (labels.correlations, "spearman"),
        write=submission.korsts,
    ),
    entry(
        "stsb",
        "regression",
        "en",
        "Cer et al. 2017" + GLUED,
        texts.stsb,
        alike(r"(^|/)(stsb-en-|sts-)?{}\.(csv|tsv)$"),
        (labels.correlations, "spearman"),
    ),
)
