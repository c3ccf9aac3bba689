"""A rotation that is learned: orthogonal at every step by its Cayley parameters."""

import numpy as np
import torch
from torch.nn.utils.parametrizations import orthogonal

from nestvec.adapt.material import Material
from nestvec.adapt.recipe import Recipe
from nestvec.adapt.rotation import Rotation
from nestvec.adapt.training import losses
from nestvec.adapt.training.batches import Batches
from nestvec.progress import Progress

RECIPE = Recipe(steps=300, candidates=2048, learning_rate=1e-3)


def learn(
    material: Material,
    sizes: tuple[int, ...],
    seed: int,
    progress: Progress,
    recipe: Recipe = RECIPE,
) -> Rotation:
    """The rotation that distils the full-width ranking into prefixes of `sizes`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    start = Rotation.fit(material.documents).matrix
    layer = _parametrized(torch.tensor(start.T.copy(), device=device))
    scale = torch.full((len(sizes),), 1 / recipe.temperature, device=device).log()
    scale = torch.nn.Parameter(scale)
    optimizer = torch.optim.Adam([*layer.parameters(), scale], recipe.learning_rate)
    batches = Batches(material, recipe, seed, device)
    with progress("Learning a rotation", recipe.steps) as advance:
        for step in range(recipe.steps):
            batch = batches.draw(step)
            full = batch.queries @ batch.documents.T
            target = losses.ranking_to_keep(full, batch.mask, recipe.temperature)
            mapped = layer(batch.queries), layer(batch.documents)
            loss = full.new_zeros(())
            nested = losses.nested_scores(*mapped, sizes)
            for one, scores in zip(scale.exp(), nested, strict=True):
                loss = loss + losses.distillation(scores, target, batch.mask, one)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            advance(1)
    return Rotation(_nearest_orthogonal(layer.weight.detach().cpu().numpy().T))


def _parametrized(start: torch.Tensor) -> torch.nn.Linear:
    """A linear layer whose weight is `start` times the Cayley transform of its parameters."""
    layer = torch.nn.Linear(*start.shape, bias=False, device=start.device)
    orthogonal(layer, orthogonal_map="cayley", use_trivialization=True)
    # With the trivialisation the weight that is set becomes the base, and the parameters zero.
    layer.weight = start
    return layer


def _nearest_orthogonal(matrix: np.ndarray) -> np.ndarray:
    """The orthogonal matrix nearest to one that hundreds of float32 steps left near to it."""
    left, _, right = np.linalg.svd(matrix.astype(np.float64))
    return np.ascontiguousarray(left @ right, dtype=np.float32)
