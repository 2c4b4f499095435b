"""Records that no publisher of ours would send, made from a seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from losswatch.encoding import MSGPACK, encode
from losswatch.headers import CONTENT_TYPE
from losswatch.topics import PREDICTIONS, STEPS
from tests.consumers.builders import a_story


@dataclass(frozen=True)
class Hostile:
    """What is in the topic; ``broken`` if it is no record of the wire, so that it has to be a dead letter."""

    value: bytes | None
    topic: str = STEPS
    key: bytes | None = b"evil"
    headers: tuple[tuple[str, bytes], ...] = ()
    broken: bool = False


NAMES = (
    "evil",
    "quo\"te's",
    "line\nfeed\r\ttab",
    "nul\x00in the middle",
    '{label="x"} 1\n# HELP',
    "\u202eright to left",
    "\U0001f4a9" * 50,
    "x" * 200,
    " ",
    "-",
    "../../etc/passwd",
    "__proto__",
    "a/b/c/d",
    "%s%n{0}{}",
    "\ufeff\ufffe\uffff",
)
NUMBERS = (
    0.0, -0.0, 1e308, -1e308, 5e-324, 1e300, "NaN", "Infinity", "-Infinity", None, 2**53, -(2**53), 10**30,
)  # fmt: skip
WRONG: tuple[Any, ...] = ("text", True, [], {}, [[1]], {"d": "<f8", "s": [1], "b": "x"}, 10**400, "NaN ", None, -1, 1.5)


def hostile(seed: int, count: int) -> Iterator[Hostile]:
    """``count`` records; the same for the same seed."""
    random = Random(seed)
    makers: tuple[Callable[[Random], Hostile], ...] = (_mutated, _truncated, _wrong, _odd_steps, _odd_start, _odd_end,
                                                       _odd_predictions, _noise, _other_version)  # fmt: skip
    for _ in range(count):
        yield random.choice(makers)(random)


GOOD = [encode(record) for record in a_story("evil", session="evil")]
GOOD_BINARY = [encode(record, MSGPACK) for record in a_story("evil", session="evil")]
BINARY = ((CONTENT_TYPE, MSGPACK.encode()),)


def _good(random: Random) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(random.choice(GOOD))
    fields["run"] = random.choice(NAMES)
    return fields


def _json(fields: Any, broken: bool = False, topic: str = STEPS) -> Hostile:
    return Hostile(json.dumps(fields).encode(), topic=topic, broken=broken)


def _mutated(random: Random) -> Hostile:
    """A few bytes of a good record changed."""
    binary = random.random() < 0.5
    value = bytearray(random.choice(GOOD_BINARY if binary else GOOD))
    for _ in range(random.randint(1, 4)):
        value[random.randrange(len(value))] = random.randrange(256)
    return Hostile(bytes(value), headers=BINARY if binary else (), topic=random.choice((STEPS, PREDICTIONS)))


def _truncated(random: Random) -> Hostile:
    binary = random.random() < 0.5
    value = random.choice(GOOD_BINARY if binary else GOOD)
    return Hostile(value[: random.randrange(len(value))], headers=BINARY if binary else (), broken=True)


def _wrong(random: Random) -> Hostile:
    """One field of a good record of another type."""
    fields = _good(random)
    fields[random.choice(sorted(fields))] = random.choice(WRONG)
    return _json(fields)


def _noise(random: Random) -> Hostile:
    kind = random.randrange(6)
    text = random.choice(GOOD)
    if kind == 0:
        return Hostile(random.randbytes(random.randint(1, 300)), headers=random.choice(((), BINARY)))
    if kind == 1:
        return Hostile(random.choice((None, b"")), broken=True)
    if kind == 2:
        return Hostile(text.replace(b"evil", b"e\xff\xfe\x80"), broken=True)
    if kind == 3:
        return Hostile(text.replace(b'"evil"', b'"\\ud800"', 1), broken=True)
    if kind == 4:
        return Hostile(
            text[:-1] + b',"time":0.0,"step":[5],"run":"evil","v":1}', topic=random.choice((STEPS, PREDICTIONS))
        )
    return Hostile(text, headers=((CONTENT_TYPE, b"application/x-\xff"),), broken=True)


def _other_version(random: Random) -> Hostile:
    fields = _good(random)
    fields[random.choice(("v", "type"))] = random.choice((2, 0, "1", None, [], "finding", "steps ", 1.0))
    return _json(fields, broken=True)


def _odd_steps(random: Random) -> Hostile:
    """Valid, but nothing about it is usual."""
    length = random.choice((1, 2, 65, 300))
    numbers = [value for value in NUMBERS if value is None or not isinstance(value, int)]
    column = [random.choice(numbers) for _ in range(length)]
    first = random.choice((0, 1, 2**53 - 1 - length))
    step = list(range(first, first + length))
    random.shuffle(step)
    names = random.sample(NAMES, random.randint(0, 6)) + [f"n{i}" for i in range(random.choice((0, 3, 9, 300)))]
    fields: dict[str, Any] = {
        "v": 1, "type": "steps", "run": random.choice(NAMES), "time": random.choice((0.0, -1e300, 1e300, 1e12)),
        "phase": random.choice((*NAMES, f"phase-{random.random()}")), "step": step,
        "components": dict.fromkeys(names, column), "weights": dict.fromkeys(names[:3], column),
        "log_vars": dict.fromkeys(names[:5], column), "metrics": dict.fromkeys(names[-2:], column),
        "slices": {name: {"mae": column} for name in names[:2]},
    }  # fmt: skip
    if random.random() < 0.7:
        fields["total"] = column
    if random.random() < 0.7:
        fields["session"] = random.choice(("evil", "\x00", "s" * 64))
    if random.random() < 0.7:
        fields["seq"] = random.choice((0, 1, 2**53 - 1, random.randrange(1000)))
    fields["dropped"] = {f"reason-{random.randrange(10**6)}": random.choice((0, 1, 2**53 - 1))}
    return _json(fields)


def _odd_start(random: Random) -> Hostile:
    weights = {name: random.choice((1e308, "NaN", "-Infinity", 0.0, -5.0)) for name in NAMES[:5]}
    forms = ("kendall", "mean", "ratio", "sum", "weighted_sum")
    fields = {
        "v": 1, "type": "run_start", "run": random.choice(NAMES), "time": random.choice((0.0, 1e300)),
        "session": "evil", "seq": random.choice((0, 2**53 - 1, random.randrange(1000))),
        "objective": {
            random.choice(("train", *NAMES)): {
                "form": random.choice(forms), "weights": weights,
                "scale": random.choice((0.0, 1e308, "NaN")), "variant": random.choice(("half", "full", "half_log")),
            }
        },
        "thresholds": {
            name: random.choice(("NaN", "Infinity", "-Infinity", 1e308, 0.0))
            for name in ("class_entropy_floor", "conflict_share", "no_such_threshold", random.choice(NAMES))
        },
        "classes": random.choice(([], ["a"], [0, "0"], list(range(1000)))),
        "expect": [{"series": random.choice(NAMES), "low": "NaN"}],
    }  # fmt: skip
    return _json(fields, topic=random.choice((STEPS, PREDICTIONS)))


def _odd_end(random: Random) -> Hostile:
    fields = {"v": 1, "type": "run_end", "run": random.choice(NAMES), "time": random.choice((0.0, 1e300, -1e300))}
    return _json(fields | ({"session": "evil", "seq": 7} if random.random() < 0.5 else {}))


def _odd_predictions(random: Random) -> Hostile:
    fields: dict[str, Any] = {
        "v": 1, "type": "predictions", "run": random.choice(NAMES), "time": 0.0, "phase": random.choice(NAMES),
        "step": random.choice((0, 2**53 - 1)),
    }  # fmt: skip
    kind = random.choice(("probabilities", "logits", "classes", "summary"))
    broken = False
    if kind in ("probabilities", "logits"):
        value = random.choice((0.5, 1e308, "NaN", -1.0, 0.0))
        broken = kind == "probabilities" and value not in (0.5, "NaN")
        fields |= {"values": [[value, value]] * random.randint(1, 4)}
    elif kind == "classes":
        fields |= {"values": random.choice(([0], ["a", "b"], [0, "0", "a\x00", "a"], [], list(range(500))))}
        broken = fields["values"] == []
    else:
        mean = random.choice(([0.5, 0.5], ["NaN", 1.0], ["Infinity", "-Infinity"], [2.0, -1.0], [1e308, 1e308], []))
        broken = mean not in ([0.5, 0.5], ["NaN", 1.0])
        fields |= {"n": random.choice((1, 2**53 - 1)), "mean": mean, "counts": [0] * len(mean)}
        fields["mean_entropy"] = random.choice(("NaN", 1e308, -1.0))
    return _json(fields | {"kind": kind}, broken=broken, topic=PREDICTIONS)
