"""Values on a device: cloned there at the call, copied to the host by the sender, without a wait on either side.

The job's thread queues a clone and an event on its own stream and goes on. The sender queues the copy, into
pinned memory and on a stream of its own, and reads it when its event has come to pass. Nobody synchronises:
``torch.cuda.set_sync_debug_mode("error")`` has nothing to complain about.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

SLOT_BYTES: Final = 4096
SLOTS: Final = 256
"""Pinned memory of a device: a megabyte, in slots that are used in turn. What is longer gets memory of its own."""

Reduce = Callable[[Any], Any]


class OnDevice:
    """A value on a device, as it is now.

    Parameters
    ----------
    tensor
        What the job gave. It is cloned: it may be overwritten, by the replay of a CUDA graph or in place.
    reduce
        Makes of the clone what is to be copied to the host; runs on the device.
    """

    __slots__ = ("_clone", "_copy", "_event", "_part", "_reduce")

    def __init__(self, tensor: Any, reduce: Reduce | None = None) -> None:
        self._clone = tensor.detach().clone()
        self._event = mark(self._clone)
        self._reduce = reduce
        self._copy: Any = None
        self._part: int | None = None

    @classmethod
    def of(cls, clone: Any) -> OnDevice:
        """A tensor that is nobody else's."""
        whole = cls.part()
        whole._clone, whole._event = clone, mark(clone)
        return whole

    @classmethod
    def part(cls) -> OnDevice:
        """One of several scalars, which `stage` is going to clone in one go."""
        part = cls.__new__(cls)
        part._clone = part._event = part._reduce = part._copy = part._part = None
        return part

    def become(self, whole: OnDevice, part: int) -> None:
        """Stand for one element of a value."""
        self._clone, self._part = whole, part

    @property
    def reduced(self) -> bool:
        """Whether `read` gives what ``reduce`` made of the value."""
        return self._reduce is not None

    def ready(self, copies: Copies) -> bool:
        """Whether `read` needs no wait; starts the copy. The sender's thread only."""
        if self._part is not None:
            ready: bool = self._clone.ready(copies)
            return ready
        if self._copy is None:
            self._copy = copies.start(self._clone, self._event, self._reduce)
            self._clone = self._event = None
        done: bool = self._copy.done()
        return done

    def read(self) -> Any:
        """The tensor on the CPU; waits unless it is `ready`. The sender's thread only."""
        if self._part is not None:
            return self._clone.read()[self._part]
        if self._copy is None:
            self._copy = Copy((self._reduce(self._clone) if self._reduce else self._clone).cpu())
        return self._copy.value()


def stage(found: Sequence[tuple[OnDevice, Any]]) -> None:
    """Clone the scalars of one call, one kernel and one event per device."""
    torch = sys.modules["torch"]
    by_device: dict[Any, list[tuple[OnDevice, Any]]] = {}
    for part, tensor in found:
        by_device.setdefault(tensor.device, []).append((part, tensor.detach().reshape(())))
    for parts in by_device.values():
        flat = [tensor for _, tensor in parts]
        if len({tensor.dtype for tensor in flat}) > 1:
            flat = [tensor.double() for tensor in flat]
        whole = OnDevice.of(torch.stack(flat))
        for i, (part, _) in enumerate(parts):
            part.become(whole, i)


def mark(tensor: Any) -> Any:
    """An event behind everything queued so far; None where the device has no streams that are known here."""
    torch = sys.modules.get("torch")
    if torch is None or getattr(getattr(tensor, "device", None), "type", None) != "cuda":
        return None
    return torch.cuda.current_stream(tensor.device).record_event()


def capturing(tensor: Any) -> bool:
    """Whether a CUDA graph is being captured, in which nothing of ours may become a part."""
    torch = sys.modules.get("torch")
    return bool(torch and getattr(tensor, "is_cuda", False) and torch.cuda.is_current_stream_capturing())


class Copies:
    """The copies from devices to the host. The sender's thread only."""

    def __init__(self) -> None:
        self._rings: dict[Any, PinnedRing] = {}

    def start(self, tensor: Any, event: Any, reduce: Reduce | None) -> Copy:
        """Start to copy the tensor, or what is made of it, once the event has come to pass."""
        try:
            if event is None:
                return Copy((reduce(tensor) if reduce else tensor).cpu())
            ring = self._rings.get(tensor.device)
            if ring is None:
                ring = self._rings[tensor.device] = PinnedRing(sys.modules["torch"], tensor.device)
            return ring.copy(tensor, event, reduce)
        except Exception as error:  # told when it is read
            return Copy(error)


class Copy:
    """A value that is on the host, or on its way there."""

    __slots__ = ("_event", "_host", "_release", "_source")

    def __init__(
        self, host: Any, event: Any = None, source: Any = None, release: Callable[[], None] | None = None
    ) -> None:
        self._host, self._event, self._source, self._release = host, event, source, release

    def done(self) -> bool:
        """Whether it has arrived."""
        if self._event is None:
            return True
        if not self._event.query():
            return False
        # What was in the ring leaves it; what it was copied from may be reused by the device.
        self._host = self._host.clone()
        self._event = self._source = None
        if self._release is not None:
            self._release()
        return True

    def value(self) -> Any:
        """The tensor on the CPU; waits for it."""
        if self._event is not None:
            self._event.synchronize()
            self.done()
        if isinstance(self._host, Exception):
            raise self._host
        return self._host


class PinnedRing:
    """Pinned host memory and a stream to copy into it."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch
        self._stream = torch.cuda.Stream(device)
        self._memory = torch.empty((SLOTS, SLOT_BYTES), dtype=torch.uint8, pin_memory=True)
        self._free: deque[int] = deque(range(SLOTS))

    def copy(self, tensor: Any, event: Any, reduce: Reduce | None) -> Copy:
        """Queue the copy behind the event."""
        with self._torch.cuda.stream(self._stream):
            self._stream.wait_event(event)
            source = reduce(tensor) if reduce else tensor
            host, release = self._place(source)
            host.copy_(source, non_blocking=True)
            done = self._stream.record_event()
        # Both are held until the copy is done: their memory is the caching allocator's to give away again.
        return Copy(host, done, (tensor, source), release)

    def _place(self, tensor: Any) -> tuple[Any, Callable[[], None] | None]:
        """Host memory for a tensor, and how to give it back."""
        size = tensor.numel() * tensor.element_size()
        if size > SLOT_BYTES or not self._free:
            return self._torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True), None
        slot = self._free.popleft()
        place = self._memory[slot, :size].view(tensor.dtype).view(tensor.shape)
        return place, lambda: self._free.append(slot)
