"""Where the time of a run goes, by the components of `lm.flow`."""

from __future__ import annotations

import functools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from minigrad.graph import operation
from minigrad.modes import Watch, mode
from minigrad.optim import Optimizer

from .. import flow, steps
from . import start, trainer
from .saving import Saver
from .state import RunState

PARTS = {"embedding": "embedding", "mul": "dropout", "linear_cross_entropy": "decoder + loss"}

# Functions that are a component of their own, under the names by which a run calls them.
FUNCTIONS: tuple[tuple[Any, str, str], ...] = (
    (start, "load_corpus", "read corpus"),
    (start, "build_model", "build model"),
    (trainer, "columns", "batchify"),
    (trainer, "get_batch", "get_batch"),
    (trainer.Trainer, "validate", "validation"),
    (trainer.Trainer, "test", "test"),
    (trainer.Trainer, "checkpoint", "saving"),
    (Saver, "best", "saving"),
    (Saver, "latest", "saving"),
    (RunState, "reset_hidden", "init_hidden"),
    (steps, "repackage_hidden", "repackage_hidden"),
    (Optimizer, "zero_grad", "zero_grad"),
)


class Clock(Watch):
    """Credits the time since the last event to the component that has just ended.

    Inside of `with Clock() as clock:` the operations on the tape report their ends, and `FUNCTIONS`
    are replaced by others that also read the clock. All times together are the wall time.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self.overhead = 0.0  # seconds that reading the clock has taken
        self._layer = 0  # of the last recurrent layer, forward or backward
        self._inside = False
        self._replaced: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Clock:
        self._previous, mode.watch = mode.watch, self
        for owner, name, component in FUNCTIONS:
            function = vars(owner)[name]
            self._replaced.append((owner, name, function))
            setattr(owner, name, self.timed(component, function))
        self._started = self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.credit("other")
        mode.watch = self._previous
        while self._replaced:
            setattr(*self._replaced.pop())

    @property
    def wall(self) -> float:
        """Seconds from the start to the last event, without those of `paused`."""
        return self._since - self._started

    def credit(self, name: str, now: float | None = None) -> None:
        now = now or time.perf_counter()
        self.seconds[name] += now - self._since
        self.calls[name] += 1
        self._since = time.perf_counter()
        self.seconds["other"] += self._since - now  # this method's own time
        self.overhead += self._since - now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with its time credited to `name`, and the time before it to "other"."""

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            if self._inside:  # one that is called by another, or by itself
                return function(*args, **kwargs)
            self.credit("other")
            self._inside = True
            try:
                return function(*args, **kwargs)
            finally:
                self._inside = False
                self.credit(name)

        return measured

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of a block out."""
        self.credit("other")
        inside, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = inside
            now = time.perf_counter()
            self._started += now - self._since
            self._since = now

    def forward(self, node: Any, values: Sequence[Any]) -> None:
        now, name = time.perf_counter(), operation(node)
        if name == "through_time":
            self._layer += 1
        self.credit(self._component("forward", name), now)

    def backward(self, node: Any, d_outputs: Sequence[Any], d_inputs: Sequence[Any]) -> None:
        now, name = time.perf_counter(), operation(node)
        self.credit(self._component("backward", name), now)
        if name == "through_time":  # the last layer comes first
            self._layer -= 1

    def off_tape(self, name: str) -> None:
        self.credit("clipping" if name == "clip_grad_norm_" else "update")

    def _component(self, direction: str, name: str) -> str:
        if name == "through_time":
            return f"{direction} layer {self._layer}"
        return f"{direction} {PARTS[name]}" if name in PARTS else "other"

    def components(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Seconds, share in percent and calls of each of these components."""
        return {
            name: {
                "seconds": self.seconds[name],
                "share": 100 * self.seconds[name] / self.wall,
                "calls": self.calls[name],
            }
            for name in names
        }

    def shares(self, nlayers: int) -> dict[str, float]:
        """The share of every component of a run so far, in percent."""
        found = self.components(flow.components(nlayers))
        return {name: component["share"] for name, component in found.items()}
