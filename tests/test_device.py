"""Which device computes."""

import pytest
import torch

from mvector.device import choose_device
from mvector.errors import ConfigError


def fake_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_without_a_gpu(monkeypatch):
    fake_gpus(monkeypatch, 0)
    assert choose_device("auto").type == "cpu"
    assert choose_device("auto", use_gpu=False).type == "cpu"
    with pytest.raises(ConfigError, match="use_gpu is True"):
        choose_device("auto", use_gpu=True)
    for device in ("cuda", "cuda:0", "mps"):
        with pytest.raises(ConfigError, match="device"):
            choose_device(device)


def test_with_gpus(monkeypatch):
    fake_gpus(monkeypatch, 2)
    assert choose_device("auto").type == "cuda"
    assert choose_device("auto", use_gpu=True).type == "cuda"
    assert choose_device("auto", use_gpu=False).type == "cpu"
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="2 GPUs"):
        choose_device("cuda:2")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta", "npu"])
def test_unknown_devices(device):
    with pytest.raises(ConfigError, match="device"):
        choose_device(device)
