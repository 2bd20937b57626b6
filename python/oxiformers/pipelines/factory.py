"""`pipeline(task, model=...)`: finds the task, the model and its parts, and puts them together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from oxiformers import hub
from oxiformers.errors import ArgumentError, MissingFileError, OxiformersError, UnsupportedError
from oxiformers.logging import get_logger
from oxiformers.pipelines.tasks import AUTO, Task, find_task, infer_task, load

if TYPE_CHECKING:
    import torch

    from oxiformers.pipelines.base import Pipeline

logger = get_logger(__name__)


def pipeline(
    task: str | None = None,
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    feature_extractor: Any = None,
    image_processor: Any = None,
    processor: Any = None,
    *,
    framework: str | None = "pt",
    revision: str | None = None,
    use_fast: bool = True,
    token: str | bool | None = None,
    device: int | str | torch.device | None = None,
    device_map: str | dict[str, Any] | None = None,
    dtype: str | torch.dtype | None = None,
    torch_dtype: str | torch.dtype | None = None,
    trust_remote_code: bool | None = None,
    model_kwargs: dict[str, Any] | None = None,
    pipeline_class: type[Pipeline] | None = None,
    local_files_only: bool = False,
    **kwargs: Any,
) -> Pipeline:
    """Makes the pipeline of a task.

    Args:
        task: "text-classification" (also "sentiment-analysis"), "feature-extraction", or one that was registered
            with PIPELINE_REGISTRY. Where only a model is named, the task is told from its config.
        model: a folder, a repository's name on the Hub, or a model object; by default the one that
            transformers takes for the task.
        config: a folder, a name, or a config object, in place of the model's own.
        tokenizer: a folder, a name, (name, arguments of from_pretrained), or a tokenizer object; by
            default the one that lies with the model.
        feature_extractor, image_processor, processor: objects, for a pipeline that uses them.
        framework: "pt".
        revision: branch, tag or commit of the model on the Hub.
        use_fast: accepted; there is one implementation of each tokenizer.
        token: the Hub's access token.
        device: see Pipeline; not together with `device_map`.
        device_map: "auto", "cuda", "cpu": where `from_pretrained` puts the weights.
        dtype, torch_dtype: the dtype the weights are loaded in; by default the one they are saved in.
        trust_remote_code: handed on; code of a repository is never run.
        model_kwargs: further arguments of the model's from_pretrained.
        pipeline_class: the class to make, in place of the task's own.
        local_files_only: never call the Hub.
        **kwargs: batch_size, progress_bar, and the arguments of every call of the pipeline.

    Raises:
        UnsupportedError: an unknown task; lists those there are.
        ArgumentError: too little given, or arguments that contradict each other.
        MissingFileError: the model or tokenizer is not found.
    """
    del use_fast
    _check_combination(task, model, tokenizer, device, device_map)
    model_kwargs = dict(model_kwargs or {})
    hub_arguments: dict[str, Any] = {
        "revision": revision,
        "token": token,
        "local_files_only": local_files_only,
    }
    hub_arguments.update({key: model_kwargs.pop(key) for key in hub.HUB_ARGUMENTS & model_kwargs.keys()})
    if trust_remote_code:
        hub_arguments["trust_remote_code"] = trust_remote_code
    if isinstance(model, os.PathLike):
        model = os.fspath(model)

    config = _load_config(config, model if task is None else None, hub_arguments)
    if task is None:
        task = infer_task(*_architectures(model, config))
    task, row = find_task(task)
    if model is None:
        model, default_revision = _default_model(task, row)
        if hub_arguments["revision"] is None:
            hub_arguments["revision"] = default_revision
        logger.warning(
            "no model was named: taking %s, revision %s; name one in what others rely on",
            model,
            hub_arguments["revision"],
        )
    name = model if isinstance(model, str) else None
    if name is not None:
        loading = {**model_kwargs, "dtype": _choose_dtype(dtype, torch_dtype, model_kwargs)}
        loading.pop("torch_dtype", None)
        if device_map is not None:
            loading["device_map"] = device_map
        if config is not None:
            loading["config"] = config
        model = _load_model(row, name, hub_arguments, loading)
    if device is None and (device_map is not None or "device_map" in model_kwargs):
        device = None if hasattr(model, "hf_device_map") else model.device
    pipeline_class = pipeline_class or row.load_pipeline_class()
    parts = {
        "tokenizer": _load_tokenizer(tokenizer, name or _name_of(config), hub_arguments, pipeline_class),
        "feature_extractor": _take_object("feature_extractor", feature_extractor),
        "image_processor": _take_object("image_processor", image_processor),
        "processor": _take_object("processor", processor),
        "device": device,
        "framework": None if framework == "pt" else framework,
    }
    # A class of a user's own may take only what it uses.
    given = {key: value for key, value in parts.items() if value is not None}
    return pipeline_class(model=model, task=task, **given, **kwargs)


def _check_combination(task: Any, model: Any, tokenizer: Any, device: Any, device_map: Any) -> None:
    if task is None and model is None:
        raise ArgumentError("a pipeline needs a task or a model; name one", key="task")
    if model is None and tokenizer is not None:
        raise ArgumentError(
            "tokenizer: given without a model, and may not fit the task's default model; pass model= too",
            key="model",
        )
    if device is not None and device_map is not None:
        raise ArgumentError.mismatch(
            "device_map", "None with device=", repr(device_map), "pass one of device, device_map"
        )


def _default_model(task: str, row: Task) -> tuple[str, str | None]:
    if row.default_model is None:
        raise ArgumentError.mismatch("model", "a model", None, f"the task {task} has no default model")
    return row.default_model


def _load_config(config: Any, model: Any, hub_arguments: dict[str, Any]) -> Any:
    """The config given, loaded where it is a name; else the one of the model that is named."""
    name = config if config is not None else model
    if not isinstance(name, (str, os.PathLike)):
        return config
    return load(AUTO + "AutoConfig").from_pretrained(name, **hub_arguments)


def _load_model(row: Task, name: str, hub_arguments: dict[str, Any], loading: dict[str, Any]) -> Any:
    """The model of that name, by the first of the task's classes that takes it."""
    architectures: list[str] = []
    if not row.model_classes:
        config = loading.get("config") or _load_config(None, name, hub_arguments)
        architectures = config.architectures or []
    first: OxiformersError | None = None
    for model_class in row.load_model_classes(architectures):
        try:
            return model_class.from_pretrained(name, **hub_arguments, **loading)
        except OxiformersError as error:
            first = first or error
    assert first is not None
    raise first


