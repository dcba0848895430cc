"""A lottery ticket: some neurons of a network, trained again alone from their initial values.

Do the neurons of a subnetwork find their circuit because of their initial weights, or only together with the others? To
decide, only these neurons are trained, from their values at checkpoint 0, on the same data in the same order. A random
choice of as many neurons is the control (Frankle and Carbin 2019; `--lottery-ticket` in the released code of Merrill et
al. 2023). The result is an ordinary run that names the original run and the neurons.
"""

from pathlib import Path

import numpy as np

from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.errors import InputError
from circuits.training.loop import begin
from circuits.training.paths.choice import choose_path
from circuits.training.start import ticket_start


def ticket_config(run: Run, n_kept: int, seed: int) -> Config:
    """The run's config, changed to one seed and `n_kept` neurons.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=32, epochs=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ticket_config(circuits.train(config, f"{folder}/a.h5", progress=False), 3, seed=4).model.width
    3
    """
    refuse_other_models(run)
    return run.config.replace(model__width=n_kept, seeds=[seed])


def refuse_other_models(run: Run) -> None:
    """Raise an `InputError` unless the run's model is `relu`, whose neurons can be trained alone."""
    if "width" not in type(run.config.model).model_fields or run.config.model.relu_parameters is None:
        raise InputError(f"{run.path} holds a '{run.config.model.kind}' model; a ticket needs the model 'relu'.")


def ticket(
    run: Run,
    path: str | Path,
    kept: np.ndarray,
    *,
    seed: int | None = None,
    config: Config | None = None,
    device: str = "auto",
    kernel: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Train the neurons in the mask `kept` of one network, without the others, from their values at checkpoint 0.

    Parameters
    ----------
    run, path
        `run` is the original run, which is only read and must have its checkpoint 0. `path` is the run file to write.
    kept
        (neuron,) mask of the neurons to train, such as `circuits.analysis.active_at(run, seed)`.
    seed
        Seed of the network, its training set and the order of examples; by default the run's first seed.
    config
        Config of the new run. By default, this is the run's config, changed to one seed and the number of kept neurons
        (`ticket_config`). Another config must have the same task, model, dtype and seed as this default.
    device, kernel, overwrite, progress
        As in `circuits.train`.

    Returns
    -------
    The finished run, opened for reading; its `parent` names the original run and the neurons' indices.

    Raises
    ------
    InputError
        The model is not `relu`, `kept` is empty, checkpoint 0 is missing, `config` does not fit, or `path` exists.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=32, epochs=1, seeds=[0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = circuits.train(config, f"{folder}/a.h5", progress=False)
    ...     alone = circuits.ticket(run, f"{folder}/b.h5", np.arange(8) < 3, progress=False)
    ...     bool((alone.parameters["W"][0, 0].values == run.parameters["W"][0, 0, :3].values).all())
    True
    """
    path = Path(path)
    seed = run.seeds[run.seed_index(seed)]
    refuse_other_models(run)
    width = getattr(run.config.model, "width", 0)
    if kept.dtype != bool or kept.shape != (width,):
        raise InputError(f"A ticket needs a mask of {width} neurons, bool ({width},), not {kept.dtype} {kept.shape}.")
    neurons = [int(neuron) for neuron in np.flatnonzero(kept)]
    if not neurons:
        dead = " Its network has collapsed." if run.collapsed.values[-1, run.seed_index(seed)] else ""
        raise InputError(
            f"{run.path}: no neuron of seed {seed} is kept, so there is nothing to train.{dead} Pass another seed, or "
            f"a mask that keeps at least one neuron."
        )
    own = ticket_config(run, len(neurons), seed)
    config = own if config is None else config
    if (config.task, config.model, config.seeds, config.dtype) != (own.task, own.model, own.seeds, own.dtype):
        raise InputError("The config differs from `ticket_config` in task, model, dtype or seed. Keep these four.")
    parent = {"path": str(run.path), "fingerprint": run.fingerprint, "step": 0, "seed": seed, "neurons": neurons}
    start = ticket_start(run, seed, neurons)
    choice = choose_path(config, device, kernel)
    return begin(path, config, choice, parent=parent, start=start, overwrite=overwrite, progress=progress)
