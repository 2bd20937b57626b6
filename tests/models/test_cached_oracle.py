"""Cached decoding against both versions of transformers, call by call."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from oxiformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from oxiformers.models.llama import LlamaConfig, LlamaForCausalLM
from oxiformers.models.t5 import T5Config, T5ForConditionalGeneration

ROWS, WIDTH, VOCABULARY = 3, 6, 53
MASKS = {
    "unpadded": None,
    "left": [[0, 0, 1, 1, 1, 1], [1] * 6, [0] * 5 + [1]],
    "right": [[1, 1, 1, 1, 0, 0], [1] * 6, [1] + [0] * 5],
    "holes": [[1, 0, 1, 1, 0, 1], [1] * 6, [0, 0, 1, 0, 1, 0]],
}
NEW = (1, 3, 1)  # how many tokens each later call brings
MODELS = {
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_inner=48, n_layer=2, n_head=4, n_positions=16,
        scale_attn_by_inverse_layer_idx=True,
    ),
    "llama": LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    ),
    "t5": T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0,
        relative_attention_num_buckets=8, relative_attention_max_distance=7, decoder_start_token_id=0,
    ),
    "t5 1.1": T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=3, num_heads=4,
        relative_attention_num_buckets=8, relative_attention_max_distance=7, decoder_start_token_id=0,
        dropout_rate=0.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    ),
}  # fmt: skip
CLASSES = {"gpt2": GPT2LMHeadModel, "llama": LlamaForCausalLM, "t5": T5ForConditionalGeneration}


@cache
def model_of(name):
    torch.manual_seed(0)
    model = CLASSES[name.split()[0]](MODELS[name]).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return model


def calls_of(name, case):
    """The arguments of every call."""
    generator = torch.Generator().manual_seed(len(case))
    mask = None if MASKS[case] is None else torch.tensor(MASKS[case])
    decoder, calls, start = name.startswith("t5"), [], 0
    ids = torch.randint(1, VOCABULARY, (ROWS, WIDTH + sum(NEW)), generator=generator)
    if mask is not None:
        mask = torch.cat((mask, torch.ones(ROWS, sum(NEW), dtype=torch.int64)), 1)
    source = torch.randint(1, VOCABULARY, (ROWS, 5), generator=generator)
    for count in (WIDTH, *NEW):
        end, prefix = start + count, "decoder_" if decoder else ""
        call = {f"{prefix}input_ids": ids[:, start:end].clone()}
        if mask is not None:
            call[f"{prefix}attention_mask"] = mask[:, :end].clone()
        if decoder:
            call["input_ids"] = source.clone()
            call["attention_mask"] = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1], [1] * 5])
        elif case == "left":
            # As generation counts: tokens, not columns.
            call["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, start:end].clone()
        calls.append(call)
        start = end
    return calls


@pytest.fixture(scope="module", params=["457", "523"])
def answers(request, tmp_path_factory):
    """transformers' answers, (model, case) to file."""
    python = request.getfixturevalue(f"python_{request.param}")
    folder = tmp_path_factory.mktemp("cached")
    jobs = []
    for name in MODELS:
        model_of(name).save_pretrained(folder / name)
        for case in MASKS:
            calls, output = folder / f"{name}.{case}.calls", folder / f"{name}.{case}.out"
            save_file(
                {
                    f"{number}.{key}": value
                    for number, call in enumerate(calls_of(name, case))
                    for key, value in call.items()
                },
                calls,
            )
            jobs.append(
                {
                    "class": CLASSES[name.split()[0]].__name__, "model": str(folder / name),
                    "calls": str(calls), "output": str(output),
                }
            )  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [python, Path(__file__).parent / "cached_oracle.py", folder / "jobs.json"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return lambda name, case: load_file(folder / f"{name}.{case}.out")


@pytest.mark.parametrize("eager", [False, True], ids=["packed", "eager"])
@pytest.mark.parametrize("case", MASKS)
@pytest.mark.parametrize("name", MODELS)
def test_every_call_equals_transformers(name, case, eager, answers):
    model = model_of(name)
    if eager:
        config = MODELS[name].__class__.from_dict(MODELS[name].to_dict(), attn_implementation="eager")
        eager_model = CLASSES[name.split()[0]](config).eval()
        eager_model.load_state_dict(model.state_dict())
        model = eager_model
    theirs, past = answers(name, case), None
    calls = calls_of(name, case)
    keep = torch.ones(ROWS, WIDTH).bool() if MASKS[case] is None else torch.tensor(MASKS[case]).bool()
    for number, call in enumerate(calls):
        with torch.inference_mode():
            output = model(**call, past_key_values=past, use_cache=True)
        past = output.past_key_values
        ours, expected = output.logits, theirs[str(number)]
        if number == 0:
            assert ours[~keep].numel() == 0 or ours[~keep].abs().max() == 0
            ours, expected = ours[keep], expected[keep]
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-5)
    whole = torch.cat((keep, torch.ones(ROWS, sum(NEW)).bool()), 1)
    own = getattr(past, "self_attention_cache", past)
    assert past.get_seq_length() == whole.shape[1]
    for ours, key in ((own.layers[1].keys, "self.keys"), (own.layers[1].values, "self.values")):
        expected = theirs[key].transpose(1, 2)[whole]
        torch.testing.assert_close(ours.transpose(1, 2)[whole], expected, rtol=1e-4, atol=2e-5)
    if "cross.keys" in theirs:
        shown = calls[0]["attention_mask"].bool()
        ours = past.cross_attention_cache.layers[1].keys.transpose(1, 2)[shown]
        torch.testing.assert_close(ours, theirs["cross.keys"].transpose(1, 2)[shown], rtol=1e-4, atol=2e-5)
