"""SpeechBrain. Its ECAPA-TDNN has the same entries as 3D-Speaker's; embeddings are [B, E] here, [B, 1, E] there."""

from collections.abc import Callable, Sequence

from mvector.zoo.published import Published
from mvector.zoo.three_d_speaker import ecapa_tdnn as three_d_speaker_ecapa_tdnn

NOT_EMBEDDING = r"classifier\."


def ecapa_tdnn(
    input_size: int,
    device: str = "cpu",  # not used by the published constructor either
    lin_neurons: int = 192,
    channels: Sequence[int] = (512, 512, 512, 512, 1536),
    kernel_sizes: Sequence[int] = (5, 3, 3, 3, 1),
    dilations: Sequence[int] = (1, 2, 3, 4, 1),
    attention_channels: int = 128,
    res2net_scale: int = 8,
    se_channels: int = 128,
    global_context: bool = True,
    groups: Sequence[int] = (1, 1, 1, 1, 1),
    dropout: float = 0.0,  # of training only
) -> Published:
    arguments = dict(locals())
    del arguments["dropout"]
    return three_d_speaker_ecapa_tdnn(**arguments)


ARCHITECTURES: dict[str, Callable[..., Published]] = {"ECAPA_TDNN": ecapa_tdnn}
