from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.vocab.sentences import sentence_breaks


def cut(text: str) -> list[str]:
    edges = [0, *sentence_breaks(text).tolist(), len(text)]
    return [text[start:stop] for start, stop in zip(edges[:-1], edges[1:], strict=True)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("말을 모은다. 뜻이다! 그런가요? 네", ["말을 모은다.", " 뜻이다!", " 그런가요?", " 네"]),
        ('He said "Stop!" Then (really?) he went.  On', ['He said "Stop!"', " Then (really?)", " he went. ", " On"]),
        ("「끝났다.」 다음… 또。 다", ["「끝났다.」", " 다음…", " 또。", " 다"]),
        ("a title\nthe text \n\n more", ["a title", "\nthe text \n\n", " more"]),
        ("J. R. Smith (A. Kim) wrote 3. and 12. parts", ["J. R. Smith (A. Kim) wrote 3. and 12. parts"]),
        ("It was in 1984. 3.5 or v2.0 of e.g.this", ["It was in 1984.", " 3.5 or v2.0 of e.g.this"]),
        ("J.\nK", ["J.", "\nK"]),
        ("ends. \n", ["ends. \n"]),
        ("", [""]),
        (" . \u3000x", [" . ", "\u3000x"]),
    ],
)
def test_rule(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


@given(st.text("ab.!\n ”)\u3000", max_size=30))
def test_every_cut_is_the_last_white_space_before_something(text: str) -> None:
    for place in sentence_breaks(text).tolist():
        assert text[place].isspace() and not text[place + 1].isspace()
    assert all(part for part in cut(text)[1:])
