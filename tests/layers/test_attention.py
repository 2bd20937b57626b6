"""Every attention path against the rectangular one and against plain torch, forward and backward."""

from __future__ import annotations

import math

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

from oxiformers.layers.attention import attend, attend_rectangular
from oxiformers.layers.cache import Cache
from oxiformers.layers.cached_attention import CacheStep
from oxiformers.layers.layout import Layout, Segments
from oxiformers.layers.ragged import ragged_attention
from oxiformers.layers.scoring import LEARNED, Scoring, distance_bias_matrix
from tests.layers.scorings import packed_rows, scoring_of

HEADS, SIZE = 4, 8
LENGTHS = [
    ([3, 3, 1, 5, 0, 2], [3, 3, 1, 5, 0, 2]),
    ([2, 1, 4], [6, 1, 7]),
    ([4], [4]),
    ([1, 1, 1], [9, 4, 4]),
]


def random_inputs(query_lengths, key_lengths, kv_heads=HEADS, dtype=torch.float64, biased=False):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    tensors = [
        draw(sum(query_lengths), HEADS, SIZE),
        draw(sum(key_lengths), kv_heads, SIZE),
        draw(sum(key_lengths), kv_heads, SIZE),
    ]
    return tensors, draw(HEADS, 7) if biased else None


def sequence_by_sequence(query, key, value, query_lengths, key_lengths, scoring):
    """What ragged_attention computes without dropout: each sequence alone, by the rectangular path."""
    sides = zip(query.split(query_lengths), key.split(key_lengths), value.split(key_lengths), strict=True)
    outputs = [
        attend_rectangular(q[None], k[None], v[None], None, scoring)[0][0] for q, k, v in sides if len(k)
    ]
    assert len(outputs) == sum(length > 0 for length in key_lengths)
    return torch.cat(outputs)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("biased", [False, True])
