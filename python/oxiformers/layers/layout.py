"""Where the tokens of a batch lie: the one object that attention, positions and pooling ask.

A batch has one of three forms.

- uniform: every sequence has the same length; tensors are ``[B, S, D]`` and nothing is masked.
- packed: the tokens of all sequences one after another; tensors are ``[T, D]``, padding does not exist.
- rectangular: ``[B, S, D]`` with a mask; the reference form, for explicit masks, attention weights and export.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from oxiformers.errors import ArgumentError
from oxiformers.layers.fused import Backend, may_fuse
from oxiformers_kernels.pack import pack, unpack

Form = Literal["uniform", "packed", "rectangular"]


class Segments:
    """One side (queries or keys) of a packed batch: how many tokens each sequence has.

    Attributes:
        lengths: int64 ``[B]`` on the host, in packing order. A tensor, because a list would recompile every graph.
        cu_seqlens: int64 ``[B + 1]`` on the device, the running sum of ``lengths`` from 0.
        positions: int64 ``[T]`` on the device, the position of every token in its sequence.
        index: int64 ``[T]`` on the device, where each token stood in the flattened ``[B * S]`` batch; None where
            the batch came in packed.
        order: int64 ``[B]`` on the host, the row of the padded batch that each packed sequence was; None as above.
    """

    __slots__ = ("cu_seqlens", "index", "lengths", "order", "positions")

    def __init__(
        self,
        lengths: Tensor,
        cu_seqlens: Tensor,
        positions: Tensor,
        index: Tensor | None = None,
        order: Tensor | None = None,
    ) -> None:
        self.lengths = lengths
        self.cu_seqlens = cu_seqlens
        self.positions = positions
        self.index = index
        self.order = order

    @staticmethod
    def from_lengths(lengths: Tensor | Sequence[int], device: torch.device | str = "cpu") -> Segments:
        """Segments of sequences that lie packed already; positions count from 0 in each."""
        host = torch.as_tensor(lengths, dtype=torch.int64, device="cpu")
        cu_seqlens = torch.zeros(host.numel() + 1, dtype=torch.int64)
        torch.cumsum(host, 0, out=cu_seqlens[1:])
        total = int(cu_seqlens[-1])
        positions = torch.arange(total) - torch.repeat_interleave(cu_seqlens[:-1], host, output_size=total)
        return Segments(host, cu_seqlens.to(device), positions.to(device))

    @staticmethod
    def from_mask(keep: Tensor, order: Tensor | None = None) -> Segments:
        """Segments of the kept tokens of a padded batch, sorted by length (or in ``order``).

        Args:
            keep: bool ``[B, S]``; holes are allowed. Synchronises once where it lies on an accelerator.
            order: int64 ``[B]`` on the host, to pack in the order of another side.
        """
        rows, width = keep.shape
        host = keep.cpu()
        lengths = host.sum(1)
        if order is None:
            # Equal lengths next to each other: one attention call then serves all of them.
            order = torch.argsort(lengths, stable=True)
        lengths = lengths[order]
        cu_seqlens = torch.zeros(rows + 1, dtype=torch.int64)
        torch.cumsum(lengths, 0, out=cu_seqlens[1:])
        sequence, column = host[order].nonzero(as_tuple=True)
        index = order[sequence] * width + column
        device = keep.device
        return Segments(lengths, cu_seqlens.to(device), column.to(device), index.to(device), order)


class Layout:
    """How a batch lies, on its query side and on its key side (the same object in self-attention).

    Attributes:
        form: "uniform", "packed" or "rectangular".
        shape: ``(B, S)`` of the batch as the caller sees it; None where it came in packed.
        query, key: the two sides, where packed.
        mask: rectangular only: bool (True attends) or float (added to the scores), broadcastable to
            ``[B, H, Q, K]``; None where nothing is masked.
        keep: rectangular only: bool ``[B, S]``, the tokens whose outputs are kept (the rest become 0); or None.
        reads_first: of the last layer's output only the first token of each sequence is read, so a stack may
            compute no more than that; packed only.
        backend: what attention over this batch runs on, "triton" or "torch"; None for whichever is faster.
    """

    __slots__ = ("backend", "form", "keep", "key", "mask", "query", "reads_first", "shape")

    def __init__(
        self,
        form: Form,
        *,
        shape: tuple[int, int] | None = None,
        query: Segments | None = None,
        key: Segments | None = None,
        mask: Tensor | None = None,
        keep: Tensor | None = None,
        reads_first: bool = False,
        backend: Backend | None = None,
    ) -> None:
        self.form = form
        self.shape = shape
        self.query = query
        self.key = query if key is None else key
        self.mask = mask
        self.keep = keep
        self.reads_first = reads_first
        self.backend = backend

    # -- construction ------------------------------------------------------------------------------------------

    @staticmethod
    def from_lengths(lengths: Tensor | Sequence[int], device: torch.device | str = "cpu") -> Layout:
        """The layout of a batch that comes in packed (``input_ids [T]``): nothing is padded.

        Args:
            lengths: how many tokens each sequence has. Sorted lengths are fastest on CPU.
            device: where the tokens lie.
        """
        return Layout("packed", query=Segments.from_lengths(lengths, device))

    @staticmethod
    def of(
        tokens: Tensor,
        attention_mask: Tensor | None,
        *,
        rectangular: bool = False,
        first_column: bool = False,
        order: Tensor | None = None,
    ) -> Layout:
        """The layout of a padded or unpadded batch.

        Args:
            tokens: ``[B, S]`` ids or ``[B, S, D]`` embeddings.
            attention_mask: None, ``[B, S]`` (1 keeps), ``[B, Q, K]`` (1 attends) or ``[B, 1 or H, Q, K]`` (bool or
                integer: attends; float: added to the scores).
            rectangular: keep the batch rectangular, whatever the mask.
            first_column: the model reads column 0 of its output, so that column has to be computed even where the
                mask hides it (left padding), which only the rectangular form does.
            order: see Segments.from_mask.
        """
        if tokens.dim() < 2:
            found = f"shape {tuple(tokens.shape)}"
            raise ArgumentError.mismatch(
                "input_ids", "[batch, sequence]", found, "pass layout= for packed tokens"
            )
        shape = (tokens.shape[0], tokens.shape[1])
        if attention_mask is None:
            return Layout("rectangular" if rectangular else "uniform", shape=shape)
        if attention_mask.dim() > 2:
            return Layout("rectangular", shape=shape, mask=_explicit_mask(attention_mask))
        if tuple(attention_mask.shape) != shape:
            raise ArgumentError.mismatch(
                "attention_mask", f"shape {shape} as the input has", tuple(attention_mask.shape)
            )
        keep = attention_mask != 0
        # Packing depends on the mask's values, which a traced graph does not have.
        if not rectangular and not torch.compiler.is_compiling():
            if bool(keep.all()):
                return Layout("uniform", shape=shape)
            if not first_column or bool((keep[:, 0] | ~keep.any(1)).all()):
                return Layout("packed", shape=shape, query=Segments.from_mask(keep, order))
        return Layout("rectangular", shape=shape, mask=keep[:, None, None, :], keep=keep)

    def attending_to(self, key: Layout) -> Layout:
        """The layout of cross-attention: this one's queries over ``key``'s tokens.

        Packed sides must be in the same order of rows (``order=`` of Layout.of).
        """
        if self.form == "rectangular" or key.form == "rectangular":
            return Layout(
                "rectangular", shape=self.shape, mask=key.mask, keep=self.keep, backend=self.backend
            )
        if self.form == "uniform" and key.form == "uniform":
            return Layout("uniform", shape=self.shape, backend=self.backend)
        query_side, key_side = self._segments(key.query), key._segments(self.query)
        return Layout("packed", shape=self.shape, query=query_side, key=key_side, backend=self.backend)

    def on(self, backend: Backend | None) -> Layout:
        """This layout, with attention on the backend."""
        if self.backend == backend:
            return self
        return Layout(
            self.form, shape=self.shape, query=self.query, key=self.key, mask=self.mask, keep=self.keep,
            reads_first=self.reads_first, backend=backend,
        )  # fmt: skip

    def reading_first(self) -> Layout:
        """This layout for a caller that reads nothing but ``first`` of the last layer."""
        if self.query is None or self.query.positions.shape[0] == 0:
            return self
        return Layout(
            "packed", shape=self.shape, query=self.query, key=self.key, reads_first=True, backend=self.backend
        )

    def first_queries(self) -> tuple[Tensor, Layout]:
        """Where the first token of every sequence is, int64 ``[B]`` in packing order, and the layout of these tokens
        over all others.

        For a sequence without tokens it is another's, which `first` takes out again.
        """
        assert self.query is not None and self.key is not None
        starts = self.query.cu_seqlens[:-1]
        rows = starts.shape[0]
        query = Segments(
            torch.ones(rows, dtype=torch.int64),
            torch.arange(rows + 1, device=starts.device),
            torch.zeros_like(starts),
        )
        index = starts.clamp(max=self.query.positions.shape[0] - 1)
        return index, Layout("packed", query=query, key=self.key, backend=self.backend)

    def _segments(self, other: Segments | None) -> Segments:
        """This layout's queries; those of a uniform one as segments on the other side's device."""
        if self.query is not None:
            return self.query
        assert self.shape is not None and other is not None
        rows, width = self.shape
        device = other.cu_seqlens.device
        starts = torch.arange(rows + 1, device=device) * width
        columns = torch.arange(width, device=device).repeat(rows)
        return Segments(torch.full((rows,), width), starts, columns)

    # -- what lies where ---------------------------------------------------------------------------------------

    @property
    def packed(self) -> bool:
        """Whether tensors are ``[T, ...]``."""
        return self.form == "packed"

    @property
    def explicit(self) -> bool:
        """Whether the caller's mask names the pairs that attend, or what is added to them: causal or not."""
        return self.mask is not None and self.keep is None

    @property
    def order(self) -> Tensor | None:
        """The row of the padded batch that each packed sequence was, on the host; None where rows are in order."""
        return None if self.query is None else self.query.order

    def positions(self, device: torch.device) -> Tensor:
        """The column of every token: ``[T]`` packed, else ``[1, S]``."""
        if self.query is not None:
            return self.query.positions
        assert self.shape is not None
        return torch.arange(self.shape[1], device=device).unsqueeze(0)

    def pack(self, tensor: Tensor) -> Tensor:
        """``[B, S, ...]`` to ``[T, ...]``; anything else than a padded batch comes back as it is."""
        if self.query is None or self.query.index is None:
            return tensor
        if self.shape is not None and tensor.shape[0] == 1 and self.shape[0] > 1:
            tensor = tensor.expand(self.shape[0], *tensor.shape[1:])
        if may_fuse(tensor):
            return pack(tensor, self.query.index)
        return tensor.flatten(0, 1).index_select(0, self.query.index)

    def pack_pairs(self, bias: Tensor) -> Tensor:
        """A bias ``[B or 1, H or 1, S, S]`` by row and column as Scoring.bias of self-attention is."""
        if self.query is None or self.query.index is None or self.query.order is None:
            return bias
        assert self.shape is not None
        (rows, width), device = self.shape, bias.device
        index, starts = self.query.index, self.query.cu_seqlens[:-1]
        tokens, longest = index.shape[0], int(self.query.lengths.max()) if rows else 0
        lengths = self.query.lengths.to(device)
        sequence = torch.repeat_interleave(torch.arange(rows, device=device), lengths, output_size=tokens)
        # The column of each place, 0 where a sequence has none: nothing reads those.
        columns = torch.zeros(rows, longest, dtype=torch.int64, device=device)
        columns[sequence, torch.arange(tokens, device=device) - starts[sequence]] = index % width
        by_row = bias.expand(rows, *bias.shape[1:]).index_select(0, self.query.order.to(device))
        queries = columns[:, None, :, None].expand(-1, bias.shape[1], -1, width)
        keys = columns[:, None, None, :].expand(-1, bias.shape[1], longest, -1)
        return by_row.gather(2, queries).gather(3, keys)

    def unpack(self, tensor: Tensor) -> Tensor:
        """``[T, ...]`` back to ``[B, S, ...]`` with zeros at padding; a batch that came in packed stays so."""
        if self.keep is not None:
            keep = self.keep.view(*self.keep.shape, *(1,) * (tensor.dim() - 2))
            return tensor.masked_fill(~keep, 0.0)
        if self.query is None or self.query.index is None:
            return tensor
        assert self.shape is not None
        rows, width = self.shape
        if may_fuse(tensor):
            return unpack(tensor, self.query.index, rows, width)
        flat = tensor.new_zeros(rows * width, *tensor.shape[1:])
        return flat.index_copy(0, self.query.index, tensor).view(rows, width, *tensor.shape[1:])

    def first(self, tensor: Tensor) -> Tensor:
        """The first token of every sequence: ``[B, S, D]`` or ``[T, D]`` to ``[B, D]``; 0 for an empty row.

        Where only the first tokens are read, the last layer's output is ``[B, D]`` already, in packing order.
        """
        if self.query is None:
            return tensor[:, 0] if tensor.shape[1] else tensor.new_zeros(tensor.shape[0], *tensor.shape[2:])
        starts, ends = self.query.cu_seqlens[:-1], self.query.cu_seqlens[1:]
        index = torch.arange(starts.shape[0], device=starts.device) if self.reads_first else starts
        empty = starts == ends
        if self.query.order is not None:
            rows = torch.argsort(self.query.order).to(starts.device)
            index, empty = index[rows], empty[rows]
        if tensor.shape[0] == 0:
            return tensor.new_zeros(index.shape[0], *tensor.shape[1:])
        chosen = tensor.index_select(0, index.clamp(max=tensor.shape[0] - 1))
        return chosen.masked_fill(empty.view(-1, *(1,) * (tensor.dim() - 1)), 0.0)


def _explicit_mask(mask: Tensor) -> Tensor:
    """A 3-D or 4-D mask in the form the rectangular path takes: bool or float, ``[B, 1 or H, Q, K]``."""
    if mask.dim() == 3:
        mask = mask[:, None]
    elif mask.dim() != 4:
        raise ArgumentError.mismatch("attention_mask", "2, 3 or 4 dimensions", mask.dim())
    return mask if mask.is_floating_point() else mask != 0
