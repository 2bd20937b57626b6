"""What transformers answers: run by an interpreter that has it, never imported by a test.

It reads one job a line as JSON and answers each with a line {"result", "error"}; `oracle_process` starts it. A job
has a "command":

    answer   runs {"class", "model" (a folder of weights), "inputs", "output" (safetensors files), "options"}; see
             `answer` for inputs and options, of which "dtype" is the one that everything is computed in
    calls    runs calls that continue one another: inputs are "CALL.ARGUMENT", every call gets the cache of the call
             before it, and the output has its logits as "CALL", and the last cache
    parts    runs parts of the model alone: options are "expressions", see `answer.parts`
    save     saves {"class", "model"} to the folder "output"
    record   gives the parameters and config keys of {"class": {"config", "values"}}; see `recorded`

Outputs tell the processor's seconds that they took in their metadata.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from answer import Tensors, answer, parts  # beside this file
from safetensors.torch import load_file, save_file

#: How many models of random weights a deviation is taken from.
SEEDS = 8


def span_loss(output: Any, inputs: Tensors) -> Any:
    """The loss of question answering over real tokens; transformers' own has padding among the candidates."""
    loss: Any = 0.0
    for end in ("start", "end"):
        logits, positions = output[f"{end}_logits"], inputs[f"{end}_positions"]
        scores = logits.masked_fill(inputs["attention_mask"] == 0, torch.finfo(logits.dtype).min)
        width = scores.shape[1]
        loss = loss + F.cross_entropy(scores, positions.clamp(0, width), ignore_index=width) / 2
    return loss


@lru_cache(maxsize=2)
def load(name: str, folder: str) -> Any:
    """A model in evaluation mode; raises where names or shapes do not fit."""
    model_class = getattr(transformers, name)
    model, info = model_class.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    wrong = {key: found for key, found in info.items() if found}
    if wrong:
        raise ValueError(f"the weights do not fit: {wrong}")
    return model.eval()


def run_answer(job: dict[str, Any]) -> None:
    """One batch, forward and backward."""
    started = time.process_time()
    options = dict(job["options"])
    dtype = getattr(torch, options.pop("dtype", "float64"))
    inputs = load_file(job["inputs"])
    inputs = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in inputs.items()
    }
    mask = inputs.get("attention_mask")
    masked_span = "start_positions" in inputs and mask is not None and mask.dim() == 2
    model = copy.deepcopy(load(job["class"], job["model"])).to(dtype)
    result = answer(model, inputs, options, span_loss if masked_span else None)
    write(under_checkpoint_names(model, result), job["output"], started)


def under_checkpoint_names(model: Any, result: Tensors) -> Tensors:
    """Gradients under the names that checkpoints have; version 5 gives some parameters others when it loads them."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:
        return result
    gradients = {
        name.removeprefix("grad."): tensor for name, tensor in result.items() if name.startswith("grad.")
    }
    rest = {name: tensor for name, tensor in result.items() if not name.startswith("grad.")}
    reverted = revert_weight_conversion(model, gradients)
    return rest | {f"grad.{name}": tensor.contiguous() for name, tensor in reverted.items()}


def run_calls(job: dict[str, Any]) -> None:
    """Calls that continue one another."""
    started = time.process_time()
    model, arguments = load(job["class"], job["model"]), load_file(job["inputs"])
    answers, cache = {}, None
    for call in sorted({name.split(".")[0] for name in arguments}, key=int):
        inputs = {
            name.split(".")[1]: value for name, value in arguments.items() if name.split(".")[0] == call
        }
        with torch.no_grad():
            output = model(**inputs, past_key_values=cache, use_cache=True)
        answers[call], cache = output.logits.contiguous(), output.past_key_values
    sides = [getattr(cache, "self_attention_cache", cache), getattr(cache, "cross_attention_cache", None)]
    for name, side in zip(("self", "cross"), sides, strict=True):
        if side is not None and len(side.layers) > 1:
            answers[f"{name}.keys"] = side.layers[1].keys.contiguous()
            answers[f"{name}.values"] = side.layers[1].values.contiguous()
    write(answers, job["output"], started)


def run_parts(job: dict[str, Any]) -> None:
    """Parts of a model, called alone."""
    started = time.process_time()
    model = load(job["class"], job["model"])
    write(parts(model, job["expressions"], load_file(job["inputs"])), job["output"], started)


def write(tensors: Tensors, path: str, started: float) -> None:
    """Writes an answer and what it took."""
    seconds = time.process_time() - started
    save_file(tensors, path, metadata={"seconds": f"{seconds:.3f}"})


def run_save(job: dict[str, Any]) -> None:
    """Saves a model as transformers does."""
    load(job["class"], job["model"]).save_pretrained(job["output"])


def recorded(job: dict[str, Any]) -> dict[str, Any]:
    """The parameters of classes, and the keys of their configs.

    Returns:
        {class name: {"parameters": {name: [shape, mean, deviation]}, "keys": {key: default}}}, of fresh weights;
        keys are those that the config has beyond every other one's.
    """
    found = {}
    common = transformers.PretrainedConfig().to_dict().keys() | {"model_type"}
    for name, entry in job["classes"].items():
        config_class = getattr(transformers, entry["config"])
        states = []
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            model = getattr(transformers, name)(config_class(**entry["values"]))
            states.append(under_checkpoint_names_state(model))
        parameters = {}
        for key, tensor in states[0].items():
            drawn = torch.stack([state[key].double() for state in states])
            each = drawn.flatten(1).std(1) if drawn[0].numel() > 1 else torch.zeros(SEEDS)
            parameters[key] = [list(tensor.shape), float(drawn.mean()), float(each.mean())]
        defaults = config_class().to_dict()
        keys = {key: value for key, value in defaults.items() if key not in common}
        found[name] = {"parameters": parameters, "keys": keys}
    return found


def under_checkpoint_names_state(model: Any) -> Tensors:
    """The state dict under the names that checkpoints have."""
    state = {f"grad.{name}": tensor for name, tensor in model.state_dict().items()}
    return {
        name.removeprefix("grad."): tensor for name, tensor in under_checkpoint_names(model, state).items()
    }


COMMANDS = {
    "answer": run_answer,
    "calls": run_calls,
    "parts": run_parts,
    "save": run_save,
    "record": recorded,
}


def warm_up() -> None:
    """What is imported when it is first used is no answer's cost."""
    config = transformers.BertConfig(
        vocab_size=2, hidden_size=2, num_hidden_layers=1, num_attention_heads=1, intermediate_size=2
    )
    with tempfile.TemporaryDirectory() as folder:
        transformers.BertModel(config).save_pretrained(folder)
        model = load("BertModel", folder)
        model(torch.ones(1, 1, dtype=torch.int64)).last_hidden_state.sum().backward()
        model.save_pretrained(folder)
    load.cache_clear()


def serve() -> None:
    """Answers jobs until there are no more."""
    # What libraries print goes to the errors.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        reply: dict[str, Any] = {"result": None, "error": None}
        getattr(transformers, job.get("class", ""), None)  # imports it, which is no answer's cost
        try:
            reply["result"] = COMMANDS[job["command"]](job)
        except Exception as error:  # noqa: BLE001 - the test that asked reports it
            reply["error"] = f"{type(error).__name__}: {error}"
            if "output" in job:
                Path(job["output"]).unlink(missing_ok=True)
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    warm_up()
    serve()
