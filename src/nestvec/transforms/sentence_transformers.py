"""Transforms as modules of Sentence Transformers: `Dense`, `Normalize` and `Router`.

Anyone can load the saved model, without nestvec and without trusting foreign code.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from nestvec.extras import require
from nestvec.transforms.layers import DenseLayer, Layer, UnitLengthLayer


def build_modules(documents: Sequence[Layer], queries: Sequence[Layer] | None = None) -> list[Any]:
    """Build modules that turn a sentence embedding into the transformed one, of unit length.

    `queries` are the layers for queries, where they differ from those for documents; a router then
    chooses by the task. `MissingExtraError` without Sentence Transformers.
    """
    library = _import_modules()
    document_modules = _build_unit_rows(library, documents)
    if queries is None:
        return document_modules
    query_modules = _build_unit_rows(library, queries)
    return [
        library.Router.for_query_document(
            query_modules=query_modules, document_modules=document_modules
        )
    ]


def _import_modules() -> ModuleType:
    """Import the module that has the classes: it moved in version 6."""
    library = require("sentence_transformers", "text")
    if int(library.__version__.partition(".")[0]) >= 6:
        return require("sentence_transformers.sentence_transformer.modules", "text")
    return require("sentence_transformers.models", "text")


def _build_unit_rows(library: ModuleType, layers: Sequence[Layer]) -> list[Any]:
    modules = [_build(library, layer) for layer in layers]
    is_unit = isinstance(layers[-1], UnitLengthLayer)
    return modules if is_unit else [*modules, library.Normalize()]


def _build(library: ModuleType, layer: Layer) -> Any:
    if isinstance(layer, DenseLayer):
        return _build_dense(library, layer)
    return library.Normalize()


def _build_dense(library: ModuleType, layer: DenseLayer) -> Any:
    torch = require("torch", "text")
    return library.Dense(
        *layer.matrix.shape,
        activation_function=torch.nn.ReLU() if layer.relu else torch.nn.Identity(),
        init_weight=torch.tensor(np.ascontiguousarray(layer.matrix.T)),
        init_bias=torch.tensor(layer.offset),
    )
