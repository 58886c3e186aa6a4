"""What may be wrong with data, one file per idea; each function returns findings.

    rows        empty texts and labels; which rows can be used, and how many may be left out
    pictures    files that are no pictures, links that lead away, what had to be converted
    texts       characters that look alike and are not
    labels      too few, too many, misspelt, never trained
    groups      groups that a split tears apart, ids that come twice
    repeats     equal inputs: conflicting labels, leaks across the split
    near        inputs that are nearly equal across the split
    near_texts, near_pictures       exact searches within a distance, without comparing all pairs
    features    rows that are nearly the same to a model
    tokens      what a tokenizer cuts off or does not know
    mends       changes of the data that a user asked for

`graft.data.check` puts them together; everything here is a pure function of a Table.
"""
