"""Installation of also_selfsup: pure Python, nothing to compile."""

from pathlib import Path

from setuptools import find_packages, setup

REQUIRED = [
    # Tensors, autograd, optimisers. 2.6 is the first release with torch.nn.utils.get_total_norm.
    "torch>=2.6",
    # Training loop, checkpoints, processes. 2.6.2 and 2.6.3 were withdrawn by their authors.
    "pytorch-lightning>=2.4,!=2.6.2,!=2.6.3,<3",
    # Scores reduced over processes. 1.0 fixed the classification interface that evaluation/ uses.
    "torchmetrics>=1.0,<2",
    # Configuration groups and command-line overrides. 1.3 is the first that needs `version_base`.
    "hydra-core>=1.3,<1.4",
    # Typed configuration under Hydra 1.3, which works with the 2.3 series.
    "omegaconf>=2.3,<2.4",
    # Arrays read from files. Both 1.26 and 2.x work; nothing here needs either.
    "numpy>=1.26",
    # KD-tree that carries predictions to the full resolution (cKDTree.query with `workers`: 1.6).
    "scipy>=1.6",
    # Pictures of occupancy, confusion matrices, curves. 3.7 is the oldest with wheels for Python 3.11.
    "matplotlib>=3.7",
    # Progress bars and tables in the terminal (Lightning's RichProgressBar wants 12.3).
    "rich>=12.3",
    # Marching cubes, for the surface that visualize.py shows. 0.22 is the first with wheels for Python 3.12.
    "scikit-image>=0.22,<1",
    # Event files next to the CSV logs.
    "tensorboard>=2.11",
]

EXTRAS = {
    # Alternative sparse-convolution library; 2.3 is the first whose wheels hold a CPU build for Python 3.10+.
    # On a GPU install the wheel of your CUDA instead, e.g. spconv-cu126.
    "spconv": ["spconv>=2.3"],
    # Alternative sparse-convolution library; no wheels exist, its authors' guide says how to build it.
    "torchsparse": ["torchsparse>=1.4"],
    # Weights & Biases as a logger (cfg.logging.wandb=true).
    "logging": ["wandb>=0.16"],
    # Scan formats of the data set Folder; each library is imported only when such a file is met.
    "formats": [
        # LAS and LAZ: the reader most others build upon. 2.5.4 is the first that runs with numpy 2.
        "laspy>=2.5.4,<3",
        # Decompresses LAZ for laspy, without a compiler. laspy 2.5 asks for 0.6.
        "lazrs>=0.6,<1",
        # Feather, by the authors of the format. 16 is the first that runs with numpy 2.
        "pyarrow>=16",
    ],
    "dev": [
        # The official reader of nuScenes, used as the oracle of our own; it asks for numpy below 2.
        "nuscenes-devkit>=1.1.11",
        # Tests, in parallel, with generated inputs.
        "pytest>=8",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        # The GPU kernels run in its interpreter on the CPU. GPU builds of torch bring their own.
        "triton>=3.2; platform_system == 'Linux'",
        # The other sparse-convolution library, against which our own is tested.
        "spconv>=2.3",
        # Style and types, as configured in pyproject.toml.
        "ruff>=0.6",
        "mypy>=1.11",
        # Runs ruff and mypy before a commit.
        "pre-commit>=3",
    ],
}
# The tests open every format.
EXTRAS["dev"] += EXTRAS["formats"]

setup(
    name="also-selfsup",
    version="0.1.0",
    description="Self-supervised pre-training for automotive lidar by occupancy estimation",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["also_selfsup", "also_selfsup.*"]),
    package_data={
        "also_selfsup.data.splits": ["*"],
        "also_selfsup.reporting": ["*.html", "*.css", "*.js"],
        "also_selfsup": ["py.typed"],
    },
    install_requires=REQUIRED,
    extras_require=EXTRAS,
)
