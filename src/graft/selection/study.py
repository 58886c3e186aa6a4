"""Which options are tried next: Optuna's estimator, its journal, and nothing random with a state.

Every trial takes the lowest number that is free, and the sampler is seeded by the sweep's seed and
that number. So what a trial tries follows from the finished ones alone: a sweep that was killed and
goes on tries what it would have tried.

The journal is a file of lines, appended to. A kill may leave half a line, which is cut off before
the next one is written, and a trial in progress, which is given up and begun anew.

Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", the tree-structured
Parzen estimator.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.errors import MissingExtra, StorageError
from graft.selection.space import Range
from graft.selection.trials import Trial

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"
N_RANDOM = 5
"""Trials before the estimator has enough to go by."""
NUMBER, SECONDS, WHY = "number", "seconds", "why"


def load_optuna() -> Any:
    """Return the library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtra("a sweep needs optuna: pip install 'graft[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Study:
    """Propose options, and remember what came of them.

    Args:
        folder: of the journal; the caller holds its lock.
        space: option → its bounds.
        seed: of the proposals.
        is_higher_better: whether larger values are better.

    Raises:
        StorageError: the journal is damaged.
    """

    def __init__(
        self, folder: Path, space: Mapping[str, Range], *, seed: int, is_higher_better: bool
    ) -> None:
        self._optuna = load_optuna()
        self._space = space
        self._seed = seed
        self._pending: dict[int, tuple[optuna.Trial, dict[str, float]]] = {}
        path = folder / JOURNAL
        _cut_off_half_a_line(path)
        try:
            self._study = self._optuna.create_study(
                storage=_journal(self._optuna, path),
                study_name="sweep",
                direction="maximize" if is_higher_better else "minimize",
                load_if_exists=True,
            )
        except (ValueError, KeyError) as error:
            raise StorageError(
                f"{path}: is damaged ({type(error).__name__}); restore it, or choose another --out"
            ) from None
        for trial in self._study.get_trials(states=[self._optuna.trial.TrialState.RUNNING]):
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def trials(self) -> tuple[Trial, ...]:
        """Return the finished trials by number; those that a kill ended are not among them."""
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            known = trial.user_attrs
            if trial.state.name == "COMPLETE" or WHY in known:
                options = {name: float(value) for name, value in trial.params.items()}
                why = known.get(WHY, "")
                value = None if why else trial.value
                found.append(Trial(known[NUMBER], options, value, known[SECONDS], why))
        return tuple(sorted(found, key=lambda trial: trial.number))

    def propose(self) -> tuple[int, dict[str, float]]:
        """Return the number and the options of the next trial; number 0 has none."""
        taken = {trial.number for trial in self.trials()} | self._pending.keys()
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=(self._seed * 100_003 + number) % 2**32, n_startup_trials=N_RANDOM
        )
        trial = self._study.ask()
        trial.set_user_attr(NUMBER, number)
        options = {
            name: trial.suggest_float(name, bounds.low, bounds.high, log=bounds.is_log)
            for name, bounds in (self._space.items() if number else ())
        }
        self._pending[number] = trial, options
        return number, options

    def tell(self, number: int, value: float | None, seconds: float, why: str = "") -> Trial:
        """Remember what came of a trial, and return it.

        Args:
            value: the metric; None where the training gave nothing.
            seconds: that it took.
            why: why it gave nothing.
        """
        trial, options = self._pending.pop(number)
        trial.set_user_attr(SECONDS, seconds)
        if why:
            trial.set_user_attr(WHY, why)
        failed = self._optuna.trial.TrialState.FAIL if value is None else None
        self._study.tell(trial, value, state=failed)
        return Trial(number, options, value, seconds, why)


def _journal(optuna: Any, path: Path) -> Any:
    from optuna.storages.journal import JournalFileBackend

    lock: Any = _Held()
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock))


class _Held:
    """Take no lock: whoever writes holds that of the folder, which ends with the process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


def _cut_off_half_a_line(path: Path) -> None:
    if not path.is_file():
        return
    written = path.read_bytes()
    whole = written.rfind(b"\n") + 1
    if whole < len(written):
        with path.open("r+b") as file:
            file.truncate(whole)
