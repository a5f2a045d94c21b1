"""Features of networks that learned from unlabelled speech: WavLM, HuBERT, wav2vec 2.0, w2v-BERT 2.0.

The networks and their weights come from the package `transformers`, which is optional and imported here only, when a
configuration asks for one of them. A model directory keeps a front end's weights and its `description`, so that neither
the hub nor the folder it came from is needed again.
"""

import contextlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mvector.errors import ConfigError, MissingPackageError, ModelError, MVectorError, TooShortError
from mvector.features.base import Count
from mvector.features.fbank import Fbank

logger = logging.getLogger("mvector")

# `model_type` in a model's config.json → what its two classes in transformers begin with. Only these are built: a model
# directory may come from a stranger.
ARCHITECTURES = {"hubert": "Hubert", "wav2vec2": "Wav2Vec2", "wav2vec2-bert": "Wav2Vec2Bert", "wavlm": "WavLM"}
VARIANCE_FLOOR = 1e-7  # of the feature extractors in transformers
# LayerDrop would leave holes in the list of layers. The masks are drawn from NumPy's generator, which no checkpoint
# holds; the section spec_aug masks too. Adapters stand behind the layers that are summed.
_SWITCHED_OFF = {
    "layerdrop": 0.0,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "use_intermediate_ffn_before_adapter": False,
    "add_adapter": False,
}


class SelfSupervised(nn.Module):
    """A weighted sum of all hidden layers of a self-supervised network, what enters its first layer included.

    forward(waveforms [B, T] in [-1, 1], lengths int [B] in samples or None) -> (features [B, F, D] float32, frames [B])
    The weights are the softmax of one learned number a layer (SUPERB, Yang 2021), equal at first. D is the network's
    width (768 for the base models, 1024 for the large ones), a frame comes every 20 ms.

    source        folder of a `transformers` model, or its name on the Hugging Face hub ('microsoft/wavlm-base-plus')
    freeze        True: only the weights of the layers are trained, and the network stays in evaluation mode;
                  False: the whole network is trained
    use_gpu       accepted from configurations of the mvector 1.1 package; the network is where the model is
    description   what :attr:`description` was for a stored front end: it is built from that, with random weights and
                  without a look at `source`

    Rows of equal length are computed together and nothing is ever padded. Masks would not do: the base models normalise
    their first convolution over the whole utterance, padding included.

    Raises MissingPackageError without transformers; ConfigError for a source that cannot be found or is of another
    kind, ModelError for damaged weights or a damaged description; TooShortError from forward.
    """

    def __init__(
        self,
        source: str,
        freeze: bool = True,
        use_gpu: bool = True,
        description: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        transformers = import_transformers()
        if description is None:
            self.model, front = _load(transformers, source)
        else:
            self.model, front = _build(transformers, description)
        if getattr(self.model.config, "do_stable_layer_norm", False):
            # Behind the last layer, so no part of the sum. Older releases of transformers do put it into their list.
            self.model.encoder.layer_norm = nn.Identity()
        config = self.model.config
        self.description = {"model": json.loads(config.to_json_string(use_diff=False)), "input": front}
        self.description["model"].pop("_name_or_path", None)  # where it lay on the machine that trained
        self.input: RawWaveform | StackedFbank
        if config.model_type == "wav2vec2-bert":
            self.input = StackedFbank(front["sampling_rate"], front["num_mel_bins"], front["stride"])
            if self.input.size != config.feature_projection_input_dim:
                raise ModelError(
                    f"{source}: {front['num_mel_bins']} bins × {front['stride']} frames do not make the "
                    f"{config.feature_projection_input_dim} inputs of the network (feature_projection_input_dim)"
                )
        else:
            self.input = RawWaveform(front["do_normalize"], config.conv_kernel, config.conv_stride)
        self.feature_size: int = config.hidden_size
        self.sample_rate_hz: int = front["sampling_rate"]
        self.min_samples = self.input.min_samples
        self.layer_sum = LayerSum(config.num_hidden_layers + 1)
        self.frozen = freeze
        self.model.requires_grad_(not freeze)
        self.train()

    @property
    def trainable(self) -> nn.Module:
        """The part that training changes."""
        return self.layer_sum if self.frozen else self

    def frame_count(self, samples: Count) -> Count:
        """Frames of utterances of `samples` ≥ min_samples samples (integers, elementwise)."""
        return self.input.frame_count(samples)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        batch, samples = waveforms.shape
        counts = torch.full((batch,), samples) if lengths is None else lengths.to("cpu", torch.int64)
        if batch and int(counts.max()) > samples:
            raise ValueError(f"a length of {int(counts.max())} samples in waveforms of {samples} samples")
        if batch and (shortest := int(counts.min())) < self.min_samples:
            raise TooShortError(
                f"a recording of {shortest} samples ({1000 * shortest / self.sample_rate_hz:.1f} ms) is too short: "
                f"this front end needs at least {self.min_samples} samples "
                f"({1000 * self.min_samples / self.sample_rate_hz:.1f} ms) for one frame"
            )
        frames = self.frame_count(counts)
        groups = counts.unique().tolist()
        if groups == [samples]:
            return self._equal_lengths(waveforms), frames.to(waveforms.device)
        features = waveforms.new_zeros(batch, int(frames.max()) if batch else 0, self.feature_size, dtype=torch.float32)
        for count in groups:
            rows = (counts == count).nonzero()[:, 0].to(waveforms.device)
            group = self._equal_lengths(waveforms[rows, :count])
            features[rows, : group.shape[1]] = group
        return features, frames.to(waveforms.device)

    def _equal_lengths(self, waveforms: Tensor) -> Tensor:
        """waveforms [B, T] -> features [B, F, D]"""
        gradients = torch.is_grad_enabled() and not self.frozen
        # Some of these networks keep tables of positions; one made in inference mode could not be trained with later.
        with torch.inference_mode(False), torch.set_grad_enabled(gradients):
            hidden = self.model(self.input(waveforms.float()), output_hidden_states=True).hidden_states
        return self.layer_sum(hidden)

    def train(self, mode: bool = True) -> "SelfSupervised":
        super().train(mode)
        if self.frozen:
            self.model.eval()  # no dropout
        return self

    def extra_repr(self) -> str:
        return f"frozen={self.frozen}"


class LayerSum(nn.Module):
    """forward(layers × [B, F, D]) -> [B, F, D] float32: their sum, weighted with the softmax of learned numbers."""

    def __init__(self, layers: int):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))

    def forward(self, hidden: Sequence[Tensor]) -> Tensor:
        weights = self.weights.softmax(dim=0)
        total = weights[0] * hidden[0].float()
        for weight, layer in zip(weights[1:], hidden[1:], strict=True):
            total = total + weight * layer.float()
        return total


