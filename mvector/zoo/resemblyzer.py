"""Resemblyzer: the LSTM d-vector in its `pretrained.pt`."""

from collections.abc import Callable

from mvector.zoo.published import Published

NOT_EMBEDDING = r"similarity_"  # scale and offset of the GE2E loss


def voice_encoder(
    mel_n_channels: int = 40,
    model_hidden_size: int = 256,
    model_num_layers: int = 3,
    model_embedding_size: int = 256,
) -> Published:
    """The constructor takes none of these: they are the names in the package's hparams.py.

    As the published forward, one embedding from all frames; the windows are `embed_utterance`'s, see
    :mod:`mvector.zoo.recipes`.
    """
    return Published(
        "GE2E",
        {
            "input_size": mel_n_channels,
            "embd_dim": model_embedding_size,
            "hidden_size": model_hidden_size,
            "layers": model_num_layers,
        },
    )


ARCHITECTURES: dict[str, Callable[..., Published]] = {"VoiceEncoder": voice_encoder}
