"""What is particular to encoders of text and their heads."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from oxiformers.errors import ArgumentError, ConfigError, UnsupportedError
from oxiformers.layers import context
from oxiformers.layers.embedding import interleaved_sinusoids
from oxiformers.layers.layout import Layout
from oxiformers.models.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from oxiformers.models.distilbert import DistilBertConfig, DistilBertModel
from tests.models.contract.subjects import build, config_values, subject

IDS = torch.tensor([[2, 5, 7, 9], [3, 4, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
BERTS = ["BertModel", "DistilBertModel"]


def test_bert_has_absolute_positions():
    with pytest.raises(UnsupportedError, match="position_embedding_type: expected 'absolute'") as caught:
        build("BertModel", position_embedding_type="relative_key_query")
    assert caught.value.key == "position_embedding_type"


def test_sizes_that_contradict_each_other():
    with pytest.raises(ConfigError, match="hidden_size: expected a multiple of num_attention_heads"):
        BertModel(BertConfig(hidden_size=30, num_attention_heads=4))
    with pytest.raises(ConfigError, match=r"hidden_act: .*gelu"):
        BertModel(BertConfig(hidden_act="gelu_newer"))
    with pytest.raises(ConfigError, match=r"activation: .*gelu"):
        DistilBertModel(DistilBertConfig(activation="gelu_newer"))
    with pytest.raises(ConfigError, match="num_labels: expected 2 for question answering"):
        build("DistilBertForQuestionAnswering", num_labels=3)


@pytest.mark.parametrize("name", BERTS)
def test_ids_or_embeddings_but_not_both(name):
    model = subject(name)
    embeddings = model.get_input_embeddings()(IDS)
    with pytest.raises(ArgumentError, match="exactly one of input_ids and inputs_embeds"):
        model()
    with pytest.raises(ArgumentError, match="exactly one of input_ids and inputs_embeds"):
        model(IDS, inputs_embeds=embeddings)
    torch.testing.assert_close(model(inputs_embeds=embeddings)[0], model(IDS)[0])


@pytest.mark.parametrize("name", BERTS)
def test_a_sequence_that_is_too_long(name):
    model, ids = subject(name), torch.ones(2, 17, dtype=torch.long)
    for arguments in (
        {"input_ids": ids},
        {"input_ids": ids, "attention_mask": torch.ones(2, 17).tril(15)},
        {"input_ids": ids.flatten(), "layout": Layout.from_lengths([16, 18])},
    ):
        with pytest.raises(
            ArgumentError, match=r"(17|18) tokens is longer than the 16 that max_position_embeddings allows"
        ):
            model(**arguments)
    positions = torch.arange(17).clamp(max=15).unsqueeze(0)
    assert model(ids, position_ids=positions)[0].shape == (2, 17, 24)


def test_an_id_outside_the_vocabulary():
    with pytest.raises(ArgumentError, match="input_ids: 61 is outside of 0 to 60"):
        subject("BertModel")(torch.tensor([[61]]))


def test_a_layout_that_does_not_fit():
    model, layout = subject("BertModel"), Layout.from_lengths([3, 2])
    with pytest.raises(ArgumentError, match=r"tokens of shape \(5,\) as the layout has, got \(4,\)"):
        model(torch.arange(4), layout=layout)
    with pytest.raises(ArgumentError, match="the layout says which tokens"):
        model(torch.arange(5), torch.ones(5), layout=layout)
    with pytest.raises(ArgumentError, match="no matrix of attention weights"):
        model(torch.arange(5), layout=layout, output_attentions=True)
    with pytest.raises(ArgumentError, match=r"expected shape \(2, 4\)"):
        model(IDS, torch.ones(2, 5))


def test_head_mask_switches_heads_off():
    model = subject("BertModel")
    everything = model(IDS, MASK, head_mask=torch.ones(4))[0]
    torch.testing.assert_close(everything, model(IDS, MASK)[0])
    mask = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]])
    output = model(IDS, MASK, head_mask=mask, output_attentions=True)
    for weights, layer in zip(output.attentions, mask, strict=True):
        assert torch.equal(weights.abs().sum((0, 2, 3)) > 0, layer > 0)
    torch.testing.assert_close(output[0], model(IDS, MASK, head_mask=mask)[0])
    with pytest.raises(ArgumentError, match=r"head_mask: expected \[heads\] or \[2, heads\]"):
        model(IDS, head_mask=torch.ones(3, 4))


@pytest.mark.parametrize("attention", [None, "eager"])
def test_labels_under_the_mask_are_ignored_with_one_warning(attention, caplog):
    context.warn_of_masked_labels.cache_clear()
    model = build("BertForTokenClassification", attn_implementation=attention)
    labels = torch.tensor([[0, 1, 2, -100], [1, 0, 2, 2]])
    with caplog.at_level(logging.WARNING, logger="oxiformers"):
        expected = model(IDS, MASK, labels=labels.masked_fill(MASK == 0, -100)).loss
        assert not caplog.records
        for _ in range(2):
            assert torch.equal(model(IDS, MASK, labels=labels).loss, expected)
    assert [record.message for record in caplog.records] == [
        "labels at padding are ignored: the attention mask hides their tokens"
    ]


@pytest.mark.parametrize(
    ("count", "labels", "problem_type"),
    [
        (1, torch.tensor([0.5, 2.0]), "regression"),
        (3, torch.tensor([0, 2]), "single_label_classification"),
        (3, torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]), "multi_label_classification"),
    ],
)
def test_the_kind_of_problem_is_taken_from_the_labels(count, labels, problem_type):
    model = build("DistilBertForSequenceClassification", num_labels=count)
    output = model(IDS, MASK, labels=labels)
    assert model.config.problem_type == problem_type
    expected = {
        "regression": lambda logits: F.mse_loss(logits.squeeze(-1), labels),
        "single_label_classification": lambda logits: F.cross_entropy(logits, labels),
        "multi_label_classification": lambda logits: F.binary_cross_entropy_with_logits(logits, labels),
    }[problem_type](output.logits)
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("attention", [None, "eager"])
def test_spans_at_padding_are_left_out(attention):
    model = build("BertForQuestionAnswering", attn_implementation=attention)
    output = model(IDS, MASK, start_positions=torch.tensor([1, 3]), end_positions=torch.tensor([-1, 1]))
    start = -output.start_logits[0].log_softmax(0)[1]
    end = (-output.end_logits[0].log_softmax(0)[0] - output.end_logits[1, :2].log_softmax(0)[1]) / 2
    torch.testing.assert_close(output.loss, (start + end) / 2)
    assert not output.start_logits[1, 2:].any()


def test_a_row_without_tokens_gives_zeros():
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]])
    output = subject("BertModel")(IDS, mask)
    assert not output.last_hidden_state[1].any()
    assert output.pooler_output.isfinite().all()
    torch.testing.assert_close(output.last_hidden_state[:1], subject("BertModel")(IDS[:1])[0])


def test_without_a_pooler():
    model = BertModel(BertConfig(**config_values("BertModel")), add_pooling_layer=False)
    output = model(IDS)
    assert list(output.keys()) == ["last_hidden_state"]
    assert not any("pooler" in name for name in model.state_dict())


def test_sinusoidal_positions():
    config = DistilBertConfig(**config_values("DistilBertModel"), sinusoidal_pos_embds=True)
    table = DistilBertModel(config).embeddings.position_embeddings.weight
    torch.testing.assert_close(table, interleaved_sinusoids(16, 24).float())
    assert table[0].tolist() == [0.0, 1.0] * 12
    torch.testing.assert_close(table[3, 4], torch.tensor(3 / 10000 ** (4 / 24)).sin())
    assert interleaved_sinusoids(3, 5).shape == (3, 5)


def test_output_words_are_tied_unless_the_config_says_no(tmp_path):
    for tied in (True, False):
        model = build("BertForMaskedLM", tie_word_embeddings=tied)
        decoder = model.get_output_embeddings()
        assert (decoder.weight is model.bert.embeddings.word_embeddings.weight) is tied
        assert decoder.bias is model.cls["predictions"].bias
        model.save_pretrained(tmp_path / str(tied))
        stored = load_file(tmp_path / str(tied) / "model.safetensors")
        assert ("cls.predictions.decoder.weight" in stored) is not tied
        loaded = BertForMaskedLM.from_pretrained(tmp_path / str(tied))
        assert torch.equal(loaded(IDS).logits, model(IDS).logits)


def test_loads_a_pretraining_checkpoint_with_old_names(tmp_path):
    """As bert-base-uncased is stored: gamma and beta, both heads, the position ids."""
    model, pooled = build("BertForMaskedLM"), build("BertForSequenceClassification")
    stored = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    stored |= {name: tensor for name, tensor in pooled.state_dict().items() if "pooler" in name}
    stored = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in stored.items()
    }
    del stored["cls.predictions.decoder.bias"]
    stored["cls.seq_relationship.weight"], stored["cls.seq_relationship.bias"] = (
        torch.ones(2, 24),
        torch.ones(2),
    )
    stored["bert.embeddings.position_ids"] = torch.arange(16).unsqueeze(0)
    model.config.save_pretrained(tmp_path)
    save_file(stored, tmp_path / "model.safetensors")
    assert torch.equal(BertForMaskedLM.from_pretrained(tmp_path)(IDS).logits, model(IDS).logits)
    encoder, info = BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    torch.testing.assert_close(encoder(IDS)[0], model.bert(IDS)[0])
    torch.testing.assert_close(encoder(IDS).pooler_output, encoder.pooler(model.bert(IDS)[0][:, 0]))
    classifier, info = BertForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert sorted(info["missing_keys"]) == ["classifier.bias", "classifier.weight"]
    assert torch.equal(classifier.bert.pooler.dense.weight, pooled.bert.pooler.dense.weight)


def test_positions_of_one_row_serve_all():
    positions = torch.tensor([[3, 2, 1, 0]])
    for mask in (None, MASK):
        each = subject("BertModel")(IDS, mask, position_ids=positions.expand(2, 4))[0]
        assert torch.equal(subject("BertModel")(IDS, mask, position_ids=positions)[0], each)


def test_padded_batches_trace_and_export():
    """A traced graph does not know the mask: it keeps the batch rectangular, and its results are the same."""
    torch.compiler.reset()
    model = build("BertForSequenceClassification")
    expected = model(IDS, MASK).logits
    traced = torch.compile(model, backend="eager", fullgraph=True, dynamic=True)
    torch.testing.assert_close(traced(IDS, MASK).logits, expected)
    exported = torch.export.export(model, (IDS, MASK)).module()
    torch.testing.assert_close(exported(IDS, MASK).logits, expected)
