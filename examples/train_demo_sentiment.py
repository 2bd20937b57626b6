"""Trains the sentiment model that ships with oxiformers: a small BERT, from nothing, on SST-2.

    python examples/train_demo_sentiment.py ../shared/datasets/sst2 python/oxiformers/data/demo-sentiment

The folder of data holds train.tsv, dev.tsv and test.tsv with a header and `sentence<TAB>label`. Train
and dev are phrases, most of them parts of one another, so that a random held-out set would be half
memorised. `--hold-out 0.1` therefore trains without a tenth of the full sentences and without every
phrase that shares five words with one of them, prints the accuracy on these sentences after each epoch,
and writes nothing: so the settings below were chosen. Without it all phrases are trained on, the model
is written, and test.tsv is read, once.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from oxiformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LABELS = ["NEGATIVE", "POSITIVE"]
MAX_LENGTH = 128
SHARED_WORDS = 5

Example = tuple[str, int]


def read(path: Path) -> list[Example]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [(sentence.strip(), int(label)) for sentence, label in rows]


def spans(sentence: str, shortest: int) -> set[str]:
    """Every run of at least `shortest` words of a sentence."""
    words = sentence.split()
    return {
        " ".join(words[start:stop])
        for start in range(len(words))
        for stop in range(start + shortest, len(words) + 1)
    }


def hold_out(examples: list[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Training phrases, and a share of the full sentences, none of which shares a run of words with them."""
    if not share:
        return examples, []
    covered: set[str] = set()
    full = []
    for sentence, label in sorted(examples, key=lambda example: -len(example[0])):
        if sentence not in covered:
            covered |= spans(sentence, 1)
            if len(sentence.split()) >= SHARED_WORDS:
                full.append((sentence, label))
    random.Random(0).shuffle(full)
    held = full[: int(len(full) * share)]
    taboo = set().union(*(spans(sentence, SHARED_WORDS) for sentence, _ in held))
    kept = [example for example in examples if not spans(example[0], SHARED_WORDS) & taboo]
    return kept, held


def write_tokenizer(folder: Path, texts: list[str], vocab_size: int) -> None:
    """A lower-casing WordPiece vocabulary of `texts`, as tokenizer files in `folder`."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    lines = sorted(vocabulary, key=vocabulary.__getitem__)
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": MAX_LENGTH}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def batches(
    ids: list[list[int]], labels: list[int], size: int, shuffle: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Padded ids [B, S] and labels [B], sentences of like length together."""
    order = list(range(len(ids)))
    if shuffle:
        random.shuffle(order)
    # Sorting within pools of 50 batches keeps an epoch random, and a batch of one length.
    pools = [order[start : start + 50 * size] for start in range(0, len(order), 50 * size)]
    groups = []
    for pool in pools:
        pool.sort(key=lambda index: len(ids[index]))
        groups += [pool[start : start + size] for start in range(0, len(pool), size)]
    if shuffle:
        random.shuffle(groups)
    for group in groups:
        rows = [torch.tensor(ids[index]) for index in group]
        yield (
            nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0),
            torch.tensor([labels[index] for index in group]),
        )


@torch.inference_mode()
def accuracy(model: nn.Module, ids: list[list[int]], labels: list[int]) -> float:
    model.eval()
    right = 0
    for batch, expected in batches(ids, labels, 256, shuffle=False):
        logits = model(input_ids=batch, attention_mask=(batch != 0).long()).logits
        right += int((logits.argmax(-1) == expected).sum())
    return right / len(labels)


def drop_words(ids: Tensor, share: float) -> Tensor:
    """Replaces a share of the words by [MASK] or [UNK], so that no single word decides."""
    dropped = (torch.rand(ids.shape) < share) & (ids >= len(SPECIAL_TOKENS))
    replacement = torch.where(
        torch.rand(ids.shape) < 0.5, SPECIAL_TOKENS.index("[MASK]"), SPECIAL_TOKENS.index("[UNK]")
    )
    return torch.where(dropped, replacement, ids)


