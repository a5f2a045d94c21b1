import numpy as np
import pytest
import torch

from mvector.features.spec_augment import SpecAugment, _covered, _intervals


def draws(augment: SpecAugment, count: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([augment.draw(rng) for _ in range(count)]))


def test_masks_are_bands_and_stretches_of_the_widths_asked_for():
    augment = SpecAugment(1.0, freq_mask_ratio=0.2, n_freq_masks=1, time_mask_ratio=0.3, n_time_masks=1)
    features = torch.ones(400, 50, 40)
    masked = augment(features, draws(augment, 400)) == 0
    bands, stretches = masked.all(dim=1), masked.all(dim=2)  # [B, D], [B, F]
    assert (masked == (bands[:, None, :] | stretches[:, :, None])).all()
    for covered, largest in ((bands, 8), (stretches, 15)):
        widths = covered.sum(dim=1)
        assert set(widths.tolist()) == set(range(largest + 1))  # 400 draws see every width from 0 on
        edges = torch.diff(torch.nn.functional.pad(covered.int(), (1, 1))).abs().sum(dim=1)
        assert (edges <= 2).all()  # each is one run
        assert covered[:, 0].any()
        assert covered[:, -1].any()


def test_probability_and_each_row_alone():
    augment = SpecAugment(0.25, 0.5, 2, 0.5, 2)
    features = torch.randn(2000, 20, 10)
    chosen = draws(augment, 2000)
    result = augment(features, chosen)
    touched = (result != features).flatten(1).any(dim=1)
    assert touched.float().mean().item() == pytest.approx(0.25, abs=0.04)
    for row in range(10):
        torch.testing.assert_close(augment(features[row : row + 1], chosen[row : row + 1])[0], result[row])


def test_time_warp_moves_a_point_by_at_most_the_limit_and_keeps_the_ends():
    augment = SpecAugment(1.0, n_freq_masks=0, n_time_masks=0, max_time_warp=5)
    time = torch.arange(60.0)[None, :, None].expand(50, 60, 3)
    warped = augment(time, draws(augment, 50))
    torch.testing.assert_close(warped[:, 0], time[:, 0])
    torch.testing.assert_close(warped[:, -1], time[:, -1])
    assert (warped.diff(dim=1) > 0).all()
    shift = (warped - time).abs().amax(dim=(1, 2))
    assert shift.max() <= 5.01
    assert shift.max() > 2


def test_masks_written_one_by_one_are_those_of_the_whole_batch():
    """What a CPU and what a GPU does, both on the CPU."""
    augment = SpecAugment(prob=0.7, freq_mask_ratio=0.5, n_freq_masks=2, time_mask_ratio=0.3, n_time_masks=3)
    rng = np.random.default_rng(8)
    features = torch.from_numpy(rng.uniform(1, 2, (40, 31, 17)).astype(np.float32))
    draws = torch.from_numpy(np.stack([augment.draw(rng) for _ in range(40)]))
    masks = draws[:, 3:].unflatten(1, (-1, 2)).numpy()
    in_band = _covered(torch.from_numpy(_intervals(masks[:, :2], 17, 0.5)), 17)
    in_time = _covered(torch.from_numpy(_intervals(masks[:, 2:], 31, 0.3)), 31)
    hidden = (in_band[:, None, :] | in_time[:, :, None]) & (draws[:, 0] < 0.7)[:, None, None]
    assert 0.1 < hidden.float().mean() < 0.9
    assert torch.equal(augment(features, draws), features.masked_fill(hidden, 0.0))
    assert features.min() >= 1  # what was given is left as it was
