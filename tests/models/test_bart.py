"""What BART does that no other architecture does: offset positions, its bias of logits, its decoder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from oxiformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BartForCausalLM,
    BartForConditionalGeneration,
    BartForQuestionAnswering,
    BartForSequenceClassification,
    BartModel,
)
from oxiformers.errors import ArgumentError, ConfigError, WeightsError
from oxiformers.layers.layout import Layout

SIZES: dict[str, Any] = {
    "vocab_size": 40, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 16,
}  # fmt: skip


def config(**changes: Any) -> BartConfig:
    return BartConfig(**SIZES | {"dropout": 0.0, "init_std": 0.3} | changes)


def made(cls: Any, **changes: Any) -> Any:
    torch.manual_seed(1)
    return cls(config(**changes)).eval()


IDS = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 9, 2, 1]])
MASK = (IDS != 1).long()


def test_three_labels_unless_the_config_says() -> None:
    assert BartConfig().num_labels == 3
    assert BartConfig(num_labels=2).num_labels == 2
    assert BartConfig(id2label={0: "a"}).num_labels == 1
    assert "id2label" not in BartConfig().to_diff_dict()
    assert BartForSequenceClassification(config()).classification_head.out_proj.out_features == 3


def test_the_old_key_for_a_forced_first_token() -> None:
    assert BartConfig(force_bos_token_to_be_generated=True).forced_bos_token_id == 0
    assert BartConfig(force_bos_token_to_be_generated=False).forced_bos_token_id is None


def test_other_names_of_sizes() -> None:
    made_by_alias = BartConfig(hidden_size=32, num_attention_heads=2)
    assert (made_by_alias.d_model, made_by_alias.encoder_attention_heads) == (32, 2)
    assert made_by_alias.num_hidden_layers == made_by_alias.encoder_layers == 12


@pytest.mark.parametrize("key", ["encoder_attention_heads", "decoder_attention_heads"])
def test_heads_that_do_not_divide(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        BartModel(config(**{key: 3}))


def test_position_0_is_in_row_2() -> None:
    model = made(BartModel)
    table = model.encoder.embed_positions
    assert table.weight.shape[0] == 16 + 2
    assert torch.equal(table(IDS)[0], table.weight[2:7])
    assert torch.equal(table(IDS, 3)[1], table.weight[5:10])


def test_as_many_tokens_as_there_are_positions() -> None:
    model = made(BartModel)
    model(torch.full((1, 16), 5))
    with pytest.raises(ArgumentError, match="a sequence of 17 tokens is longer than the 16"):
        model(torch.full((1, 17), 5))


def test_what_the_decoder_reads_where_it_is_given_nothing() -> None:
    model = made(BartModel)
    shifted = torch.cat((torch.full((2, 1), 2), IDS[:, :-1]), 1)
    assert torch.equal(model(IDS)[0], model(IDS, decoder_input_ids=shifted)[0])
    head = made(BartForConditionalGeneration)
    labels = IDS.masked_fill(IDS == 1, -100)
    by_labels = head(IDS, labels=labels)
    assert torch.equal(by_labels.logits, head(IDS, decoder_input_ids=shifted).logits)
    with pytest.raises(ArgumentError, match="decoder_input_ids"):
        model(inputs_embeds=torch.randn(2, 5, 16))


def test_packed_in_equals_padded() -> None:
    for cls in (BartModel, BartForConditionalGeneration):
        model = made(cls)
        padded = model(IDS, attention_mask=MASK)[0]
        packed = model(torch.cat((IDS[0], IDS[1, :4])), layout=Layout.from_lengths(torch.tensor([5, 4])))[0]
        torch.testing.assert_close(packed, torch.cat((padded[0], padded[1, :4])), rtol=1e-4, atol=1e-5)


def test_layerdrop_leaves_layers_out_in_training_only() -> None:
    model = made(BartModel, encoder_layerdrop=1.0, decoder_layerdrop=1.0)
    plain = made(BartModel)
    assert torch.equal(model(IDS)[0], plain(IDS)[0])
    output = model.train()(IDS, output_hidden_states=True)
    for states in (output.encoder_hidden_states, output.decoder_hidden_states):
        assert len(states) == 3
        assert torch.equal(states[0], states[-1])


def test_the_bias_of_logits(tmp_path: Path) -> None:
    model = made(BartForConditionalGeneration)
    before = model(IDS).logits
    model.final_logits_bias[0, 3] = 2.0
    after = model(IDS).logits
    torch.testing.assert_close(after[..., 3], before[..., 3] + 2)
    model.resize_token_embeddings(44)
    assert model.final_logits_bias.shape == (1, 44)
    assert model.final_logits_bias[0, 3] == 2
    assert not model.final_logits_bias[0, 40:].any()
    model.save_pretrained(tmp_path)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert torch.equal(again.final_logits_bias, model.final_logits_bias)
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    model.resize_token_embeddings(30)
    assert model.final_logits_bias.shape == (1, 30)


def test_a_checkpoint_without_the_bias(tmp_path: Path) -> None:
    """As those of 2019 are: zeros then, without a word of new weights."""
    model = made(BartForConditionalGeneration)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["final_logits_bias"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again = BartForConditionalGeneration.from_pretrained(tmp_path)
    assert not again.final_logits_bias.any()
    assert torch.equal(again(IDS).logits, model(IDS).logits)


def test_one_weight_for_all_embeddings(tmp_path: Path) -> None:
    model = made(BartForConditionalGeneration)
    weights = (
        model.model.shared,
        model.model.encoder.embed_tokens,
        model.model.decoder.embed_tokens,
        model.lm_head,
    )
    assert len({id(layer.weight) for layer in weights}) == 1
    model.save_pretrained(tmp_path)
    embeddings = [name for name in load_file(tmp_path / "model.safetensors") if is_embedding(name)]
    assert embeddings == ["model.shared.weight"]


def is_embedding(name: str) -> bool:
    return name.endswith(("shared.weight", "embed_tokens.weight", "lm_head.weight"))


def test_the_decoder_of_a_whole_checkpoint(tmp_path: Path) -> None:
    whole = made(BartForConditionalGeneration)
    whole.save_pretrained(tmp_path)
    decoder = BartForCausalLM.from_pretrained(tmp_path)
    assert decoder.config.is_decoder
    assert not decoder.config.is_encoder_decoder
    assert AutoConfig.from_pretrained(tmp_path).is_encoder_decoder
    assert torch.equal(decoder.model.decoder.embed_tokens.weight, whole.model.shared.weight)
    hidden = whole.model.encoder(IDS)[0]
    read = decoder(IDS, encoder_hidden_states=hidden)
    expected = whole(encoder_outputs=(hidden,), decoder_input_ids=IDS)
    torch.testing.assert_close(read.logits, expected.logits)
    decoder.save_pretrained(tmp_path / "decoder")
    alone = BartForCausalLM.from_pretrained(tmp_path / "decoder")
    assert torch.equal(alone(IDS).logits, decoder(IDS).logits)
    with pytest.raises(WeightsError, match="encoder"):
        BartForConditionalGeneration.from_pretrained(tmp_path / "decoder")


def test_labels_of_the_decoder_alone_are_not_shifted() -> None:
    model = made(BartForCausalLM)
    output = model(IDS, labels=IDS)
    expected = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), IDS.flatten())
    torch.testing.assert_close(output.loss, expected)


def test_sequences_are_classified_at_their_last_end() -> None:
    model = made(BartForSequenceClassification)
    two_ends = torch.tensor([[0, 2, 5, 2, 1], [0, 2, 6, 7, 2]])
    mask = (two_ends != 1).long()
    hidden = model.model(two_ends, attention_mask=mask)[0]
    expected = model.classification_head(torch.stack((hidden[0, 3], hidden[1, 4])))
    torch.testing.assert_close(model(two_ends, attention_mask=mask).logits, expected)
    for ids in ([[0, 2, 5, 2, 1], [0, 5, 6, 7, 2]], [[0, 5, 6, 7, 8]]):
        with pytest.raises(ValueError, match="All examples must have the same number of <eos> tokens"):
            model(torch.tensor(ids))
    with pytest.raises(ArgumentError, match="embeddings do not show"):
        model(inputs_embeds=torch.randn(1, 4, 16), decoder_input_ids=torch.tensor([[2, 0, 5, 2]]))


def test_answers_are_not_in_the_padding() -> None:
    model = made(BartForQuestionAnswering, num_labels=5)
    start, end = torch.tensor([1, 2]), torch.tensor([2, 3])
    padded = model(IDS, attention_mask=MASK, start_positions=start, end_positions=end)
    packed = model(
        torch.cat((IDS[0], IDS[1, :4])),
        layout=Layout.from_lengths(torch.tensor([5, 4])),
        start_positions=start,
        end_positions=end,
    )
    torch.testing.assert_close(padded.loss, packed.loss)


def test_cached_decoding_equals_the_whole() -> None:
    model = made(BartForConditionalGeneration)
    target = torch.tensor([[2, 0, 5, 6], [2, 0, 8, 9]])
    whole = model(IDS, attention_mask=MASK, decoder_input_ids=target).logits
    cache, encoded = None, model.get_encoder()(IDS, attention_mask=MASK)
    for index in range(4):
        output = model(
            attention_mask=MASK,
            encoder_outputs=encoded,
            decoder_input_ids=target[:, index : index + 1],
            past_key_values=cache,
            use_cache=True,
        )
        cache = output.past_key_values
        torch.testing.assert_close(output.logits[:, 0], whole[:, index], rtol=1e-4, atol=1e-5)
