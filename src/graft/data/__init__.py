"""Turn a path into a Table and Splits, and say what is wrong with the data.

    path ─read→ Table ─usable→ Table ─split→ Splits ─check→ findings
       └─reader→ Rows ─assembled┘      └─batches(seed, epoch)→ row numbers of each step

A row never forgets the file and the row it came from, so every fault can name them. A reader
knows one format and nothing of roles; where a file lies, on the disk or in an archive, only
`files` knows. Nothing here knows of networks: texts leave as strings, images as places (or bytes)
that `images.decode` turns into arrays.
"""
