"""What attention runs on where no kernel can, and how a layout carries the choice."""

from __future__ import annotations

import pytest
import torch

from oxiformers.errors import UnsupportedError
from oxiformers.layers import fused
from oxiformers.layers.attention import attend
from oxiformers.layers.layout import Layout
from oxiformers_kernels.dispatch import BackendError, recorded
from tests.models.contract.subjects import build

IDS = torch.tensor([[1, 2, 3], [4, 5, 0]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
NO_DEVICE = "the tensors are on cpu, Triton needs cuda"

pytestmark = pytest.mark.skipif(
    fused.may_fuse(torch.empty(0)), reason="under the interpreter kernels run on the CPU"
)


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch):
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)


@pytest.mark.parametrize(
    "name", [None, "auto", "packed", "sdpa", "flash_attention_2", "flash_attention_3", "torch"]
)
def test_attention_on_the_cpu_is_torch_and_decided_once_a_call(name):
    model = build("BertForSequenceClassification", attn_implementation=name)
    with recorded() as decisions, torch.no_grad():
        model(IDS, MASK)
    reason = "backend=torch" if name == "torch" else NO_DEVICE
    assert set(decisions) == {("attention", "torch", reason)}
    # The model with a head decides; the one inside of it and its layers ask no more.
    assert len(decisions) == 1


def test_eager_asks_nothing_of_attention():
    with recorded() as decisions, torch.no_grad():
        build("BertModel", attn_implementation="eager")(IDS, MASK)
    assert {one.op for one in decisions} == {"softmax"}


@pytest.mark.parametrize("name", ["BertModel", "LlamaModel", "T5EncoderModel"])
def test_triton_by_name_is_an_error_that_says_why(name):
    model = build(name, attn_implementation="triton")
    with pytest.raises(UnsupportedError, match=f"attention: backend=triton, but {NO_DEVICE}") as caught:
        model(IDS, MASK)
    assert caught.value.key == "attn_implementation"
    assert isinstance(caught.value.__cause__, BackendError)


def test_triton_by_variable_is_an_error_that_says_why(monkeypatch):
    monkeypatch.setenv("OXIFORMERS_KERNELS", "triton")
    with pytest.raises(UnsupportedError, match=f"attention: OXIFORMERS_KERNELS=triton, but {NO_DEVICE}"):
        build("BertModel")(IDS, MASK)
    with torch.no_grad():
        build("BertModel", attn_implementation="torch")(IDS, MASK)
    monkeypatch.setenv("OXIFORMERS_KERNELS", "fast")
    with pytest.raises(ValueError, match="OXIFORMERS_KERNELS='fast'"):
        build("BertModel")(IDS, MASK)


def test_attend_by_itself_decides_as_a_model_does():
    query = torch.randn(3, 2, 8)
    layout = Layout.from_lengths([1, 2])
    with recorded() as decisions:
        expected, _ = attend(query, query, query, layout)
        ours, _ = attend(query, query, query, layout.on("torch"))
    assert decisions == [("attention", "torch", NO_DEVICE)]
    assert torch.equal(ours, expected)
    with pytest.raises(UnsupportedError, match=NO_DEVICE):
        attend(query, query, query, layout.on("triton"))


def test_layouts_that_come_of_one_run_on_the_same():
    layout = Layout.of(IDS, MASK).on("torch")
    assert layout.on("torch") is layout
    other = Layout.of(IDS, None)
    derived = [
        layout.reading_first(), layout.first_queries()[1], layout.attending_to(other),
        Layout.of(IDS, MASK, rectangular=True).on("torch").attending_to(other), other.on("torch").attending_to(other),
    ]  # fmt: skip
    assert [one.backend for one in derived] == ["torch"] * 5
    again = layout.on(None)
    assert again.backend is None and layout.backend == "torch"
    assert (again.form, again.shape, again.query, again.key) == ("packed", (2, 3), layout.query, layout.key)
