"""Race the top 2 of MiniLM's 6 blocks, 5 epochs, against Trainer with the same blocks frozen.

    python benchmarks/race/partial_text.py --rows 0 --repeats 5 --json partial_text.json

graft is `last:2` with batches of 32. What lies below the cut is encoded once, so arithmetic allows
5 · (4 + 6) / (4 + 5 · 6) = 1.47 times the speed of a peer whose batches are as good: a frozen block
costs one pass forward, a trained one three. 85 % of that is 1.25.
"""

from __future__ import annotations

from racing import chosen, finish, options, race

DATA = ("sst2",)
EPOCHS, N_TRAINED = 5, 2
MARKS = {"defaults": 3.5, "best flags": 1.25}


def main() -> None:
    asked = options(__doc__, peer_epochs=(None, "epochs of the peer to measure; all unless given"))
    from texts import N_BLOCKS, body_race, peer_note, read_texts

    from graft.methods.body import last

    lines = []
    for name in chosen(asked, DATA):
        texts = read_texts(name, asked.rows)
        seen = body_race(
            texts,
            lambda: last(N_BLOCKS, n=N_TRAINED, epochs=EPOCHS),
            epochs=EPOCHS,
            n_frozen=N_BLOCKS - N_TRAINED,
            repeats=asked.repeats,
            peer_epochs=asked.peer_epochs,
        )
        for flags, mark in MARKS.items():
            work = f"last:2, {EPOCHS} epochs, {name}, {len(texts.labels)} rows, {flags}"
            note = peer_note(flags, EPOCHS, asked.peer_epochs)
            lines.append(race(work, seen, "graft", flags, mark, note=note))
    finish(asked, lines)


if __name__ == "__main__":
    main()
