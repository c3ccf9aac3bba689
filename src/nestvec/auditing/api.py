"""`nestvec.audit`: one call from vectors and queries to a report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike
from typing_extensions import Unpack

from nestvec.auditing.options import DEFAULTS, AuditOptions
from nestvec.deprecation import renamed_arguments
from nestvec.keywords import check_seed, complete
from nestvec.metrics import Id, Qrels
from nestvec.plan import Plan
from nestvec.progress import Progress, silent
from nestvec.vector_store import VectorStore

if TYPE_CHECKING:
    from nestvec.auditing.reporting.report import AuditReport

# Checks and statistics are imported by the call: `import nestvec` is fast, these imports are not.


@renamed_arguments(
    {"own_rows": "self_match", "mine": "mine_hard_negatives", "resume": "checkpoint"}
)
def audit(
    vectors: ArrayLike | VectorStore,
    queries: ArrayLike,
    qrels: Qrels | None = None,
    hard_negatives: Sequence[Sequence[Any]] | None = None,
    variants: Sequence[Mapping[str, Any] | Plan] | None = None,
    *,
    progress: Progress = silent,
    **options: Unpack[AuditOptions],
) -> "AuditReport":
    """Measure by how much `vectors` [n, dim], or those of a vector store, can be compressed.

    Scores are inner products. `variants` are dicts such as {"dims": 64, "bits": 1}; None: halvings
    of the width at 32 (full precision), 8 and 1 bits, with controls. Vectors that were compressed
    elsewhere are passed as "documents" and "queries" of a variant and audited as they are. For an
    index, a variant may be a search plan, or {"plan": its text, or "default"}: then the hits that
    the index itself returns by that plan are audited.

    `qrels` are relevance judgments, {query id: {document id: grade}}; without them the ranking by
    full vectors is the target. `hard_negatives` are (query id, positive id, negative id,
    kind). The `options` are those of `AuditOptions`: ids, self-matches, mining, texts, stress
    tests, thresholds, the seed and a checkpoint.

    `InputError` for arguments that are wrong or do not fit together.
    """
    from dataclasses import replace

    from nestvec.auditing.audit_inputs import AuditInputs
    from nestvec.auditing.inputs import stress as stress_inputs
    from nestvec.auditing.inputs import validate
    from nestvec.auditing.inputs.stores import StoreSpace
    from nestvec.auditing.runner import run_audit
    from nestvec.auditing.verdict import Thresholds

    values = complete(options, DEFAULTS, "audit")
    ids, seed = values["ids"], values["seed"]
    store: VectorStore | None = None
    store_ids: list[Id] = []
    texts, stress = values["texts"], values["stress"]
    if isinstance(vectors, VectorStore):
        store, space = vectors, StoreSpace(vectors)
        vectors, queries, store_ids = space.read(queries)
        texts, stress = space.map_texts(texts), space.map_stress(stress)
        ids = store_ids if ids is None else ids
    full = validate.validate_vectors(vectors, queries)
    document_ids = validate.validate_ids(ids, len(full.documents), "ids")
    ids_of_queries = validate.validate_ids(values["query_ids"], len(full.queries), "query_ids")
    inputs = AuditInputs(
        full=full,
        ids=document_ids,
        query_ids=ids_of_queries,
        self_match=validate.validate_self_match(values["self_match"], full),
        judgments=validate.validate_judgments(qrels, ids_of_queries, document_ids),
        triplets=validate.validate_triplets(hard_negatives, ids_of_queries, document_ids),
        groups=validate.validate_groups(values["groups"], len(full.queries)),
        variants=validate.validate_variants(variants, full, store, store_ids),
        thresholds=Thresholds.read(values["thresholds"]),
        seed=check_seed(seed),
    )
    method = values["mine_hard_negatives"]
    triplets, source = stress_inputs.hard_negatives_from(inputs, method, texts)
    inputs = replace(
        inputs,
        triplets=triplets,
        hard_negative_source=source,
        stress=stress_inputs.validate_stress(inputs, texts, stress, progress),
    )
    command = f"nestvec.audit(vectors, queries, ..., seed={seed})"
    return run_audit(inputs, command, progress, values["checkpoint"])
