"""Which slot each class of a run has: one table for labels and predictions of all its phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

import numpy as np

from losswatch.arrays import Ints
from losswatch.fields import Label

MOST: Final = 1024
"""Classes with a slot. Of a model with more, those that are labels or predictions first have one."""


class Classes:
    """``declared`` are the classes in the order of the model's outputs, ``predicted`` those it chose one of so far."""

    def __init__(
        self,
        declared: Sequence[Label] = (),
        names: Sequence[str] = (),
        outputs: int = 0,
        predicted: Sequence[int] = (),
    ) -> None:
        self.declared = [str(label) for label in declared]
        self.outputs = outputs
        """So many slots are the first outputs of the model, in their order."""
        self.names = list(names)
        """By slot."""
        self.predicted = set(predicted)
        """Slots of classes in predictions that tell a class of each sample and nothing more."""
        self._slots = {name: slot for slot, name in enumerate(self.names)}

    def add_outputs(self, count: int) -> None:
        """Give the outputs of a model the first slots, as long as there are not too many of them."""
        if len(self.names) == self.outputs and count <= MOST:
            for place in range(self.outputs, count):
                self._add(self._name(place))
            self.outputs = len(self.names)  # fewer where two have one name

    def add_predicted(self, slots: Ints) -> int:
        """Take the predicted classes (N) of a record, and tell how many classes there are to choose from.

        Those are the declared ones, the outputs of the model and what it predicted before. Labels are no choice of
        the model: the class entropy of the same predictions would fall with each new one.

        >>> classes = Classes()
        >>> classes.add_predicted(classes.slots_of(["cat", "dog", "cow"])), classes.slots_of(["bee", "cat"])
        (3, array([3, 0]))
        >>> classes.add_predicted(classes.slots_of(["cat", "dog", "cow"]))
        3
        """
        self.predicted.update(slot for slot in np.unique(slots).tolist() if slot >= 0)
        choices = self.predicted.union(range(self.outputs))
        return max(2, len({*self.declared, *(self.names[slot] for slot in choices)}))

    def is_first(self, count: int) -> bool:
        """Whether the first ``count`` slots are the outputs of a model in their order."""
        return self.outputs >= count

    def slots_of(self, labels: Sequence[Label] | Ints) -> Ints:
        """The slots (N) of labels, which may be places in the list of classes.

        Where all are taken, a number below -1 that is the same for the same class.

        >>> classes = Classes(["cat", "dog"])
        >>> classes.add_outputs(2)
        >>> classes.slots_of(["dog", "cow"]), classes.slots_of([0, 1, 7]), classes.names
        (array([1, 2]), array([0, 1, 3]), ['cat', 'dog', 'cow', '7'])
        """
        array = np.asarray(labels)
        # As unsigned numbers the negative ones are the largest.
        if array.dtype == np.int64 and np.maximum.reduce(array.view(np.uint64)) < self.outputs:
            return array
        unique, inverse = np.unique(array, return_inverse=True)
        names = [self._name(label) for label in unique.tolist()]
        slots = np.array([self._add(name) for name in names], dtype=np.int64)
        found: Ints = slots[inverse.reshape(-1)]
        return found

    def name_of(self, slot: int) -> str:
        """The class in a slot of a prediction stream, which has a slot per output whatever is labelled."""
        return self.names[slot] if slot < len(self.names) else self._name(slot)

    def _name(self, label: Label) -> str:
        known = isinstance(label, int) and 0 <= label < len(self.declared)
        return self.declared[label] if known else str(label)  # type: ignore[index]  # known: it is a whole number

    def _add(self, name: str) -> int:
        if name not in self._slots:
            if len(self.names) >= MOST:
                return -2 - crc32(name.encode("utf-8", "replace"))
            self._slots[name] = len(self.names)
            self.names.append(name)
        return self._slots[name]