def _architectures(model: Any, config: Any) -> tuple[list[str] | None, str]:
    """The names of the model's classes, and what to call it in an error."""
    if model is not None and not isinstance(model, str):
        return [type(model).__name__], type(model).__name__
    return getattr(config, "architectures", None), str(model)


def _choose_dtype(dtype: Any, torch_dtype: Any, model_kwargs: dict[str, Any]) -> Any:
    """The dtype asked for, "auto" where none is. Raises ArgumentError where two places name one."""
    given = dtype if dtype is not None else torch_dtype
    nested = model_kwargs.get("dtype", model_kwargs.get("torch_dtype"))
    if given is not None and nested is not None:
        raise ArgumentError("dtype: given twice, as an argument and in model_kwargs", key="dtype")
    if given is not None:
        return given
    return "auto" if nested is None else nested


def _name_of(config: Any) -> str | None:
    """Where a config object came from, so that the tokenizer beside it is found."""
    return getattr(config, "name_or_path", None) or None


def _load_tokenizer(
    tokenizer: Any, name: str | None, hub_arguments: dict[str, Any], pipeline_class: type[Pipeline]
) -> Any:
    """The tokenizer given, or loaded by its name or the model's; None where there is none, or none is used."""
    arguments = dict(hub_arguments)
    wanted = pipeline_class._load_tokenizer
    if isinstance(tokenizer, tuple):
        tokenizer, own = tokenizer
        arguments.update(own)
    elif tokenizer is not None and not isinstance(tokenizer, (str, os.PathLike)):
        return tokenizer
    elif tokenizer is not None and os.fspath(tokenizer) != name:
        # The revision names a state of the model's repository, not of the tokenizer's.
        arguments["revision"] = None
    target = tokenizer if tokenizer is not None else name
    if target is None or wanted is False:
        return None
    try:
        return load(AUTO + "AutoTokenizer").from_pretrained(target, **arguments)
    except (MissingFileError, UnsupportedError) as error:
        if wanted or tokenizer is not None:
            raise
        logger.info("%s: made without a tokenizer: %s", pipeline_class.__name__, error)
        return None


def _take_object(name: str, value: Any) -> Any:
    """A part that is an object. Raises UnsupportedError for one named by a str, which nothing loads yet."""
    if isinstance(value, (str, os.PathLike, tuple)):
        raise UnsupportedError.mismatch(name, "an object", repr(value), "only tokenizers are loaded by name")
    return value
