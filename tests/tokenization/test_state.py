"""A tokenizer is shared by threads, copied and pickled; nothing of a call stays in it."""

from __future__ import annotations

import copy
import hashlib
import logging
import pickle
import random
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oxiformers.tokenization import BertTokenizerFast, PreTrainedTokenizerFast
from tests.tokenization.steps import DIFFICULT, TICKETS


@pytest.fixture
def tokenizer(folders: Any) -> BertTokenizerFast:
    """A tokenizer of its own for each test."""
    return BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])


def test_threads(tokenizer: BertTokenizerFast, lines: list[str]) -> None:
    """Eight threads, 10,000 calls, each with its own max_length, padding and side: none sees another's."""
    options: list[dict[str, Any]] = [
        {"padding": "max_length", "truncation": True, "max_length": 8},
        {"padding": "max_length", "truncation": True, "max_length": 32, "padding_side": "left"},
        {"padding": True, "truncation": True, "max_length": 16, "return_tensors": "np"},
        {"truncation": True, "max_length": 12},
        {"padding": "longest", "pad_to_multiple_of": 8},
        {"add_special_tokens": False},
        {"truncation": "longest_first", "max_length": 10, "return_overflowing_tokens": True, "stride": 2},
        {"return_offsets_mapping": True, "return_special_tokens_mask": True},
    ]
    texts = [line[:60] for line in lines]
    batches = [texts[index : index + 3] for index in range(0, len(texts) - 3, 3)]
    expected = {
        (option, batch): str(tokenizer(batches[batch], **options[option]))
        for option in range(len(options))
        for batch in range(len(batches))
    }

    def work(number: int) -> int:
        draw = random.Random(number)
        wrong = 0
        for _ in range(1250):
            option, batch = draw.randrange(len(options)), draw.randrange(len(batches))
            wrong += str(tokenizer(batches[batch], **options[option])) != expected[option, batch]
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 0


def test_threads_that_add_tokens(tokenizer: BertTokenizerFast) -> None:
    """No token is lost, and readers see a whole tokenizer at any time."""
    stop = threading.Event()
    failures: list[Any] = []

    def read() -> None:
        while not stop.is_set():
            ids = tokenizer("hello world")["input_ids"]
            if ids != [101, 7592, 2088, 102]:
                failures.append(ids)

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(lambda number: tokenizer.add_tokens(f"<thread{number}>"), range(40)))
    stop.set()
    reader.join()
    assert not failures
    assert added == [1] * 40
    assert len(tokenizer) == 30522 + 40
    assert sorted(tokenizer.added_tokens_decoder)[-40:] == list(range(30522, 30562))


def use(tokenizer: PreTrainedTokenizerFast) -> None:
    """Uses a tokenizer in many ways, warnings included."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer(list(DIFFICULT), padding=True, max_length=5)
    tokenizer(list(DIFFICULT), padding="max_length", truncation=True, max_length=9, return_tensors="pt")
    tokenizer("word " * 900, unknown_argument=1)
    tokenizer.decode(tokenizer.encode("text"))
    tokenizer.pad({"input_ids": [[1], [2, 3]]})
    tokenizer.get_vocab()
    str(tokenizer)


@pytest.mark.parametrize("name", ["bert-base-uncased", TICKETS])
def test_pickle_is_stable(name: str, folders: Any) -> None:
    """The bytes are the same before and after use, after a round trip, and in another process."""
    cls = PreTrainedTokenizerFast if name == TICKETS else BertTokenizerFast
    tokenizer = cls.from_pretrained(folders[name])
    before = pickle.dumps(tokenizer)
    use(tokenizer)
    assert pickle.dumps(tokenizer) == before
    twin = pickle.loads(before)
    assert pickle.dumps(twin) == before
    assert type(twin) is cls
    assert twin(list(DIFFICULT), padding=True).data == tokenizer(list(DIFFICULT), padding=True).data
    assert repr(twin) == repr(tokenizer)
    program = (
        "import pickle, hashlib; from oxiformers import tokenization; "
        f"t = tokenization.{cls.__name__}.from_pretrained({str(folders[name])!r}); "
        "print(hashlib.sha256(pickle.dumps(t)).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(before).hexdigest()


def test_pickle_keeps_changes(tokenizer: BertTokenizerFast) -> None:
    """Added tokens, special tokens, sides and limits."""
    tokenizer.add_tokens(["newtok"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<a>"], "bos_token": "<s>"})
    tokenizer.model_max_length, tokenizer.padding_side = 33, "left"
    twin = pickle.loads(pickle.dumps(tokenizer))
    assert repr(twin) == repr(tokenizer)
    assert twin.extra_special_tokens == ["<a>"]
    assert twin("a newtok <a>")["input_ids"] == tokenizer("a newtok <a>")["input_ids"]


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_copies_are_independent(tokenizer: BertTokenizerFast, make: Any) -> None:
    """What is set on a copy stays there."""
    twin = make(tokenizer)
    twin.add_tokens(["newtok"])
    twin.pad_token = "the"
    twin.padding_side = "left"
    assert len(tokenizer) == 30522
    assert tokenizer.pad_token == "[PAD]"
    assert tokenizer.padding_side == "right"
    assert twin(["a", "b c"], padding=True)["input_ids"][0][0] == 1996


def test_forked_and_spawned_workers(tokenizer: BertTokenizerFast) -> None:
    """A DataLoader's worker tokenizes in its collate function, and what it sends back is whole."""
    from torch.utils.data import DataLoader

    class Collate:
        def __call__(self, texts: list[str]) -> Any:
            return tokenizer(texts, padding=True, return_tensors="pt")

    texts = ["one two", "three", "four five six", "seven"]
    expected = tokenizer(texts[:2], padding=True, return_tensors="pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*use of fork.*", category=DeprecationWarning)
        loader: Any = DataLoader(texts, batch_size=2, num_workers=1, collate_fn=Collate())
        batches = list(loader)
    assert batches[0]["input_ids"].tolist() == expected["input_ids"].tolist()
    assert batches[0].tokens(1) == expected.tokens(1)


