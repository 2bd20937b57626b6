"""The kinds of classes, by what they predict, and the labels each is given.

A kind is a function of the config, the case, the mask of the tokens that come out ``[B, S]`` (None where there is
none), and a source of numbers; it gives arguments of forward. "probe.NAME" is what an output is multiplied by where
there is no loss, see `answer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

ROWS, WIDTH, DECODER_WIDTH = 4, 9, 6
#: How long a probe is that is repeated over an output whose shape is not known here.
PROBE_LENGTH = 997


class Draw:
    """Numbers of one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def ids(self, high: int, *shape: int, without: int | None = None) -> Tensor:
        """Integers from 0 to below ``high``, but for one."""
        if without is None:
            return torch.randint(high, shape, generator=self.generator)
        drawn = torch.randint(high - 1, shape, generator=self.generator)
        return drawn + (drawn >= without)

    def real(self, *shape: int) -> Tensor:
        """Normal numbers in float64."""
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)


Labels = Callable[[Any, str, Tensor | None, Draw], dict[str, Tensor]]


def _base(config: Any, case: str, keep: Tensor | None, draw: Draw) -> dict[str, Tensor]:
    if keep is None:
        return {"probe.last_hidden_state": draw.real(PROBE_LENGTH)}
    return {"probe.last_hidden_state": draw.real(*keep.shape, config.hidden_size) * keep.unsqueeze(-1)}


def _sequence(config: Any, case: str, keep: Tensor | None, draw: Draw) -> dict[str, Tensor]:
    if case == "regression":
        return {"labels": draw.real(ROWS, config.num_labels)}
    if case == "multi_label":
        return {"labels": draw.ids(2, ROWS, config.num_labels).double()}
    return {"labels": draw.ids(config.num_labels, ROWS)}


def _tokens(count: Callable[[Any], int]) -> Labels:
    def labels(config: Any, case: str, keep: Tensor | None, draw: Draw) -> dict[str, Tensor]:
        assert keep is not None
        drawn, left_out = draw.ids(count(config), *keep.shape), draw.ids(4, *keep.shape) == 0
        return {"labels": drawn.masked_fill(left_out | (keep == 0), -100)}

    return labels


def _causal(config: Any, case: str, keep: Tensor | None, draw: Draw) -> dict[str, Tensor]:
    assert keep is not None
    labels = _tokens(_vocabulary)(config, case, keep, draw)["labels"]
    # transformers predicts a token after padding from the padding.
    labels[:, 1:].masked_fill_(keep[:, :-1] == 0, -100)
    return {"labels": labels}


def _question(config: Any, case: str, keep: Tensor | None, draw: Draw) -> dict[str, Tensor]:
    assert keep is not None
    columns = [line.nonzero().flatten() for line in keep]
    first, last = (torch.stack([line[end] for line in columns]) for end in (0, -1))
    # One span ends beyond the batch and is left out; transformers clamps it.
    return {"start_positions": first, "end_positions": last.index_fill(0, torch.tensor(2), WIDTH + 3)}


def _seq2seq_base(config: Any, case: str, keep: Tensor | None, draw: Draw) -> dict[str, Tensor]:
    return _decoder(config, case, draw, "probe.last_hidden_state", config.hidden_size)


def _seq2seq(config: Any, case: str, keep: Tensor | None, draw: Draw) -> dict[str, Tensor]:
    labels = draw.ids(config.vocab_size, ROWS, DECODER_WIDTH)
    labels = labels.masked_fill(draw.ids(4, ROWS, DECODER_WIDTH) == 0, -100)
    if case not in ("decoder_attention_mask", "head_mask"):
        return {"labels": labels}
    inputs = _decoder(config, case, draw, "probe.logits", config.vocab_size)
    del inputs["probe.logits"]
    if case == "decoder_attention_mask":
        labels = labels.masked_fill(inputs[case] == 0, -100)
    return inputs | {"labels": labels}


def _decoder(config: Any, case: str, draw: Draw, probe: str, width: int) -> dict[str, Tensor]:
    """What a decoder reads, unless it is to shift it from the encoder's input, and a probe."""
    inputs = {"decoder_input_ids": draw.ids(config.vocab_size, ROWS, DECODER_WIDTH)}
    if case == "shifted_input_ids":
        return {probe: draw.real(ROWS, WIDTH, width)}
    keep = torch.ones(ROWS, DECODER_WIDTH, dtype=torch.int64)
    if case == "decoder_attention_mask":
        keep = (torch.arange(DECODER_WIDTH) < torch.tensor([[6], [1], [4], [5]])).long()
        inputs["decoder_attention_mask"] = keep
    elif case == "head_mask":
        shape = (
            config.num_hidden_layers,
            getattr(config, "decoder_attention_heads", config.num_attention_heads),
        )
        for key in ("decoder_head_mask", "cross_attn_head_mask"):
            inputs[key] = (draw.ids(3, *shape) > 0).double()
    elif case == "decoder_inputs_embeds":
        inputs = {case: draw.real(ROWS, DECODER_WIDTH, config.hidden_size)}
    return inputs | {probe: draw.real(ROWS, DECODER_WIDTH, width) * keep.unsqueeze(-1)}


def _masked_image(config: Any, case: str, keep: Tensor | None, draw: Draw) -> dict[str, Tensor]:
    """Patches that are masked; their pixels are the labels."""
    return {"bool_masked_pos": draw.ids(2, ROWS, (config.image_size // config.patch_size) ** 2) > 0}


def _ctc(config: Any, case: str, keep: Tensor | None, draw: Draw) -> dict[str, Tensor]:
    """A third as many labels as frames, never the blank, which is the padding."""
    assert keep is not None
    counts = (keep.sum(1) // 3).clamp(min=1)
    labels = draw.ids(config.vocab_size, ROWS, int(counts.max()), without=config.pad_token_id)
    return {"labels": labels.masked_fill(torch.arange(labels.shape[1]) >= counts.unsqueeze(1), -100)}


def _vocabulary(config: Any) -> int:
    count: int = config.vocab_size
    return count


KINDS: dict[str, Labels] = {
    "base": _base,
    # A label for each row: from its first token, from its last real one ("last"), or from all of them.
    "sequence": _sequence,
    "last": _sequence,
    # A label for each token; a word for each token; the next token.
    "token": _tokens(lambda config: config.num_labels),
    "words": _tokens(_vocabulary),
    "causal": _causal,
    # The first and the last token of an answer.
    "question": _question,
    # Encoder-decoders: with tokens for the decoder; with labels that it reads shifted; a label for each row, from
    # the last token, which is the end of the sequence; the ends of an answer.
    "seq2seq base": _seq2seq_base,
    "seq2seq": _seq2seq,
    "seq2seq sequence": _sequence,
    "seq2seq question": _question,
    # The pixels of masked patches.
    "masked image": _masked_image,
    # Characters of speech, without their alignment.
    "ctc": _ctc,
}
#: Kinds with labels, and how many.
LABELLED = {"sequence": 3, "last": 3, "seq2seq sequence": 3, "token": 3, "question": 2, "seq2seq question": 2}
