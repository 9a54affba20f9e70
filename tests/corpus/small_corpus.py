"""A small corpus in many shards with something for every stage, and a cleaning of it."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from malmoi.corpus.cleaning.clean import clean
from malmoi.corpus.report.tally import SPLITS
from malmoi.corpus.steps.spec import (
    CorpusSpec,
    ExactSpec,
    LanguageSpec,
    LengthSpec,
    NearSpec,
    NormalizeSpec,
    ParagraphsSpec,
    PersonalSpec,
    RepairSpec,
)

SPEC = CorpusSpec(
    profile="test",
    steps=(
        RepairSpec(),
        NormalizeSpec(),
        LanguageSpec(),
        LengthSpec(characters=20, words=3),
        ExactSpec(),
        NearSpec(),
        ParagraphsSpec(characters=20),
        PersonalSpec(),
    ),
    valid=0.1,
    test=0.1,
)
SIZE = 12_000
"""Bytes of a shard: there are seven."""
MENU = "처음으로 로그인 회원가입 고객센터 사이트맵 이용약관"


def sentence(random: random.Random, words: int) -> str:
    return " ".join("".join(chr(random.randrange(0xAC00, 0xAC00 + 3000)) for _ in range(random.randint(2, 4))) for _ in range(words))


def write(folder: Path) -> Path:
    """Files of three kinds; document 0 of each is the same in all of them, 1 almost, 2 has the menu, 3 is short, 4 English."""
    folder.mkdir(parents=True)
    draw = random.Random(5)
    same, near = sentence(draw, 40), sentence(draw, 120)
    for number in range(6):
        texts = [sentence(draw, 60) for _ in range(25)]
        texts[0] = same
        texts[1] = near.replace(near.split()[number], "바꾼말")
        texts[2] = f"{sentence(draw, 30)}\n{MENU}\n{sentence(draw, 20)}"
        texts[3] = "짧은 글"
        texts[4] = "This is an English text, which nobody has asked for in this place."
        texts[5] += f" 연락처 010-1234-567{number} 입니다"
        texts[6] += "ㅋ" * 30 + "\u200b"
        if number < 4:
            (folder / f"{number}.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
        elif number == 4:
            lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
            (folder / "4.jsonl").write_text(lines + '{"text": 5}\n', encoding="utf-8")
        else:
            (folder / "5.txt.gz").write_bytes(gzip.compress("\n\n".join(texts).encode(), mtime=0))
    return folder


def run(sources: Any, out: Path, **options: Any) -> dict[str, Any]:
    return clean(sources, out=out, **{"spec": SPEC, "size": SIZE, **options})


def rows(out: Path, folder: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def kept(out: Path) -> list[dict[str, Any]]:
    return [row for name in SPLITS for row in rows(out, name)]


def content(out: Path) -> dict[str, bytes]:
    """Every byte of the corpus."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for name in (*SPLITS, "removed") for path in sorted((out / name).iterdir())}
