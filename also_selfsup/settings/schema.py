"""Before the first file is read: every setting of a run, with its type, default, unit and meaning.

Names are those users know from the published ALSO code; the defaults are the `nuscenes` recipe's (CVPR 2023,
section 4).
"""

from dataclasses import dataclass
from typing import Any

from also_selfsup.settings.option import option


@dataclass(frozen=True)
class Data:
    """Reading scans."""

    on_bad_scan: str = option(
        "raise",
        "a damaged or missing scan ends the run, or is skipped, logged and counted",
        choices=("raise", "skip"),
    )
    skip_ratio: int = option(1, "pre-train on every n-th scan or scene only", low=1)
    min_range: float = option(0.01, "returns nearer to the sensor are dropped", unit="m", low=0.0)
    val_stride: int = option(1, "pre-training validates on every n-th frame of its split only", low=1)
    val_frames: int | None = option(
        None, "pre-training validates on the first so many of these only; null: on all", low=1
    )
    intensity_scale: float | None = option(
        None, "intensities of the files are divided by this; null: the data set's own", above=0.0
    )
    query_frames: int = option(
        0, "so many frames before and behind a scan give points for queries too", low=0
    )
    columns: list[str] | None = option(
        None, "names of a point's values in the files, in order; null: the data set's own"
    )
    sensor_origin: list[float] | None = option(
        None, "where the rays of a folder's scans start: [x, y, z]; null: as the files say, or 0", unit="m"
    )
    val_every: int = option(10, "every n-th file of a folder validates, the others train", low=2)


@dataclass(frozen=True)
class Transforms:
    """From points to the network's input."""

    grid_size: float = option(
        0.1, "decimation keeps one point a cell of this size; 0 keeps all", unit="m", low=0.0
    )
    query_distance: float = option(
        0.1, "queries lie at most this far before or behind a point (delta of the paper)", unit="m", above=0.0
    )
    rotation: bool = option(True, "rotate each training scan about z by a random angle")
    flip: bool = option(True, "mirror each training scan in x with probability one half")


@dataclass(frozen=True)
class Network:
    """Backbone and decoder."""

    backbone: str = option("MinkUNet34", "name in also_selfsup.networks.BACKBONES")
    decoder: str = option("InterpNet", "name in also_selfsup.networks.DECODERS")
    framework: str = option(
        "auto", "sparse-convolution library", choices=("auto", "native", "spconv", "torchsparse")
    )
    voxel_size: Any = option(0.1, "edge of the input voxels: a number, or three for x, y, z", unit="m")
    latent_size: int = option(128, "channels of the latent vectors", low=1)
    radius: float = option(1.0, "supports of a query lie within this distance", unit="m", above=0.0)
    column_search: bool = option(False, "search supports in x, y only (bird's-eye-view backbones)")
    extent: list[float] | None = option(
        None,
        "what SECOND sees: [x_min, y_min, z_min, x_max, y_max, z_max]; null for others",
        unit="m",
    )
    bev_centres: str = option(
        "exact",
        "where SECOND's latents lie; published: stretched from edge to edge, for weights trained so",
        choices=("exact", "published"),
    )


@dataclass(frozen=True)
class Loss:
    """Weights of the pre-training losses."""

    recons_lambda: float = option(1.0, "weight of the occupancy cross-entropy", low=0.0)
    intensity_lambda: float = option(1.0, "weight of the intensity error", low=0.0)


@dataclass(frozen=True)
class Training:
    """Pre-training."""

    max_epochs: int = option(200, "epochs", low=1)
    batch_size: int = option(16, "scans a step and process", low=1)
    lr: float = option(0.001, "learning rate of AdamW, constant", above=0.0)
    weight_decay: float = option(0.01, "weight decay of AdamW", low=0.0)
    init_from: str | None = option(
        None, "file of weights that the backbone starts from, as convert_models.py writes it; null: random"
    )
    on_nan: str = option(
        "stop",
        "a step with a NaN or infinite gradient is left out; then the run, or a fine-tuning, ends or goes on",
        choices=("stop", "skip"),
    )


@dataclass(frozen=True)
class Probes:
    """Scores of frozen features on labelled scans while pre-training; no label trains the network."""

    interval: int = option(0, "epochs between probes; 0: none, and no label is opened", low=0)
    split: str | None = option(
        None, "its first half is learnt from, its second half scored; null: as cfg.val_split"
    )
    scans: int = option(32, "most scans of each half", low=1)
    points: int = option(512, "most labelled points of each of these scans", low=1)
    neighbours: int = option(20, "points that vote in the k-NN classification", low=1)


@dataclass(frozen=True)
class Downstream:
    """Fine-tuning for semantic segmentation."""

    max_epochs: int = option(30, "epochs", low=1)
    batch_size: int = option(8, "scans a step and process", low=1)
    lr: float = option(0.001, "first learning rate of AdamW, falling to 0 along a cosine", above=0.0)
    weight_decay: float = option(0.01, "weight decay of AdamW", low=0.0)
    val_interval: int | None = option(None, "epochs between validations; null: as cfg.val_interval", low=1)
    skip_ratio: int = option(1, "label fraction: train on one n-th of the labelled scans", low=1)
    train_split: str = option("train", "split to train on")
    val_split: str = option("val", "split to validate on")
    checkpoint_dir: str | None = option(None, "folder of the pre-trained weights; null: train from scratch")
    checkpoint_name: str | None = option(None, "file in checkpoint_dir, as written by convert_models.py")
    lovasz: bool = option(False, "add the Lovasz-softmax term to the cross-entropy")
    linear_probe: bool = option(False, "train the classifier only; backbone and batch-norm stay as loaded")
    probe_hidden: bool = option(
        False, "a hidden layer before the classifier that linear_probe trains: an MLP"
    )


