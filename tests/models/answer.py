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
            named output times its probe stands in for it. A probe of one dimension is repeated over the output.
        options: arguments of forward that are no tensors, and "problem_type" for the config.
        loss_of: computes the loss from the output and the arguments, in place of the model.

    Returns:
        "loss", "grad.PARAMETER", and the outputs by name; those of each layer as "NAME.LAYER".
    """
    options = dict(options)
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
        loss = sum((output[name] * over(probe, output[name])).sum() for name, probe in probes.items())
    # forward keeps in the config the problem type it finds.
    model.config.problem_type = None
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


def parts(model: Any, expressions: list[str], inputs: Tensors) -> Tensors:
    """What parts of a model give when they are called alone.

    Args:
        model: in evaluation mode.
        expressions: calls, such as "model.encoder.layer[0](hidden)", of ``model`` and the inputs.
        inputs: by the names they have in the expressions.

    Returns:
        "NUMBER.PATH" for each tensor: the number of the expression, and where in its result the tensor is.
    """
    result: Tensors = {}
    with torch.no_grad():
        for number, expression in enumerate(expressions):
            gather(str(number), eval(expression, {"model": model, **inputs}), result)
    return result


def gather(path: str, value: Any, result: Tensors) -> None:
    """Adds every tensor of a value under its path; a tuple of one is not a tensor."""
    if isinstance(value, torch.Tensor):
        result[path] = value.detach().clone().contiguous()
    elif isinstance(value, dict):
        for name, item in value.items():
            gather(f"{path}.{name}", item, result)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            gather(f"{path}.{index}", item, result)


def over(probe: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The probe in the shape of the output."""
    if probe.dim() > 1:
        return probe
    count = output.numel()
    return probe.repeat(-(-count // len(probe)))[:count].view(output.shape)
