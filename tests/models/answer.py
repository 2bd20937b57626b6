"""Runs a model forward and backward and gathers all it gave: for transformers' models and for ours alike.

It is imported by the tests and, beside it in the folder, by oracle.py: torch is all it may import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

#: Outputs that are tuples of tensors, one a layer.
PER_LAYER = (
    "hidden_states", "attentions", "cross_attentions", "encoder_hidden_states", "encoder_attentions",
    "decoder_hidden_states", "decoder_attentions",
)  # fmt: skip
PROBE = "probe."

Tensors = dict[str, torch.Tensor]


def answer(
    model: Any, inputs: Tensors, options: dict[str, Any], loss_of: Callable[[Any, Tensors], Any] | None = None
) -> Tensors:
    """Every tensor the model returns, the loss, and the gradient of every parameter.

    Args:
        model: in evaluation mode.
        inputs: arguments of forward, and "probe.NAME" tensors: where the model has no loss, the sum of each
            named output times its probe stands in for it.
        options: arguments of forward that are no tensors, and "problem_type" for the config.
        loss_of: computes the loss from the output and the arguments, in place of the model.

    Returns:
        "loss", "grad.PARAMETER", and the outputs by name; those of each layer as "NAME.LAYER".
    """
    options = dict(options)
    # forward keeps in the config the problem type it finds.
    model.config.problem_type = options.pop("problem_type", None)
    model.zero_grad(set_to_none=True)
    arguments = {name: tensor for name, tensor in inputs.items() if not name.startswith(PROBE)}
    output = model(**arguments, **options)
    if loss_of is not None:
        loss = loss_of(output, arguments)
    elif output.get("loss") is not None:
        loss = output["loss"]
    else:
        probes = {
            name.removeprefix(PROBE): tensor for name, tensor in inputs.items() if name.startswith(PROBE)
        }
        loss = sum((output[name] * probe).sum() for name, probe in probes.items())
    loss.backward()
    result = {"loss": loss}
    for name, value in output.items():
        if name in PER_LAYER:
            result |= {f"{name}.{layer}": tensor for layer, tensor in enumerate(value)}
        elif isinstance(value, torch.Tensor) and name != "loss":
            result[name] = value
    result |= {
        f"grad.{name}": weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }
    return {name: tensor.detach().clone().contiguous() for name, tensor in result.items()}
