"""One bit flipped in any file of a run directory is refused and named: by the doctor, and by whatever reads the file."""

import shutil

import pytest

from malmoi import api
from malmoi.core.errors import MalmoiError
from malmoi.core.journal import Journal
from malmoi.diagnosis import diagnose
from malmoi.run import load_run

SETTINGS = ["model.width=8", "model.backbone.mixer.cell=8", "model.frontend.filters=[[1,4],[2,4]]", "stream.streams=4", "stream.window=5"]
ARGUMENTS = {"steps": 6, "settings": [*SETTINGS, "training.validations=2"], "device": "cpu", "allow_unknown": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with every kind of file, and its corpus."""
    folder = tmp_path_factory.mktemp("run")
    corpus = folder / "corpus.txt"
    corpus.write_text("\n\n".join(f"w{n % 7} w{n % 11} w{n % 5} and w{n % 3}" for n in range(300)) + "\n", encoding="utf-8")
    out = folder / "run"
    api.pretrain("elmo-tiny", corpus=[corpus], out=out, **ARGUMENTS)
    journal = Journal(out / "events.jsonl", after=0)
    journal.write({"step": 3, "event": "not finite", "batches": [2]})
    journal.close()
    return out, corpus


def files(out):
    return [path for path in sorted(out.rglob("*")) if path.is_file()]


def kinds(out):
    """Every file but the second checkpoint's, as names below the run."""
    newest = max(path for path in (out / "checkpoints").iterdir() if path.is_dir())
    return [path.relative_to(out).as_posix() for path in files(out) if path.parent.parent != out / "checkpoints" or path.parent == newest]


KINDS = [
    "checkpoints/best.json",
    "checkpoints/step-00000006/carry.safetensors",
    "checkpoints/step-00000006/manifest.json",
    "checkpoints/step-00000006/model.safetensors",
    "checkpoints/step-00000006/optimizer.safetensors",
    "checkpoints/step-00000006/state.json",
    "evals/valid.json",
    "events.jsonl",
    "manifest.json",
    "metrics.jsonl",
    "shards/ends.bin",
    "shards/ids-00000.bin",
    "shards/manifest.json",
    "spec.json",
    "vocab/characters.json",
    "vocab/counts.npy",
    "vocab/manifest.json",
    "vocab/spelling.npy",
    "vocab/words.txt",
]
NOT_READ_TO_GO_ON = {"evals/valid.json"}
"""Written anew at the end of a run, and read by nobody but people and the doctor."""


def test_every_kind_of_file_is_tried(run):
    assert kinds(run[0]) == sorted(KINDS)


def flip(path, place, bit):
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_flipped_bit_is_refused_and_named(run, tmp_path, where):
    out, corpus = run
    for name in kinds(out):
        copy = tmp_path / "copy"
        shutil.copytree(out, copy)
        size = (copy / name).stat().st_size
        flip(copy / name, {"first": 0, "middle": size // 2, "last": size - 1}[where], 0 if where == "middle" else 4)
        errors = [finding for finding in diagnose(copy) if finding.level in ("error", "warning") and finding.code != "M126"]
        assert any(_names(finding.message, copy / name) for finding in errors), (name, [finding.message for finding in errors])
        if where == "middle" and name not in NOT_READ_TO_GO_ON:
            notes = []
            try:
                load_run(copy)
                api.pretrain("elmo-tiny", corpus=[corpus], out=copy, resume=True, progress=_Noting(notes), **ARGUMENTS)
            except MalmoiError as refusal:
                notes.append(str(refusal))
            assert any(_names(note, copy / name) for note in notes), (name, notes)
        shutil.rmtree(copy)


def _names(message, path):
    """The file, or for a manifest the artifact."""
    return str(path) in message or (path.name == "manifest.json" and str(path.parent) in message)


class _Noting:
    def __init__(self, notes):
        self.note = notes.append

    def stage(self, name, total=None):
        pass

    def advance(self, done, facts=None):
        pass


def test_swapped_and_truncated_files_are_refused(run, tmp_path):
    """Same size, other content; half of a file; a file that is gone; a stage of another run."""
    out, corpus = run
    other = tmp_path / "other"
    api.pretrain("elmo-tiny", corpus=[corpus], out=other, seed=5, **{**ARGUMENTS, "steps": 2})
    for name in ("checkpoints/step-00000006/model.safetensors", "shards/ids-00000.bin", "vocab/words.txt"):
        for change in ("half", "gone", "swapped"):
            copy = tmp_path / "copy"
            shutil.copytree(out, copy)
            path = copy / name
            if change == "half":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            elif change == "gone":
                path.unlink()
            else:
                path.write_bytes(bytes(reversed(path.read_bytes())))
            with pytest.raises(MalmoiError, match="M020|M021") as refusal:
                load_run(copy)
                api.pretrain("elmo-tiny", corpus=[corpus], out=copy, resume=True, **ARGUMENTS)
            assert str(path) in str(refusal.value)
            shutil.rmtree(copy)


def test_the_shards_of_another_text_are_refused(run, tmp_path):
    """Whole artifacts, every checksum right, of the same vocabulary: only the run knows that they are not its own."""
    from malmoi.shards import Shards, write_shards
    from malmoi.vocab import Vocabulary

    out, corpus = run
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    vocabulary = Vocabulary.load(copy / "vocab")
    mine = Shards.open(copy / "shards", vocabulary)
    write_shards(copy / "shards", [mine.ids(0, 20), mine.ids(20, 50)], vocabulary)
    with pytest.raises(MalmoiError, match="M041: .* its shards is not the one|M041: .*shards"):
        api.pretrain("elmo-tiny", corpus=[corpus], out=copy, resume=True, **ARGUMENTS)


def test_an_older_good_checkpoint_is_used_and_the_damaged_one_named(run, tmp_path):
    out, corpus = run
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    path = copy / "checkpoints" / "step-00000006" / "model.safetensors"
    flip(path, path.stat().st_size - 9, 3)
    notes = []
    api.pretrain("elmo-tiny", corpus=[corpus], out=copy, resume=True, progress=_Noting(notes), **ARGUMENTS)
    assert any("passed over a damaged checkpoint" in note and str(path) in note for note in notes)
    assert path.read_bytes() == (out / path.relative_to(copy)).read_bytes(), "the step was done again, bit for bit, and saved anew"
