"""Race 3 epochs of the whole MiniLM against Trainer.

    python benchmarks/race/full_text.py --rows 0 --repeats 5 --json full_text.json

graft is `full` with batches of 32 and clipping at 1, as the peer clips. Nothing is frozen, so the
store does not help: this line shows what loop and batches cost.
"""

from __future__ import annotations

from racing import chosen, finish, options, race

DATA = ("sst2",)
EPOCHS = 3
MARKS = {"defaults": 2.0, "best flags": 1.1}


def main() -> None:
    asked = options(__doc__, peer_epochs=(None, "epochs of the peer to measure; all unless given"))
    from texts import N_BLOCKS, body_race, peer_note, read_texts

    from graft.methods.body import full

    lines = []
    for name in chosen(asked, DATA):
        texts = read_texts(name, asked.rows)
        seen = body_race(
            texts,
            lambda: full(N_BLOCKS, epochs=EPOCHS),
            epochs=EPOCHS,
            n_frozen=0,
            repeats=asked.repeats,
            peer_epochs=asked.peer_epochs,
        )
        for flags, mark in MARKS.items():
            work = f"full, {EPOCHS} epochs, {name}, {len(texts.labels)} rows, {flags}"
            note = peer_note(flags, EPOCHS, asked.peer_epochs)
            lines.append(race(work, seen, "graft", flags, mark, note=note))
    finish(asked, lines)


if __name__ == "__main__":
    main()
