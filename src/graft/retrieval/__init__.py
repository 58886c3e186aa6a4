"""An index: vectors, the rows they stand for, and the search for those nearest to a query.

    Batch ─write_index→ a folder: segments (vectors.npy, rows.sqlite), index.json
                          └─Index.open→ one generation ─search→ Found ─hits→ Hit

`index.json` names the segments, what was deleted, the graph and the threshold; it is replaced at
once, and what it names is never written again. So a reader keeps the generation that it opened,
whole, while others add, delete and rebuild, and a writer that is killed leaves the one before its
own.

| file | what it alone knows |
|---|---|
| `exact.py` | the highest inner products over memory-mapped vectors |
| `hnsw.py` | the approximate graph, and how much it finds of what is there |
| `rows.py`, `filters.py` | what is kept of each row; conditions on columns |
| `segments.py`, `manifest.py` | what lies on disk, and how it is exchanged |
| `parts.py` | where the rows of one side, pictures or texts, stand in an index of both |
| `index.py`, `searchable.py` | reading a generation; what every index offers |
| `writing.py`, `files.py`, `refusals.py` | making the next one, or saying why not |
| `qdrant.py`, `qdrant_writing.py` | the same in a Qdrant collection |
| `threshold.py` | which scores are near enough |

Shapes: N rows, D width, Q queries, k answers. Vectors are float32; under `cosine` they have length
one, so a score is an inner product in both metrics.
"""
