"""What is RoBERTa's alone: positions that count tokens, its heads, its older checkpoints, what derives from it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file, save_file

from oxiformers import RobertaTokenizer, pipeline
from oxiformers.errors import ArgumentError, ConfigError
from oxiformers.layers.layout import Layout
from oxiformers.models.bert import BertModel
from oxiformers.models.roberta import (
    RobertaConfig,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
    RobertaPreTrainedModel,
)
from tests.models.contract.subjects import build, config_values, subject

#: Right padding, left padding, a hole, and padding in the middle that is not masked.
IDS = torch.tensor([[5, 6, 7, 1, 1], [1, 1, 8, 9, 3], [5, 1, 6, 1, 7], [2, 3, 1, 4, 5]])
MASK = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]])
POSITIONS = torch.tensor([[2, 3, 4, 1, 1], [1, 1, 2, 3, 4], [2, 1, 3, 1, 4], [2, 3, 1, 4, 5]])
LENGTHS = MASK.sum(1)


@contextmanager
def positions_of(model):
    """What the table of positions is asked for, a call each."""
    asked = []
    table = model.base_model.embeddings.position_embeddings
    hook = table.register_forward_pre_hook(lambda _, arguments: asked.append(arguments[0].tolist()))
    yield asked
    hook.remove()


def decoder():
    return build("RobertaForCausalLM", add_cross_attention=False)


# Positions


def test_a_padded_batch_is_packed_with_the_positions_it_had_padded():
    model = subject("RobertaForTokenClassification").roberta
    with positions_of(model) as asked:
        packed = model(IDS, MASK)[0]
        rectangular = model(IDS, MASK, output_attentions=True)[0]
        came_in_packed = model(IDS[MASK == 1], layout=Layout.from_lengths(LENGTHS))[0]
        named = model(IDS, MASK, position_ids=POSITIONS)[0]
    assert asked[0] == asked[2] == asked[3] == POSITIONS[MASK == 1].tolist()
    assert asked[1] == POSITIONS.tolist()
    torch.testing.assert_close(packed, rectangular)
    torch.testing.assert_close(came_in_packed, packed[MASK == 1])
    torch.testing.assert_close(named, packed)


def test_padding_on_either_side_changes_nothing():
    model = subject("RobertaModel")
    alone = [model(row[mask == 1].unsqueeze(0))[0][0] for row, mask in zip(IDS, MASK, strict=True)]
    for row, expected in enumerate(alone):
        torch.testing.assert_close(model(IDS, MASK)[0][row][MASK[row] == 1], expected)


def test_embeddings_count_in_sequence():
    model = subject("RobertaForTokenClassification").roberta
    words = model.get_input_embeddings()(IDS)
    with positions_of(model) as asked:
        model(inputs_embeds=words)
        model(inputs_embeds=words[MASK == 1], layout=Layout.from_lengths(LENGTHS))
        # Only ids tell what is padding; columns are counted here, as in transformers.
        model(attention_mask=MASK[1:2], inputs_embeds=words[1:2])
    assert asked[0] == [[2, 3, 4, 5, 6]] * 4
    assert asked[1] == [2, 3, 4, 2, 3, 4, 2, 3, 4, 2, 3, 4, 5, 6]
    assert asked[2] == [4, 5, 6]


@pytest.mark.parametrize("as_words", [False, True])
def test_positions_continue_after_a_cache(as_words):
    model = decoder()
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    words = model.get_input_embeddings()(ids)
    with positions_of(model) as asked, torch.inference_mode():
        past, logits = None, []
        for start, end in ((0, 3), (3, 4), (4, 6)):
            given = {"inputs_embeds": words[:, start:end]} if as_words else {"input_ids": ids[:, start:end]}
            output = model(**given, past_key_values=past, use_cache=True)
            past = output.past_key_values
            logits.append(output.logits)
    assert asked == [[[2, 3, 4]], [[5]], [[6, 7]]]
    torch.testing.assert_close(torch.cat(logits, 1), model(ids).logits)


def test_packed_sequences_continue_each_after_its_own_tokens():
    model = decoder()
    ids, more = torch.tensor([5, 6, 7, 8, 9]), torch.tensor([3, 4, 2])
    with positions_of(model) as asked, torch.inference_mode():
        past = model(ids, layout=Layout.from_lengths([3, 2]), use_cache=True).past_key_values
        logits = model(more, layout=Layout.from_lengths([1, 2]), past_key_values=past).logits
    assert asked == [[2, 3, 4, 2, 3], [5, 4, 5]]
    torch.testing.assert_close(logits[:1], model(torch.tensor([[5, 6, 7, 3]])).logits[0, 3:])
    torch.testing.assert_close(logits[1:], model(torch.tensor([[8, 9, 4, 2]])).logits[0, 2:])


def test_the_longest_sequence_is_shorter_than_the_table():
    model, longest = subject("RobertaModel"), torch.full((2, 14), 5)
    assert model.position_limit == 14
    assert model(longest)[0].shape == (2, 14, 24)
    # Columns of padding have no position.
    wide = torch.cat((longest, torch.ones(2, 6, dtype=torch.int64)), 1)
    expected = torch.cat((model(longest)[0], torch.zeros(2, 6, 24, dtype=torch.float64)), 1)
    torch.testing.assert_close(model(wide, (wide != 1).long())[0], expected)
    message = "a sequence of 15 tokens is longer than the 14 that max_position_embeddings allows"
    for arguments in (
        {"input_ids": torch.full((2, 15), 5)},
        {"input_ids": torch.full((20,), 5), "layout": Layout.from_lengths([5, 15])},
        {"inputs_embeds": torch.zeros(1, 15, 24, dtype=torch.float64)},
    ):
        with pytest.raises(ArgumentError, match=message) as caught:
            model(**arguments)
        assert caught.value.key == "max_position_embeddings"
    with torch.inference_mode():
        past = decoder()(longest, use_cache=True).past_key_values
        with pytest.raises(ArgumentError, match=message):
            decoder()(longest[:, :1], past_key_values=past)


def test_what_is_padding_is_what_the_model_was_built_with():
    model = build("RobertaModel", pad_token_id=3)
    model.config.pad_token_id = 5
    assert model.position_limit == 12
    with positions_of(model) as asked:
        model(torch.tensor([[5, 1, 3]]))
    assert asked == [[[4, 5, 3]]]
    for wrong in (None, -1, 15):
        with pytest.raises(ConfigError, match=r"pad_token_id: expected from 0 to 14, as positions begin"):
            build("RobertaModel", pad_token_id=wrong)


def test_the_embeddings_alone_count_tokens():
    embeddings = subject("RobertaModel").embeddings
    torch.testing.assert_close(embeddings(IDS), embeddings(IDS, position_ids=POSITIONS))
    after = torch.where(POSITIONS == 1, 1, POSITIONS + 4)
    torch.testing.assert_close(embeddings(IDS, past_key_values_length=4), embeddings(IDS, position_ids=after))
    assert (
        not RobertaModel(RobertaConfig(**config_values("RobertaModel")))
        .embeddings.position_embeddings.weight[1]
        .any()
    )


# Checkpoints


def test_loads_a_pretraining_checkpoint_as_it_was_published(tmp_path):
    """As roberta-base is stored: position ids, a pooler beside the head, its bias under one or two names."""
    model, pooled = build("RobertaForMaskedLM"), build("RobertaModel")
    stored = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    del stored["lm_head.decoder.weight"]
    stored |= {f"roberta.{name}": weight for name, weight in pooled.state_dict().items() if "pooler" in name}
    stored["roberta.embeddings.position_ids"] = torch.arange(16).unsqueeze(0)
    model.config.save_pretrained(tmp_path)
    for names in (["lm_head.bias", "lm_head.decoder.bias"], ["lm_head.bias"]):
        kept = {
            name: weight for name, weight in stored.items() if not name.endswith("r.bias") or name in names
            or "lm_head.decoder" not in name
        }  # fmt: skip
        save_file(kept, tmp_path / "model.safetensors")
        loaded, info = RobertaForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"]
        assert torch.equal(loaded(IDS, MASK).logits, model(IDS, MASK).logits)
        assert loaded.lm_head.decoder.bias is loaded.lm_head.bias
    base, info = RobertaModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert torch.equal(base.pooler.dense.weight, pooled.pooler.dense.weight)
    classifier, info = RobertaForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert sorted(info["missing_keys"]) == [
        f"classifier.{layer}.{kind}" for layer in ("dense", "out_proj") for kind in ("bias", "weight")
    ]
    assert classifier.roberta.pooler is None


def test_the_head_is_tied_unless_the_config_says_no(tmp_path):
    for tied in (True, False):
        model = build("RobertaForMaskedLM", tie_word_embeddings=tied)
        head = model.lm_head
        assert (head.decoder.weight is model.get_input_embeddings().weight) is tied
        assert head.decoder.bias is head.bias
        assert model.get_output_embeddings() is head.decoder
        model.save_pretrained(tmp_path / str(tied))
        stored = load_file(tmp_path / str(tied) / "model.safetensors")
        assert ("lm_head.decoder.weight" in stored) is not tied
        assert "lm_head.bias" in stored and "lm_head.decoder.bias" not in stored
        loaded = RobertaForMaskedLM.from_pretrained(tmp_path / str(tied))
        assert torch.equal(loaded(IDS, MASK).logits, model(IDS, MASK).logits)


def test_the_classifier_reads_the_first_token_alone():
    model = build("RobertaForSequenceClassification")
    hidden = model.roberta(IDS, MASK)[0]
    torch.testing.assert_close(model.classifier(hidden)[[0, 2, 3]], model(IDS, MASK).logits[[0, 2, 3]])
    assert torch.equal(model.classifier(hidden), model.classifier(hidden[:, 0]))


# With the rest


def test_a_derivative_says_what_it_is_called():
    @dataclass
    class OtherConfig(RobertaConfig):
        model_type = "other"

    class OtherPreTrainedModel(RobertaPreTrainedModel):
        config_class = OtherConfig

    class OtherModel(OtherPreTrainedModel, RobertaModel):
        pass

    class OtherForTokenClassification(OtherPreTrainedModel, RobertaForTokenClassification):
        model_class = OtherModel

    class OtherForCausalLM(OtherPreTrainedModel, RobertaForCausalLM):
        model_class = OtherModel

    for made, name in (
        (OtherForTokenClassification, "RobertaForTokenClassification"),
        (OtherForCausalLM, "RobertaForCausalLM"),
    ):
        model, expected = made(OtherConfig(**config_values(name))).eval(), subject(name)
        assert type(model.roberta) is OtherModel
        model.double().load_state_dict(expected.state_dict())
        assert torch.equal(model(IDS, MASK).logits, expected(IDS, MASK).logits)
    assert issubclass(OtherModel, BertModel)


def test_with_its_tokenizer(shared):
    """A pipeline truncates to what the model takes, and its batches give what single texts give."""
    tokenizer = RobertaTokenizer.from_pretrained(shared / "tokenizers" / "roberta-base")
    config = config_values("RobertaForSequenceClassification") | {
        "vocab_size": len(tokenizer),
        "type_vocab_size": 1,
    }
    torch.manual_seed(0)
    model = RobertaForSequenceClassification(RobertaConfig(**config)).eval()
    texts = ["A short one.", "Positions begin after the padding's and count on, text by text.", "Hi"]
    single = torch.stack([model(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts[::2]])
    for side in ("left", "right"):
        tokenizer.padding_side = side
        batch = tokenizer(texts, padding=True, truncation=True, max_length=14, return_tensors="pt")
        hidden = model.roberta(**batch).last_hidden_state
        first = batch["attention_mask"].argmax(1)
        logits = model.classifier(hidden[torch.arange(3), first])
        torch.testing.assert_close(logits[::2], single)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
    found = classify([texts[0], " ".join(texts * 9), texts[2]], truncation=True)
    expected = dict(zip(model.config.id2label.values(), single[0].softmax(-1).tolist(), strict=True))
    assert {row["label"]: row["score"] for row in found[0]} == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ArgumentError, match="at most 14 tokens"):
        classify(texts * 2 + [" ".join(texts * 9)])
