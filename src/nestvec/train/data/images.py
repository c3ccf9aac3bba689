"""Labelled images, read from .npz files, and from folders or zip files of classes."""

import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from nestvec.engine.validators import check_at_least
from nestvec.errors import DataError, InputError
from nestvec.extras import require
from nestvec.shapes import Int64, UInt8
from nestvec.train.data.held_out import hold_out

DIGITS = "digits"
_DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Images of one size with the numbers of their classes."""

    pixels: UInt8[np.ndarray, "n height width channels"]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.pixels) == len(self.labels):
            raise DataError(
                f"{len(self.pixels)} images with {len(self.labels)} labels; "
                "pass one label per image, and at least one image"
            )
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0 or highest >= len(self.classes):
            wrong = lowest if lowest < 0 else highest
            raise InputError(
                f"label {wrong} is out of range for {len(self.classes)} classes; "
                f"use 0 to {len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def select(self, rows: Int64[np.ndarray, " m"]) -> "Images":
        """Select images in this order."""
        return Images(self.pixels[rows], self.labels[rows], self.classes)

    def split(self, held_out: int, seed: int) -> tuple["Images", "Images"]:
        """Hold out `held_out` images, drawn by the seed; return the training images and these."""
        train_rows, held_out_rows = hold_out(len(self), held_out, seed)
        return self.select(train_rows), self.select(held_out_rows)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file or folder of labelled images, and the number of images to hold out."""

    images: str
    """One of "digits", the 1,797 handwritten digits of scikit-learn; a .npz with `train_images`
    [n, height, width(, channels)] and `train_labels` (or `images` and `labels`); a folder or .zip
    with files `…/class/name.jpg`."""
    part: str = "train"
    """The prefix of the arrays in a .npz, or the folder above the classes, where there is one."""
    classes: tuple[str, ...] | None = None
    """Names of the classes 0, 1, …, in place of those in the file."""
    held_out: int = 2000
    limit: int | None = None
    """Take at most so many images, drawn at random."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(1, limit=self.limit)
        check_at_least(0, seed=self.seed)

    def read(self) -> tuple[Images, Images]:
        """Read the images to train on, and those held out."""
        is_digits = self.images == DIGITS and not Path(DIGITS).exists()
        images = read_digits() if is_digits else read_images(Path(self.images), self.part)
        if self.classes is not None:
            images = Images(images.pixels, images.labels, self.classes)
        if self.limit is not None and self.limit < len(images):
            sample = np.random.default_rng(self.seed).permutation(len(images))[: self.limit]
            images = images.select(np.sort(sample))
        return images.split(self.held_out, self.seed)


def read_digits() -> Images:
    """Load the digits that scikit-learn ships, of 8 × 8 pixels, doubled to 16 × 16."""
    digits = require("sklearn.datasets", "train").load_digits()
    pixels = np.repeat(np.repeat(digits.images, 2, axis=1), 2, axis=2)
    gray = np.round(pixels * (255 / 16)).astype(np.uint8)  # scikit-learn counts from 0 to 16
    return Images(gray[..., None], digits.target.astype(np.int64), _DIGIT_NAMES)


def read_images(path: Path, part: str = "train") -> Images:
    """Read all images of one part of a file or folder; `DataError` where that fails."""
    if not path.exists():
        raise DataError(f"there is no file or folder '{path}'; check the path")
    if path.suffix == ".npz":
        return _read_npz(path, part)
    if path.suffix == ".zip":
        return _read_zip(path, part)
    if not path.is_dir():
        raise DataError(f"{path} is neither a .npz, nor a .zip, nor a folder of images")
    files = [p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()]
    return _read_files(path, part, files, lambda name: (path / name).read_bytes())


def _read_npz(path: Path, part: str) -> Images:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [f"{part}_images", f"{part}_labels"]
            if names[0] not in arrays:
                names = ["images", "labels"]
            pixels, labels = (arrays[name] for name in names)
    except KeyError:
        raise DataError(
            f"{path} has neither {part}_images and {part}_labels nor images and labels"
        ) from None
    except (OSError, ValueError, zipfile.BadZipFile) as e:
        raise DataError(f"{path} cannot be read as .npz ({e}); write it again") from None
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    # More "channels" than 4 are the width of images with channels first.
    are_images = pixels.ndim == 4 and pixels.dtype == np.uint8 and pixels.shape[3] <= 4
    if not are_images or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path} holds {pixels.dtype} images of shape {pixels.shape} and {labels.dtype} labels "
            f"of shape {labels.shape}; images must be uint8 [n, height, width] or with 1 to 4 "
            "channels last, and labels whole numbers [n]"
        )
    classes = tuple(str(label) for label in range(int(labels.max(initial=0)) + 1))
    return Images(pixels, labels.astype(np.int64), classes)


def _read_zip(path: Path, part: str) -> Images:
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_files(path, part, archive.namelist(), archive.read)
    except (OSError, zipfile.BadZipFile) as e:
        raise DataError(f"{path} is no complete zip file ({e}); copy it again") from None


def _read_files(
    source: Path, part: str, names: Iterable[str], read: Callable[[str], bytes]
) -> Images:
    """Read images named `…/class/file`, from below a folder called `part` where there is one."""
    paths = [PurePosixPath(name) for name in sorted(names)]
    paths = [p for p in paths if p.suffix.lower() in _SUFFIXES and len(p.parts) > 1]
    paths = [p for p in paths if part in p.parts[:-2]] or paths
    if not paths:
        raise DataError(f"{source} holds no images in folders of classes, such as cat/1.jpg")
    classes = tuple(sorted({path.parts[-2] for path in paths}))
    labels = np.array([classes.index(path.parts[-2]) for path in paths], dtype=np.int64)
    image = require("PIL.Image", "train")
    arrays = [_decode(image, source, path, read(str(path))) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise DataError(
                f"{source}: {path} is {array.shape[:2]} and {paths[0]} {arrays[0].shape[:2]}; "
                "resize images to one size first"
            )
    return Images(np.stack(arrays), labels, classes)


def _decode(image: Any, source: Path, path: PurePosixPath, data: bytes) -> np.ndarray:
    try:
        return np.asarray(image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, ValueError) as e:
        raise DataError(f"{source}: {path} is no image ({e}); remove it") from None
