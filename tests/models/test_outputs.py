"""ModelOutput: attribute, key, index; None left out; known to torch."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from oxiformers.models import outputs
from oxiformers.models.outputs import (
    BaseModelOutput,
    CausalLMOutputWithPast,
    ModelOutput,
    SequenceClassifierOutput,
)

CLASSES = {
    name: value
    for name, value in vars(outputs).items()
    if isinstance(value, type) and issubclass(value, ModelOutput) and value is not ModelOutput
}


def test_three_ways_to_a_field() -> None:
    last, states = torch.ones(1, 2, 3), (torch.zeros(1), torch.ones(1))
    output = BaseModelOutput(last_hidden_state=last, attentions=states)
    assert output.last_hidden_state is output["last_hidden_state"] is output[0] is last
    assert output.hidden_states is None
    assert output[1] is states
    assert output[:1] == (last,)
    assert output[-1] is states
    assert list(output) == list(output.keys()) == ["last_hidden_state", "attentions"]
    assert output.to_tuple() == tuple(output.values()) == (last, states)
    assert len(output) == 2
    assert "hidden_states" not in output
    assert isinstance(output, dict)
    assert dict(**output) == {"last_hidden_state": last, "attentions": states}
    with pytest.raises(KeyError):
        output["hidden_states"]
    with pytest.raises(IndexError):
        output[2]


def test_setting_fields() -> None:
    output = SequenceClassifierOutput(logits=torch.ones(1))
    output.loss = torch.zeros(())
    assert output["loss"] is output.loss
    output["attentions"] = (torch.ones(1),)
    assert output.attentions is output["attentions"]
    output.loss = None
    assert list(output) == ["logits", "attentions"]
    for change in (
        lambda: output.pop("logits"),
        lambda: output.update({}),
        lambda: output.setdefault("loss", 1),
    ):
        with pytest.raises(TypeError, match="SequenceClassifierOutput"):
            change()
    with pytest.raises(TypeError):
        del output["logits"]


def test_made_from_pairs() -> None:
    logits = torch.ones(1)
    for pairs in ({"logits": logits}, [("logits", logits)], iter([("logits", logits)])):
        output = SequenceClassifierOutput(pairs)
        assert output.logits is logits
        assert output.loss is None
        assert list(output) == ["logits"]
    assert BaseModelOutput((logits, logits)).last_hidden_state == (logits, logits)


def test_copies() -> None:
    output = CausalLMOutputWithPast(logits=torch.ones(2), past_key_values=[1, 2])
    for again in (
        pickle.loads(pickle.dumps(output)),
        copy.deepcopy(output),
        copy.copy(output),
        output.copy(),
        dataclasses.replace(output),
    ):
        assert type(again) is CausalLMOutputWithPast
        assert torch.equal(again.logits, output.logits)
        assert again["past_key_values"] == [1, 2]
        assert list(again) == ["logits", "past_key_values"]
        assert again.loss is None


def test_torch_sees_the_tensors() -> None:
    output = BaseModelOutput(last_hidden_state=torch.ones(2), hidden_states=(torch.ones(1), torch.ones(3)))
    leaves, spec = pytree.tree_flatten(output)
    assert [leaf.numel() for leaf in leaves] == [2, 1, 3]
    again = pytree.tree_unflatten([leaf * 2 for leaf in leaves], spec)
    assert type(again) is BaseModelOutput
    assert again.hidden_states[1].tolist() == [2, 2, 2]
    paths = [pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(output)[0]]
    assert paths == ["['last_hidden_state']", "['hidden_states'][0]", "['hidden_states'][1]"]
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec


@pytest.mark.parametrize("reentrant", [True, False])
def test_through_checkpointing(reentrant: bool) -> None:
    weight = torch.ones(3, requires_grad=True)

    def layer(hidden: torch.Tensor) -> torch.Tensor:
        return BaseModelOutput(last_hidden_state=(hidden * weight).exp())[0]

    checkpoint(layer, torch.ones(3, requires_grad=True), use_reentrant=reentrant).sum().backward()
    assert weight.grad is not None
    assert torch.isclose(weight.grad[0], torch.ones(()).exp())


def test_one_graph_through_torch_compile() -> None:
    @torch.compile(fullgraph=True, backend="eager")
    def run(x: torch.Tensor) -> SequenceClassifierOutput:
        inner = BaseModelOutput(last_hidden_state=x * 2, hidden_states=(x, x))
        return SequenceClassifierOutput(
            logits=inner[0] + inner["last_hidden_state"], hidden_states=inner.hidden_states
        )

    output = run(torch.ones(2))
    assert type(output) is SequenceClassifierOutput
    assert output.logits.tolist() == [4, 4]
    assert list(output) == ["logits", "hidden_states"]


@pytest.mark.parametrize("environment", ["python_457", "python_524"])
def test_fields_are_those_of_transformers(environment: str, request: pytest.FixtureRequest) -> None:
    python: Path = request.getfixturevalue(environment)
    code = (
        "import json, sys, dataclasses; from transformers import modeling_outputs as outputs\n"
        "fields = lambda name: [field.name for field in dataclasses.fields(getattr(outputs, name))]\n"
        "print(json.dumps({name: fields(name) for name in json.loads(sys.argv[1])}))"
    )
    done = subprocess.run(
        [python, "-c", code, json.dumps(list(CLASSES))], capture_output=True, text=True, check=True
    )
    ours = {name: [field.name for field in dataclasses.fields(value)] for name, value in CLASSES.items()}
    # Version 5.24 calls the cache so, and takes the name it had before.
    theirs = {
        name: ["past_key_values" if field == "cache" else field for field in fields]
        for name, fields in json.loads(done.stdout.splitlines()[-1]).items()
    }
    assert ours == theirs


def test_either_name_of_the_cache() -> None:
    output = CausalLMOutputWithPast(logits=torch.ones(1), past_key_values="kept")
    assert (output.cache, output["cache"], output.past_key_values) == ("kept", "kept", "kept")
    assert list(output) == ["logits", "past_key_values"]
    with pytest.raises(AttributeError):
        BaseModelOutput(last_hidden_state=torch.ones(1)).cache  # noqa: B018
