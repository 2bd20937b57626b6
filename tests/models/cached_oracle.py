"""What transformers answers to calls that continue one another: run by an interpreter that has it.

    python cached_oracle.py JOBS.json

A job is {"class", "model" (a folder of weights), "calls", "output" (safetensors files)}. The file of calls holds
"CALL.ARGUMENT" tensors; every call gets the cache of the call before it, and the output has its logits as "CALL".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file


def run(job: dict[str, str]) -> None:
    """Makes the calls of one job."""
    model = (
        getattr(transformers, job["class"]).from_pretrained(job["model"], attn_implementation="eager").eval()
    )
    arguments = load_file(job["calls"])
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
        if side is not None:
            answers[f"{name}.keys"] = side.layers[1].keys.contiguous()
            answers[f"{name}.values"] = side.layers[1].values.contiguous()
    save_file(answers, job["output"])


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for each in json.loads(Path(sys.argv[1]).read_text()):
        run(each)
