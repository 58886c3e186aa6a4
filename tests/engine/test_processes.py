"""Law: two processes equal one, whatever the strategy, across an unfreezing boundary.

In scope are networks without batch norm in training mode; what is drawn at random, is drawn by row.
Weights are compared after three phases.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from graft.engine.prefix import Prefix
from graft.engine.processes import Processes, _shared_parameters, from_main, is_main, like, whole
from graft.errors import InputError
from tests.conftest import ROOT
from tests.engine.launched import CASES, build, train
from tests.engine.specimens import batch, model_of
from tests.engine.streams import SpecimenStream
from tests.tiny import write_checkpoint, write_table
from tests.zoo import WARNINGS, ZOO

pytestmark = [*(pytest.mark.filterwarnings(w) for w in WARNINGS), pytest.mark.timeout(900)]

STRATEGIES = ("ddp", "fsdp")
SECONDS = 600


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GRAFT_", "PYTEST_"))}
    # this tree's own source, wherever another one is installed from
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    own = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    return {**kept, **own, **more}


def launch(out: Path, strategy: str, *names: str, **more: str) -> list[int]:
    """Run `tests.engine.launched` in two processes; returns their exit codes."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.engine.launched", str(out), strategy, *names]
    running, logs = [], []
    for rank in ("0", "1"):
        logs.append((out / f"log{rank}.txt").open("w"))
        env = environment(RANK=rank, LOCAL_RANK=rank, **place, **more)
        running.append(
            subprocess.Popen(command, cwd=ROOT, env=env, stdout=logs[-1], stderr=logs[-1])
        )
    try:
        return [process.wait(SECONDS) for process in running]
    finally:
        for process, log in zip(running, logs, strict=True):
            process.kill()
            log.close()


def results(out: Path, name: str) -> list[dict[str, torch.Tensor]]:
    return [load_file(out / name / f"{rank}.safetensors") for rank in (0, 1)]


def largest_difference(one, other) -> float:
    assert one.keys() == other.keys()
    return max(float((one[k].double() - other[k].double()).abs().max()) for k in one)


