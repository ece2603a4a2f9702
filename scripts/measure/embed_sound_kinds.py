"""Embed the phrases of the table of sound kinds, and store the embeddings next to it. Run it when the table changes.

python scripts/measure/embed_sound_kinds.py
"""

import numpy as np
from safetensors.numpy import save_file

from rewas_engine.matching.sound_kinds import embed_phrases, embeddings_path, table_digest, table_phrases
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.runtime.atomic_files import atomic_path


def main() -> None:
    embedded = embed_phrases(SentenceEncoder.default(), table_phrases())
    with atomic_path(embeddings_path()) as unfinished:
        save_file({"embeddings": embedded.astype(np.float16)}, unfinished, metadata={"table": table_digest()})
    print(f"{len(embedded)} phrases")


if __name__ == "__main__":
    main()