def test_ragged_equals_sequence_by_sequence(lengths, causal, kv_heads, biased):
    tensors, bias = random_inputs(*lengths, kv_heads, biased=biased)
    inputs = [*tensors, bias] if biased else tensors
    scoring = Scoring(distance_bias=bias, causal=causal)
    ours = ragged_attention(*tensors, *map(torch.tensor, lengths), scoring)
    theirs = sequence_by_sequence(*tensors, *lengths, scoring)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    for ours_grad, their_grad in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((theirs * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours_grad, their_grad)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_long_bfloat16_sequences(causal, biased, kv_heads):
    lengths = [70, 70, 130, 3]
    tensors, bias = random_inputs(lengths, lengths, kv_heads, dtype=torch.bfloat16, biased=biased)
    wide = [tensor.detach().double() for tensor in tensors]
    scoring = Scoring(causal=causal, distance_bias=bias.detach() if biased else None)
    exact = scoring._replace(distance_bias=bias.detach().double() if biased else None)
    expected = sequence_by_sequence(*wide, lengths, lengths, exact)
    with torch.no_grad():
        ours = ragged_attention(*tensors, torch.tensor(lengths), torch.tensor(lengths), scoring)
    # The yardstick is the rectangular twin, whose scores and probabilities are bfloat16 as well.
    plain = sequence_by_sequence(*tensors, lengths, lengths, scoring)
    error, plain_error = ((output.double() - expected).abs().max().item() for output in (ours, plain))
    assert error <= 2 * plain_error + 1e-5


def test_keys_may_be_absent():
    tensors, _ = random_inputs([2, 3], [0, 4])
    output = ragged_attention(*tensors, torch.tensor([2, 3]), torch.tensor([0, 4]))
    assert output[:2].abs().max() == 0 and output[2:].abs().min() > 0
    output.sum().backward()
    assert tensors[0].grad[:2].abs().max() == 0


def dropped_uniformly(query, value, scoring):
    return attend(query, query, value, Layout("uniform", shape=tuple(query.shape[:2])), scoring)[0]


def dropped_packed(query, value, scoring):
    layout = Layout.from_lengths([query.shape[1]] * query.shape[0])
    flat, flat_value = query.flatten(0, 1), value.flatten(0, 1)
    return attend(flat, flat, flat_value, layout, scoring)[0].view_as(value)


def dropped_rectangularly(query, value, scoring):
    layout = Layout.of(query.flatten(2), None, rectangular=True)
    output, probabilities = attend(query, query, value, layout, scoring)
    # The probabilities that are returned are those that the output was made of.
    torch.testing.assert_close(torch.einsum("bhqk,bkhd->bqhd", probabilities, value), output)
    return output


def dropped_under_a_mask(query, value, scoring):
    mask = torch.ones(query.shape[0], 1, query.shape[1], query.shape[1])
    return attend(query, query, value, Layout.of(query.flatten(2), mask), scoring)[0]


def dropped_over_a_cache(query, value, scoring, **form):
    cache, layout = Cache(), Layout.from_lengths([1] * len(query))
    step = CacheStep(cache, layout, query.device)
    step.write(0, query[:, 0], value[:, 0])
    step.commit()
    layout = Layout.of(query[:, 1:].flatten(2), None, **form)
    step = CacheStep(cache, layout, query.device)
    sides = query[:, 1:], query[:, 1:], value[:, 1:]
    return step.attend(0, *sides, scoring)[0]


def dropped_over_a_rectangular_cache(query, value, scoring):
    return dropped_over_a_cache(query, value, scoring, rectangular=True)


@pytest.mark.parametrize("softcap", [0.0, 5.0])
@pytest.mark.parametrize(
    "path",
    [
        dropped_uniformly, dropped_packed, dropped_rectangularly, dropped_under_a_mask, dropped_over_a_cache,
        dropped_over_a_rectangular_cache,
    ],
)  # fmt: skip
def test_dropout(path, softcap):
    torch.manual_seed(0)
    # Queries of 0 see all 32 keys alike: 32 times a probability of one value is 0, or 1 / (1 - dropout).
    query, value = torch.zeros(4, 32, HEADS, 32), torch.eye(32).repeat(4, HEADS, 1, 1).transpose(1, 2)
    dropped, seeds = Scoring(dropout=0.3, softcap=softcap), (1, 1, 2)
    one, same, other = (path(query, value, dropped) for seed in seeds if torch.manual_seed(seed))
    assert torch.equal(one, same) and not torch.equal(one, other)
    shares = (one * 32 * 0.7).unique()
    torch.testing.assert_close(shares, torch.tensor([0.0, 1.0]))
    assert abs((one == 0).float().mean().item() - 0.3) < 0.02
    assert torch.equal(path(query, value, dropped._replace(dropout=0.0)), torch.full_like(one, 1 / 32))


def disentangled(lengths, dtype=torch.float32):
    """A scoring with every term but dropout, for packed sequences of these lengths."""
    scoring, _ = scoring_of("disentangled everything", HEADS, len(lengths), *[max(lengths)] * 2, dtype=dtype)
    scoring = packed_rows(scoring, lengths, lengths)
    leaves = {name: getattr(scoring, name).detach().requires_grad_() for name in LEARNED}
    return scoring._replace(**leaves)


def test_operator_is_well_formed():
    tensors, _ = random_inputs([3, 3, 5], [3, 3, 5], dtype=torch.float32)
    lengths = torch.tensor([3, 3, 5])
    arguments = (*tensors, lengths, lengths, None, True, *disentangled([3, 3, 5]))
    torch.library.opcheck(torch.ops.oxiformers.ragged_attention.default, arguments)


@pytest.mark.parametrize(("query_length", "key_length"), [(1, 1), (4, 4), (2, 9), (1, 6)])
def test_distance_bias_matrix_is_the_bias_of_each_distance(query_length, key_length):
    table = torch.arange(3 * 7.0).view(3, 7)
    matrix = distance_bias_matrix(table, query_length, key_length)
    for row in range(query_length):
        for column in range(key_length):
            distance = column - (key_length - query_length + row)
            expected = table[:, max(-3, min(3, distance)) + 3]
            assert torch.equal(matrix[:, row, column], expected)


MASKS = {
    "right": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]],
    "left": [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]],
    "holes": [[1, 0, 1, 0, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
    "empty row": [[0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]],
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("causal", [False, True])
def test_packed_equals_rectangular(mask, causal):
    mask = torch.tensor(mask)
    torch.manual_seed(0)
    padded = [torch.randn(3, 5, heads, SIZE, dtype=torch.float64) for heads in (HEADS, 2, 2)]
    packed, rectangular = Layout.of(mask, mask), Layout.of(mask, mask, rectangular=True)
    assert (packed.form, rectangular.form) == ("packed", "rectangular")
    scoring = Scoring(causal=causal)
    ours = packed.unpack(attend(*map(packed.pack, padded), packed, scoring)[0])
    output, probabilities = attend(*padded, rectangular, scoring)
    torch.testing.assert_close(ours, rectangular.unpack(output))
    sums = probabilities.sum(-1)
    assert ((sums - 1).abs().lt(1e-9) | (sums == 0)).all()


def test_uniform_equals_rectangular():
    torch.manual_seed(0)
    padded = [torch.randn(2, 6, heads, SIZE, dtype=torch.float64) for heads in (HEADS, 1, 1)]
    table = torch.randn(HEADS, 5, dtype=torch.float64)
    ids = torch.ones(2, 6)
    for causal in (False, True):
        for bias in (None, table):
            scoring = Scoring(causal=causal, distance_bias=bias)
            uniform, _ = attend(*padded, Layout.of(ids, None), scoring)
            plain, _ = attend(*padded, Layout.of(ids, None, rectangular=True), scoring)
            torch.testing.assert_close(uniform, plain)


def test_cross_attention_packs_in_the_order_of_its_queries():
    torch.manual_seed(0)
    query_mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    key_mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    q, k, v = (torch.randn(3, n, HEADS, SIZE, dtype=torch.float64) for n in (4, 5, 5))
    plain = Layout.of(query_mask, query_mask, rectangular=True)
    expected = plain.unpack(
        attend(q, k, v, plain.attending_to(Layout.of(key_mask, key_mask, rectangular=True)))[0]
    )
    for queries in (Layout.of(query_mask, query_mask), Layout.of(query_mask, None)):
        keys = Layout.of(key_mask, key_mask, order=queries.order if queries.packed else torch.arange(3))
        output, _ = attend(queries.pack(q), keys.pack(k), keys.pack(v), queries.attending_to(keys))
        keep = query_mask.bool()
        torch.testing.assert_close(queries.unpack(output)[keep], expected[keep])


def test_layout_of_lengths():
    layout = Layout.from_lengths([2, 0, 3])
    assert layout.query.cu_seqlens.tolist() == [0, 2, 2, 5]
    assert layout.positions(torch.device("cpu")).tolist() == [0, 1, 0, 1, 2]
    tokens = torch.arange(1.0, 6.0).unsqueeze(-1)
    assert layout.first(tokens).flatten().tolist() == [1.0, 0.0, 3.0]
    assert layout.unpack(tokens) is tokens


def test_first_is_in_the_order_of_rows():
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
    tokens = torch.arange(12.0).view(4, 3, 1)
    layout = Layout.of(mask, mask)
    assert layout.first(layout.pack(tokens)).flatten().tolist() == [0.0, 3.0, 0.0, 9.0]


def test_masked_first_column_stays_rectangular_for_models_that_read_it():
    mask = torch.tensor([[0, 1], [1, 1]])
    assert Layout.of(mask, mask, first_column=True).form == "rectangular"
    assert Layout.of(mask, mask).form == "packed"
    assert Segments.from_mask(mask.bool()).lengths.tolist() == [1, 2]


def test_one_graph_serves_batches_of_differing_lengths():
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    @torch.compile(backend=backend, fullgraph=True, dynamic=True)
    def step(tokens, layout):
        return attend(tokens, tokens, tokens, layout, Scoring(causal=True))[0] * 2

    for lengths in ([3, 6], [2, 2, 9], [4, 4, 4, 4, 1]):
        tokens = torch.randn(sum(lengths), HEADS, SIZE)
        layout = Layout.from_lengths(lengths)
        expected = sequence_by_sequence(tokens, tokens, tokens, lengths, lengths, Scoring(causal=True))
        torch.testing.assert_close(step(tokens, layout), expected * 2)
    assert len(graphs) == 1


def test_one_graph_has_every_term_and_its_gradients():
    graphs = []

    def compiler(graph, _):
        graphs.append(graph)
        return make_boxed_func(graph.forward)

    def loss(query, key, value, layout, scoring):
        return attend(query, key, value, layout, scoring)[0].square().sum()

    step = torch.compile(loss, backend=aot_autograd(fw_compiler=compiler), fullgraph=True, dynamic=True)
    for lengths in ([4, 9], [2, 2, 10], [4, 4, 4, 4, 1]):
        tensors, _ = random_inputs(lengths, lengths, dtype=torch.float64)
        scoring = disentangled(lengths, torch.float64)
        inputs = [*tensors, *(getattr(scoring, name) for name in LEARNED)]
        layout = Layout.from_lengths(lengths)
        both = [function(*tensors, layout, scoring) for function in (step, loss)]
        ours, theirs = ([value, *torch.autograd.grad(value, inputs)] for value in both)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other)
    # A forward and a backward, for all three batches.
    assert len(graphs) == 2


def test_it_is_exported_for_any_lengths():
    class Attention(torch.nn.Module):
        def forward(self, query, lengths, content, position, bias, index):
            scoring = Scoring(
                window=(4, -1), bias=bias, content_to_position=content, position_to_content=position,
                position_index=index,
            )  # fmt: skip
            return ragged_attention(query, query, query, lengths, lengths, scoring)

    def arguments(lengths):
        scoring = disentangled(lengths)
        query = torch.randn(sum(lengths), HEADS, SIZE)
        products = (scoring.content_to_position.detach(), scoring.position_to_content.detach())
        return query, torch.tensor(lengths), *products, scoring.bias.detach(), scoring.position_index

    tokens, rows, longest = (torch.export.Dim(name, min=2, max=64) for name in ("tokens", "rows", "longest"))
    shapes = ({0: tokens}, {0: rows}, {0: tokens}, {0: tokens}, {0: rows, 2: longest, 3: longest}, None)
    program = torch.export.export(Attention(), arguments([3, 6]), dynamic_shapes=shapes)
    for lengths in ([3, 6], [2, 2, 9]):
        inputs = arguments(lengths)
        torch.testing.assert_close(program.module()(*inputs), Attention()(*inputs))


def test_scale_is_one_over_the_root_of_the_size():
    tensors, _ = random_inputs([4], [4])
    lengths = torch.tensor([4])
    plain = ragged_attention(*tensors, lengths, lengths)
    assert torch.equal(
        plain, ragged_attention(*tensors, lengths, lengths, Scoring(scale=1 / math.sqrt(SIZE)))
    )


def test_last_layer_computes_no_more_than_the_first_tokens():
    from oxiformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12
    )
    model = BertForSequenceClassification(config).eval()
    rows = []
    for layer in model.bert.encoder.layer:
        layer.output.register_forward_hook(lambda _, __, output: rows.append(output.shape[0]))
    ids, mask = torch.randint(0, 20, (3, 5)), torch.tensor([[1] * 5, [0] * 5, [1, 1, 0, 0, 0]])
    first_only = model(ids, mask).logits
    assert rows == [7, 3]
    everything = model(ids, mask, output_hidden_states=True).logits
    assert rows == [7, 3, 7, 7]
    torch.testing.assert_close(first_only, everything)