@pytest.fixture(scope="module", params=STRATEGIES)
def strategy(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def launched(strategy, tmp_path_factory) -> Path:
    """The folder in which two processes have trained every case."""
    out = tmp_path_factory.mktemp(strategy)
    codes = launch(out, strategy, *(f":{name}" for name in CASES))
    assert codes == [0, 0], (out / "log0.txt").read_text()[-3000:]
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(launched, name, tmp_path):
    case = CASES[name]
    alone, records = train(case, tmp_path, "ddp")
    first, _ = results(launched, name)
    limit = 1e-9 if case.double else 1e-5
    assert largest_difference(alone, first) < limit
    # every part of the network has moved by far more than that, in the phase that opened it
    start = build(case)[0].state_dict()
    for part in ("head", "layer.0.", "layer.3.") if case.network == "bert" else ("head",):
        assert max(float((alone[k] - start[k]).abs().max()) for k in start if part in k) > 1e-3
    told = json.loads((launched / name / "0.json").read_text())
    assert [r["cache"]["used"] for r in told] == [r.cache.used for r in records]
    for mine, other in zip(records, told, strict=True):
        for a, b in zip(mine.epochs, other["epochs"], strict=True):
            assert a.train_loss == pytest.approx(b["train_loss"], abs=1e-5)
            assert a.validation_loss == pytest.approx(b["validation_loss"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_processes_do_not_drift_apart(launched, name):
    first, second = results(launched, name)
    assert [k for k in first if not torch.equal(first[k], second[k])] == []


def resume(out: Path, strategy: str, name: str) -> None:
    """Resume until the training ends; a process that a signal ends is one more kill.

    A rank under FSDP was seen to abort in malloc, once in some fifty launches: nothing of ours is
    native code, and the bytes that the training ends with must be the same all the same.
    """
    codes: list[int] = []
    for _ in range(3):
        codes = launch(out, strategy, f"resume:{name}")
        if min(codes) >= 0:
            break
    assert codes == [0, 0], (out / "log0.txt").read_text()[-2000:]


@pytest.mark.slow
def test_killed_and_resumed(launched, strategy, tmp_path):
    # the twelfth checkpoint is written in the middle of the second phase's first epoch
    codes = launch(tmp_path, strategy, "resume:dropout", GRAFT_FAIL_AT="after_rename:12")
    assert codes[0] == -9 and codes[1] not in (0, -9)
    resume(tmp_path, strategy, "dropout")
    for a, b in zip(results(launched, "dropout"), results(tmp_path, "dropout"), strict=True):
        assert largest_difference(a, b) == 0.0


@pytest.mark.slow
def test_killed_and_resumed_with_averaged_weights(launched, strategy, tmp_path):
    codes = launch(tmp_path, strategy, "resume:ema", GRAFT_FAIL_AT="after_rename:12")
    assert codes[0] == -9 and codes[1] not in (0, -9)
    resume(tmp_path, strategy, "ema")
    for a, b in zip(results(launched, "ema"), results(tmp_path, "ema"), strict=True):
        assert largest_difference(a, b) == 0.0


@pytest.mark.slow
def test_begun_by_two_processes_and_finished_by_one(strategy, tmp_path):
    import dataclasses

    launch(tmp_path, strategy, "resume:cached", GRAFT_FAIL_AT="after_rename:12")
    case = dataclasses.replace(CASES["cached"], resume=True)
    assert list((tmp_path / "cached" / "checkpoints").iterdir())
    resumed, _ = train(case, tmp_path / "cached", "ddp")
    alone, _ = train(CASES["cached"], tmp_path / "alone", "ddp")
    assert largest_difference(alone, resumed) < 1e-5


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node", "2", "--master-port"],
    "accelerate": [
        *("accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port"),
    ],
}


def graft(folder: Path, launcher: str | None, *arguments: str) -> subprocess.CompletedProcess:
    before = [] if launcher is None else [*LAUNCHERS[launcher], str(free_port()), "-m"]
    env = environment(GRAFT_CACHE=str(folder / "stores"))
    command = [sys.executable, "-m", *before, "graft", *arguments]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_train_from_the_command_line(launcher, tmp_path):
    write_checkpoint(tmp_path / "tiny", dropout=0.0)
    write_table(tmp_path / "table.csv", 15)
    options = ["train", "table.csv", "--model", "tiny", "--method", "unfreeze", "--batch-size", "8"]
    alone = graft(tmp_path, None, *options, "--out", "alone")
    assert alone.returncode == 0, alone.stderr
    together = graft(tmp_path, launcher, *options, "--quiet")
    if "SIGABRT" in together.stderr:  # one more kill, as in `resume`: seen once, as Python ended
        begun = ("--out", "runs/table-unfreeze-1", "--resume")
        together = graft(tmp_path, launcher, *options, "--quiet", *begun)
    assert together.returncode == 0, together.stderr
    [folder] = (tmp_path / "runs").iterdir()
    assert together.stdout.split() == [str(folder.relative_to(tmp_path))], "only the first prints"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        p.name for p in (tmp_path / "alone").iterdir()
    )
    weights = [
        {p.name + k: t for p in sorted(run.rglob("*.safetensors")) for k, t in load_file(p).items()}
        for run in (tmp_path / "alone" / "model", folder / "model")
    ]
    # a key's bias has no gradient but rounding, of which Adam makes whole steps; nothing reads it
    for tensors in weights:
        for name in [name for name in tensors if name.endswith("key.bias")]:
            del tensors[name]
    assert largest_difference(*weights) < 1e-5
    assert "find_unused_parameters" not in together.stderr
    # what the first process finds wrong stops all, and is said once
    again = graft(tmp_path, launcher, *options, "--out", str(folder))
    assert again.returncode != 0
    assert again.stderr.count("holds a run already") == 1


def test_one_process_is_all_of_them():
    processes = Processes()
    tensor = torch.arange(3.0)
    assert processes.n == 1 and processes.is_main and not processes.is_sharded
    assert processes.sum(tensor) is tensor
    assert processes.join(tensor) == (tensor, 0)
    assert processes.agree("x") == "x" and processes.everywhere(True)
    model = nn.Linear(2, 2)
    assert processes.wrap(model) is model
    assert Processes(strategy="fsdp").sharded(model, lambda _: [""]) is model
    assert whole(tensor) is tensor and like(tensor, tensor) is tensor


def test_precision_is_each_runs_own():
    x = torch.ones(2, 2)
    with Processes(precision="bf16").autocast():
        assert (x @ x).dtype == torch.bfloat16
    with Processes().autocast():
        assert (x @ x).dtype == torch.float32


def test_alone_the_first_process_is_this_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert is_main() and from_main(lambda: 3) == 3
    with pytest.raises(InputError, match="no"):
        from_main(lambda: (_ for _ in ()).throw(InputError("no")))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert not is_main()


def test_what_several_modules_share_stays_whole():
    model = nn.ModuleDict({"body": nn.Linear(3, 3), "head": nn.Linear(3, 3)})
    model["head"].weight = model["body"].weight
    assert _shared_parameters(model, ["body"]) == {model["body"].weight}
    model["head"].weight = nn.Parameter(torch.zeros(3, 3))
    assert _shared_parameters(model, ["body"]) == set()


def test_a_process_runs_the_network_as_often_as_the_others():
    from graft.engine.cut import find_cut
    from graft.engine.groups import locate, resolve, set_trainable, trainable
    from graft.engine.modes import set_modes
    from graft.engine.probe import find_replay
    from graft.methods.plan import Rule
    from graft.methods.select import everything, head

    specimen = ZOO["bert"]
    model = model_of(specimen)
    rules = resolve((Rule(head(), 1.0), Rule(everything(), None)), locate(model))
    set_trainable(rules)
    short, long = specimen.lengths
    replay = find_replay(
        model,
        find_cut(model, trainable(rules)),
        lambda b: model(b.inputs),
        (batch(specimen, 2, short), batch(specimen, 3, long)),
        set_modes=lambda: set_modes(model),
    )
    stream = SpecimenStream(specimen, 20)
    calls = []
    prefix = Prefix(model, replay, lambda b: calls.append(b.n) or model(b.inputs), stream)
    few, many = np.array([3, 3]), np.arange(20)
    alone = prefix.compute(few)
    n_alone = len(calls)
    beside = prefix.compute(few, [few, many])
    assert n_alone == len(prefix.groups.of(few)) < len(prefix.groups.of(many))
    assert len(calls) - n_alone == len(prefix.groups.of(many))
    assert torch.equal(alone[0][0], alone[0][1]), "a row may be asked for twice"
    assert torch.equal(alone[0][0], beside[0][0])
