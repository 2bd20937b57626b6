"""Layers and models on the fused kernels compute what they compute without them: outputs, losses and gradients."""

from __future__ import annotations

import inspect
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.layers import fused
from oxiformers.layers.attention import attend
from oxiformers.layers.cache import Cache
from oxiformers.layers.cached_attention import CacheStep
from oxiformers.layers.layout import Layout
from oxiformers.layers.loss import cross_entropy
from oxiformers.layers.norm import LayerNorm
from oxiformers.layers.scoring import LEARNED, Scoring
from oxiformers_kernels.decode import decode_attention
from oxiformers_kernels.dispatch import BackendError, recorded
from tests.kernels.grids import each
from tests.kernels.support import device  # noqa: F401
from tests.layers.scorings import CACHEABLE, products_by, scoring_of
from tests.models.answer import Tensors, answer
from tests.models.contract.forms import packed
from tests.models.contract.inputs import make
from tests.models.contract.subjects import build

pytest.importorskip("triton", reason="triton is not installed")

HEADS, KV_HEADS, SIZE = 2, 1, 16
MASK = [[1, 1, 1, 0, 0, 0], [1] * 6, [0] * 6, [1, 0, 0, 0, 0, 0]]
#: Each model's ops, and what makes it small: the interpreter takes its time.
MODELS = {
    "BertForSequenceClassification": (
        {"attention", "layer_norm", "cross_entropy"}, {"num_hidden_layers": 1, "num_attention_heads": 2},
    ),
    "DistilBertForTokenClassification": (
        {"attention", "layer_norm", "cross_entropy"}, {"n_layers": 1, "n_heads": 2},
    ),
    "LlamaForCausalLM": (
        {"attention", "rms_norm", "cross_entropy", "rope", "swiglu"},
        {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1},
    ),
    "T5ForConditionalGeneration": (
        {"attention", "rms_norm", "cross_entropy", "geglu"},
        {"num_layers": 1, "num_heads": 2, "feed_forward_proj": "gated-gelu"},
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)


class TinyAttention(nn.Module):
    """Attention of one kind of scoring with grouped heads; its tables and biases are parameters."""

    def __init__(self, kind: str, rows: int, longest: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scoring, _ = scoring_of(kind, HEADS, rows, longest, longest, dtype=torch.float32)
        self.query = nn.Linear(8, HEADS * SIZE)
        self.key, self.value = nn.Linear(8, KV_HEADS * SIZE), nn.Linear(8, KV_HEADS * SIZE)
        self.output = nn.Linear(HEADS * SIZE, 8)
        for name in LEARNED:
            tensor = getattr(self.scoring, name)
            self.register_parameter(name, None if tensor is None else nn.Parameter(tensor.detach().clone()))
        self.register_buffer("alibi_slopes", self.scoring.alibi_slopes)
        self.register_buffer("position_index", self.scoring.position_index)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        names = ("alibi_slopes", "position_index", *LEARNED)
        scoring = self.scoring._replace(**{name: getattr(self, name) for name in names})
        if self.bias is not None:
            scoring = scoring._replace(bias=layout.pack_pairs(self.bias))
        scoring = products_by(scoring, layout.pack, layout.pack)
        query, key, value = (
            projection(hidden).unflatten(-1, (-1, SIZE)) for projection in (self.query, self.key, self.value)
        )
        return self.output(attend(query, key, value, layout, scoring)[0].flatten(-2))


KINDS = [
    "window", "softcap", "alibi", "bias", "everything", "content to position", "position to content",
    "disentangled everything",
]  # fmt: skip


@each({"kind": KINDS, "form": ["packed", "uniform"]})
def test_a_layer_of_every_kind(device: str, kind: str, form: str) -> None:  # noqa: F811
    mask = torch.tensor(MASK, device=device)
    layer = TinyAttention(kind, len(MASK), mask.shape[1]).to(device)
    hidden = torch.randn(*mask.shape, 8, generator=torch.Generator().manual_seed(1)).to(device)
    layout = Layout.of(mask, mask if form == "packed" else None)
    assert layout.form == form

    def run(layout: Layout) -> tuple[list[Tensor], set[tuple[str, str]]]:
        inputs = hidden.clone().requires_grad_()
        with recorded() as decisions:
            output = layout.unpack(layer(layout.pack(inputs), layout))
        weight = torch.linspace(-1, 1, output.numel(), device=device).view_as(output)
        grads = torch.autograd.grad((output * weight).sum(), [inputs, *layer.parameters()])
        return [output, *grads], {(one.op, one.backend) for one in decisions}

    (ours, used), (plain, unused) = run(layout), run(layout.on("torch"))
    moves = {"pack", "unpack"} if form == "packed" else set()
    assert used == {(op, "triton") for op in {"attention", *moves}} and "attention" not in dict(unused)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", ["plain", "causal", "softcap", "distance bias"])
def test_keys_of_other_lengths_than_the_queries(device: str, kind: str) -> None:  # noqa: F811
    queries, keys = (Layout.from_lengths(side, device) for side in ([2, 0, 5, 1, 0], [6, 3, 2, 0, 0]))
    layout = queries.attending_to(keys)
    scoring, _ = scoring_of(kind, HEADS, 5, 5, 6, dtype=torch.float32, device=device)
    query, key = (torch.randn(tokens, HEADS, SIZE, device=device).requires_grad_() for tokens in (8, 11))

    def run(layout: Layout) -> list[Tensor]:
        output, _ = attend(query, key, key, layout, scoring)
        return [output, *torch.autograd.grad(output.square().sum(), [query, key])]

    with recorded() as decisions:
        ours = run(layout)
    assert {one.backend for one in decisions} == {"triton"}
    for one, other in zip(ours, run(layout.on("torch")), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)
    assert not ours[0][-1].any()


@pytest.mark.parametrize("kind", ["causal", "causal window", "softcap", "causal alibi", "distance bias"])
@pytest.mark.parametrize("added", [[1, 1, 1], [2, 2, 2]])
def test_decoding(device: str, kind: str, added: list[int]) -> None:  # noqa: F811
    where = torch.device(device)

    def run(backend: Literal["torch"] | None) -> Tensor:
        torch.manual_seed(0)
        cache, past = Cache(), Layout.from_lengths([5, 1, 0], device)
        step = CacheStep(cache, past, where)
        step.write(0, *torch.randn(2, 6, KV_HEADS, SIZE, device=device).unbind())
        step.commit()
        cache.select([2, 0, 1])
        scoring, _ = scoring_of(kind, HEADS, 3, 2, 7, dtype=torch.float32, device=device)
        layout = Layout.from_lengths(added, device).on(backend)
        query = torch.randn(sum(added), HEADS, SIZE, device=device)
        new = torch.randn(2, sum(added), KV_HEADS, SIZE, device=device).unbind()
        with torch.inference_mode():
            return CacheStep(cache, layout, where).attend(0, query, *new, scoring)[0]

    with recorded() as decisions:
        ours = run(None)
    assert {(one.op, one.backend) for one in decisions} == {("decode_attention", "triton")}
    torch.testing.assert_close(ours, run("torch"), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("added", "scoring", "needs_gradient", "reason"),
    [
        ([1, 1, 1], Scoring(causal=True), True, "the kernel has no backward"),
        ([1, 1, 1], Scoring(dropout=0.1), False, "the kernel takes no dropout"),
        (
            [2, 1, 1],
            Scoring(causal=True),
            False,
            "the kernel takes as many new tokens in each row, from 1 to 16",
        ),
    ],
)
def test_what_is_not_decoded_by_the_kernel(
    device: str,  # noqa: F811
    added: list[int],
    scoring: Scoring,
    needs_gradient: bool,
    reason: str,
) -> None:
    where = torch.device(device)
    cache = Cache()
    step = CacheStep(cache, Layout.from_lengths([5, 1, 2], device), where)
    step.write(0, *torch.randn(2, 8, KV_HEADS, SIZE, device=device).unbind())
    step.commit()
    query = torch.randn(sum(added), HEADS, SIZE, device=device)
    key, value = torch.randn(2, sum(added), KV_HEADS, SIZE, device=device).requires_grad_(needs_gradient)

    def run(backend: Literal["triton"] | None) -> None:
        layout = Layout.from_lengths(added, device).on(backend)
        with torch.set_grad_enabled(needs_gradient):
            CacheStep(cache, layout, where).attend(0, query, key, value, scoring)

    with recorded() as decisions:
        run(None)
    assert decisions == [("decode_attention", "torch", reason)]
    with pytest.raises(UnsupportedError, match=f"backend=triton, but {reason}"):
        run("triton")


def test_what_is_decoded_is_what_the_kernel_takes() -> None:
    taken = inspect.signature(decode_attention).parameters.keys()
    assert taken & set(Scoring._fields) == fused.DECODED
    scorings = [scoring_of(kind, 2, 1, 1, 1)[0] for kind in CACHEABLE]
    refused = {kind for kind, one in zip(CACHEABLE, scorings, strict=True) if fused.undecoded(one)}
    assert refused == {kind for kind, one in zip(CACHEABLE, scorings, strict=True) if one.bias is not None}
    both = Scoring(causal=True, softcap=2.0, bias=torch.zeros(1, 1, 1, 1), dropout=0.1)
    assert fused.undecoded(both) == "the kernel takes no bias and no dropout"


def moved(inputs: Tensors, where: str) -> Tensors:
    """The arguments on a device, numbers in float32."""
    kinds = {name: torch.float32 if tensor.is_floating_point() else None for name, tensor in inputs.items()}
    return {name: tensor.to(where, kinds[name]) for name, tensor in inputs.items()}


@each({"name": MODELS, "form": ["padded", "packed", "uniform"]})
def test_models(device: str, name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    inputs = make(name, "unpadded" if form == "uniform" else "right")
    options = {}
    if form == "packed":
        inputs, layout = packed(name, inputs)
        options["layout"] = Layout.from_lengths(layout.query.lengths, device)
    inputs = moved(inputs, device)
    used, small = MODELS[name]
    with recorded() as decisions:
        ours = answer(build(name, **small).to(device), inputs, options)
    ran = {one.op for one in decisions}
    assert used <= ran <= used | {"pack", "unpack"} and ("pack" in ran) == (form == "padded")
    assert {one.backend for one in decisions} == {"triton"}
    monkeypatch.setenv("OXIFORMERS_KERNELS", "torch")
    with recorded() as decisions:
        plain = answer(build(name, **small).to(device), inputs, options)
    assert {one.backend for one in decisions} == {"torch"}
    assert ours.keys() == plain.keys()
    for key, tensor in ours.items():
        # Gradients of weights are sums over many tokens: their own size is the yardstick.
        scale = plain[key].abs().max().clamp(min=1.0).item()
        torch.testing.assert_close(
            tensor / scale, plain[key] / scale, rtol=1e-4, atol=5e-5,
            msg=lambda text, key=key: f"{key}: {text}",
        )  # fmt: skip


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "T5ForConditionalGeneration"])
def test_models_over_a_cache(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A prompt, padded on the left, and two tokens after it, one at a time."""
    model = build(name, **MODELS[name][1]).to(device)
    ids = torch.randint(1, 60, (2, 4), generator=torch.Generator().manual_seed(0)).to(device)
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]], device=device)

    @torch.inference_mode()
    def run() -> list[Tensor]:
        if name.startswith("T5"):
            options = {"encoder_outputs": model.encoder(ids, mask), "attention_mask": mask}
            first = model(**options, decoder_input_ids=ids[:, :2])
        else:
            options = {}
            first = model(input_ids=ids, attention_mask=mask)
        outputs, cache, seen = [first.logits], first.past_key_values, mask
        for _ in range(2):
            token, seen = outputs[-1][:, -1:].argmax(-1), torch.cat((seen, mask[:, -1:]), 1)
            if name.startswith("T5"):
                following = model(**options, decoder_input_ids=token, past_key_values=cache)
            else:
                following = model(input_ids=token, attention_mask=seen, past_key_values=cache)
            outputs.append(following.logits)
        return outputs

    with recorded() as decisions:
        ours = run()
    assert {one.backend for one in decisions} == {"triton"}
    used = MODELS[name][0] - {"cross_entropy"} | {"decode_attention", "pack", "unpack"}
    assert {one.op for one in decisions} == used
    monkeypatch.setenv("OXIFORMERS_KERNELS", "torch")
    for one, other in zip(ours, run(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["auto", "sdpa", "flash_attention_2", "triton"])
def test_a_name_that_means_the_kernel(device: str, backend: str) -> None:  # noqa: F811
    model = build("BertModel", attn_implementation=backend).to(device)
    with recorded() as decisions, torch.no_grad():
        model(torch.tensor([[1, 2, 3]], device=device))
    attention = [one for one in decisions if one.op == "attention"]
    assert {one.backend for one in attention} == {"triton"}
    assert (attention[0].reason == "backend=triton") == (backend == "triton")


@pytest.mark.parametrize("backend", ["torch", "eager"])
def test_a_name_that_means_no_kernel(device: str, backend: str) -> None:  # noqa: F811
    model = build("BertModel", attn_implementation=backend).to(device)
    with recorded() as decisions, torch.no_grad():
        model(torch.tensor([[1, 2, 3]], device=device))
    assert "triton" not in {one.backend for one in decisions if one.op == "attention"}


def test_attention_weights_come_from_torch(device: str) -> None:  # noqa: F811
    ids = torch.tensor([[1, 2, 3]], device=device)
    with recorded() as decisions, torch.no_grad():
        assert build("BertModel").to(device)(ids, output_attentions=True).attentions is not None
    attention = [one for one in decisions if one.op == "attention"]
    assert (attention[0].backend, attention[-1].backend) == ("triton", "torch")
    assert "attention weights keep the batch rectangular" in attention[-1].reason
    model = build("BertModel", attn_implementation="triton").to(device)
    with pytest.raises(UnsupportedError, match="backend=triton, but an explicit mask or attention weights"):
        model(ids, output_attentions=True)


def test_float64_runs_in_torch(device: str) -> None:  # noqa: F811
    model, ids = build("LlamaModel").double().to(device), torch.tensor([[1, 2, 3]], device=device)
    with recorded() as decisions:
        model(ids, use_cache=False)
    assert {one.backend for one in decisions if "the kernel takes" in one.reason} == {"torch"}
    assert {one.op for one in decisions if one.backend == "torch"} >= {"attention", "rms_norm"}
    model.config.attn_implementation = "triton"
    with pytest.raises(UnsupportedError, match=r"q is torch\.float64"):
        model(ids, use_cache=False)


def test_a_norm_under_autocast_is_torchs(device: str) -> None:  # noqa: F811
    norm = LayerNorm(8).to(device)
    hidden, residual = torch.randn(2, 3, 8, device=device)
    with recorded() as decisions:
        ours = norm(hidden, residual)
        with torch.autocast(device, dtype=torch.bfloat16):
            plain = norm(hidden, residual)
    assert [one.op for one in decisions] == ["layer_norm"]
    torch.testing.assert_close(ours, plain.to(ours.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("widely", [False, True])
def test_the_dtype_of_a_loss(device: str, dtype: torch.dtype, widely: bool) -> None:  # noqa: F811
    logits = torch.randn(5, 7, device=device).to(dtype)
    labels = torch.tensor([0, 6, -100, 3, 2], device=device)
    with recorded() as decisions:
        loss = cross_entropy(logits, labels, widely=widely)
    assert [(one.op, one.backend) for one in decisions] == [("cross_entropy", "triton")]
    assert loss.dtype == (torch.float32 if widely else dtype)
    torch.testing.assert_close(loss.float(), F.cross_entropy(logits.float(), labels), rtol=2e-3, atol=1e-4)


def test_errors_of_a_loss_name_the_labels(device: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    logits = torch.randn(2, 3, device=device)
    with pytest.raises(ArgumentError, match=r"labels: expected int64 classes .* got torch\.int32"):
        cross_entropy(logits, torch.tensor([0, 1], dtype=torch.int32, device=device))
    monkeypatch.setenv("OXIFORMERS_KERNELS", "triton")
    with pytest.raises(BackendError, match=r"the rows are torch\.float64"):
        cross_entropy(logits.double(), torch.tensor([0, 1], device=device))


def test_dropout_is_seeded_by_torch(device: str) -> None:  # noqa: F811
    layout = Layout.from_lengths([3, 21], device)
    query = torch.randn(24, HEADS, SIZE, device=device)
    value = torch.ones(24, HEADS, SIZE, device=device)

    def run(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return attend(query, query, value, layout, Scoring(dropout=0.3))[0]

    with recorded() as decisions:
        first, again, other = run(1), run(1), run(2)
    assert {one.backend for one in decisions} == {"triton"}
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert abs(torch.stack([first, other]).mean().item() - 1.0) < 0.05


def test_one_graph_serves_batches_of_differing_lengths(device: str) -> None:  # noqa: F811
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    model = build("LlamaModel", use_cache=False, num_hidden_layers=1).to(device)
    step = torch.compile(model, backend=backend, fullgraph=True, dynamic=True)
    for lengths in ([9, 4, 1], [2, 3, 8, 7]):
        layout = Layout.from_lengths(lengths, device)
        ids = torch.randint(1, 60, (sum(lengths),), device=device)
        torch.testing.assert_close(
            step(ids, layout=layout)[0], model(ids, layout=layout)[0], rtol=1e-4, atol=1e-5
        )
    assert len(graphs) == 1
    assert any("oxiformers_kernels.attention" in str(node.target) for node in graphs[0].graph.nodes)
