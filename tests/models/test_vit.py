"""ViT's images and masks: which it takes, which it refuses, and what tokens have to do with neither."""

from __future__ import annotations

import inspect

import pytest
import torch
from safetensors.torch import load_file, save_file

import oxiformers
from oxiformers.errors import ArgumentError, ConfigError, InputTypeError, UnsupportedError
from oxiformers.layers.layout import Layout
from oxiformers.layers.patches import PatchEmbeddings
from oxiformers.models.vit import (
    ViTConfig,
    ViTForImageClassification,
    ViTForMaskedImageModeling,
    ViTModel,
)


def tiny(**values):
    sizes = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
        "image_size": 12, "patch_size": 4, "encoder_stride": 4, "initializer_range": 0.3,
    }  # fmt: skip
    return ViTConfig(**sizes | values)


def make(model_class=ViTModel, **values):
    torch.manual_seed(0)
    return model_class(tiny(**values)).eval()


def images(height=12, width=12, channels=3):
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(height + width))


# Sizes


@pytest.mark.parametrize(
    ("pixels", "named"),
    [
        (None, "None"),
        (torch.zeros(3, 12, 12), "[batch, channels, height, width]"),
        (images(channels=1), "3 channels"),
        (images(16, 12), "12 x 12 pixels"),
        (torch.zeros(2, 2, 3, 12, 12), "[batch, channels, height, width]"),
    ],
)
def test_images_that_do_not_fit(pixels, named):
    with pytest.raises(ArgumentError) as caught:
        make()(pixels)
    assert caught.value.key == "pixel_values"
    assert named in str(caught.value)


def test_the_error_of_a_size_says_what_takes_it():
    with pytest.raises(ArgumentError, match="interpolate_pos_encoding=True"):
        make()(images(16, 16))
    with pytest.raises(ArgumentError, match="one patch"):
        make()(images(16, 3), interpolate_pos_encoding=True)
    with pytest.raises(InputTypeError, match="pixel_values"):
        make()([[1.0]])


