"""Tasks of understanding: answers that stand in a text, and the right one of several ends or answers."""

from __future__ import annotations

from malmoi.tasks import submission
from malmoi.tasks.catalogue.entry import ACCURACY, KLUE, KOBEST, MACRO_F1, SPLITS, alike, entry, files, klue, kobest
from malmoi.tasks.formats import choices
from malmoi.tasks.formats.questions import Squad
from malmoi.tasks.metrics import answers

SQUAD1 = "Rajpurkar et al. 2016; SQuAD-shifts, Miller et al. 2020; XQuAD, Artetxe et al. 2020"
FOLD = "fold 0 of the five published ones, unless the folder of another one is given"

QUESTIONS = (
    entry(
        "squad1",
        "span",
        "en",
        SQUAD1,
        Squad(),
        files(r"train-v1\.1\.json$|new_wiki_v1\.0\.json$", r"dev-v1\.1\.json$", r"xquad\.en\.json$"),
        (answers.squad1, "f1"),
    ),
    entry("squad2", "span", "en", "Rajpurkar et al. 2018", Squad(unanswerable=True), alike(r"{}-v2\.0\.json$"), (answers.squad2, "f1")),
    entry("korquad", "span", "ko", "Lim et al. 2019, KorQuAD 1.0", Squad(), alike(r"KorQuAD_v1\.0_{}\.json$"), (answers.korquad, "f1")),
    entry(
        "klue-mrc",
        "span",
        "ko",
        KLUE + "3.7",
        Squad(unanswerable=True, id="guid"),
        klue("klue-mrc"),
        (answers.klue_mrc, "rouge_w"),
    ),
)

CHOICES = (
    entry(
        "swag",
        "choice",
        "en",
        "Zellers et al. 2018",
        choices.swag,
        files(r"(^|/)train\.csv$", r"(^|/)val\.csv$", r"(^|/)test\.csv$"),
        ACCURACY,
    ),
    entry(
        "codah",
        "choice",
        "en",
        "Chen et al. 2019",
        choices.codah_rows,
        alike(r"(^|fold_0/){}\.tsv$"),
        ACCURACY,
        said=dict.fromkeys(SPLITS, FOLD),
    ),
    entry(
        "commonsenseqa",
        "choice",
        "en",
        "Talmor et al. 2019",
        choices.commonsense,
        files(r"train_(data|rand_split)\.jsonl$", r"dev_(data|rand_split)\.jsonl$", r"test_(data|rand_split_no_answers)\.jsonl$"),
        ACCURACY,
        write=submission.commonsenseqa,
    ),
    entry("kobest-copa", "choice", "ko", KOBEST, choices.copa, kobest("COPA"), MACRO_F1),
    entry("kobest-hellaswag", "choice", "ko", KOBEST, choices.hellaswag, kobest("HellaSwag"), MACRO_F1),
)
