"""Blocks of made-up values, and what can be done to a block. Letters: R rows, K slots, T steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from torch import Tensor

from detectors.cell import Block, Cell, Output, State
from detectors.streams import FACTS, ROLES, SAMPLED, Stream
from tests.detectors.values import SLOTS, SPOILABLE, VALUES

F64: Final = torch.zeros((), dtype=torch.float64)
F32: Final = torch.zeros((), dtype=torch.float32)


def make(
    stream: Stream,
    *,
    seed: int = 0,
    rows: int = 4,
    steps: int = 60,
    spoiled: float = 0.0,
    ragged: bool = False,
    like: Tensor = F64,
    first_step: int = 0,
) -> Block:
    """A block; ``spoiled`` of its values are NaN or infinite, rows of a ``ragged`` one differ in length."""
    rng = np.random.default_rng(seed)
    arrays = VALUES[stream](rng, rows, steps)
    for name in SPOILABLE[stream]:
        places = rng.random(arrays[name].shape) < spoiled
        arrays[name][places] = rng.choice([np.nan, np.inf, -np.inf], places.sum())
    lengths = rng.integers(0, steps + 1, rows) if ragged else np.full(rows, steps)
    mask = torch.from_numpy(np.arange(steps) < lengths[:, None])
    step = first_step + torch.from_numpy(np.cumsum(rng.integers(1, 4, (rows, steps)), axis=1))
    values = {name: torch.from_numpy(array).to(like.dtype) for name, array in arrays.items()}
    reported = {} if stream in {"series", *SAMPLED} else reported_of(stream, rng, values)
    return Block(step, mask, values, reported, facts_of(stream, rng, rows, like))


def facts_of(stream: Stream, rng: np.random.Generator, rows: int, like: Tensor = F64) -> dict[str, Tensor]:
    """The default facts, but every role in turn, and either direction where there is one to know."""
    facts = {
        fact.name: like.new_full((rows,) if fact.per == "row" else (rows, SLOTS), fact.default)
        for fact in FACTS[stream]
    }
    if "components" in facts:
        facts["components"].fill_(SLOTS)
    if "role" in facts:
        facts["role"] = torch.arange(rows, dtype=like.dtype) % len(ROLES)
    if "direction" in facts:
        facts["direction"] = torch.from_numpy(rng.choice([-1.0, 1.0], rows)).to(like.dtype)
    return facts


def reported_of(stream: Stream, rng: np.random.Generator, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Most of it is reported; what is not becomes NaN in ``values``, as on the wire. Of a pair at least one is."""
    found: dict[str, Tensor] = {}
    for name in (*SPOILABLE[stream], *(("log_var",) if stream == "objective" else ())):
        given = torch.from_numpy(rng.random(tuple(values[name].shape)) < 0.95)
        if name == "judged":
            given |= ~found["reference"]
        values[name][~given] = torch.nan
        found[name] = given
    return found


def mapped(block: Block, change: Callable[[Tensor], Tensor]) -> Block:
    """Every tensor of the block, changed."""
    return Block(
        change(block.step),
        change(block.mask),
        {name: change(value) for name, value in block.values.items()},
        {name: change(value) for name, value in block.reported.items()},
        block.facts,
    )


def part(block: Block, start: int, stop: int) -> Block:
    """The steps from ``start`` to before ``stop``."""
    return mapped(block, lambda x: x[..., start:stop])


def row(block: Block, r: int) -> Block:
    """One row alone, without its padding."""
    length = int(block.mask[r].sum())
    facts = {name: value[r : r + 1] for name, value in block.facts.items()}
    return replace(mapped(block, lambda x: x[r : r + 1, ..., :length]), facts=facts)


def refilled(block: Block, junk: float) -> Block:
    """The same block with other content in its padding."""

    def fill(x: Tensor) -> Tensor:
        mask = block.mask if x.dim() == block.mask.dim() else block.mask[:, None]
        if x.dtype == torch.bool:
            return torch.where(mask, x, ~x)
        return torch.where(mask, x, torch.full_like(x, junk if x.is_floating_point() else 7))

    return Block(
        fill(block.step),
        block.mask,
        {name: fill(value) for name, value in block.values.items()},
        {name: fill(value) for name, value in block.reported.items()},
        block.facts,
    )


def defaults(cell: Cell, rows: int, like: Tensor = F64) -> dict[str, Tensor]:
    """The default thresholds of every row."""
    return {t.name: like.new_full((rows,), t.default) for t in cell.thresholds}


def fresh(cell: Cell, block: Block, like: Tensor = F64) -> State:
    """The state of as many fresh rows, with as many components, as the block has."""
    slots = block.values["component"].shape[1] if "component" in block.values else SLOTS
    return cell.init(block.mask.shape[0], slots, like)


def run(cell: Cell, state: State, blocks: Sequence[Block] | Iterator[Block], like: Tensor = F64) -> Output:
    """Several blocks in a row: the last state, readings and verdicts of all steps."""
    outputs = []
    for block in blocks:
        outputs.append(cell.update(state, block, defaults(cell, block.mask.shape[0], like)))
        state = outputs[-1].state
    return Output(
        state,
        {name: torch.cat([o.readings[name] for o in outputs], -1) for name in outputs[0].readings},
        {name: torch.cat([o.verdicts[name] for o in outputs], -1) for name in outputs[0].verdicts},
    )


def cuts_of(block: Block, cuts: Sequence[int]) -> Iterator[Block]:
    """The block cut before each of the given steps."""
    steps = block.mask.shape[1]
    edges = [0, *sorted({cut % steps for cut in cuts} - {0}), steps]
    for start, stop in pairwise(edges):
        yield part(block, start, stop)