@dataclass(frozen=True)
class Logging:
    """Where figures go, besides logs_train.csv and logs_val.csv."""

    tensorboard: bool = option(True, "TensorBoard event files")
    wandb: bool = option(False, "Weights & Biases (pip install 'also-selfsup[logging]')")
    wandb_project: str = option("also_selfsup", "project of Weights & Biases")
    progress_bar: bool = option(True, "bar with rate and time left")
    report: bool = option(True, "report.html with curves and pictures, drawn at every validation")
    picture_scans: int = option(
        2, "validation scans around which pre-training draws the predicted occupancy; 0: none", low=0
    )
    picture_seconds: float = option(
        20.0, "at each validation, no picture of the network is begun after this time", unit="s", low=0.0
    )


@dataclass(frozen=True)
class Inspect:
    """What inspect_data.py looks at; trainings do not ask for it."""

    labels: bool = option(False, "labels too, on the splits of fine-tuning; short: --labels")
    max_scans: int | None = option(
        None, "scans of each split, spread evenly; null: all; short: max_scans=N", low=1
    )


@dataclass(frozen=True)
class Trainer:
    """Options handed to Lightning's Trainer as they are; null leaves its default."""

    accelerator: str = option(
        "auto", "what computes; auto: a GPU if there is one", choices=("auto", "cpu", "gpu", "cuda", "mps")
    )
    strategy: str | None = option(None, "null: one process, or DDP when num_device is above 1")
    num_nodes: int = option(1, "machines", low=1)
    limit_train_batches: Any = option(None, "batches an epoch: a count, or a share below 1.0")
    limit_val_batches: Any = option(None, "validation batches: a count, or a share below 1.0")
    max_steps: int = option(-1, "stop after so many optimiser steps; -1: never", low=-1)
    accumulate_grad_batches: int = option(1, "batches summed before an optimiser step", low=1)
    gradient_clip_val: float | None = option(None, "largest norm of the gradient", above=0.0)
    sync_batchnorm: bool = option(False, "batch-norm statistics over all processes")
    cuda_graphs: bool = option(
        True, "on a GPU, record the network's passes once and replay them; same results, more memory"
    )
    checkpoint_activations: bool = option(
        False, "keep only the input of a residual block, compute the rest again going back: less memory"
    )
    log_every_n_steps: int = option(20, "steps between logged training figures", low=1)
    deterministic: bool = option(False, "refuse operations whose result may differ between runs")
    detect_anomaly: bool = option(False, "stop at the operation that makes a NaN (slow)")


@dataclass(frozen=True)
class Settings:
    """All settings of a run, under the key `cfg`."""

    name: str = option("nuscenes", "name of the recipe: a folder of its own under save_dir")
    dataset_name: str = option("NuScenes", "name in also_selfsup.data.DATASETS")
    dataset_root: str = option("data/nuscenes", "folder of the data set, in its native layout")
    train_split: str = option("parametrizing", "split to pre-train on")
    val_split: str = option("verifying", "split that validates the pre-training")
    save_dir: str = option("results", "folder of all results")
    inputs: list[str] = option(
        ["intensities"], "fields of a point that enter the network", choices=("intensities", "pos")
    )
    manifold_points: int = option(16384, "most input points of a scan", low=1)
    non_manifold_points: int = option(2048, "occupancy queries of a scan", low=3)
    val_interval: int = option(5, "epochs between validations", low=1)
    seed: int = option(0, "same seed, same run", low=0)
    num_device: int = option(1, "GPUs, or processes on a CPU", low=1)
    threads: int = option(6, "loader processes of each training process; 0 reads in the main one", low=0)
    precision: str = option(
        "auto",
        "auto: bf16 or fp16 mixed on a GPU, fp32 on a CPU",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed", "64-true"),
    )
    resume: str | None = option(
        None, "continue from this checkpoint; auto: from the last one of the newest run; null: begin anew"
    )
    checkpoint_interval: int = option(
        1, "epochs between writings of last.ckpt; that of the last epoch is always written", low=1
    )
    max_minutes: float | None = option(
        None,
        "a run stops with the epoch in which its time is over; cfg.resume=auto goes on",
        unit="min",
        above=0.0,
    )
    checkpoint_steps: int | None = option(
        None, "also write last.ckpt every n optimiser steps; null: at the end of an epoch only", low=1
    )
    checkpoint_minutes: float | None = option(
        None, "also write last.ckpt when so long has passed since it was written", unit="min", above=0.0
    )
    data: Data = option(Data, "reading scans")
    transforms: Transforms = option(Transforms, "from points to the network's input")
    network: Network = option(Network, "backbone and decoder")
    loss: Loss = option(Loss, "weights of the pre-training losses")
    training: Training = option(Training, "pre-training")
    probes: Probes = option(Probes, "probes of frozen features while pre-training")
    downstream: Downstream = option(Downstream, "fine-tuning")
    logging: Logging = option(Logging, "loggers")
    inspect: Inspect = option(Inspect, "looking over a data set")
    trainer: Trainer = option(Trainer, "options of Lightning's Trainer")
