"""The doctor: what it reports is what the libraries do here, and a broken one does not stop it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from uniopt.backends.device_names import device_name

from uniopt import backends
from uniopt.cli import main, present, probe


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["doctor", "--json"]) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    return record


def library(record: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (entry for entry in record["libraries"] if entry["name"] == name)
    assert isinstance(found, dict)
    return found


def test_json_has_every_library_with_its_version_or_its_problem(capsys: pytest.CaptureFixture[str]) -> None:
    record = report(capsys)
    assert [entry["name"] for entry in record["libraries"]] == backends.names()
    for entry in record["libraries"]:
        if (problem := backends.why_unavailable(entry["name"])) is None:
            assert entry["problem"] is None
            assert entry["version"] == backends.get(entry["name"]).version()
            assert entry["devices"]
        else:
            assert entry["problem"] == problem
            assert entry["devices"] == []


def test_dtypes_are_the_ones_that_the_libraries_compute_in(capsys: pytest.CaptureFixture[str]) -> None:
    record = report(capsys)
    everything = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
    standard = ["float32", "float64", "complex64", "complex128"]
    devices = {device["name"]: device for device in library(record, "array_api_strict")["devices"]}
    assert library(record, "torch")["devices"][0]["computes_in"] == everything
    assert library(record, "dask")["devices"][0]["computes_in"] == standard
    assert devices["cpu"]["computes_in"] == devices["device1"]["computes_in"] == standard
    assert devices["no_float64"]["computes_in"] == ["float32", "complex64"]
    assert "float64" in devices["no_float64"]["refuses"]


def test_float64_under_jax_needs_x64(capsys: pytest.CaptureFixture[str]) -> None:
    import jax

    (device, *_) = library(report(capsys), "jax")["devices"]
    assert "float64" not in device["computes_in"]
    assert "jax_enable_x64" in device["refuses"]["float64"]
    with jax.enable_x64(True):
        (device, *_) = library(report(capsys), "jax")["devices"]
    assert "float64" in device["computes_in"]


def test_a_dtype_that_is_silently_narrowed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backends.get("jax")
    monkeypatch.setattr(type(backend), "dtype", lambda self, name: backend.xp.dtype(name))  # without the x64 check
    with pytest.warns(UserWarning, match="float64"):
        assert probe._why_not(backend, None, "float64") == "it computes in float32 instead"


def test_compilers_that_work_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    record = report(capsys)
    for name, compiler in (("jax", "jax.jit"), ("mlx", "mx.compile")):
        (found,) = library(record, name)["compilers"]
        assert (found["name"], found["found"]) == (compiler, True)


def test_torch_compile_without_a_cpp_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    (compile_, _) = probe.examine("torch").compilers
    assert not compile_.found
    assert "no-such-compiler" in compile_.detail


def test_a_broken_library_is_reported_and_the_others_still_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(name: str, get: Any = backends.get) -> Any:
        if name == "torch":
            raise OSError("libtorch_cpu.so: cannot open shared object file")
        return get(name)

    def why_unavailable(name: str, why: Any = backends.why_unavailable) -> Any:
        get(name)
        return why(name)

    monkeypatch.setattr(present.backends, "why_unavailable", why_unavailable)
    monkeypatch.setattr(probe.backends, "get", get)
    record = report(capsys)
    problem = library(record, "torch")["problem"]
    assert problem == "torch is installed but broken: OSError: libtorch_cpu.so: cannot open shared object file"
    assert library(record, "jax")["problem"] is None
    assert main(["doctor"]) == 0
    assert "libtorch_cpu.so" in capsys.readouterr().out


def test_table_has_a_row_for_each_device(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (numpy,) = (line for line in lines if line.startswith(" numpy "))
    assert numpy.split()[2:] == ["cpu", "yes", "yes", "yes", "yes", "yes", "yes"]
    assert any(line.split()[:1] == ["no_float64"] for line in lines)
    assert any("jax_enable_x64" in line for line in lines)


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("cpu", "cpu"),
        ("cpu:0", "cpu"),
        ("cuda:1", "cuda:1"),
        ("Device(gpu, 0)", "gpu"),
        ("<CUDA Device 0>", "cuda"),
        ("<CUDA Device 3>", "cuda:3"),
        ("array_api_strict.Device('CPU_DEVICE')", "cpu"),
        ("array_api_strict.Device('device1')", "device1"),
        ("TPU_0(process=0,(0,0,0,0))", "tpu_0(process=0,(0,0,0,0))"),
    ],
)
def test_device_names(printed: str, name: str) -> None:
    assert device_name(printed) == name
