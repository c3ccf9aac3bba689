"""Labelled images: from .npz files, and from folders or zip files with a folder per class."""

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

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Images of one size with their classes, by number."""

    pixels: UInt8[np.ndarray, "n height width channels"]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.pixels) == len(self.labels):
            raise DataError(f"{len(self.pixels)} images and {len(self.labels)} labels make no set")
        least, most = int(self.labels.min()), int(self.labels.max())
        if least < 0 or most >= len(self.classes):
            raise InputError(
                f"label {least if least < 0 else most} is out of range for {len(self.classes)} "
                f"classes; labels are 0 to {len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def rows(self, rows: Int64[np.ndarray, " m"]) -> "Images":
        """Some of the images, in this order."""
        return Images(self.pixels[rows], self.labels[rows], self.classes)

    def split(self, held_out: int, seed: int) -> tuple["Images", "Images"]:
        """All but `held_out` images, and these, drawn by the seed."""
        kept, held = hold_out(len(self), held_out, seed)
        return self.rows(kept), self.rows(held)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Where images are, and how many are held out."""

    images: str
    """A .npz with `train_images` [n, height, width(, channels)] and `train_labels` (or `images`
    and `labels`), or a folder or .zip with files `…/class/name.jpg`."""
    part: str = "train"
    """The prefix of arrays in a .npz, or the folder of classes, if it has one."""
    classes: tuple[str, ...] | None = None
    """Names of the classes 0, 1, …, in place of those that the file has."""
    held_out: int = 2000
    limit: int | None = None
    """Take so many images, drawn at random."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(1, limit=self.limit)
        check_at_least(0, seed=self.seed)

    def read(self) -> tuple[Images, Images]:
        """The images to train on, and those held out."""
        images = read_images(Path(self.images), self.part)
        if self.classes is not None:
            images = Images(images.pixels, images.labels, self.classes)
        if self.limit is not None and self.limit < len(images):
            chosen = np.random.default_rng(self.seed).permutation(len(images))[: self.limit]
            images = images.rows(np.sort(chosen))
        return images.split(self.held_out, self.seed)


def read_images(path: Path, part: str = "train") -> Images:
    """All images of one part of a file or folder, else `DataError`."""
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
    right = pixels.ndim == 4 and pixels.dtype == np.uint8 and pixels.shape[3] <= 4
    if not right or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path} holds {pixels.dtype} images of shape {pixels.shape} and {labels.dtype} labels "
            f"of shape {labels.shape}; images are uint8 [n, height, width] or with 1 to 4 channels "
            "last, labels whole numbers [n]"
        )
    classes = tuple(str(label) for label in range(int(labels.max(initial=0)) + 1))
    return Images(pixels, labels.astype(np.int64), classes)


def _read_zip(path: Path, part: str) -> Images:
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_files(path, part, archive.namelist(), archive.read)
    except (OSError, zipfile.BadZipFile) as e:
        raise DataError(f"{path} is no whole zip file ({e}); copy it again") from None


def _read_files(
    source: Path, part: str, names: Iterable[str], read: Callable[[str], bytes]
) -> Images:
    """Images named `…/class/file`; those below a folder called `part`, where there is one."""
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
                "bring images to one size first"
            )
    return Images(np.stack(arrays), labels, classes)


def _decode(image: Any, source: Path, path: PurePosixPath, data: bytes) -> np.ndarray:
    try:
        return np.asarray(image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, ValueError) as e:
        raise DataError(f"{source}: {path} is no image ({e}); remove it") from None
