"""Sampling without Triton: the torch twin against the warpers' definitions, the argument checks and the dispatch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.dispatch import BackendError
from oxiformers_kernels.sampling import ref, sample

SEED = torch.tensor([11])


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def warped(scores: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Scores of one row after the warpers one by one, as each is defined; -inf where a token is removed."""
    scores = scores / temperature
    if top_k:
        scores = scores.masked_fill(scores < scores.topk(min(top_k, scores.numel())).values[-1], -torch.inf)
    if top_p < 1.0:
        ascending, order = scores.sort()
        removed = ascending.softmax(-1).cumsum(-1) <= 1 - top_p
        removed[-1] = False
        scores = scores.masked_fill(torch.zeros_like(removed).scatter(0, order, removed), -torch.inf)
    if min_p:
        probabilities = scores.softmax(-1)
        scores = scores.masked_fill(probabilities < min_p * probabilities.max(), -torch.inf)
    return scores


CASES = [
    (1.0, 0, 1.0, 0.0),
    (0.7, 5, 1.0, 0.0),
    (1.0, 500, 1.0, 0.0),
    (1.3, 0, 0.8, 0.0),
    (1.0, 0, 0.0, 0.0),
    (0.5, 0, 1.0, 0.1),
    (0.9, 20, 0.7, 0.05),
]


@pytest.mark.parametrize(("temperature", "top_k", "top_p", "min_p"), CASES)
def test_what_may_be_drawn_is_what_the_warpers_keep(
    temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    torch.manual_seed(0)
    logits = torch.randn(8, 100) * 3
    tokens, thresholds = ref.sample(logits, temperature, top_k, top_p, min_p, SEED)
    for row, token, threshold in zip(logits, tokens, thresholds, strict=True):
        kept = warped(row, temperature, top_k, top_p, min_p) > -torch.inf
        assert torch.equal(row * (1.0 / temperature) >= threshold, kept) and kept[token]


def test_frequencies_follow_the_probabilities() -> None:
    """Over 20,000 rows the shares lie within five standard deviations."""
    torch.manual_seed(0)
    row, count = torch.randn(12), 20000
    expected = warped(row, 0.8, 6, 0.9, 0.0).softmax(-1)
    tokens = sample(row.expand(count, 12), temperature=0.8, top_k=6, top_p=0.9, seed=5)
    shares = torch.bincount(tokens, minlength=12) / count
    assert ((shares - expected).abs() <= 5 * (expected * (1 - expected) / count).sqrt()).all()
    assert torch.equal(tokens, sample(row.expand(count, 12), temperature=0.8, top_k=6, top_p=0.9, seed=5))
    assert not torch.equal(tokens, sample(row.expand(count, 12), temperature=0.8, top_k=6, top_p=0.9, seed=6))


def test_settings_of_each_row_and_greedy_rows() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 40)
    logits[0, 7] = logits[0, 30] = 9.0
    settings = {
        "temperature": torch.tensor([0.0, 0.5, 1.0]),
        "top_k": torch.tensor([0, 1, 5]),
        "top_p": torch.tensor([1.0, 0.9, 0.0]),
        "min_p": torch.tensor([0.0, 0.5, 0.0]),
    }
    assert sample(logits, **settings).tolist() == [7, *logits[1:].argmax(-1).tolist()]  # type: ignore[arg-type]
    assert torch.equal(
        sample(logits, temperature=0.0), sample(logits, top_k=1, seed=3).index_fill(0, SEED * 0, 7)
    )


def test_equal_logits_at_the_edge_stay_together() -> None:
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0]])
    assert ref.sample(logits, 1.0, 2, 1.0, 0.0, SEED)[1].item() == 1.0
    assert ref.sample(logits, 1.0, 0, 0.5, 0.0, SEED)[1].item() == 1.0


