"""Mel filters: known values of the scales, the triangles' shape, and the banded product against the dense one."""

import numpy as np
import pytest
import torch

from mvector.features.mel import BandedFilters, _slaney_hertz, _slaney_mel, kaldi_mel_filters, mel_filters


def test_slaney_scale():
    assert _slaney_mel(np.array([440.0, 1000.0, 6400.0])) == pytest.approx([6.6, 15.0, 42.0])
    hertz = np.linspace(0.0, 8000.0, 50)
    assert _slaney_hertz(_slaney_mel(hertz)) == pytest.approx(hertz)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_triangles_overlap_to_one_between_first_and_last_centre(scale):
    filters = mel_filters(30, 2049, 16000, 50.0, 7000.0, scale=scale)
    frequency = np.linspace(0.0, 8000.0, 2049)
    peaks = frequency[filters.argmax(0)]
    assert (np.diff(peaks) > 0).all()
    inside = (frequency > peaks[0] + 4) & (frequency < peaks[-1] - 4)
    assert filters[inside].sum(1) == pytest.approx(1.0)
    assert filters[(frequency <= 50.0) | (frequency >= 7000.0)].max() < 1e-12


def test_slaney_norm_gives_unit_area():
    filters = mel_filters(20, 4097, 16000, 0.0, 8000.0, norm="slaney", scale="slaney")
    assert filters.sum(0) * 8000.0 / 4096 == pytest.approx(1.0, rel=0.01)


def test_kaldi_leaves_the_nyquist_bin_out():
    filters = kaldi_mel_filters(80, 512, 16000, 20.0, 8000.0)
    assert filters.shape == (257, 80)
    assert not filters[256].any()
    assert filters.any(axis=0).all()


@pytest.mark.parametrize("bins", [1, 16, 23, 80, 128])
def test_banded_product_equals_dense_product(bins):
    filters = mel_filters(bins, 257, 16000, 0.0, 14000.0)  # the last ones are empty
    spectrum = torch.rand(2, 7, 257, generator=torch.Generator().manual_seed(1))
    expected = spectrum.double().numpy() @ filters
    product = BandedFilters(filters)(spectrum)
    assert product.shape == (2, 7, bins)
    assert np.abs(product.numpy() - expected).max() <= 1e-6 * expected.max()


def test_all_filters_empty():
    assert not BandedFilters(np.zeros((9, 20)))(torch.ones(1, 2, 9)).any()
