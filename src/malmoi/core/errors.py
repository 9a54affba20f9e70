"""Errors for people: one catalogue of codes, each with a sentence and the next step.

`raise MalmoiError("M010", path=path)` looks the sentence up here and fills it in, so a message is written once and can be
searched for. `malmoi doctor` uses the same catalogue for its findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Entry:
    """One row of the catalogue: what happened, and what to do about it (both are `str.format` templates)."""

    sentence: str
    next: str


CATALOGUE: dict[str, Entry] = {
    # M00x: the command and its arguments
    "M001": Entry("there is no recipe named {name!r}{nearest}.", "`malmoi recipes` lists them."),
    "M002": Entry("{field} {problem}.", "`malmoi {shown}` shows every field and its value."),
    "M003": Entry("device {device!r} is not there: {problem}.", "use --device auto, or --device cpu."),
    "M004": Entry("{path} holds {what}, and would be overwritten.", "name another --out, or {instead}."),
    "M005": Entry("{what} needs the package {package}.", "pip install 'malmoi[{extra}]'"),
    "M006": Entry("{path} is incomplete: {problem}.", "{next}"),
    "M007": Entry("{path} is not {wanted}: {problem}.", "{next}"),
    "M008": Entry(
        "{path} is in use by process {pid} on {host} since {since}.",
        "wait for it, or stop it; a lock whose process is gone is taken over by itself.",
    ),
    "M009": Entry("{argument} is {value!r}, but {problem}.", "{next}"),
    # M01x: text in
    "M010": Entry("{path} does not exist{nearest}.", "check the path; a glob needs quotes."),
    "M011": Entry(
        "{path} line {line}: byte {byte} is not valid UTF-8.",
        "re-encode the file as UTF-8 (for old Korean files: iconv -f CP949 -t UTF-8).",
    ),
    "M012": Entry(
        "{rate:.1%} of the tokens ({types:.1%} of the types) would be <unk> with {size:,} output words; the limit is {limit:.0%}.",
        "{sizes}; or split words with --set text.words=punctuation; or go on with --allow-unknown.",
    ),
    "M013": Entry("there is no text in {path}.", "give a file with at least two documents of words."),
    "M014": Entry("{path} is not text: {problem}.", "give .txt, .jsonl or .parquet, plain or .gz, .xz, .zst."),
    "M015": Entry("{path} is cut off or damaged: {problem}.", "it was probably not copied or written whole; make it again."),
    "M016": Entry("{path} document {document} has no words.", "it is passed over; remove it to silence this."),
    "M017": Entry("the corpus has {tokens:,} tokens in {documents:,} documents: too little for {needed}.", "{next}"),
    "M018": Entry("{path} line {line}: a {what} of more than {limit:,} bytes begins here.", "{next}"),
    "M019": Entry("{path} line {line}: {problem}.", "each line of a .jsonl file is an object with a string under {field!r}."),
    # M02x: vocabulary and shards
    "M020": Entry("{path} has changed since it was written: its SHA-256 is {found}, the manifest says {expected}.", "{next}"),
    "M021": Entry("{path} is missing.", "{next}"),
    "M022": Entry(
        "{path} was made with another vocabulary (fingerprint {found}, not {expected}).",
        "make it again with this vocabulary, or use the vocabulary that made it.",
    ),
    "M023": Entry("id {id} does not fit: {problem}.", "{next}"),
    "M024": Entry(
        "{path} has no column of text {field!r}{nearest}.", "name the right one with --set text.field=NAME; there are: {columns}."
    ),
    "M025": Entry(
        "{source} has {sources:,} texts and {target} has {targets:,}: they are no pairs.",
        "give two files in which line N of one is the translation of line N of the other.",
    ),
    "M026": Entry(
        "{rate:.1%} of the subwords would be [UNK] with {size:,} pieces; the limit is {limit:.0%}.",
        "--set subwords.algorithm=bpe, byte_bpe or unigram leaves nothing unknown; or lower subwords.minimum_count (1 keeps every "
        "character); or raise subwords.size; or go on with --allow-unknown.",
    ),
    # M03x: model
    "M030": Entry("input and output embeddings cannot be tied: {problem}.", "{next}"),
    "M031": Entry("the model sees what it should predict: {where} depends on {what} (gradient {gradient:.1e}, must be 0).", "{next}"),
    "M032": Entry("{what}: {problem}.", "{next}"),
    # M04x: training
    "M040": Entry(
        "the {what} was {value} at step {step}, and it was not finite for {times} steps in a row.",
        "lower training.learning_rate or training.clip_norm, or look at the batches that events.jsonl names; none of these steps was applied.",
    ),
    "M041": Entry("{path} cannot go on as asked: {differences}.", "resume with the same arguments, or start a new run in another --out."),
    "M042": Entry("{path} holds nothing to resume.", "start without --resume."),
    "M043": Entry("no good checkpoint is left in {path}: {problem}.", "restore the run from a copy, or train again."),
    "M044": Entry(
        "process {rank} of {world} {problem} at step {step}; the group has ended.",
        "start it again with --resume (`malmoi supervise` does so by itself): it goes on from the last good checkpoint.",
    ),
    "M045": Entry(
        "the disk of {path} has {free:,.0f} MB free, {what} needs {needed:,.0f} MB.",
        "free some space, name an --out on another disk, or lower training.keep; what was saved before is intact.",
    ),
    "M046": Entry("{path} cannot be written: {problem}.", "give an --out that you may write to."),
    "M047": Entry(
        "the loss rose to {loss:.3f} at step {step} after {rollbacks} returns to an earlier checkpoint.",
        "lower training.learning_rate, or look at the batches that events.jsonl names.",
    ),
    "M048": Entry("{rows} rows cannot be shared by {world} processes.", "start at most {rows} processes, or raise {field}."),
    "M049": Entry("batch {number} could not be made: {problem}.", "look at the data it is made of; the last good checkpoint is kept."),
    # M05x: import and export
    "M050": Entry("{path} is not an AllenNLP ELMo checkpoint: {problem}.", "{next}"),
    "M052": Entry("{path} has no output layer: {problem}.", "embed with it; {next}"),
    "M051": Entry("this run cannot be written as {format}: {problem}.", "{next}"),
    "M053": Entry("{path} cannot be read as {format}: {problem}.", "{next}"),
    "M054": Entry(
        "{path}: {field} is {value}: {problem}.",
        "if you know that it changes nothing, take it out of a copy of the file; else this model is not for malmoi.",
    ),
    # M06x: use
    "M060": Entry("{path} cannot {what}: {problem}.", "{next}"),
    # M10x-M13x: what `malmoi doctor` finds
    "M100": Entry("{check}: {facts}.", "nothing to do."),
    "M101": Entry("{rate:.1%} of the tokens in {where} are <unk> with {size:,} words; the limit is {limit:.0%}.", "{next}"),
    "M102": Entry(
        "the vocabulary is not of this corpus: {problem}.",
        "build the vocabulary from the text that the shards are made of, and make the shards again with it.",
    ),
    "M103": Entry(
        "{rate:.1%} of the {what} stand there more than once ({repeated:,} of {count:,}; most often, {most:,} times: {example!r}).",
        "remove the duplicates; a model learns to recite what it reads often.",
    ),
    "M104": Entry(
        "{count:,} of {total:,} documents have no words (first: {example}).",
        "remove them, or look whether the reader was told the right field or suffix.",
    ),
    "M105": Entry("{what} has {tokens:,} tokens: {problem}.", "{next}"),
    "M106": Entry(
        "the ids of the vocabulary are not frequency ranks: {problem}.", "build the vocabulary again from the counts of the whole corpus."
    ),
    "M110": Entry("the model sees what it should predict: changing {what} changes {where}.", "{next}"),
    "M111": Entry("nothing can be said about leaks: {problem}.", "{next}"),
    "M112": Entry(
        "`encode` reads through {names}, which training gives no gradient: the vectors come from weights that were never trained.",
        "let training, evaluation and readout call the same modules.",
    ),
    "M113": Entry(
        "training moves {names}, which `encode` never uses: what was learned there is not in the vectors.",
        "let training, evaluation and readout call the same modules.",
    ),
    "M114": Entry(
        "{names} stand exactly as they were drawn at the start, after {steps:,} steps of training, though `encode` reads through them.",
        "look why they get no gradient (detached, frozen, or not in the loss), and train again.",
    ),
    "M115": Entry("{names} belong to the model, but neither training nor `encode` uses them.", "remove them from the model, or use them."),
    "M116": Entry("training and evaluation do not compute the same with dropout 0: {problem}.", "{next}"),
    "M117": Entry(
        "dropout is alive at evaluation: two evaluations of one batch differ by {difference:.1e}, first in {where}.",
        "use nn.Dropout as a module, or pass training=self.training to functional dropout.",
    ),
    "M118": Entry("dropout stands where the recipe has none: {problem}.", "{next}"),
    "M119": Entry("tying is broken: {problem}.", "{next}"),
    "M120": Entry(
        "the loss of fresh weights is {loss:.2f} nats, ln({size:,}) is {expected:.2f}: {problem}.",
        "look at the scale of the initial weights, and at what stands before the softmax.",
    ),
    "M121": Entry(
        "the state does not go on between windows: {problem}.",
        "hand the carry that comes back from one window to the next, and start from zeros only once.",
    ),
    "M122": Entry(
        "row {row} of step {after} does not begin where it ended at step {before}: {problem}.",
        "read each stream in order: batches of a stateful model must not be shuffled or sorted.",
    ),
    "M123": Entry("the state that is carried from window to window {problem}.", "{next}"),
    "M124": Entry("the vectors of {layer} have collapsed: {problem}.", "{next}"),
    "M125": Entry(
        "{count:,} of {width:,} dimensions of {layer} are constant.",
        "look for dead units: a saturated clip, a zero weight, or a part that was never trained.",
    ),
    "M126": Entry(
        "the best loss so far is {loss:.3f} nats, no better than counting words ({unigram:.3f} nats, perplexity {perplexity:,.0f}) after {tokens:,} words.",
        "{next}",
    ),
    "M127": Entry(
        "the {name} at step {step:,} is {value}.",
        "lower training.learning_rate or training.clip_norm, and go on from an earlier checkpoint.",
    ),
    "M128": Entry("the run ended early: {problem}.", "`malmoi pretrain` with the same arguments and --resume goes on."),
    "M129": Entry("the gradients look unhealthy: {problem}.", "{next}"),
    "M130": Entry(
        "the loss rises: {before:.3f} nats in the second quarter of the run, {after:.3f} in the last.",
        "lower training.learning_rate, or let it decay.",
    ),
    "M131": Entry("{path} is damaged: {problem}", "{next}"),
    "M132": Entry(
        "`encode` gives other vectors than the model that was trained: {problem}.", "let readout and training call the same modules."
    ),
    "M133": Entry(
        "documents that start from zero cost {alone:.2f} nats a word, text that goes on from the states of training {carried:.2f}: the {direction} "
        "model was never trained to start.",
        "train with objective.start=zero; until then read this run with --state warm, and trust no vectors of --state reset.",
    ),
    "M134": Entry("the model that looks for replaced tokens is misled: {problem}.", "{next}"),
    "M135": Entry(
        "a document has other vectors between others in a row than alone: {problem}.",
        "let attention and positions go by `segments` and `positions` of the batch.",
    ),
    "M136": Entry(
        "a batch is not the mean of its parts: {problem}.",
        "make the loss a mean over `count` predictions, and what is drawn at random a function of a row's key.",
    ),
    # M14x: the cleaning of a corpus
    "M140": Entry(
        "{path} was begun with other {what}: {differences}.",
        "name another --out, or remove {path}.",
    ),
    "M141": Entry("{name} could not be done: {problem}.", "start the same command again: what is finished is kept; {next}"),
    "M142": Entry(
        "{read:,} documents were read, but {kept:,} were kept and {removed:,} removed: {problem}.",
        "this is a fault of malmoi: report it; nothing was published.",
    ),
    "M143": Entry(
        "a worker has {found}, not {expected}: its output would not be the same.",
        "install the same versions on every machine, or use --engine local.",
    ),
    "M144": Entry("there is no document {id!r} in {path}{nearest}.", "ids stand in the column `id` of train, valid, test and removed."),
    "M145": Entry("the disk of {path} is full: {problem}.", "free some space and start the same command again: what is finished is kept."),
    "M146": Entry("the counts of {path} do not add up: {problem}.", "{next}"),
    "M147": Entry(
        "{count:,} of the {total:,} documents of {split} are almost in train too: {one} is {similarity:.0%} like {other}.",
        "a score on {split} would be too good: remove them there, or clean again with more near.bands.",
    ),
    "M148": Entry("{share:.0%} of the documents were removed, most of them by {step} ({reason}).", "{next}"),
    "M149": Entry(
        "{path} cannot be compared with: {problem}.", "give an evaluation file of texts: .txt .tsv .csv .json .jsonl .parquet, in UTF-8."
    ),
    "M150": Entry(
        "the quality classifier has too little on its {side} side: {problem}.",
        "give --good FILE and --bad FILE with at least {fewest} different documents each (better thousands).",
    ),
    # M151-M159: downstream tasks
    "M151": Entry("there is no task named {name!r}{nearest}.", "docs/tasks.md lists them."),
    "M152": Entry(
        "{path} cannot be read as {task}: {problem}{looks}.", "give the folder, or the file, as it was published; docs/tasks.md names them."
    ),
    "M153": Entry("{path} {place}: {problem}.", "it was probably edited, or not copied whole: take the file as it was published."),
    "M154": Entry(
        "{path} {place}: {label!r} is no label of {task}; its labels are {labels}.", "take the files of {task} as they were published."
    ),
    "M155": Entry("{path}: {problem}.", "a task needs examples in each of its files; was the file copied whole?"),
    "M156": Entry(
        "the predictions cannot be {done}: {problem}.",
        "predictions stand in the order of the examples, one for each; all these have known answers.",
    ),
    "M157": Entry(
        "{task} cannot be learned: {problem}.", "a head needs train and dev files with known answers; look into --data, or raise --limit."
    ),
    "M158": Entry(
        "{task} cannot be learned: two views of each of the first {count:,} texts are the same vector, because nothing is dropped in the model.",
        "give the model dropout: --set model_dropout=0.1.",
    ),
    # M09x: the command line itself
    "M096": Entry("{command} ended {times} times without a new checkpoint, at last with status {status}.", "look at what it said above."),
    "M097": Entry("the system refused: {problem}.", "check the path, its permissions and the free space."),
    "M098": Entry("{problem}.", "`{command} --help` shows how it is used."),
    "M099": Entry("unexpected {kind}: {problem}.", "this is a fault of malmoi: run the same again with --debug and report what it shows."),
}


class MalmoiError(ValueError):
    """A failure that the user can mend. `str()` gives code, sentence and next step on one line."""

    def __init__(self, code: str, **fields: object) -> None:
        entry = CATALOGUE[code]
        self.code = code
        self.message = entry.sentence.format(**fields).replace("?.", "?")
        self.next = entry.next.format(**fields)
        self._fields = fields
        super().__init__(f"{code}: {self.message} next: {self.next}")

    def __reduce__(self) -> tuple[Callable[..., MalmoiError], tuple[str, dict[str, object]]]:
        """Errors pass from worker processes to the one that tells them."""
        return _again, (self.code, self._fields)


def _again(code: str, fields: dict[str, object]) -> MalmoiError:
    return MalmoiError(code, **fields)


def nearest(name: str, among: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest of `among`, or nothing."""
    close = get_close_matches(name, list(among), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def at_least_one(**numbers: int | None) -> None:
    """Raise MalmoiError M009 for the first number below 1; None is one that was not given."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise MalmoiError("M009", argument=name, value=value, problem="it must be at least 1", next="give 1 or more, or leave it out.")
