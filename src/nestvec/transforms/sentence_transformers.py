"""Adapters as modules of Sentence Transformers: its own `Dense`, `Normalize` and `Router`.

So a saved model is loaded by anyone, without nestvec and without trusting foreign code.
"""

from types import ModuleType
from typing import Any

import numpy as np

from nestvec.adapt.matryoshka_adaptor import Map, MatryoshkaAdaptor
from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.shapes import Float32
from nestvec.transforms.base import Adapter, Affine, Side
from nestvec.transforms.chain import Chain
from nestvec.transforms.linear import Prefix


def as_modules(adapter: Adapter) -> list[Any]:
    """Modules that turn a sentence embedding into the adapted one, of unit length.

    Where an offset comes after an adaptor, for sentence embeddings of unit length: Sentence
    Transformers has no module that gives a row the length back that it had.
    """
    library = _library()
    sides = [_side(library, adapter, side) for side in ("documents", "queries")]
    if not _two_sided(adapter):
        return sides[0]
    return [library.Router.for_query_document(query_modules=sides[1], document_modules=sides[0])]


def _library() -> ModuleType:
    """The module that has them: it moved in version 6."""
    whole = require("sentence_transformers", "text")
    if int(whole.__version__.partition(".")[0]) >= 6:
        return require("sentence_transformers.sentence_transformer.modules", "text")
    return require("sentence_transformers.models", "text")


def _two_sided(adapter: Adapter) -> bool:
    parts = adapter.parts if isinstance(adapter, Chain) else (adapter,)
    return any(isinstance(part, MatryoshkaAdaptor) and part.two_sided for part in parts)


def _side(library: ModuleType, adapter: Adapter, side: Side) -> list[Any]:
    parts = adapter.parts if isinstance(adapter, Chain) else (adapter,)
    made = [module for part in parts for module in _part(library, part, side)]
    is_unit = isinstance(parts[-1], MatryoshkaAdaptor | Prefix)
    return made if is_unit else [*made, library.Normalize()]


def _part(library: ModuleType, part: Adapter, side: Side) -> list[Any]:
    if isinstance(part, MatryoshkaAdaptor):
        return [*_map(library, part.map_of(side)), library.Normalize()]
    if isinstance(part, Prefix):
        cut = np.eye(part.dim, part.width, dtype=np.float32)
        zero = np.zeros(part.width, np.float32)
        return [_dense(library, Affine(cut, zero)), library.Normalize()]
    affine = part.affine(side)
    if affine is None:
        raise InputError(f"a {part.kind} has no form in Sentence Transformers; use transform")
    return [_dense(library, affine)]


def _map(library: ModuleType, mapped: Map) -> list[Any]:
    """One layer, or two: x = relu(x) − relu(−x) carries the row past the hidden layer."""
    residual = mapped.residual
    if residual is None:
        nothing = np.zeros(mapped.matrix.shape[1], np.float32)
        return [_dense(library, Affine(mapped.matrix, nothing))]
    dim, width = mapped.matrix.shape
    eye, nothing = np.eye(dim, dtype=np.float32), np.zeros(2 * dim, np.float32)
    into = np.concatenate([eye, -eye, residual.into], axis=1)
    out = np.concatenate([mapped.matrix, -mapped.matrix, residual.out])
    bias = np.concatenate([nothing, residual.bias])
    return [
        _dense(library, Affine(into, bias), relu=True),
        _dense(library, Affine(out, np.zeros(width, np.float32))),
    ]


def _dense(library: ModuleType, affine: Affine, relu: bool = False) -> Any:
    torch = require("torch", "text")
    matrix: Float32[np.ndarray, "dim width"] = affine.matrix
    return library.Dense(
        *matrix.shape,
        activation_function=torch.nn.ReLU() if relu else torch.nn.Identity(),
        init_weight=torch.tensor(np.ascontiguousarray(matrix.T)),
        init_bias=torch.tensor(affine.offset),
    )
