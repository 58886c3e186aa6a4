"""The options of a training, shared by the verbs that take a recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

DATA = Group("Data", sort_key=1)
MODEL = Group("Model and method", sort_key=2)
EMBEDDING = Group("Embeddings (--task embed, or a table of pairs or triplets)", sort_key=3)
TOWERS = Group("Two towers (pictures with captions)", sort_key=4)
DOMAIN = Group("Another domain (rows without labels)", sort_key=5)
TEACHER = Group("Distillation (learn from a larger network too)", sort_key=6)
TRAINING = Group("Training (the method's own choice unless given)", sort_key=7)
RUNNING = Group("How it runs", sort_key=8)


def _in(group: Group, **more: Any) -> Parameter:
    return Parameter(group=group, **more)


@dataclass(frozen=True)
class Options:
    """Know which options were given."""

    def given(self) -> dict[str, Any]:
        """Return the options that were given."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions(Options):
    """Say how data are read and which rows train; None leaves it to the recipe file."""

    input: Annotated[str | None, _in(DATA)] = None
    "Column of the inputs, where it is not found by name."
    label: Annotated[str | None, _in(DATA)] = None
    "Column of the labels."
    group: Annotated[str | None, _in(DATA)] = None
    "Column whose values must stay on one side of a split (patients, speakers)."
    split_column: Annotated[str | None, _in(DATA)] = None
    "Column that says train, validation or test."
    target_kind: Annotated[Literal["single", "multi", "number"] | None, _in(DATA)] = None
    "What the labels are, where it is not seen: one class, several, or a number."
    allow_leak: Annotated[bool | None, _in(DATA, negative="")] = None
    "Train although rows of a given split also stand in an earlier part of it."
    fold_labels: Annotated[bool | None, _in(DATA, negative="")] = None
    "Write labels alike that differ only in case or spaces."
    drop_empty_classes: Annotated[bool | None, _in(DATA, negative="")] = None
    "Leave out class folders without an image."
    drop_conflicts: Annotated[bool | None, _in(DATA, negative="")] = None
    "Drop the rows of an input that has different labels."
    min_per_class: Annotated[int | None, _in(DATA)] = None
    "Leave out classes with fewer rows."
    max_pixels: Annotated[int | None, _in(DATA)] = None
    "Skip images with more pixels (default 40000000)."
    max_skip: Annotated[float | None, _in(DATA)] = None
    "Largest share of rows that may be skipped because they cannot be used (default 0.01)."
    follow_links: Annotated[bool | None, _in(DATA, negative="")] = None
    "Read images whose file or folder is a link that leads out of the data."
    encoding: Annotated[str | None, _in(DATA)] = None
    "Encoding of a text file, where it is not UTF-8."
    sep: Annotated[str | None, _in(DATA)] = None
    "Character between cells, where it is not the comma."
    validation: Annotated[float | None, _in(DATA)] = None
    "Share of the rows kept for choosing (default 0.15)."
    test: Annotated[float | None, _in(DATA)] = None
    "Share of the rows kept for the final figures (default 0.15)."


@Parameter(name="*")
@dataclass(frozen=True)
class RunningOptions(Options):
    """Say how to compute, whatever it is; None leaves it to the recipe file or a measurement."""

    seed: Annotated[int | None, _in(RUNNING)] = None
    "Of everything random (default 0)."
    threads: Annotated[int | None, _in(RUNNING)] = None
    "Threads to compute with; measured unless given or OMP_NUM_THREADS is set."
    workers: Annotated[int | None, _in(RUNNING)] = None
    "Threads that decode pictures ahead of the network (0 for none; changes no result)."
    cache: Annotated[str | None, _in(RUNNING)] = None
    "Folder of feature stores; `off` stores nothing."


