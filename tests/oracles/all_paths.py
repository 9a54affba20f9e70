"""The CRF by its definition: every path is written down. Plain Python in double precision; knows nothing of malmoi.

scores: T rows of K numbers. begin, end: K numbers. step[before][after].
"""

from __future__ import annotations

import math
from itertools import product


def score(path, scores, begin, step, end):
    """The score of one path."""
    total = begin[path[0]] + end[path[-1]]
    for place, tag in enumerate(path):
        total += scores[place][tag]
    for before, after in zip(path[:-1], path[1:], strict=True):
        total += step[before][after]
    return total


def paths(length, tags, allowed=None, begins=None):
    """All paths, or those that follow the rules."""
    for path in product(range(tags), repeat=length):
        if begins is not None and not begins[path[0]]:
            continue
        if allowed is not None and not all(allowed[before][after] for before, after in zip(path[:-1], path[1:], strict=True)):
            continue
        yield path


def log_partition(scores, begin, step, end, **rules):
    """ln of the sum of exp(score) over them."""
    found = [score(path, scores, begin, step, end) for path in paths(len(scores), len(begin), **rules)]
    highest = max(found)
    return highest + math.log(math.fsum(math.exp(each - highest) for each in found))


def best(scores, begin, step, end, **rules):
    """(path, its score): the highest one."""
    found = {path: score(path, scores, begin, step, end) for path in paths(len(scores), len(begin), **rules)}
    path = max(found, key=found.__getitem__)
    return list(path), found[path]
