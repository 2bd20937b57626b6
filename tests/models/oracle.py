"""What transformers answers: run by an interpreter that has it, never imported by a test.

    python oracle.py answer JOBS.json        runs every job and writes its answer
    python oracle.py record CLASSES.json     prints the names and shapes of every class's state dict, as JSON

A job is {"class", "model" (a folder of weights), "saved" (a folder to save them to again), "inputs", "output"
(safetensors files), "options"}; see `answer` for inputs and options, of which "dtype" is the one that
everything is computed in.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from answer import Tensors, answer  # beside this file
from safetensors.torch import load_file, save_file


def span_loss(output: Any, inputs: Tensors) -> Any:
    """The loss of question answering over real tokens; transformers' own has padding among the candidates."""
    loss: Any = 0.0
    for end in ("start", "end"):
        logits, positions = output[f"{end}_logits"], inputs[f"{end}_positions"]
        scores = logits.masked_fill(inputs["attention_mask"] == 0, torch.finfo(logits.dtype).min)
        width = scores.shape[1]
        loss = loss + F.cross_entropy(scores, positions.clamp(0, width), ignore_index=width) / 2
    return loss


def load(job: dict[str, Any]) -> Any:
    """The model of a job, in evaluation mode; raises where names or shapes do not fit."""
    model_class = getattr(transformers, job["class"])
    model, info = model_class.from_pretrained(
        job["model"], attn_implementation="eager", output_loading_info=True
    )
    wrong = {name: found for name, found in info.items() if found}
    if wrong:
        raise ValueError(f"the weights do not fit: {wrong}")
    model.save_pretrained(job["saved"])
    return model.eval()


def run(path: Path) -> None:
    """Runs the jobs of one file. A job that fails leaves its error in a text file instead of its output."""
    loaded: dict[str, Any] = {}
    for job in json.loads(path.read_text()):
        options = dict(job["options"])
        dtype = getattr(torch, options.pop("dtype", "float64"))
        try:
            if job["model"] not in loaded:
                loaded[job["model"]] = load(job)
            inputs = load_file(job["inputs"])
            inputs = {
                name: tensor.to(dtype) if tensor.is_floating_point() else tensor
                for name, tensor in inputs.items()
            }
            mask = inputs.get("attention_mask")
            masked_span = "start_positions" in inputs and mask is not None and mask.dim() == 2
            model = copy.deepcopy(loaded[job["model"]]).to(dtype)
            save_file(answer(model, inputs, options, span_loss if masked_span else None), job["output"])
        except Exception as error:  # noqa: BLE001 - the test that reads the answer reports it
            Path(job["output"]).with_suffix(".error").write_text(f"{type(error).__name__}: {error}")


def record(path: Path) -> dict[str, dict[str, list[int]]]:
    """The names and shapes of the state dicts of {class name: {"config": its name, "values": arguments}}."""
    shapes = {}
    for name, entry in json.loads(path.read_text()).items():
        config = getattr(transformers, entry["config"])(**entry["values"])
        with torch.device("meta"):
            model = getattr(transformers, name)(config)
        shapes[name] = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    return shapes


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    command, file = sys.argv[1], Path(sys.argv[2])
    if command == "answer":
        run(file)
    else:
        print(json.dumps(record(file)))  # noqa: T201
