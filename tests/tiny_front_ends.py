"""Self-supervised networks of a few thousand random weights, saved as `transformers` saves real ones."""

from pathlib import Path
from typing import Any

ENCODER = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
STEM = {
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 8),
    "conv_stride": (5, 4, 4),  # a frame every 5 ms; real ones: every 20 ms
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}  # how the large models differ from the base models
# Name here → (architecture, settings).
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "wavlm": ("WavLM", STEM),
    "wavlm-large": ("WavLM", {**STEM, **LARGE}),
    "hubert": ("Hubert", STEM),
    "wav2vec2": ("Wav2Vec2", STEM),
    "wav2vec2-large": ("Wav2Vec2", {**STEM, **LARGE}),
    "w2v-bert": ("Wav2Vec2Bert", {"feature_projection_input_dim": 160}),
    "w2v-bert-rotary": ("Wav2Vec2Bert", {"feature_projection_input_dim": 160, "position_embeddings_type": "rotary"}),
}


def reference(kind: str, seed: int = 0, head: str = "Model", **settings: Any) -> Any:
    """The network in evaluation mode; `head` 'ForCTC' gives one with a task's layer on top."""
    import torch
    import transformers

    name, own = KINDS[kind]
    config = getattr(transformers, f"{name}Config")(**{**ENCODER, **own, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return getattr(transformers, f"{name}{head}")(config).eval()


def extractor(kind: str, **settings: Any) -> Any:
    import transformers

    if kind.startswith("w2v-bert"):
        return transformers.SeamlessM4TFeatureExtractor(**settings)
    return transformers.Wav2Vec2FeatureExtractor(**settings)


def save_front_end(folder: Path, kind: str = "wavlm", **settings: Any) -> str:
    """Write a model folder; returns its path as a configuration has it."""
    reference(kind, **settings).save_pretrained(folder)
    extractor(kind).save_pretrained(folder)
    return folder.as_posix()
