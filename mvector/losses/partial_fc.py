"""A classifier for very many speakers: shared out among the ranks, with a sample of the wrong speakers at each step."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.precision import at_least_float32
from mvector.training.ranks import all_max, all_sum, gather_rows, gather_rows_to_first, rank, share, world_size


class PartialFC(nn.Module):
    """Cosine classifier with a margin loss, split over the ranks by speakers (Partial FC, An 2021 and 2022).

    forward(embeddings [B, E], labels [B], loss, step) -> (mean loss over this rank's B, how many of them it recognised)
    Every rank holds the vectors of its share of the speakers and compares the embeddings of all ranks with them; the
    softmax runs over all shares, in float32. With `sample_rate` 1 the loss and its gradients are those of
    SpeakerClassifier and the loss on the joined batch.

    With a `sample_rate` under 1 a rank takes that part of its speakers (rounded up) at each step: all who speak in the
    batch, and others drawn at random by `seed`, step and rank. Only their vectors and their part of the optimiser's
    state change: a speaker who was not drawn is not touched by momentum or weight decay either. (Adam counts the steps
    of all together.) Recognised then means: better than everybody in the sample.

    `loss` is one whose margin concerns the right speaker alone: it has `margined` and `scale` (AAMLoss, AMLoss).
    What the optimiser trains is `weight`: with a sample these are the vectors of the present step, which
    :meth:`fetch` puts there before the optimiser's step and :meth:`store` takes back after it. A state_dict has nothing
    of this module, since no rank has all: see :meth:`gathered` and :meth:`restore`.
    """

    K = 1  # vectors of a speaker

    def __init__(self, embedding_size: int, num_speakers: int, sample_rate: float = 1.0, seed: int = 0):
        super().__init__()
        if not 0 < sample_rate <= 1:
            raise ConfigError(f"model_conf.classifier.sample_rate must be over 0 and at most 1, found {sample_rate}")
        if num_speakers < world_size():
            raise ConfigError(
                f"a classifier of {num_speakers} speakers cannot be shared out among {world_size()} processes: set "
                "model_conf.classifier.sharded to False"
            )
        self.num_speakers, self.sample_rate, self.seed = num_speakers, sample_rate, seed
        self.own = share(num_speakers, rank(), world_size())
        # All of them are drawn everywhere, so that the first weights do not depend on the number of ranks.
        rows = nn.init.xavier_uniform_(torch.empty(num_speakers, embedding_size))[self.own].clone()
        if sample_rate == 1:
            self.weight = nn.Parameter(rows)
        else:
            self.weight = nn.Parameter(rows[:0].clone())
            self.register_buffer("stored", rows, persistent=False)
            self.stored: Tensor
        self._sampled: list[tuple[Tensor, Tensor]] = []  # (rows, their vectors) of the batches since the last step
        self._fetched = torch.zeros(0, dtype=torch.int64)
        self._states: dict[str, Tensor] = {}  # the optimiser's, [rows, E] each, where speakers are sampled

    @property
    def rows(self) -> Tensor:
        """The vectors [rows, E] of this rank's speakers, the range `own` of all."""
        return self.weight.data if self.sample_rate == 1 else self.stored

    def forward(self, embeddings: Tensor, labels: Tensor, loss: Any, step: int) -> tuple[Tensor, Tensor]:
        with torch.autocast(embeddings.device.type, enabled=False):
            everybody = gather_rows(at_least_float32(embeddings))  # [N, E]
            counts = gather_rows(torch.tensor([len(labels)]))
            rows, right = self._chosen(gather_rows(labels), step)
            cosines = functional.linear(functional.normalize(everybody), functional.normalize(rows))  # [N, rows]
            here = right >= 0  # [N]: whether the right speaker is one of this rank's
            column = right.clamp_min(0).unsqueeze(1)
            target = cosines.gather(1, column)  # [N, 1]
            margined = torch.where(here.unsqueeze(1), loss.margined(target), target)
            scores = loss.scale * cosines.scatter(1, column, margined)
            losses, recognised = _ShardedCrossEntropy.apply(scores, right, cosines.detach())
        start = int(counts[: rank()].sum())
        ours = slice(start, start + len(labels))
        return losses[ours].mean(), recognised[ours].sum()

    def _chosen(self, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The vectors [rows, E] that `labels` [N] are compared with; and [N] the place of each label among them, or -1
        where it is another rank's."""
        here = (labels >= self.own.start) & (labels < self.own.stop)
        place = torch.where(here, labels - self.own.start, -1)
        if self.sample_rate == 1:
            return self.weight, place
        index = self._sample(place[here].unique(), step)
        vectors = self.stored[index].requires_grad_()
        if torch.is_grad_enabled():
            self._sampled.append((index, vectors))
        return vectors, torch.where(here, torch.searchsorted(index, place.clamp_min(0)), -1)

    def _sample(self, positive: Tensor, step: int) -> Tensor:
        """Rows in rising order: all the `positive` ones, and others up to the sample rate."""
        rows = len(self.stored)
        seed = np.random.SeedSequence((self.seed, step, rank())).generate_state(1, np.uint64)[0] >> 1
        draws = torch.rand(rows, generator=torch.Generator().manual_seed(int(seed))).to(positive.device)
        draws[positive] = 2
        return draws.topk(max(math.ceil(self.sample_rate * rows), len(positive))).indices.sort().values

    def fetch(self, optimizer: torch.optim.Optimizer) -> None:
        """Put what was sampled since the last step into `weight`: the vectors, their gradients, and their part of the
        optimiser's state. Nothing to do without a sample."""
        if self.sample_rate == 1:
            return
        self._fetched = torch.cat([index for index, _ in self._sampled]).unique()
        self.weight.data = self.stored[self._fetched]
        self.weight.grad = torch.zeros_like(self.weight)
        for index, vectors in self._sampled:
            if vectors.grad is not None:
                self.weight.grad.index_add_(0, torch.searchsorted(self._fetched, index), vectors.grad)
        self._sampled.clear()
        for name, values in self._states.items():
            optimizer.state[self.weight][name] = values[self._fetched]

    def store(self, optimizer: torch.optim.Optimizer) -> None:
        """Take back what the optimiser's step made of `weight`, and its state."""
        if self.sample_rate == 1:
            return
        self.stored[self._fetched] = self.weight.data
        for name, values in self._row_states(optimizer).items():
            if name not in self._states:
                self._states[name] = values.new_zeros(self.stored.shape)
            self._states[name][self._fetched] = values

    def _row_states(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """The optimiser's state of `weight`, as far as it is a number for each of its numbers."""
        states = optimizer.state.get(self.weight, {})
        return {k: v for k, v in states.items() if isinstance(v, Tensor) and v.shape == self.weight.shape}

    def gathered(self) -> nn.Module | None:
        """A module whose `weight` [S, E] holds all speakers' vectors, to be saved by the first rank; None elsewhere."""
        weight = gather_rows_to_first(self.rows)
        if weight is None:
            return None
        whole = nn.Module()
        whole.weight = nn.Parameter(weight, requires_grad=False)
        return whole

    def gathered_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """For a checkpoint, on the first rank: `weight` and the optimiser's states of all speakers, [S, E] each."""
        states = self._row_states(optimizer) if self.sample_rate == 1 else self._states
        whole = {name: gather_rows_to_first(values) for name, values in {"weight": self.rows, **states}.items()}
        return {name: values for name, values in whole.items() if values is not None}

    def restore(self, state: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Take this rank's share of what :meth:`gathered_state` gave, with whatever number of ranks and sample rate."""
        if state["weight"].shape[0] != self.num_speakers:
            raise ValueError(f"it has {state['weight'].shape[0]} classes, the data list {self.num_speakers}")
        own = {name: values[self.own].to(self.rows.device) for name, values in state.items()}
        self.rows.copy_(own.pop("weight"))
        if self.sample_rate == 1:
            optimizer.state[self.weight].update(own)
        else:
            self._states = {name: values.clone() for name, values in own.items()}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        pass

    def _load_from_state_dict(self, *arguments: Any, **keywords: Any) -> None:
        pass


class _ShardedCrossEntropy(torch.autograd.Function):
    """(scores [N, rows], right [N], cosines [N, rows]) -> (cross-entropies [N], whether recognised [N]) on every rank.

    The rows are this rank's part of the classes; `right` is the place of the right class among them, -1 where it is
    another rank's. The gradient that arrives for an example may come from any rank.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, right: Tensor, cosines: Tensor) -> tuple[Tensor, Tensor]:
        top, nearest = all_max(torch.stack([scores.amax(1), cosines.amax(1)]))
        exponentials = (scores - top.unsqueeze(1)).exp()
        here, column = right >= 0, right.clamp_min(0).unsqueeze(1)
        targets = [torch.where(here, values.gather(1, column).squeeze(1), 0) for values in (scores, cosines)]
        total, target, cosine = all_sum(torch.stack([exponentials.sum(1), *targets]))
        recognised = cosine >= nearest
        ctx.save_for_backward(exponentials / total.unsqueeze(1), right)
        ctx.mark_non_differentiable(recognised)
        return total.log() + top - target, recognised

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        probabilities, right = ctx.saved_tensors
        of_losses = all_sum(gradients[0].clone())
        here = (right >= 0).nonzero().squeeze(1)
        of_scores = probabilities * of_losses.unsqueeze(1)
        of_scores[here, right[here]] -= of_losses[here]
        return of_scores, None, None
