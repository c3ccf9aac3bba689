"""From a name to an encoder."""

from nestvec.encode.address import OPENAI_URL
from nestvec.encode.checkpoint import PACKAGED
from nestvec.encode.encoder import Encoder
from nestvec.encode.openai import OpenAIEncoder
from nestvec.encode.sentence_transformers import SentenceTransformerEncoder
from nestvec.errors import InputError

OPENAI_PREFIX = "openai:"


def open_encoder(
    name: str = PACKAGED,
    *,
    base_url: str | None = None,
    dimensions: int | None = None,
    key_variable: str | None = None,
    device: str | None = None,
    download: bool = True,
) -> Encoder:
    """The encoder called `name`.

    - `"minilm"`: all-MiniLM-L6-v2 from an installed package; needs no network, ever.
    - `"openai:MODEL"`: `MODEL` behind an OpenAI-compatible endpoint; only here do `base_url`,
      `dimensions` and `key_variable` apply (see `OpenAIEncoder`).
    - anything else: a Sentence Transformers model, by folder or by name; only here do `device` and
      `download` apply (see `SentenceTransformerEncoder`).

    For every encoder, `open_encoder(info.name, base_url=info.base_url)` with `info = encoder.info`
    opens the same model again. Raises
    `InputError` for an option that does not fit the name, `EncodeError` when the model cannot be
    opened, `MissingExtraError` when the package for it is not installed.
    """
    remote = {"base_url": base_url, "dimensions": dimensions, "key_variable": key_variable}
    options = {option: value for option, value in remote.items() if value is not None}
    if not name.startswith(OPENAI_PREFIX):
        if options:
            raise InputError(
                f"{', '.join(options)} given for the local model {name!r}; these are for an "
                f"embedding API: write {OPENAI_PREFIX + name!r} or leave them out"
            )
        return SentenceTransformerEncoder(name, device=device, download=download)
    if device is not None:
        raise InputError(
            f"device={device!r} given for {name!r}, which runs elsewhere; leave it out"
        )
    return OpenAIEncoder(
        name.removeprefix(OPENAI_PREFIX),
        base_url=OPENAI_URL if base_url is None else base_url,
        dimensions=dimensions,
        key_variable="OPENAI_API_KEY" if key_variable is None else key_variable,
    )
