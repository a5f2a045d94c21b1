import numpy as np
import pytest
import torch

from mvector.errors import ConfigError
from mvector.losses import SpeakerClassifier


def test_cosine_logits_are_cosines():
    classifier = SpeakerClassifier(6, 5)
    embeddings = 10 * torch.randn(4, 6)
    logits = classifier(embeddings)
    weight = classifier.weight.detach().numpy()
    for i, x in enumerate(embeddings.numpy()):
        for j, w in enumerate(weight):
            assert logits[i, j].item() == pytest.approx(x @ w / np.linalg.norm(x) / np.linalg.norm(w), abs=1e-6)


def test_cosines_are_float32_under_autocast():
    classifier = SpeakerClassifier(64, 5)
    embeddings = torch.randn(4, 64)
    with torch.autocast("cpu", torch.bfloat16):
        logits = classifier(embeddings)
    torch.testing.assert_close(logits, classifier(embeddings), rtol=0, atol=1e-6)
    assert classifier(embeddings.bfloat16()).dtype == torch.float32


def test_sub_centres_and_state_dict_names():
    classifier = SpeakerClassifier(6, 5, K=3, num_blocks=2, inter_dim=7)
    assert classifier(torch.randn(4, 6)).shape == (4, 15)
    shapes = {key: tuple(value.shape) for key, value in classifier.state_dict().items()}
    assert shapes["weight"] == (15, 7)
    assert shapes["blocks.0.linear.weight"] == (7, 6, 1)
    assert shapes["blocks.1.linear.weight"] == (7, 7, 1)
    assert shapes["blocks.1.nonlinear.batchnorm.running_mean"] == (7,)


def test_dense_blocks_are_linear_and_normalised():
    classifier = SpeakerClassifier(6, 5, "Linear", num_blocks=1, inter_dim=7).train()
    embeddings = torch.randn(32, 6)
    hidden = embeddings @ classifier.blocks[0].linear.weight[:, :, 0].T
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt()
    expected = hidden @ classifier.output.weight.T + classifier.output.bias
    torch.testing.assert_close(classifier(embeddings), expected, rtol=1e-4, atol=1e-5)


def test_zero_embedding_gives_zero_cosines_and_finite_gradients():
    classifier = SpeakerClassifier(6, 5)
    embeddings = torch.zeros(2, 6, requires_grad=True)
    logits = classifier(embeddings)
    logits.sum().backward()
    assert torch.equal(logits, torch.zeros(2, 5))
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classifier_type": "cosine"}, "must be 'Cosine' or 'Linear', found 'cosine'"),
        ({"classifier_type": "Linear", "K": 2}, "K must be 1, found 2"),
        ({"num_speakers": 0}, "at least one speaker"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        SpeakerClassifier(**{"input_size": 4, "num_speakers": 3, **arguments})