class RawWaveform(nn.Module):
    """The input of WavLM, HuBERT and wav2vec 2.0: the waveform, brought to mean 0 and variance 1 if the model wants it.

    forward(waveforms [B, T]) -> [B, T]. `kernels` and `strides` are those of the network's unpadded convolutions, which
    decide how many frames there are.
    """

    def __init__(self, normalize: bool, kernels: Sequence[int], strides: Sequence[int]):
        super().__init__()
        self.normalize = normalize
        self.kernels, self.strides = tuple(kernels), tuple(strides)
        self.min_samples = 1
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            self.min_samples = (self.min_samples - 1) * stride + kernel

    def frame_count(self, samples: Count) -> Count:
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def forward(self, waveforms: Tensor) -> Tensor:
        return _standardised(waveforms, unbiased=False) if self.normalize else waveforms


class StackedFbank(nn.Module):
    """The input of w2v-BERT 2.0: Kaldi's log mel energies on the 16-bit scale, each bin brought to mean 0 and variance
    1 over the utterance, then `stride` frames side by side.

    forward(waveforms [B, T]) -> [B, F, bins · stride]. Frames that do not fill the last stack count in the mean and the
    variance only.
    """

    def __init__(self, sample_rate_hz: int, bins: int, stride: int):
        super().__init__()
        self.fbank = Fbank(sample_frequency=sample_rate_hz, num_mel_bins=bins)
        self.stride, self.size = stride, bins * stride
        self.min_samples = self.fbank.window_samples + (stride - 1) * self.fbank.shift_samples

    def frame_count(self, samples: Count) -> Count:
        return self.fbank.frame_count(samples) // self.stride

    def forward(self, waveforms: Tensor) -> Tensor:
        features, _ = self.fbank.extract(waveforms, scale=2.0**15)  # [B, F · stride + rest, bins]
        features = _standardised(features, unbiased=True)
        whole = features.shape[1] // self.stride * self.stride
        return features[:, :whole].unflatten(1, (-1, self.stride)).flatten(2)


def _standardised(signal: Tensor, unbiased: bool) -> Tensor:
    """Mean 0 and variance 1 along dimension 1."""
    # Not signal.mean(): of a bin that is silent throughout, at the logarithm's floor, var_mean's mean is exact, and the
    # small floor under the variance would blow up a rounding error.
    variance, mean = torch.var_mean(signal, dim=1, keepdim=True, correction=int(unbiased))
    return (signal - mean) / (variance + VARIANCE_FLOOR).sqrt()


