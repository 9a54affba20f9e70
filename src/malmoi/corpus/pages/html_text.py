"""HTML -> main text: what the child process of `malmoi.corpus.pages.html` does to one page.

`fast` lets resiliparse make a well-formed page of what came, and goes over it once (as text, which is three times faster than node by node)
for blocks of text within boxes (block elements). What is kept is then arithmetic on the prose in each box: boxes that are named for
boilerplate go, unless most of the prose is in them; the smallest box that holds most of the prose is the main one; lists of links go; lines
that only ask for something (to share, to subscribe) go. `precise` asks trafilatura, and takes the same lines out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from itertools import accumulate
from typing import Any

UNSEEN = frozenset("audio button canvas datalist dialog map math object option select svg template textarea video".split())
"""Elements whose text is not read, besides those of TOKEN's `raw`."""
BOXES = frozenset(
    "address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header li "
    "main nav ol p pre section summary table tbody td tfoot th thead tr ul".split()
)
"""Elements whose text begins and ends a block."""
ATTRIBUTES = r"""(?:[^">]|"[^"]*+")*+"""
TOKEN = re.compile(
    r"<(?:(?P<raw>script|style|noscript|iframe|noembed|noframes|xmp)\b[^>]*+>.*?</(?P=raw)>|!--.*?-->|"
    rf"(?P<end>/)?(?P<tag>{'|'.join(sorted(BOXES | UNSEEN | {'a', 'br', 'hr'}))})(?=[ >])(?P<attributes>{ATTRIBUTES})>)",
    re.DOTALL,
)
"""What is looked at in a page that resiliparse has written: there every element is closed, and `<` in text is `&lt;`."""
INLINE = re.compile(f"<{ATTRIBUTES}>")
CALLED = re.compile(r' (?:class|id|role|itemprop)="([^"]*+)"')
HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
AROUND = frozenset(("nav", "aside", "footer", "form", "figcaption", "fieldset"))
"""Elements that stand around the main text."""
NAMES = re.compile(
    r"(?:^|[\s_-])(?:"
    r"nav|navbar|navigation|menu|bread-?crumbs?|pagination|pager|toc|search|toolbar|tools|login|sign-?(?:up|in)|side-?bar|marginal|complementary"
    r"|foot|footer|(?:post|entry)-?(?:footer|utility|meta)|contentinfo|copyright|disclaimer|meta|metadata|author|authors?-?(?:box|info|bio)"
    r"|by-?line|date|datum|published|timestamp|time|keywords|tags(?!\w)|tag-?(?:list|cloud|links)|topline|kicker|caption|credits?|info-?box"
    r"|shar(?:e|es|ing)|social|sociable|follow|print|rating|votes?|feedback|comments?|commentlist|respond|disqus"
    r"|related|recommend(?:ed|ations?)?|popular|trending|most-?read|read-?more|more-?(?:links|posts|articles|stories|news)|widget|outbrain|taboola"
    r"|newsletter|subscri(?:be|ption)|paywall|cookies?|consent|gdpr|popup|modal|overlay|banner|promo|promotion|sponsor(?:ed)?"
    r"|advert(?:s|isement|orial)?|ads?(?=\s|$|-box|-container|-slot|-wrap)|anzeige"
    r")(?:$|[\s_-])",
    re.IGNORECASE,
)
"""Names (class, id, role, itemprop) of boxes that stand around the main text."""
HIDDEN = re.compile(
    r' hidden="| aria-hidden="true"| style="[^"]*(?:display\s*:\s*none|visibility\s*:\s*hidden)',
    re.IGNORECASE,
)
LABELS = re.compile(
    r"(?:share|share this|tweet|print|e-?mail|facebook|twitter|kakaotalk|log ?in|sign (?:in|up)|subscribe|reply|advertisement|caption|image"
    r"|photo|teilen|drucken|anzeige|werbung|foto|publicidad|publicité|reklama"
    r"|로그인|회원 ?가입|더 ?보기|공유(?:하기)?|인쇄(?:하기)?|스크랩|좋아요|구독(?:하기)?|글자 ?크기|목록(?:으로)?"
    r"|(?:이전|다음) ?(?:글|기사)|댓글(?: ?(?:쓰기|달기|보기))?|관련 ?기사|url ?복사|본문 ?바로가기|메뉴|닫기|맨 ?위로|광고)"
    r"[\s\d:.,()+>»-]*",
    re.IGNORECASE,
)
"""Whole lines that are buttons."""
REQUESTS = (
    "newsletter|뉴스레터|all rights reserved|alle rechte vorbehalten|sign up for|sign up to|log in to|sign in to|subscribe now|subscribe to"
    "|subscribe today|follow us|use cookies|uses cookies|use of cookies|verwenden cookies|verwendet cookies|site cookies|accept cookies"
).split("|")
"""What lines say that ask for something."""
POINTERS = re.compile(
    r"(?:read|see) (?:more|also|next)|(?:lesen sie|lies) (?:auch|mehr)|mehr zum thema|das könnte|zum weiterlesen|lire aussi"
    r"|(?:lea|lee) (?:también|más)|czytaj też|(?:share|teilen) (?:this|on|via)|(?:foto|photo|bild|image|credits?)s?\s*[:©]|[(\[]?©"
    r"|(?:tags?|schlagworte|themen|categor(?:y|ies)|kategorien?|filed under)\s*:",
    re.IGNORECASE,
)
"""How lines begin that point elsewhere, or say whose a picture is."""

