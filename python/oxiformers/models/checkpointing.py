"""Gradient checkpointing, switched on and off for every stack of layers in a model."""

from __future__ import annotations

from typing import Any

from torch import nn

from oxiformers.errors import UnsupportedError


class GradientCheckpointing(nn.Module):
    """What a model has for gradient checkpointing.

    A stack of layers declares that it can do this by an attribute `gradient_checkpointing = False`; when
    switched on it calls each layer through `torch.utils.checkpoint.checkpoint` with its `checkpoint_options`.
    """

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether any part of the model recomputes its layers in the backward pass."""
        return any(getattr(module, "gradient_checkpointing", False) for module in self.modules())

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None
    ) -> None:
        """Recomputes each layer in the backward pass of training, in place of keeping what is inside it.

        Args:
            gradient_checkpointing_kwargs: for torch.utils.checkpoint; {"use_reentrant": False} by default.

        Raises:
            UnsupportedError: the model has no stack of layers that can do this.
        """
        options = {"use_reentrant": False} | (gradient_checkpointing_kwargs or {})
        stacks: list[Any] = [module for module in self.modules() if hasattr(module, "gradient_checkpointing")]
        if not stacks:
            raise UnsupportedError(f"{type(self).__name__} does not support gradient checkpointing")
        for stack in stacks:
            stack.gradient_checkpointing = True
            stack.checkpoint_options = dict(options)

    def gradient_checkpointing_disable(self) -> None:
        """Keeps what is inside the layers again."""
        stacks: list[Any] = [module for module in self.modules() if hasattr(module, "gradient_checkpointing")]
        for stack in stacks:
            stack.gradient_checkpointing = False