@pytest.mark.parametrize(("height", "width"), [(20, 12), (8, 18), (36, 4)])
def test_images_of_any_sides(height, width):
    """Also where there are as many patches as the model's images have, and where pixels are left over."""
    model, pixels = make(), images(height, width)
    ours = model(pixels, interpolate_pos_encoding=True).last_hidden_state
    assert ours.shape == (2, 1 + (height // 4) * (width // 4), 24)
    trimmed = pixels[:, :, : height // 4 * 4, : width // 4 * 4]
    torch.testing.assert_close(ours, model(trimmed, interpolate_pos_encoding=True).last_hidden_state)


def test_of_its_own_size_nothing_is_interpolated():
    model, pixels = make(), images()
    assert torch.equal(model(pixels, interpolate_pos_encoding=True)[0], model(pixels)[0])


def test_sides_that_differ():
    model = make(image_size=[8, 16], patch_size=[4, 8])
    assert model.embeddings.patch_embeddings.grid == (2, 2)
    assert model.embeddings.patch_embeddings.projection.weight.shape == (24, 3, 4, 8)
    assert model(images(8, 16))[0].shape == (2, 5, 24)
    with pytest.raises(ArgumentError, match="8 x 16"):
        model(images(16, 8))
    # A table of positions along one side is linear along it: the interpolated one lies between its ends.
    table = model.embeddings.position_embeddings
    with torch.no_grad():
        table[:, 1:] = torch.tensor([0.0, 0.0, 1.0, 1.0])[:, None]
    finer = model.embeddings.positions((4, 2))[0, 1:, 0].view(4, 2)
    assert torch.equal(finer[:, 0], finer[:, 1])
    assert (finer[1:, 0] > finer[:-1, 0]).all()


def test_a_grid_that_is_no_square_is_reconstructed_as_it_is():
    model = make(ViTForMaskedImageModeling, image_size=[8, 16])
    mask = torch.tensor([[1, 0, 0, 0, 0, 0, 0, 1], [0] * 8]).bool()
    output = model(images(8, 16), mask)
    assert output.reconstruction.shape == (2, 3, 8, 16)
    difference = (output.reconstruction - images(8, 16)).abs()
    expected = torch.cat((difference[0, :, :4, :4], difference[0, :, 4:, 12:]), dim=1).mean()
    torch.testing.assert_close(output.loss, expected)


def test_masked_images_of_another_size():
    model = make(ViTForMaskedImageModeling)
    mask = torch.ones(2, 15, dtype=torch.int64)
    output = model(images(20, 12), mask, interpolate_pos_encoding=True)
    torch.testing.assert_close(output.loss, (output.reconstruction - images(20, 12)).abs().mean())


def test_pixels_are_taken_in_any_dtype():
    model = make()
    assert torch.equal(model(images().double())[0], model(images())[0])
    assert model.bfloat16()(images())[0].dtype == torch.bfloat16


# Masks


def test_masks_that_do_not_fit():
    masked, mask = make(ViTForMaskedImageModeling), torch.ones(2, 9, dtype=torch.bool)
    for wrong in (mask[:, :4], mask[:1], mask.view(2, 3, 3)):
        with pytest.raises(ArgumentError, match=r"bool_masked_pos: expected shape \(2, 9\)"):
            masked(images(), wrong)
    with pytest.raises(ArgumentError, match="no mask token"):
        make()(images(), mask)
    with pytest.raises(ArgumentError, match="no mask token"):
        make(ViTForImageClassification)(images(), bool_masked_pos=mask)
    with pytest.raises(ArgumentError, match="encoder_stride"):
        make(ViTForMaskedImageModeling, encoder_stride=2)(images(), mask)
    assert make(ViTForMaskedImageModeling, encoder_stride=2)(images()).reconstruction.shape == (2, 3, 6, 6)


def test_what_is_masked_is_not_read():
    torch.manual_seed(0)
    model = ViTModel(tiny(), use_mask_token=True).eval()
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[:, 0] = True
    other = images()
    other[:, :, :4, :4] = torch.nan
    assert torch.equal(model(images(), mask)[0], model(other, mask)[0])


def test_what_images_do_not_have():
    for name, value in (
        ("attention_mask", torch.ones(2, 9)),
        ("layout", Layout.from_lengths([10, 10])),
        ("input_ids", torch.ones(2, 9)),
    ):
        with pytest.raises(InputTypeError, match=name):
            make()(images(), **{name: value})
        with pytest.raises(InputTypeError, match=name):
            make(ViTForImageClassification)(images(), **{name: value})


def test_head_masks():
    model, classifier = make(), make(ViTForImageClassification)
    none = torch.zeros(2, 4)
    assert not torch.equal(model(images(), None, none)[0], model(images())[0])
    assert not torch.equal(classifier(images(), none)[0], classifier(images())[0])
    with pytest.raises(ArgumentError, match="head_mask"):
        model(images(), head_mask=torch.ones(3, 4))


# Heads


def test_arguments_are_in_the_order_of_transformers():
    names = ["self", "pixel_values", "bool_masked_pos", "head_mask", "interpolate_pos_encoding", "options"]
    assert list(inspect.signature(ViTModel.forward).parameters) == names
    assert list(inspect.signature(ViTForMaskedImageModeling.forward).parameters) == names
    names = ["self", "pixel_values", "head_mask", "labels", "interpolate_pos_encoding", "options"]
    assert list(inspect.signature(ViTForImageClassification.forward).parameters) == names
    labels = torch.tensor([0, 1])
    model = make(ViTForImageClassification)
    assert torch.equal(model(images(), None, labels).loss, model(images(), labels=labels).loss)
    with pytest.raises(InputTypeError):
        model(images(), None, labels, True, None)


def test_without_labels_the_first_token_comes_out():
    model = make(ViTForImageClassification, num_labels=0)
    assert torch.equal(model(images()).logits, model.vit(images()).last_hidden_state[:, 0])


def test_another_heads_checkpoint_is_read(tmp_path):
    """A mask token and a pooler are in the checkpoints of some heads alone."""
    make(ViTForMaskedImageModeling).save_pretrained(tmp_path)
    model, info = oxiformers.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(model) is ViTModel
    assert sorted(info["unexpected_keys"]) == [
        "decoder.0.bias",
        "decoder.0.weight",
        "vit.embeddings.mask_token",
    ]
    assert sorted(info["missing_keys"]) == ["pooler.dense.bias", "pooler.dense.weight"]
    model.save_pretrained(tmp_path)
    auto = oxiformers.AutoModelForMaskedImageModeling
    masked, info = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert sorted(info["missing_keys"]) == ["decoder.0.bias", "decoder.0.weight", "vit.embeddings.mask_token"]
    assert not masked.vit.embeddings.mask_token.any()
    weights = load_file(tmp_path / "model.safetensors")
    del weights["embeddings.cls_token"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(oxiformers.errors.WeightsError, match="cls_token"):
        oxiformers.AutoModelForImageClassification.from_pretrained(tmp_path)


def test_its_embedding_is_of_patches():
    for model_class in (ViTModel, ViTForImageClassification):
        model = make(model_class)
        assert type(model.get_input_embeddings()) is PatchEmbeddings
        assert model.get_output_embeddings() is None
        with pytest.raises(UnsupportedError, match="no embedding of tokens"):
            model.resize_token_embeddings(10)
    other = PatchEmbeddings(12, 6, 3, 24)
    model = make()
    model.set_input_embeddings(other)
    assert model.embeddings.patch_embeddings is other


# The config


def test_the_poolers_size_follows_from_the_hidden_size():
    assert ViTConfig().pooler_output_size == 768
    assert tiny(pooler_output_size=0).pooler_output_size == 24
    assert tiny(pooler_output_size=7).pooler_output_size == 7


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"hidden_size": 30}, "hidden_size"),
        ({"hidden_act": "none"}, "hidden_act"),
        ({"pooler_act": "none"}, "pooler_act"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": [12, 12, 12]}, "image_size"),
        ({"patch_size": [4]}, "patch_size"),
        ({"patch_size": [4, 0]}, "patch_size"),
        ({"patch_size": [4, 13]}, "patch_size"),
        ({"num_channels": 0}, "num_channels"),
    ],
)
def test_values_that_will_not_do(values, key):
    with pytest.raises(ConfigError) as caught:
        ViTModel(tiny(**values))
    assert caught.value.key == key


def test_values_of_a_wrong_type():
    with pytest.raises(ConfigError, match="image_size: expected an integer or an array of"):
        tiny(image_size="12")


def test_it_is_no_decoder():
    with pytest.raises(UnsupportedError, match="is_decoder"):
        ViTModel(tiny(is_decoder=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_drawn_in_every_dtype(dtype):
    torch.manual_seed(0)
    model = ViTModel.from_config(tiny(hidden_size=64, initializer_range=3.0), dtype=dtype)
    for weight in (model.embeddings.position_embeddings, model.encoder.layer[0].intermediate.dense.weight):
        assert weight.dtype == dtype
        assert 1 < weight.float().std() < 2
        assert weight.abs().max() <= 2
