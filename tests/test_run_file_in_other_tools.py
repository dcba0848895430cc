"""A run opens in the tools that others use, with every dimension named."""

import os
import re
import shutil
import subprocess

import netCDF4
import pytest
import xarray as xr

DIMENSIONS = {
    "parameters/W": ("step", "seed", "neuron", "input"),
    "parameters/u": ("step", "seed", "neuron"),
    "metrics/test_loss": ("step", "seed"),
    "data/train_inputs": ("seed", "example", "input"),
    "data/test_targets": ("test_example",),
}


def test_xarray_shows_every_dimension(tiny_path, tiny_run):
    with xr.open_datatree(tiny_path, engine="h5netcdf") as tree:
        for name, dims in DIMENSIONS.items():
            assert tree[name].dims == dims
        assert (tree["parameters/W"].values == tiny_run.parameters["W"].values).all()


def test_netcdf4_shows_every_dimension(tiny_path, tiny_run):
    with netCDF4.Dataset(tiny_path) as dataset:
        for name, dims in DIMENSIONS.items():
            group, variable = name.split("/")
            assert dataset[group][variable].dimensions == dims
        assert (dataset["parameters"]["W"][:] == tiny_run.parameters["W"].values).all()


def test_h5dump_shows_values_and_dimension_scales(tiny_path, tiny_run):
    if shutil.which("h5dump") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs h5dump: apt-get install hdf5-tools")
        pytest.skip("h5dump is not installed (Debian package hdf5-tools)")
    shown = subprocess.run(
        ["h5dump", "-d", "/metrics/train_accuracy", "-y", str(tiny_path)], capture_output=True, text=True, check=True
    ).stdout
    data = re.search(r"\n   DATA \{(.*?)\}", shown, re.DOTALL)[1]
    values = [float(number) for number in data.replace(",", " ").split()]
    assert values == pytest.approx(tiny_run.metrics["train_accuracy"].values.ravel().tolist(), abs=1e-5)
    assert 'ATTRIBUTE "DIMENSION_LIST"' in shown
    header = subprocess.run(["h5dump", "-H", str(tiny_path)], capture_output=True, text=True, check=True)
    assert header.stderr == ""
    for name in ("step", "seed", "neuron", "input", "example"):
        assert f'DATASET "{name}"' in header.stdout
