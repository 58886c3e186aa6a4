"""Turn a path into a Table and Splits, and say what is wrong with the data.

    path ─read→ Table ─usable→ Table ─split→ Splits ─check→ findings
                                   └─batches(seed, epoch)→ row numbers of each step

A row never forgets the file and the row it came from, so every fault can name them. Nothing here
knows of networks: texts leave as strings, images as paths that `images.decode` turns into arrays.
"""
