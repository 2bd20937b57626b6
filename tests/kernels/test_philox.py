"""The torch Philox: known answers, and its range."""

from __future__ import annotations

import pytest
import torch

from oxiformers_kernels.philox import dropout_threshold, philox, philox_uint32


def words(*values: int) -> list[torch.Tensor]:
    return [torch.tensor([value]) for value in values]


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        # The known answers that Random123, the authors' library, is tested with.
        ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0xA4093822, 0x299F31D0),
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
@pytest.mark.parametrize("kind", [int, torch.tensor])
def test_known_answers(
    key: tuple[int, int], counter: tuple[int, ...], expected: tuple[int, ...], kind: type
) -> None:
    seed = key[0] | (key[1] << 32)
    seed = seed - 2**64 if seed >= 2**63 else seed
    result = philox(kind(seed), *words(*counter))
    assert tuple(int(word) for word in result) == expected
    assert torch.equal(philox_uint32(kind(seed), *words(*counter)), result[0])


def test_counters_broadcast_and_negative_ones_are_their_bits() -> None:
    rows, columns, zero = torch.arange(3)[:, None], torch.arange(5), torch.tensor(0)
    table = philox_uint32(7, columns, rows, zero, zero)
    assert table.shape == (3, 5) and table.dtype == torch.int64
    assert table.unique().numel() == 15 and table.min() >= 0 and table.max() < 2**32
    minus_one = torch.tensor(-1)
    assert torch.equal(
        philox_uint32(7, minus_one, zero, zero, zero),
        philox_uint32(7, minus_one & 0xFFFFFFFF, zero, zero, zero),
    )


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9])
def test_a_threshold_drops_its_share(probability: float) -> None:
    zero = torch.tensor(0)
    dropped = philox_uint32(3, torch.arange(40_000), zero, zero, zero) < dropout_threshold(probability)
    assert abs(dropped.double().mean().item() - probability) < 0.01


def test_one_graph() -> None:
    compiled = torch.compile(philox_uint32, fullgraph=True, backend="eager")
    zero = torch.tensor(0)
    arguments = (torch.tensor(5), torch.arange(9), zero, zero, zero)
    assert torch.equal(compiled(*arguments), philox_uint32(*arguments))