def import_transformers() -> Any:
    """transformers, or MissingPackageError: any failure counts as absent."""
    try:
        import transformers

        for name in ARCHITECTURES.values():
            getattr(transformers, f"{name}Model")  # imported lazily, so that a broken installation shows only here
    except Exception as error:
        raise MissingPackageError(
            "preprocess_conf.use_hf_model needs the package transformers, which cannot be imported "
            f"({_first_line(error)}): pip install transformers"
        ) from error
    return transformers


def _load(transformers: Any, source: str) -> tuple[Any, dict[str, Any]]:
    """The network of a folder or of the hub with its weights, and what its feature extractor says of the input."""
    folder = _find(source)
    file = folder / "config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} has no config.json; expected the folder of a transformers model") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read as JSON: {_first_line(error)}") from error
    model_class, config = _configure(transformers, values, str(folder))
    try:
        with _quiet(transformers):
            model, report = model_class.from_pretrained(
                folder, config=config, weights_only=True, output_loading_info=True
            )
            front = _describe_input(transformers, folder, config.model_type)
    except Exception as error:  # transformers raises half a dozen kinds
        raise ModelError(f"{folder} cannot be read as a transformers model: {_first_line(error)}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{folder} lacks {len(missing)} weights of a {config.model_type} model, such as {missing[0]!r}"
        )
    return model.float(), front  # a checkpoint may be stored in half precision


def _build(transformers: Any, description: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The network that a description describes, with random weights, and its input."""
    try:
        model_class, config = _configure(transformers, description["model"], "the stored front end")
        front = {key: description["input"][key] for key in _input_keys(config.model_type)}
        return model_class(config).float(), front
    except MVectorError:
        raise
    except Exception as error:
        raise ModelError(f"the description of the stored front end is damaged: {_first_line(error)}") from error


def _configure(transformers: Any, values: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    """The class of the network and its configuration."""
    kind = values.get("model_type")
    if kind not in ARCHITECTURES:
        raise ConfigError(
            f"{name} is a model of type {kind!r}; a front end can be one of: {', '.join(sorted(ARCHITECTURES))}"
        )
    try:
        config = getattr(transformers, f"{ARCHITECTURES[kind]}Config").from_dict(dict(values))
    except Exception as error:
        raise ModelError(f"{name} has an unusable configuration: {_first_line(error)}") from error
    for key, value in _SWITCHED_OFF.items():
        if hasattr(config, key):
            setattr(config, key, value)
    return getattr(transformers, f"{ARCHITECTURES[kind]}Model"), config


def _input_keys(kind: str) -> tuple[str, ...]:
    """What has to be known of the input of a network of `kind`, in the words of its feature extractor."""
    return ("sampling_rate", "num_mel_bins", "stride") if kind == "wav2vec2-bert" else ("sampling_rate", "do_normalize")


def _describe_input(transformers: Any, folder: Path, kind: str) -> dict[str, Any]:
    """What the model's feature extractor does to a waveform; the extractor's defaults where the folder does not say."""
    name = "SeamlessM4TFeatureExtractor" if kind == "wav2vec2-bert" else "Wav2Vec2FeatureExtractor"
    extractor_class = getattr(transformers, name)
    if any((folder / file).is_file() for file in ("preprocessor_config.json", "processor_config.json")):
        extractor = extractor_class.from_pretrained(folder)
    else:
        extractor = extractor_class()
        logger.warning(
            "%s has no preprocessor_config.json, which says how its model wants the waveforms; taking the defaults of "
            "%s (every utterance is brought to mean 0 and variance 1)",
            folder,
            name,
        )
    return {key: getattr(extractor, key) for key in _input_keys(kind)}


def _find(source: str) -> Path:
    """The folder of a model: `source` itself, or where the hub's files are after the download."""
    if Path(source).is_dir():
        return Path(source)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source):
        raise ConfigError(
            f"preprocess_conf.feature_method: there is no folder {source}; give the folder of a transformers model, or "
            "a name of the Hugging Face hub such as microsoft/wavlm-base-plus"
        )
    import huggingface_hub

    try:
        # Not from_pretrained with the name: for weights that are no safetensors it asks a service of the hub to convert
        # them, unasked.
        folder = Path(huggingface_hub.snapshot_download(source, allow_patterns=["*config.json", "model*.safetensors*"]))
        if not any(folder.glob("model*.safetensors")):
            folder = Path(huggingface_hub.snapshot_download(source, allow_patterns=["pytorch_model*"]))
    except Exception as error:
        raise ConfigError(
            f"preprocess_conf.feature_method: {source!r} is no folder here, and the Hugging Face hub does not give it "
            f"({_first_line(error)}). Check the name and the connection, or download it elsewhere and name its folder"
        ) from error
    return folder


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the reports and bars of transformers: what is missing is an error here, the rest is of no interest."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
