"""The schema: every key that a configuration file may have, with meaning, unit, default and range.

Section and field names are the YAML keys of the mvector 1.1 package; keys that only this version has are mixed in.
Nothing here imports torch, so that `--help` is quick. `docs/configuration.md` is generated from this file.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from mvector.config.augmentation import AugmentationConfig
from mvector.config.section import Section, cross_check

DEFAULT_SAMPLE_RATE_HZ = 16000
# The argument in which each feature method states its sample rate; torchaudio's names, and SpeechBrain's.
SAMPLE_RATE_ARGUMENT = {
    "Fbank": "sample_frequency",
    "MelSpectrogram": "sample_rate",
    "MFCC": "sample_rate",
    "SpeechBrainFbank": "sample_rate",
}
WARMUP_COSINE = "WarmupCosineSchedulerLR"
WARMUP_EXPONENTIAL = "WarmupExponentialSchedulerLR"
WARMUP_SCHEDULERS = (WARMUP_COSINE, WARMUP_EXPONENTIAL)


class DatasetConfig(Section):
    """Which utterances are used and how they are prepared."""

    min_duration: float = Field(
        default=0.5, ge=0, description="Training leaves out utterances shorter than this (seconds)."
    )
    max_duration: float = Field(
        default=3.0,
        gt=0,
        description="Length of a training crop (seconds); a shorter utterance is repeated to fill it.",
    )
    sample_rate: int = Field(
        default=DEFAULT_SAMPLE_RATE_HZ,
        gt=0,
        description="Rate that the model works at (Hz); other recordings are resampled.",
    )
    use_dB_normalization: bool = Field(default=True, description="Bring every waveform to the level `target_dB`.")
    target_dB: float = Field(default=-20.0, le=0, description="Level of a normalised waveform (RMS, dB full scale).")

    @model_validator(mode="after")
    def _check(self) -> "DatasetConfig":
        if self.min_duration > self.max_duration:
            cross_check("min_duration", f"{self.min_duration} is more than max_duration, {self.max_duration}")
        return self


class SamplerConfig(Section):
    """How training batches are drawn."""

    batch_size: int = Field(default=64, ge=1, description="Utterances in a training batch, on each device.")
    drop_last: bool = Field(default=True, description="Leave out the last batch of an epoch when it is not full.")
    balance_speakers: bool = Field(
        default=False,
        description="Draw every speaker equally often in an epoch, whatever the number of his utterances; without P×K "
        "batches and `seconds_per_crop`.",
    )
    seconds_per_crop: float | None = Field(
        default=None,
        gt=0,
        description="An utterance is drawn once for every started so many seconds of its length in each epoch, so "
        "that long recordings count for more; null: every utterance once.",
    )


class DataLoaderConfig(Section):
    """The processes that read and decode recordings."""

    num_workers: int = Field(
        default=8, ge=0, description="Processes that read recordings; 0: read in the training process."
    )


class EvalConfig(Section):
    """How utterances are embedded in evaluation."""

    batch_size: int = Field(
        default=8, ge=1, description="Utterances embedded together (changes the speed, never the result)."
    )
    max_duration: float = Field(
        default=20.0, gt=0, description="An evaluated utterance is cut after this time (seconds)."
    )


class DatasetConf(Section):
    """Lists, crops, batches."""

    dataset: DatasetConfig = Field(default_factory=DatasetConfig)
    sampler: SamplerConfig = Field(default_factory=SamplerConfig)
    dataLoader: DataLoaderConfig = Field(default_factory=DataLoaderConfig)
    eval_conf: EvalConfig = Field(default_factory=EvalConfig)
    train_list: str | None = Field(
        default=None,
        description="Training data list: `path<TAB>speaker` in every line. Or shards: the `index.json` that "
        "`tools/make_shards.py` wrote, or tar files of WebDataset layout such as `train-{0000..0099}.tar`; paths or "
        "URLs. Every other key for a data list takes shards, too.",
    )
    train_features: str | None = Field(
        default=None,
        description="Folder that `tools/extract_features.py` wrote: training reads features from there, and no "
        "recordings of `train_list`. Only for training without augmentation of the sound (SpecAugment may stay).",
    )
    enroll_list: str | None = Field(
        default=None,
        description="Enrollment data list of the test; null where `trials_list` is a trial list with both sides.",
    )
    trials_list: str | None = Field(
        default=None,
        description="The test: a data list compared all against all with `enroll_list`, or a trial list (VoxCeleb or "
        "CN-Celeb form); told apart by its content.",
    )
    dev_enroll_list: str | None = Field(default=None, description="As `enroll_list`, for the development list.")
    dev_trials_list: str | None = Field(
        default=None,
        description="Development list, by which the best epoch and the threshold are chosen: a trial list, or a data "
        "list compared with `dev_enroll_list` (with itself where that is null). Null: see "
        "`train_conf.choose_on_test_list`.",
    )
    enroll_map: str | None = Field(
        default=None,
        description="Enrollment map for trial lists: each enrolled name with its one or several utterances.",
    )
    data_root: str | None = Field(
        default=None,
        description="Folder that relative paths in lists start from; null: the working folder, then the list's.",
    )
    is_use_pksampler: bool = Field(
        default=False,
        description="Draw `sample_per_id` utterances of each speaker in a batch (P×K batches), leaving out speakers "
        "with fewer. Losses that compare utterances need it; TripletAngularMarginLoss switches it on, as in mvector "
        "1.1.",
    )
    sample_per_id: int = Field(
        default=4, ge=1, description="Utterances of one speaker in a P×K batch; must divide `sampler.batch_size`."
    )


class PreprocessConf(Section):
    """Waveform to features; stored with the model, because weights fit only the features they were trained on."""

    use_hf_model: bool = Field(
        default=False,
        description="Take the features from the self-supervised network (WavLM, HuBERT, wav2vec 2.0 or w2v-BERT 2.0) "
        "named by `feature_method`: a learned weighted sum of all its layers. Needs the package transformers, also for "
        "using the model.",
    )
    feature_method: str = Field(
        default="Fbank",
        description="Fbank, MelSpectrogram, Spectrogram, MFCC, or the dotted path of a class of your own; with "
        "`use_hf_model` the folder of a `transformers` model, or its name on the Hugging Face hub.",
    )
    method_args: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the feature method, as torchaudio calls them; with `use_hf_model`: `freeze` (true), "
        "whether the network stays as it is and only the weights of its layers are learned. `--pretrained_model` with "
        "`freeze: false` and a small `lr` goes on from such a model and trains all of it.",
    )
    backend: Literal["native", "torchaudio"] = Field(
        default="native", description="Who computes the features: this package, or torchaudio where it is installed."
    )
    waveform_scale: float = Field(
        default=1.0,
        gt=0,
        description="Factor on waveforms in [-1, 1] before the features; 32768 is the 16-bit scale of Kaldi, on which "
        "quiet speech stays clear of the logarithm's floor.",
    )
    mean_norm: bool = Field(default=True, description="Subtract each bin's mean over the frames of the utterance.")

    @model_validator(mode="after")
    def _check(self) -> "PreprocessConf":
        if self.use_hf_model and self.waveform_scale != 1.0:
            cross_check("waveform_scale", f"{self.waveform_scale:g} does not go with use_hf_model, which needs 1")
        if self.use_hf_model and self.backend != "native":
            cross_check("backend", f"{self.backend} does not go with use_hf_model; leave it out")
        return self


class ClassifierConf(Section):
    """The layer above the embedding; used in training only."""

    classifier_type: Literal["Cosine", "Linear"] = Field(
        default="Cosine",
        description="Cosine similarity to a vector per speaker (margin losses need it), or a linear layer.",
    )
    num_speakers: int | None = Field(
        default=None, ge=1, description="Speakers in the training list; counted from it, so best left out."
    )
    num_blocks: int = Field(default=0, ge=0, description="Hidden layers between the embedding and the classifier.")
    inter_dim: int = Field(default=512, ge=1, description="Width of these hidden layers.")
    K: int = Field(default=1, ge=1, description="Vectors (sub-centres) per speaker; as in the loss's own K.")
    sharded: bool = Field(
        default=False,
        description="Share the speakers out among the processes of torchrun, for 100,000 speakers and more (Partial "
        "FC); for AAMLoss and AMLoss.",
    )
    sample_rate: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The part of the speakers that a step compares with, such as 0.1: those in the batch, and others "
        "drawn at random (Partial FC); under 1 for AAMLoss and AMLoss only.",
    )


class ModelConf(Section):
    """The network."""

    model: str = Field(default="CAMPPlus", description="Backbone by name (`mvector list` shows them) or dotted path.")
    model_args: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the backbone, such as `embd_dim`."
    )
    precision: Literal["float32", "bfloat16", "bf16"] = Field(
        default="float32",
        description="What a stored model embeds recordings in: float32, or bfloat16 (or bf16 for short), which is up "
        "to twice as quick where the processor has it and changes cosines in the fourth decimal. Thresholds found by "
        "evaluation belong to the precision; training has its own, `train_conf.enable_amp`.",
    )
    classifier: ClassifierConf = Field(default_factory=ClassifierConf)

    @model_validator(mode="after")
    def _resolve(self) -> "ModelConf":
        if self.precision == "bf16":
            self.precision = "bfloat16"
        return self


class LossConf(Section):
    """The loss."""

    loss: str = Field(default="AAMLoss", description="Loss by name (`mvector list` shows them) or dotted path.")
    loss_args: dict[str, Any] = Field(default_factory=dict, description="Arguments of the loss, such as `margin`.")
    use_margin_scheduler: bool = Field(default=False, description="Raise the margin in the course of the training.")
    margin_scheduler_args: dict[str, Any] = Field(
        default_factory=dict,
        description="The margin's course: `initial_margin` (0.0), `final_margin` (the loss's `margin`, else 0.3), "
        "`increase_start_epoch` and `fix_epoch` (three and seven tenths of `max_epoch`, rounded down), between which "
        "it rises, `increase_type` (`exp`: fast at first, or `linear`).",
    )


class OptimizerConf(Section):
    """Optimiser and learning rate."""

    optimizer: str = Field(default="Adam", description="Any class of `torch.optim`.")
    optimizer_args: dict[str, Any] = Field(
        default_factory=dict, description="Its arguments, such as `lr` and `weight_decay`."
    )
    scheduler: str = Field(
        default=WARMUP_COSINE,
        description=f"`{WARMUP_COSINE}` or `{WARMUP_EXPONENTIAL}` (stepped after every batch), or any class of "
        "`torch.optim.lr_scheduler` (stepped after every epoch; OneCycleLR and CyclicLR after every batch).",
    )
    scheduler_args: dict[str, Any] = Field(
        default_factory=dict,
        description=f"Its arguments; of `{WARMUP_COSINE}`: `min_lr` (1e-5), `max_lr` (the optimiser's `lr`, else "
        "1e-3), `warmup_epoch` (5; from `min_lr` up to `max_lr`), `fix_epoch` (`max_epoch`; back down to `min_lr`). "
        f"`{WARMUP_EXPONENTIAL}` takes the same ones.",
    )
    backbone_lr_factor: float = Field(
        default=1.0,
        gt=0,
        description="Fine-tuning: the learning rate of the backbone (and of a learned front end) is that of the "
        "classifier times this number, such as 0.1.",
    )

    @model_validator(mode="after")
    def _resolve(self) -> "OptimizerConf":
        if self.scheduler in WARMUP_SCHEDULERS:
            defaults = {"min_lr": 1e-5, "max_lr": self.optimizer_args.get("lr", 1e-3), "warmup_epoch": 5}
            self.scheduler_args = {**defaults, **self.scheduler_args}
            low, high = self.scheduler_args["min_lr"], self.scheduler_args["max_lr"]
            if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
                cross_check("scheduler_args.min_lr", f"{low} is more than max_lr, {high}")
        return self


class TrainConf(Section):
    """The run."""

    enable_amp: bool | Literal["auto"] = Field(
        default="auto",
        description="Compute in 16 bits where that is safe (autocast); auto: where the device has arithmetic for "
        "`amp_dtype`. Evaluation is in float32 whatever this says.",
    )
    amp_dtype: Literal["bfloat16", "float16"] = Field(
        default="bfloat16", description="The 16-bit type of `enable_amp`; float16 for GPUs that are slow at bfloat16."
    )
    use_compile: bool = Field(default=False, description="Compile the network with `torch.compile`.")
    max_epoch: int = Field(default=60, ge=1, description="Passes over the training list.")
    log_interval: int = Field(default=100, ge=1, description="Batches between two progress lines.")
    eval_interval: int = Field(default=1, ge=1, description="Epochs between two evaluations on the development list.")
    choose_on_test_list: bool = Field(
        default=False,
        description="Let the test list choose the best epoch and the threshold where there is no development list. "
        "Figures on that list are then no test results, and are marked as such.",
    )
    save_every_minutes: float = Field(
        default=10.0,
        gt=0,
        description="A checkpoint is written after this time (minutes), at the start and at the end of every epoch.",
    )
    accumulate_grad_batches: int = Field(
        default=1,
        ge=1,
        description="Batches whose gradients make one step of the optimiser: a batch this many times as large as fits "
        "into the memory. Batch norm still sees single batches.",
    )
    clip_grad_norm: float | None = Field(
        default=None, gt=0, description="Scale a gradient whose 2-norm is larger down to this; null: never."
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Keep an exponential moving average of the weights with this decay for each step, such as 0.999; "
        "it is what is evaluated and stored as the model. Null: none.",
    )
    average_epochs: int = Field(
        default=0,
        ge=0,
        description="Keep the weights of the last so many epochs in the folder `epochs`, and write their mean, with "
        "batch-norm statistics measured anew, as `average_model` at the end; 0: none.",
    )
    freeze_backbone_epochs: int = Field(
        default=0,
        ge=0,
        description="Fine-tuning (`--pretrained_model`): epochs at the start in which only the classifier is trained.",
    )
    tracker: Literal["VisualDL", "TensorBoard"] = Field(
        default="VisualDL",
        description="The viewer that scalars are written for, beside `metrics.jsonl`; it must be installed "
        "(`pip install visualdl`, `pip install tensorboard`).",
    )
    sync_batch_norm: bool = Field(
        default=False,
        description="With several processes (torchrun): batch norm takes mean and variance over the batches of all, "
        "not of each alone. Worth its exchange where each has few utterances.",
    )
    seed: int = Field(default=1000, ge=0, lt=2**63, description="Every random draw follows from this number.")


class LargeMarginConf(Section):
    """Large-margin fine-tuning (Thienpondt 2021): a second stage after the training, with longer crops, a larger margin
    and no other speeds, that starts from `average_model` where there is one, else from `best_model`. Its classifier
    keeps the speakers at their own speed. It writes into the folder `large_margin` of the run. A section that is
    absent: no second stage."""

    epochs: int = Field(default=5, ge=1, description="Passes over the training list.")
    max_duration: float = Field(default=6.0, gt=0, description="Length of a training crop (seconds).")
    margin: float = Field(default=0.5, gt=0, description="Margin of the loss, from the first step on.")
    max_lr: float = Field(default=1e-4, gt=0, description="Learning rate at the start of the stage.")
    min_lr: float = Field(default=2.5e-5, gt=0, description="Learning rate at its end; in between it falls as a power.")
    batch_size: int | None = Field(
        default=None, ge=2, description="Utterances in a batch, on each device; null: as in the first stage."
    )

    @model_validator(mode="after")
    def _check(self) -> "LargeMarginConf":
        if self.min_lr > self.max_lr:
            cross_check("min_lr", f"{self.min_lr} is more than max_lr, {self.max_lr}")
        return self


class DistillationConf(Section):
    """Distillation: beside the classification, the network is drawn to the embeddings that a larger one, its teacher,
    has given for the whole, clean recordings. A section that is absent: none."""

    teacher_embeddings: str = Field(
        default="dataset/teacher",
        description="Folder with the teacher's packed embeddings of the training list, one subfolder for each speed "
        "that is trained on: speed_1.0, speed_0.9 and so on; `tools/extract_embeddings.py --speed` makes them.",
    )
    weight: float = Field(default=20.0, gt=0, description="Of 1 - cos(network, teacher) beside the loss of loss_conf.")


class Config(Section):
    """A whole configuration; `load_config` makes one."""

    dataset_conf: DatasetConf = Field(default_factory=DatasetConf)
    preprocess_conf: PreprocessConf = Field(default_factory=PreprocessConf)
    model_conf: ModelConf = Field(default_factory=ModelConf)
    loss_conf: LossConf = Field(default_factory=LossConf)
    optimizer_conf: OptimizerConf = Field(default_factory=OptimizerConf)
    train_conf: TrainConf = Field(default_factory=TrainConf)
    large_margin_conf: LargeMarginConf | None = Field(
        default=None, description="Large-margin fine-tuning as a second stage; null: none."
    )
    distillation_conf: DistillationConf | None = Field(
        default=None, description="Learning from a larger network's embeddings; null: none."
    )
    augmentation: AugmentationConfig | None = Field(
        default=None, description="Augmentation, as in the separate augmentation file; null: none."
    )

    @model_validator(mode="after")
    def _check(self) -> "Config":
        self._check_sample_rate()
        self._resolve_batches()
        if self.loss_conf.loss == "SubCenterLoss":
            in_loss, in_classifier = self.loss_conf.loss_args.get("K", 3), self.model_conf.classifier.K
            if in_loss != in_classifier:
                cross_check("model_conf.classifier.K", f"{in_classifier} is not the K of SubCenterLoss, {in_loss}")
        return self

    def _resolve_batches(self) -> None:
        data = self.dataset_conf
        if data.sampler.balance_speakers and (data.is_use_pksampler or data.sampler.seconds_per_crop is not None):
            cross_check(
                "dataset_conf.sampler.balance_speakers",
                "True goes neither with P×K batches (is_use_pksampler) nor with seconds_per_crop",
            )
        if self.loss_conf.loss == "TripletAngularMarginLoss":  # mvector 1.1 draws P×K batches whatever its files say
            data.is_use_pksampler = True
        if data.is_use_pksampler and data.sampler.batch_size % data.sample_per_id:
            cross_check(
                "dataset_conf.sample_per_id",
                f"{data.sample_per_id} does not divide sampler.batch_size, {data.sampler.batch_size}, "
                "as P×K batches (is_use_pksampler) need",
            )

    def _check_sample_rate(self) -> None:
        features = self.preprocess_conf
        argument = SAMPLE_RATE_ARGUMENT.get(features.feature_method)
        if features.use_hf_model or argument is None:
            return
        rate_hz, of_features = (
            self.dataset_conf.dataset.sample_rate,
            features.method_args.get(argument, DEFAULT_SAMPLE_RATE_HZ),
        )
        if of_features != rate_hz:
            cross_check(
                f"preprocess_conf.method_args.{argument}",
                f"{of_features} is not dataset_conf.dataset.sample_rate, {rate_hz}",
            )

    def to_yaml(self) -> str:
        """The whole configuration as YAML text that `load_config` reads back to an equal object."""
        from mvector.config.yaml_text import dump_yaml

        return dump_yaml(self.model_dump())

    def describe(self) -> str:
        """One line per key in the form that `--set` takes: `train_conf.max_epoch=60`."""
        from mvector.config.yaml_text import dump_value

        return "\n".join(f"{key}={dump_value(value)}" for key, value in _leaves(self.model_dump(), ""))


def _leaves(values: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            leaves += _leaves(value, f"{prefix}{key}.")
        else:
            leaves.append((f"{prefix}{key}", value))
    return leaves