def train(
    model: PreTrainedModel, ids: list[list[int]], labels: list[int], options: argparse.Namespace
) -> Iterator[PreTrainedModel]:
    """Yields, after each epoch, the running average of the weights."""
    decayed = [weight for weight in model.parameters() if weight.dim() > 1]
    plain = [weight for weight in model.parameters() if weight.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], betas=(0.9, 0.98)
    )
    steps, step = options.epochs * math.ceil(len(ids) / options.batch_size), 0
    average = copy.deepcopy(model)
    for _ in range(options.epochs):
        model.train()
        for batch, expected in batches(ids, labels, options.batch_size, shuffle=True):
            warm, cosine = min(1.0, (step + 1) / 300), (1 + math.cos(math.pi * step / steps)) / 2
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * warm * cosine
            logits = model(
                input_ids=drop_words(batch, options.word_dropout), attention_mask=(batch != 0).long()
            ).logits
            loss = nn.functional.cross_entropy(logits, expected, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            with torch.no_grad():
                weight = 1 - min(0.998, (1 + step) / (10 + step))
                for running, current in zip(average.parameters(), model.parameters(), strict=True):
                    running.lerp_(current, weight)
        yield average


CARD = """\
---
license: apache-2.0
language: en
pipeline_tag: text-classification
---
# demo-sentiment

A small English sentiment classifier that ships with oxiformers, so that a first example needs no
download. It says POSITIVE or NEGATIVE of a sentence about a film; it is a demonstration, not a model to
build on.

| | |
|---|---|
| architecture | BERT, {layers} layers, hidden size {hidden}, {parameters:,} parameters in float32 |
| vocabulary | {vocab:,} WordPieces, lower-cased, built from the training phrases |
| data | {train:,} phrases of SST-2 (Stanford Sentiment Treebank, two classes), from random weights |
| accuracy | **{test:.1%}** on the {test_size} sentences of its test file, read once, after training |
| settings | chosen on full sentences held out of the training data with all their phrases |

Made by `examples/train_demo_sentiment.py` with oxiformers itself, seed {seed}, {epochs} epochs, on a CPU.
It knows the language of film reviews. Sentences of other kinds, irony and neutral sentences it often
labels wrongly.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of train.tsv, dev.tsv and test.tsv")
    parser.add_argument("output", type=Path, help="folder to write the model to")
    parser.add_argument("--vocab-size", type=int, default=6000)
    parser.add_argument("--hidden-size", type=int, default=96)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--word-dropout", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--hold-out", type=float, default=0.0, metavar="SHARE", help="try the settings, write nothing"
    )
    options = parser.parse_args()
    random.seed(options.seed)
    torch.manual_seed(options.seed)

    examples = read(options.data / "train.tsv") + read(options.data / "dev.tsv")
    examples, held = hold_out(examples, options.hold_out)
    texts, labels = [text for text, _ in examples], [label for _, label in examples]
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), texts, options.vocab_size)
        tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(sentences: list[Example]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer([sentence for sentence, _ in sentences], truncation=True)[
            "input_ids"
        ]
        return ids

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=MAX_LENGTH,
        hidden_dropout_prob=0.2,
        initializer_range=0.05,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    model, start = AutoModelForSequenceClassification.from_config(config), time.perf_counter()
    for epoch, average in enumerate(train(model, encode(examples), labels, options), start=1):
        print(f"epoch {epoch} of {options.epochs}: {time.perf_counter() - start:.0f} s", flush=True)
        if held:
            score = accuracy(average, encode(held), [label for _, label in held])
            print(f"  {score:.4f} on {len(held)} held-out sentences", flush=True)
    if not held:
        write(average, tokenizer, len(examples), options)


def write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, phrases: int, options: argparse.Namespace
) -> None:
    """Writes the model and its card, with the accuracy of what is read back on the test sentences."""
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    tokenizer = AutoTokenizer.from_pretrained(options.output)
    model = AutoModelForSequenceClassification.from_pretrained(options.output)
    test = read(options.data / "test.tsv")
    ids = tokenizer([sentence for sentence, _ in test], truncation=True)["input_ids"]
    score = accuracy(model, ids, [label for _, label in test])
    print(f"{score:.4f} on {len(test)} test sentences")
    card = CARD.format(
        layers=options.layers, hidden=options.hidden_size, vocab=len(tokenizer), train=phrases, test=score,
        parameters=model.num_parameters(), test_size=len(test), seed=options.seed, epochs=options.epochs,
    )  # fmt: skip
    (options.output / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