PROSE = 25
"""Characters outside links from which on a block counts as prose."""
NAMED = 0.4
"""Largest share of the prose that a box named for boilerplate may hold; with more it is the main text."""
MAIN = 0.7
"""Share of the prose in the main box."""
AROUND_MAIN = 0.99
"""Share of the prose in the box around the main one, from which long prose is taken too: leads, and sections of their own."""
BEFORE, AFTER = 100, 300
"""Characters outside links of a block that is taken before and after the main box."""
LINKS = 0.5
"""Largest share of a box's characters that may be links."""
REQUEST = 200
"""Longest line that may be a request."""


@dataclass(slots=True)
class Box:
    """A block element: its tag, what it is called, and the range of blocks in it."""

    tag: str
    names: str
    hidden: bool
    begin: int
    end: int


@dataclass(slots=True)
class Block:
    """Text between two edges of boxes: how many of its characters are links, and the tag of the innermost box."""

    text: str
    linked: int
    tag: str


def fast(page: str) -> dict[str, Any]:
    """Main text from resiliparse's tree: fields of `Extracted`. The text is empty where there is none."""
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(page)
    blocks = main_blocks(*take_apart(tree.body.html)) if tree.body is not None else []
    return extracted(tree.title or "", blocks, "fast")


def precise(page: str) -> dict[str, Any]:
    """Main text by trafilatura, or by `fast` where it finds nothing."""
    import trafilatura
    from resiliparse.parse.html import HTMLTree

    text = trafilatura.extract(page, include_comments=False) or ""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    blocks = [Block(line, 0, "") for line in lines if line]
    return extracted(HTMLTree.parse(page).title or "", blocks, "precise") if blocks else fast(page)


def extracted(title: str, blocks: list[Block], extractor: str) -> dict[str, Any]:
    """The fields of `Extracted`."""
    title, blocks = without_title(" ".join(title.split()), blocks)
    return {"text": "\n".join(block.text for block in blocks if not is_request(block)), "title": title, "extractor": extractor}


def take_apart(source: str) -> tuple[list[Box], list[Block]]:
    """Boxes in the order in which they begin, and the blocks of text in them, of a well-formed page."""
    boxes: list[Box] = []
    blocks: list[Block] = []
    open_boxes: list[Box] = []
    pieces: list[str] = []
    linked, link, last = 0, False, 0  # characters of links in `pieces`; whether we are in one; where the last token ended
    unseen, depth = "", 0  # the element that is not read, and how many of its name are open

    def flush() -> None:
        nonlocal linked
        if pieces:
            text = plain("".join(pieces))
            if text:
                blocks.append(Block(text, min(linked, len(text)), open_boxes[-1].tag if open_boxes else ""))
            pieces.clear()
        linked = 0

    for token in TOKEN.finditer(source):
        begin = token.start()
        if begin > last and not unseen:
            pieces.append(source[last:begin])
            if link:
                linked += len(plain(pieces[-1]))
        last = token.end()
        end, tag, attributes = token.group("end", "tag", "attributes")
        if unseen:
            if tag == unseen:
                depth += -1 if end else 1
                unseen = unseen if depth else ""
        elif tag in BOXES:
            flush()
            if not end:
                open_boxes.append(box_of(tag, attributes, len(blocks)))
                boxes.append(open_boxes[-1])
            elif open_boxes and open_boxes[-1].tag == tag:
                open_boxes.pop().end = len(blocks)
        elif tag == "a":
            link = not end
        elif tag in ("br", "hr"):
            flush()
        elif tag and not end:
            unseen, depth = tag, 1
    flush()
    for box in open_boxes:
        box.end = len(blocks)
    return boxes, blocks


