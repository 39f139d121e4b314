"""Files with one byte that is wrong, or without their end."""

import random


def damaged(content, places, *, head=64, seed=0):
    """Copies of the content, each damaged in one way, with a name: a byte inverted, a byte zero, one bit, cut there.

    Args:
        content: bytes.
        places: how many; evenly spread, and shifted at random.
        head: bytes at the beginning that are all among them, and half as many at the end.
    """
    dice = random.Random(seed)
    step = max(1, len(content) // places)
    spread = {min(start + dice.randrange(step), len(content) - 1) for start in range(0, len(content), step)}
    ends = {*range(min(head, len(content))), *range(max(0, len(content) - head // 2), len(content))}
    for place in sorted(spread | ends):
        old = content[place]
        for way, new in (("inverted", old ^ 0xFF), ("zero", 0), ("one bit", old ^ 1 << dice.randrange(8))):
            if new != old:
                yield f"byte {place} {way}", content[:place] + bytes([new]) + content[place + 1 :]
        yield f"cut at {place}", content[:place]