@Parameter(name="*")
@dataclass(frozen=True)
class RecipeOptions(DataOptions, RunningOptions):
    """Say what to train and how; None leaves the choice to the recipe file or the method."""

    task: Annotated[Literal["embed"] | None, _in(MODEL)] = None
    "embed: vectors that lie near each other where the labels are the same (pairs need no --task)."
    model: Annotated[str | None, _in(MODEL)] = None
    "`minilm` (default for text), a folder, a run, timm:NAME, torchvision:NAME, or a hub name."
    text_model: Annotated[str | None, _in(TOWERS)] = None
    "Backbone of the captions (default minilm); --model is that of the pictures, or holds both."
    lock: Annotated[Literal["image", "text"] | None, _in(TOWERS)] = None
    "Tower whose weights stay as they are; its projection still trains."
    init_head: Annotated[Literal["zero-shot"] | None, _in(TOWERS)] = None
    "zero-shot: a classifier of pictures begins at the names of its classes, given --model RUN."
    template: Annotated[tuple[str, ...] | None, _in(TOWERS)] = None
    'Prompt with {} where the name stands (default "a photo of a {}."); several are averaged.'
    method: Annotated[str | None, _in(MODEL)] = None
    "How to fine-tune (default lp-ft); `graft list methods` tells them apart."
    at: Annotated[str | None, _in(MODEL)] = None
    "Block that the head reads: a number, or `any` to ask which block knows most (probe)."
    head: Annotated[str | None, _in(MODEL)] = None
    "linear (default), mlp:256 or cosine; of embeddings pooled (default) or projection:128."
    channels: Annotated[int | None, _in(MODEL)] = None
    "Channels of the pictures, where they are not colour: 1 for grey. The first layer is adapted."
    class_weights: Annotated[Literal["balanced"] | None, _in(MODEL)] = None
    "balanced: every class weighs the same, however many rows it has."
    label_smoothing: Annotated[float | None, _in(MODEL)] = None
    "Share of each target spread over all classes."
    focal: Annotated[float | None, _in(MODEL)] = None
    "Focal loss: gamma, 2 for instance; well predicted rows count less. Solves no head exactly."
    objective: Annotated[str | None, _in(EMBEDDING)] = None
    "What is minimised; `graft list objectives` tells them apart. Chosen by the data unless given."
    margin: Annotated[float | None, _in(EMBEDDING)] = None
    "How much farther than a positive a negative shall lie."
    temperature: Annotated[float | None, _in(EMBEDDING)] = None
    "Divides similarities: small ones look at the nearest negatives alone."
    learn_temperature: Annotated[bool | None, _in(EMBEDDING, negative="")] = None
    "Learn the temperature, from the given one on."
    scale: Annotated[float | None, _in(EMBEDDING)] = None
    "Multiplies cosines before the softmax (softmax, cosface, arcface, proxies, cosent)."
    symmetric: Annotated[bool | None, _in(EMBEDDING, negative="")] = None
    "Also let each positive find its anchor (info_nce)."
    guard: Annotated[float | None, _in(EMBEDDING)] = None
    "What is so much more similar than the positive is no negative: it may be one too (info_nce)."
    center_weight: Annotated[float | None, _in(EMBEDDING)] = None
    "Weight of the centers beside the softmax (softmax_with_center; default 0.003)."
    dims: Annotated[str | None, _in(EMBEDDING)] = None
    "Widths at which the first numbers of a vector shall do alone: 64,128,256 (Matryoshka)."
    mining: Annotated[str | None, _in(EMBEDDING)] = None
    "Which triplets of a batch count: all, active, hard, semi_hard or distance_weighted."
    distance: Annotated[str | None, _in(EMBEDDING)] = None
    "euclidean, squared_euclidean, cosine or inner_product."
    mine: Annotated[float | None, _in(EMBEDDING)] = None
    "Give each pair a hard negative, less similar than its positive by so much: 0.05 for instance."
    items_per_class: Annotated[int | None, _in(EMBEDDING)] = None
    "Items of one class in a batch (default 4)."
    target: Annotated[str | None, _in(DOMAIN)] = None
    "File or folder of rows to adapt to; labels in it only serve to evaluate at the end."
    adapt: Annotated[Literal["dann", "coral", "mmd", "none"] | None, _in(DOMAIN)] = None
    "dann (default): features that do not tell the domain. Quieter: coral, mmd. none only watches."
    adapt_weight: Annotated[float | None, _in(DOMAIN)] = None
    "How much the domains are drawn together (default 1)."
    teacher: Annotated[str | None, _in(TEACHER)] = None
    "Run or model whose answers are learned beside the labels; asked once for each row, and stored."
    distil: Annotated[Literal["logits", "features", "embedding"] | None, _in(TEACHER)] = None
    "What of the teacher is learned: logits (default), features, or embedding (of --task embed)."
    distil_weight: Annotated[float | None, _in(TEACHER)] = None
    "Share of the teacher beside the labels, above 0 and up to 1 (default 0.5)."
    distil_temperature: Annotated[float | None, _in(TEACHER)] = None
    "Softens logits (default 4); at 1 a linear head on frozen features is solved exactly."
    unlabeled: Annotated[str | None, _in(TEACHER)] = None
    "File or folder of more rows, without labels, that the teacher alone speaks of."
    student_blocks: Annotated[int | None, _in(TEACHER)] = None
    "The student is the lowest so many blocks of the teacher, instead of --model."
    remember: Annotated[str | None, _in(TRAINING)] = None
    "File or folder of labelled rows for what the network could do before: asked after each epoch."
    augment: Annotated[str | None, _in(TRAINING)] = None
    "Vary training pictures: light, strong, or a list such as crop,flip,colour."
    views: Annotated[int | None, _in(TRAINING)] = None
    "So many variants of each picture, stored below what is frozen; without end unless given."
    epochs: Annotated[int | None, _in(TRAINING)] = None
    "Passes over the training rows; a head that would be solved but cannot makes its own number."
    lr: Annotated[float | None, _in(TRAINING)] = None
    "Peak rate of the body (of its top block, for unfreeze)."
    head_lr: Annotated[float | None, _in(TRAINING)] = None
    "Peak rate of the head."
    weight_decay: Annotated[float | None, _in(TRAINING)] = None
    "Decoupled weight decay; never on norms and biases."
    l2_sp: Annotated[float | None, _in(TRAINING)] = None
    "Pull the body to the weights it began with, not to zero: 1000 at rate 5e-5 undoes 5 % a step."
    decay: Annotated[float | None, _in(TRAINING)] = None
    "Rate of a block relative to the one above it (unfreeze)."
    l2: Annotated[float | None, _in(TRAINING)] = None
    "Penalty of the convex head; cross-validated unless given (probe)."
    size: Annotated[int | None, _in(TRAINING)] = None
    "Units of each adapter (bottleneck; default 64)."
    rank: Annotated[int | None, _in(TRAINING)] = None
    "Rank of the products (lora; default 8)."
    alpha: Annotated[float | None, _in(TRAINING)] = None
    "The products count alpha / rank times (lora; twice unless given)."
    placement: Annotated[str | None, _in(TRAINING)] = None
    "Where adapters stand: houlsby (default), pfeiffer or parallel; residual: parallel or series."
    batch_size: Annotated[int | None, _in(TRAINING)] = None
    "Examples per step."
    micro_batch_size: Annotated[int | None, _in(TRAINING)] = None
    "Examples per forward pass; gradients add up to the step's."
    schedule: Annotated[
        Literal["constant", "linear", "cosine", "slanted"] | None, _in(TRAINING)
    ] = None
    "How the rate falls."
    warmup: Annotated[float | None, _in(TRAINING)] = None
    "Share of the steps over which the rate rises."
    clip: Annotated[float | None, _in(TRAINING)] = None
    "Largest gradient norm."
    patience: Annotated[int | None, _in(TRAINING)] = None
    "Stop after so many epochs without a better validation loss, and keep the best."
    ema: Annotated[float | None, _in(TRAINING)] = None
    "Keep a moving average of the weights, which is what comes out: its decay, 0.999 for instance."
    precision: Annotated[Literal["auto", "fp32", "bf16"] | None, _in(TRAINING)] = None
    "fp32 or bf16; measured unless given."
    strategy: Annotated[Literal["ddp", "fsdp"] | None, _in(TRAINING)] = None
    "How several processes share the model, under torchrun or accelerate launch."
    checkpoint_every: Annotated[int | None, _in(TRAINING)] = None
    "Steps between checkpoints inside an epoch (default 200)."