def test_a_row_without_a_finite_logit() -> None:
    logits = torch.stack((torch.full((5,), -torch.inf), torch.full((5,), torch.nan), torch.zeros(5)))
    assert sample(logits, seed=0)[:2].tolist() == [-1, -1] and 0 <= sample(logits, seed=0)[2] < 5


def test_seeds_and_generators() -> None:
    logits = torch.zeros(50, 100)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    first, second = (sample(logits, generator=generator) for generator in generators)
    assert torch.equal(first, second) and not torch.equal(sample(logits, generator=generators[0]), first)
    assert torch.equal(sample(logits, seed=4), sample(logits, seed=torch.tensor(4)))
    uniform = ref.uniform(SEED, 10000)
    assert 0 <= uniform.min() < 0.01 and 0.99 < uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.02


def test_one_graph_for_all_sizes() -> None:
    compiled = torch.compile(sample, fullgraph=True, dynamic=True, backend="eager")
    for rows in (3, 5, 8):
        logits = torch.randn(rows, 40)
        options = {"temperature": 0.8, "top_k": 5, "top_p": 0.9, "seed": SEED}
        assert torch.equal(compiled(logits, **options), sample(logits, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("logits", "options", "error", "words"),
    [
        (torch.ones(2, 3).long(), {}, TypeError, "logits has dtype torch.int64"),
        (torch.ones(3), {}, ValueError, r"logits has shape \(3,\), expected \[B, V\]"),
        (torch.ones(2, 0), {}, ValueError, r"shape \(2, 0\)"),
        (torch.ones(2, 3), {"temperature": -0.5}, ValueError, "temperature=-0.5, expected 0 or more"),
        (torch.ones(2, 3), {"top_k": -1}, ValueError, "top_k=-1"),
        (torch.ones(2, 3), {"top_p": 1.5}, ValueError, "top_p=1.5, expected 0 to 1"),
        (torch.ones(2, 3), {"min_p": torch.ones(3)}, ValueError, r"min_p has shape \(3,\), expected \(2,\)"),
        (torch.ones(2, 3), {"top_k": torch.ones(2)}, TypeError, "top_k has dtype torch.float32, expected an integer"),
        (torch.ones(2, 3), {"top_p": torch.ones(2).long()}, TypeError, "top_p has dtype torch.int64"),
        (torch.ones(2, 3), {"seed": torch.ones(2).long()}, ValueError, r"seed of shape \(2,\)"),
        (torch.ones(2, 3), {"seed": 1, "generator": torch.Generator()}, ValueError, "both a seed and a generator"),
        (torch.ones(2, 3), {"backend": "cuda"}, ValueError, "backend='cuda'"),
    ],
)  # fmt: skip
def test_wrong_arguments(
    logits: Tensor, options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sample(logits, **options)  # type: ignore[arg-type]


class TestDispatch:
    """Each branch, by what then ran."""

    @pytest.fixture
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        kernel = pytest.importorskip("oxiformers_kernels.sampling.kernel", reason="triton is not installed")
        calls: list[str] = []
        for name, module in (("torch", ref), ("triton", kernel)):

            def record(*_: object, name: str = name) -> tuple[Tensor, Tensor]:
                calls.append(name)
                return SEED, SEED

            monkeypatch.setattr(module, "sample", record)
        return calls

    def test_auto_on_the_cpu_is_torch(self, ran: list[str]) -> None:
        sample(torch.ones(2, 3))
        assert ran == ["torch"]
        with pytest.raises(BackendError, match="sampling: backend=triton, but the tensors are on cpu"):
            sample(torch.ones(2, 3), backend="triton")

    def test_under_the_interpreter_it_is_triton(
        self, ran: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        sample(torch.ones(2, 3))
        sample(torch.ones(2, 3), backend="triton")
        sample(torch.ones(2, 3).double())
        assert ran == ["triton", "triton", "torch"]
        with pytest.raises(BackendError, match=r"the kernel takes .* the logits are torch\.float64"):
            sample(torch.ones(2, 3).double(), backend="triton")