def plain(source: str) -> str:
    """Text without the tags in it, white space made equal."""
    if "<" in source:
        source = INLINE.sub("", source)
    if "&" in source:
        source = unescape(source)
    return " ".join(source.split())


def box_of(tag: str, attributes: str, begin: int) -> Box:
    """A box that begins here."""
    names = " ".join(CALLED.findall(attributes)) if attributes else ""
    return Box(tag, names, bool(attributes and HIDDEN.search(attributes)), begin, begin)


def main_blocks(boxes: Sequence[Box], blocks: Sequence[Block]) -> list[Block]:
    """The blocks of the main text."""
    prose = [free if (free := len(block.text) - block.linked) >= PROSE else 0 for block in blocks]
    kept = [True] * len(blocks)
    below = [0, *accumulate(prose)]

    def around(box: Box) -> bool:
        named = (
            box.hidden or box.tag in AROUND or bool(box.names and box.tag not in ("body", "article", "main") and NAMES.search(box.names))
        )
        return named and below[box.end] - below[box.begin] <= NAMED * below[-1]

    drop(boxes, kept, around)
    below = [0, *accumulate(size if keep else 0 for size, keep in zip(prose, kept, strict=True))]
    whole = Box("body", "", False, 0, len(blocks))
    main, outer = smallest(boxes, below, MAIN, whole), smallest(boxes, below, AROUND_MAIN, whole)
    characters = [0, *accumulate(len(block.text) for block in blocks)]
    links = [0, *accumulate(block.linked for block in blocks)]

    def of_links(box: Box) -> bool:
        if box.tag in HEADINGS or box.begin <= main.begin and box.end >= main.end:
            return False
        return links[box.end] - links[box.begin] > LINKS * (characters[box.end] - characters[box.begin])

    drop(boxes, kept, of_links)

    def taken(place: int) -> bool:
        if main.begin <= place < main.end:
            return True
        needed = BEFORE if place < main.begin else AFTER
        return prose[place] >= needed and blocks[place].linked <= 0.3 * len(blocks[place].text)

    return [blocks[place] for place in range(outer.begin, outer.end) if kept[place] and taken(place)]


def drop(boxes: Sequence[Box], kept: list[bool], wanted: Any) -> None:
    """Unset `kept` for the blocks of every box that `wanted` names, outermost first."""
    dropped = 0  # blocks up to here have been looked at as part of a box
    for box in boxes:
        if box.begin >= dropped and box.begin < box.end and wanted(box):
            kept[box.begin : box.end] = [False] * (box.end - box.begin)
            dropped = box.end


def smallest(boxes: Sequence[Box], below: Sequence[int], share: float, whole: Box) -> Box:
    """The innermost box with that share of the prose."""
    found = whole
    for box in boxes:
        if found.begin <= box.begin and box.end <= found.end and below[-1] and below[box.end] - below[box.begin] >= share * below[-1]:
            found = box
    return found


def without_title(title: str, blocks: list[Block]) -> tuple[str, list[Block]]:
    """The title (the first heading, if the text begins with it), and the blocks without it."""
    head, rest = blocks[:3], blocks[3:]
    for block in head:
        if block.tag == "h1":
            title = block.text
            break
    known = title.lower()
    return title, [block for block in head if block.tag != "h1" and not (len(block.text) > 10 and block.text.lower() in known)] + rest


def is_request(block: Block) -> bool:
    """Whether a block is no text but a button, a request or a pointer."""
    if len(block.text) > REQUEST or block.tag in HEADINGS:
        return False
    if LABELS.fullmatch(block.text) or POINTERS.match(block.text):
        return True
    lower = block.text.lower()
    return any(request in lower for request in REQUESTS)
