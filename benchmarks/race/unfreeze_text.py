"""Race gradual unfreezing, one epoch a phase, against `full` with as many epochs in total.

    python benchmarks/race/unfreeze_text.py --rows 0 --repeats 3 --json unfreeze_text.json

Both sides are graft. `unfreeze` has 7 phases for MiniLM's 6 blocks: the head alone, then one block
more each time. A phase that trains d blocks costs 3d, `full` 18 an epoch, and one pass forward, 6,
fills every store: (63 + 6) / (7 · 18) = 0.55 is the least that arithmetic allows, 0.58 by the
count of blocks alone.
"""

from __future__ import annotations

from racing import chosen, finish, interleave, options, race

DATA = ("sst2",)
MARK = 0.7


def main() -> None:
    asked = options(__doc__)
    from texts import N_BLOCKS, graft_seconds, read_texts

    from graft.methods.body import full, unfreeze

    epochs = N_BLOCKS + 1
    lines = []
    for name in chosen(asked, DATA):
        texts = read_texts(name, asked.rows)

        def seconds_of(plan, texts=texts):
            return lambda: graft_seconds(texts, plan)

        seen = interleave(
            {
                "unfreeze": seconds_of(unfreeze(N_BLOCKS, epochs=1)),
                "full": seconds_of(full(N_BLOCKS, epochs=epochs)),
            },
            asked.repeats,
        )
        work = f"unfreeze, {epochs} phases of one epoch, {name}, {len(texts.labels)} rows"
        note = (
            f"the peer is graft's own `full`, {epochs} epochs; the ratio is the share of its time"
        )
        lines.append(race(work, seen, "unfreeze", "full", MARK, note=note, of_graft=True))
    finish(asked, lines)


if __name__ == "__main__":
    main()
