"""The callbacks of Lightning and of the Hugging Face Trainer record what the trainers do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_record import CLASSES, DATA, INPUTS, Net, batch, same, values_of
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import circuits

EXAMPLES = TensorDataset(*DATA["train"])
STEPS, KILLED_AT = 20, 13
of_lightning = pytest.mark.filterwarnings(  # what Lightning says of the machine, and one use of torch
    "ignore:.*srun.*",
    "ignore:.*does not have many workers.*",
    "ignore:GPU available but not used.*",
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
)


class Later(IterableDataset):
    """Batches of 32 examples, each a function of the step, from the step after `callback.step_done`."""

    def __init__(self, callback, form):
        self.callback, self.form = callback, form

    def __iter__(self):
        for step in range(self.callback.step_done, STEPS):
            chosen = batch(step)
            yield from (self.form(x, y) for x, y in zip(INPUTS[chosen], CLASSES[chosen], strict=True))


def killed(step, kill_at):
    if step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


def fit_with_lightning(path, kill_at=None):
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Sequential(Net(), torch.nn.Dropout(0.2))

        def training_step(self, batch, index):
            killed(self.trainer.global_step, kill_at)
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    torch.manual_seed(0)
    callback = circuits.LightningCallback(path, every_steps=1, buffer=4, resume="auto")
    trainer = lightning.Trainer(
        max_steps=STEPS, callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=Path(path).parent, accelerator="cpu",
    )  # fmt: skip
    begun = callback.step_done
    trainer.fit(Module(), DataLoader(Later(callback, lambda x, y: (x, y)), batch_size=32))
    assert trainer.global_step == callback.step_done == STEPS
    return begun


def fit_with_transformers(path, kill_at=None):
    import transformers

    class Labeled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.n_updates = torch.nn.Sequential(Net(), torch.nn.Dropout(0.2)), begun

        def forward(self, x, labels):
            killed(self.n_updates, kill_at)
            self.n_updates += 1
            return {"loss": F.cross_entropy(self.net(x), labels)}

    arguments = transformers.TrainingArguments(
        output_dir=str(Path(path).parent / "trainer"), max_steps=STEPS, per_device_train_batch_size=32,
        save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, logging_strategy="no",
    )  # fmt: skip
    with circuits.TrainerCallback(path, every_steps=1, buffer=4, resume="auto") as callback:
        begun = callback.step_done
        data = Later(callback, lambda x, y: {"x": x, "labels": y})
        torch.manual_seed(0)
        transformers.Trainer(Labeled(), arguments, train_dataset=data, callbacks=[callback]).train()
    return begun


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "fit"),
    [pytest.param("lightning", fit_with_lightning, marks=of_lightning), ("transformers", fit_with_transformers)],
)
def test_a_fit_killed_and_resumed_through_the_callback_ends_in_the_same_bits(tmp_path, package, fit):
    pytest.importorskip(package, reason=f"{package} is not installed")
    path, whole = tmp_path / "a.h5", tmp_path / "whole.h5"
    lines = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_callbacks"
    code = f"{lines}; test_callbacks.{fit.__name__}({str(path)!r}, {KILLED_AT})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert fit(path) == 11  # checkpoints 0 to 11 are three commits of four; 12 and 13 were in memory
    assert fit(whole) == 0
    with circuits.open(path) as run:
        assert run.is_complete
        assert run.steps.tolist() == list(range(STEPS + 1))
    for group in ("parameters", "metrics"):
        assert same(values_of(path, group), values_of(whole, group)), group


@pytest.mark.slow
@of_lightning
def test_lightning_fits_and_records_each_update(tmp_path):
    lightning = pytest.importorskip("lightning", reason="the extra `lightning` is not installed")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Net()
            self.losses = []

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.log("batch_loss", loss)
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    module, path = Module(), tmp_path / "a.h5"
    callback = circuits.LightningCallback(path, metrics=["batch_loss"], data=DATA, every_steps=1, layers=["net.fc1"])
    trainer = lightning.Trainer(
        max_epochs=2, callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(module, DataLoader(EXAMPLES, batch_size=50))
    with circuits.open(path, model=module) as run:
        assert run.is_complete
        assert run.steps.tolist() == [0, 1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(run.metrics["batch_loss"].values[1:, 0], module.losses, rtol=1e-6)
        assert (run.parameters["net.fc1.weight"].values[-1, 0] == module.net.fc1.weight.detach().numpy()).all()
        assert circuits.analyze(run, "subnetwork")["subnetwork"].attrs["layer"] == "net.fc1"


@pytest.mark.slow
def test_the_trainer_of_hugging_face_trains_and_records_each_update(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `trainer` is not installed")

    class Labeled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, x, labels=None):
            logits = self.net(x)
            return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}

    examples = [{"x": x, "labels": y} for x, y in zip(INPUTS[:150], CLASSES[:150], strict=True)]
    model, path = Labeled(), tmp_path / "a.h5"
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "trainer"), num_train_epochs=2, per_device_train_batch_size=50, save_strategy="no",
        report_to=[], disable_tqdm=True, use_cpu=True, logging_strategy="no",
    )  # fmt: skip
    with circuits.TrainerCallback(path, every_steps=2, data=DATA) as callback:
        transformers.Trainer(model, arguments, train_dataset=examples, callbacks=[callback]).train()
    with circuits.open(path, model=model) as run:
        assert run.is_complete
        assert run.steps.tolist() == [0, 2, 4, 6]
        assert (run.parameters["net.fc2.bias"].values[-1, 0] == model.net.fc2.bias.detach().numpy()).all()
        assert run.metrics["learning_rate"].values[1, 0] < arguments.learning_rate
        assert run.config.optimizer.classes[0].startswith("torch.optim.")


@pytest.mark.slow
def test_a_trainer_does_not_resume_from_another_step_than_the_run(tmp_path):
    from circuits.recording.resumed import check_steps

    pytest.importorskip("transformers", reason="the extra `trainer` is not installed")
    check_steps(tmp_path / "a.h5", 7, 0, "ckpt_path")  # the run begins now, within a longer training
    check_steps(tmp_path / "a.h5", 0, 7, "ckpt_path")
    with pytest.raises(circuits.InputError, match=r"is of step 5, and .* continues from step 7. Leave out ckpt_path"):
        check_steps(tmp_path / "a.h5", 5, 7, "ckpt_path")
    fit_with_transformers(tmp_path / "a.h5")
    with pytest.raises(circuits.InputError, match=r"has all 20 steps already\. Pass more max_steps"):
        fit_with_transformers(tmp_path / "a.h5")
