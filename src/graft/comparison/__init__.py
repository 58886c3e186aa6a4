"""Many runs of the engine on the same rows: which network to start from.

    names ─candidates→ jobs on one table ─question→ answers on the same folds ─rank→ Ranking

What a run shares with the others is done once: the data are read and split once, and every pass
over the rows goes through the store that trainings read.
"""
