"""Everything that a checkpoint keeps of a run, and back."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets

import numpy as np

from minigrad import Tensor, random
from minigrad.backend import array_module, to_host
from minigrad.optim import SGD, Optimizer

from ..checkpoint import Checkpoint
from ..console import UserError
from ..model import RNNModel, as_tuple
from ..settings import Settings
from .losses import Losses
from .position import Position
from .ranks import ALONE, Alone
from .saving import same_text


class RunState:
    """A model, its optimiser, and where in the text they are.

    At first that is the start of a run with the weights that the model has. `text` identifies the
    validation text, on which the best model is chosen; a model that was converted has none.
    """

    hidden: tuple[Tensor, ...]  # carried from chunk to chunk, for every cell as a tuple

    def __init__(
        self,
        model: RNNModel,
        settings: Settings,
        vocabulary: list[str],
        ranks: Alone = ALONE,
        text: str = "",
    ) -> None:
        self.model = model
        self.settings = settings.resolved()
        self.ranks, self.columns = ranks, ranks.columns(settings.batch_size)
        self.vocabulary, self.text = vocabulary, text
        self.optimizer: Optimizer = SGD(model.parameters(), self.settings.first_lr)
        self.position = Position()
        self.losses = Losses()
        # Not from the library's generator, which it would advance.
        self.id = ranks.first(lambda: secrets.token_hex(8))
        ranks.copy_first(p.data for p in self.optimizer.params)
        random.set_state(ranks.first(random.get_state))
        self.reset_hidden()

    def reset_hidden(self) -> None:
        """The state before the first word, of this rank's columns."""
        width = self.columns.stop - self.columns.start
        self.hidden = as_tuple(self.model.init_hidden(width))

    def summary(self, unknown: dict[str, int]) -> str:
        """One line: what is trained. `unknown` counts the unknown words of each split."""
        settings = self.settings
        return (
            f"| {settings.model}{' tied' * settings.tied} | {len(self.vocabulary):,} words "
            f"| {sum(p.size for p in self.model.parameters()):,} parameters "
            f"| lr {self.optimizer.lr:g} | seed {settings.seed} "
            f"| read as <unk>: {unknown['valid']} words of valid, {unknown['test']} of test"
        )

    def checkpoint(self) -> Checkpoint:
        """The state as a checkpoint, which holds the position, the losses and the id in `run`.

        It is the same on all ranks, with the hidden state of all columns.
        """
        columns, gather = self.settings.batch_size, self.ranks.gather
        sums = {"loss_sum": self.losses.total, "loss_count": self.losses.count}
        text = {"text": self.text} if self.text else {}
        return Checkpoint(
            settings=self.settings.as_dict(),
            vocabulary=self.vocabulary,
            model={name: to_host(w) for name, w in self.model.state_dict().items()},
            run={
                "id": self.id,
                "position": {**dataclasses.asdict(self.position), **sums},
                "random": random.get_state(),
                **text,
            },
            hidden={str(i): gather(to_host(h.data), columns) for i, h in enumerate(self.hidden)},
            optimizer=self.optimizer.state_dict(),
        )

    def fingerprint(self) -> str:
        """A hash of what is equal on all ranks: weights, random state, learning rate."""
        found = hashlib.sha256(repr((random.get_state(), self.optimizer.lr)).encode())
        for p in self.optimizer.params:
            found.update(np.ascontiguousarray(to_host(p.data)).reshape(-1).data)
        return found.hexdigest()[:16]

    def restore(self, checkpoint: Checkpoint) -> None:
        """Return to the state in a checkpoint, and set the library's random state.

        Raises UserError if its vocabulary is a different one.
        """
        if checkpoint.vocabulary != self.vocabulary:
            raise UserError(
                "the checkpoint was trained on a text with another vocabulary; "
                "read this text with that of the checkpoint"
            )
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        xp = array_module(self.optimizer.params[0].data)
        own = (h[:, self.columns] for _, h in sorted(checkpoint.hidden.items()))
        self.hidden = tuple(Tensor(xp.asarray(np.ascontiguousarray(h))) for h in own)
        position = dict(checkpoint.run["position"])
        self.losses = Losses(position.pop("loss_sum", 0.0), position.pop("loss_count", 0))
        self.position = Position(**position)
        if not same_text(checkpoint, self.text):
            self.position.best_loss = None
        self.id = str(checkpoint.run.get("id", self.id))
        random.set_state(checkpoint.run["random"])