def test_datasets_map_is_cached(folders: Any, tmp_path: Path) -> None:
    """datasets takes the second map from its cache, as the tokenizer hashes the same after use."""
    pytest.importorskip("datasets")
    from datasets import Dataset

    tokenizer = BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])
    dataset = Dataset.from_dict({"text": ["a b", "c"]})
    dataset.save_to_disk(tmp_path / "data")
    dataset = Dataset.load_from_disk(tmp_path / "data")

    def tokenize(rows: dict[str, list[str]]) -> Any:
        return tokenizer(rows["text"])

    first = dataset.map(tokenize, batched=True)
    second = dataset.map(tokenize, batched=True)
    assert first._fingerprint == second._fingerprint
    assert first["input_ids"][0] == [101, 1037, 1038, 102]


def test_warnings(tokenizer: BertTokenizerFast, caplog: pytest.LogCaptureFixture) -> None:
    """Of rows longer than the model takes, once; of max_length without effect; of unknown arguments, once."""
    with caplog.at_level(logging.WARNING, logger="oxiformers"):
        tokenizer("word " * 600, verbose=False)
        tokenizer("word " * 600, max_length=700, truncation=True)
        assert caplog.text == ""
        tokenizer(["short", "word " * 600])
        assert "longer than the specified maximum sequence length for this model (602 > 512)" in caplog.text
        caplog.clear()
        tokenizer(["word " * 600] * 2, return_tensors="pt")
        assert caplog.text == ""
        copy.copy(tokenizer)(["word " * 600] * 2, return_tensors="pt")
        assert "602 > 512" in caplog.text
        caplog.clear()
        tokenizer("a", max_len=3)
        tokenizer("a", max_len=3)
        assert caplog.text.count("max_len") == 1
    with pytest.warns(UserWarning, match="`max_length` is ignored"):
        tokenizer("a", padding=True, max_length=3)
    tokenizer("a", padding=True, max_length=3, verbose=False)


def test_empty_batches(tokenizer: BertTokenizerFast) -> None:
    """No rows in, no rows out."""
    assert tokenizer([]).data == {"input_ids": [], "token_type_ids": [], "attention_mask": []}
    for tensors in ("pt", "np"):
        batch = tokenizer([], padding=True, return_tensors=tensors)
        assert batch["input_ids"].shape == (0, 0)
        assert "int64" in str(batch["input_ids"].dtype)


def test_tensors_are_the_cores_own_memory(tokenizer: BertTokenizerFast) -> None:
    """Arrays come from the core uncopied, and are writable."""
    batch = tokenizer(["a", "b"], return_tensors="pt")
    assert batch["input_ids"].is_contiguous()
    batch["input_ids"][0, 0] = 5
    assert batch["input_ids"][0, 0] == 5


def test_attributes(tokenizer: BertTokenizerFast) -> None:
    """A missing attribute says so, and any other may be set."""
    with pytest.raises(AttributeError, match="no attribute absent"):
        _ = tokenizer.absent
    tokenizer.mine = 3
    assert tokenizer.mine == 3
    assert not hasattr(BertTokenizerFast.__new__(BertTokenizerFast), "pad_tokens")
