from pathlib import Path

import pytest
import torch

from mvector.registry import BACKBONES
from mvector.zoo.published import Published, describe
from mvector.zoo.table import ROWS, measure, paper_of, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"


def test_every_backbone_has_a_row_and_a_paper():
    assert {row.network.backbone for row in ROWS} == set(BACKBONES.names())
    assert all(paper_of(name) for name in BACKBONES.names())


@pytest.mark.parametrize("row", [row for row in ROWS if len(row.equals) > 1], ids=lambda row: row.equals[0][1])
def test_a_row_is_one_network_under_several_names(row):
    networks = [describe(*published) for published in row.equals]
    with torch.device("meta"):
        models = [BACKBONES.build(network.backbone, network.arguments) for network in networks]
    assert len({repr(model) for model in models}) == 1


def test_multiplications_are_those_of_the_layers():
    """WeSpeaker's x-vector, counted by hand: five unpadded convolutions and two linear layers."""
    row = next(row for row in ROWS if row.network.backbone == "XVector" and row.vox1_o == "1.99 WS")
    _, measured = measure(row.network)
    frames, channels = 298, 512
    lengths = [frames - 4, frames - 8, frames - 14, frames - 14, frames - 14]
    sizes = [5 * 80 * channels, 3 * channels**2, 3 * channels**2, channels**2, channels * 1500]
    expected = sum(n * size for n, size in zip(lengths, sizes, strict=True)) + 3000 * 512 + 512 * 512
    assert measured == pytest.approx(expected / 1e9, rel=0.03)


def without_multiplications(text: str) -> list[list[str]]:
    """The cells of every line but the fourth: releases of torch count attention and recurrent layers differently."""
    return [line.split("|")[:4] + line.split("|")[5:] for line in text.splitlines()]


def test_the_document_is_up_to_date(monkeypatch):
    def built(network: Published) -> tuple[torch.nn.Module, float]:
        with torch.device("meta"):
            return BACKBONES.build(network.backbone, network.arguments), 0.0

    monkeypatch.setattr("mvector.zoo.table.measure", built)
    written = DOCUMENT.read_text(encoding="utf-8")
    assert without_multiplications(written) == without_multiplications(table()), "made anew by: python -m mvector.zoo"
