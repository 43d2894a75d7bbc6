"""What is installed is what was tested, and every remedy in an error message works."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sklearn_ser._extras import import_extra, install_hint
from small_codecs import small_codec
from small_networks import small_network
from small_text_networks import small_text_network

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())


def direct_requirements():
    """Return all requirements that pyproject.toml names, with where it names them."""
    parts = {
        "dependencies": PROJECT["project"]["dependencies"],
        "build-system": PROJECT["build-system"]["requires"],
        **PROJECT["project"]["optional-dependencies"],
        **PROJECT["dependency-groups"],
    }
    return [
        (part, Requirement(line))
        for part, lines in parts.items()
        for line in lines
        if isinstance(line, str)  # not a group within a group
    ]


def test_constraints_are_names_and_versions_alone():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[A-Za-z0-9.+!]+", line)]
    assert not wrong


def test_constraints_pin_each_direct_dependency_within_its_range():
    for part, requirement in direct_requirements():
        name = canonicalize_name(requirement.name)
        if name != "sklearn-ser":
            assert name in PINS, f"{name} of {part}"
            assert requirement.specifier.contains(PINS[name]), f"{name} of {part}: {PINS[name]}"


def test_dev_and_all_are_whole():
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == set(extras) - {"all"}
    groups = PROJECT["dependency-groups"]
    assert {entry["include-group"] for entry in groups["dev"]} == set(groups) - {"dev"}


@pytest.mark.parametrize("page", ["README.md", ".ci/run", "CONTRIBUTING.md"])
def test_installations_use_the_constraints(page):
    text = (ROOT / page).read_text().replace("\\\n", " ")
    commands = re.findall(r"^.*\bpip install .*$", text, re.MULTILINE)
    commands = [command for command in commands if "`pip" not in command]  # mentioned in a sentence
    assert commands
    for command in commands:
        assert re.search(r"--constraints? constraints\.txt", command), command
        if '"' in command:  # the package itself, and what is built for it
            assert "--build-constraints constraints.txt" in command or "docs" in command, command


def test_an_extra_is_installed_by_a_command_that_works_in_a_checkout():
    extras = PROJECT["project"]["optional-dependencies"]
    for extra in extras:
        command = install_hint(extra)
        assert command.endswith(f"pip install -c constraints.txt '.[{extra}]'")
    sources = "\n".join(path.read_text() for path in ROOT.glob("sklearn_ser/**/*.py"))
    used = set(re.findall(r'(?:extra=|install_hint\()["\'](\w+)', sources))
    assert used
    assert used <= set(extras)
    # The package is on no index: a command that names it finds nothing.
    name = PROJECT["project"]["name"]
    assert not re.search(rf"pip install [^\n]*({name}|{name.replace('-', '_')})", sources)


def stub(folder, name, version, code):
    """Write a package that fails when it is imported, as it would lie in site-packages."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def run_beside_a_broken_torchaudio(tmp_path):
    """Return a function that runs code where torchaudio is installed and cannot be imported."""
    code = "raise OSError('Could not load this library: libtorchaudio.so')"
    stub(tmp_path, "torchaudio", "2.11.1", code)

    def run(code):
        path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


CORE = """
import numpy as np
import sklearn_ser
noise = [np.random.default_rng(0).standard_normal(8000).astype("float32")] * 2
for name, model in {models!r}.items():
    X = ["a b", "c"] if name == "TextEmbedder" else noise
    print(name, len(getattr(sklearn_ser, name)(model).fit_transform(X)))
regressor = sklearn_ser.DistilledRegressor(
    {models!r}["WavLMEmbedder"], max_epochs=1, hidden_size=4, random_state=0
)
print("DistilledRegressor", len(regressor.fit(noise * 2, np.eye(4)[:, :3]).predict(noise)))
try:
    import torchaudio
except OSError as error:
    print(error)
"""


@pytest.mark.slow
def test_the_core_runs_beside_a_torchaudio_that_cannot_be_imported(run_beside_a_broken_torchaudio):
    models = {
        "WavLMEmbedder": small_network("wavlm"),
        "HubertEmbedder": small_network("hubert"),
        "WhisperEmbedder": small_network("whisper"),
        "CodecEmbedder": small_codec("encodec"),
        "TextEmbedder": small_text_network("bert"),
    }
    output = run_beside_a_broken_torchaudio(CORE.format(models=models))
    assert output.splitlines() == [
        *(f"{name} 2" for name in models),
        "DistilledRegressor 2",
        "Could not load this library: libtorchaudio.so",
    ]


@pytest.mark.parametrize("extra", ["speechbrain", "encodec"])
@pytest.mark.parametrize(
    ("torch", "fitting"),
    [("2.12.1+cpu", "2.11.0"), ("2.10.0", "2.10.*"), ("2.15.0", "2.11.1"), ("3.0.0", "2.11.1")],
)
def test_what_needs_torchaudio_says_which_one_runs(extra, torch, fitting, monkeypatch):
    versions = {"torch": torch, "torchaudio": "2.11.7"}

    def fail(module):
        raise OSError("Could not load this library: libtorchaudio.so")

    monkeypatch.setattr("sklearn_ser._extras.import_module", fail)
    monkeypatch.setattr("sklearn_ser._extras.version", versions.__getitem__)
    with pytest.raises(ImportError) as caught:
        import_extra(extra, extra=extra, needed_for="This model")
    assert str(caught.value).startswith(
        f"This model needs torchaudio, and torchaudio 2.11.7 does not run with torch {torch}; "
        f"torchaudio {fitting} does: pip install 'torchaudio=={fitting}'"
    )


def test_a_fitting_torchaudio_that_fails_is_not_recommended(monkeypatch):
    def fail(module):
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr("sklearn_ser._extras.import_module", fail)
    versions = {"torch": "2.15.0+cu132", "torchaudio": "2.11.1+cu132"}
    monkeypatch.setattr("sklearn_ser._extras.version", versions.__getitem__)
    with pytest.raises(ImportError, match=r"cannot be imported \(OSError: libcudart") as caught:
        import_extra("speechbrain", extra="speechbrain", needed_for="This model")
    assert "torchaudio==" not in str(caught.value)
    assert str(caught.value).endswith(install_hint("speechbrain"))


def test_an_extra_that_is_not_installed_is_not_called_broken():
    with pytest.raises(ImportError) as caught:
        import_extra("no_such_package", extra="snac", needed_for="This codec")
    assert str(caught.value) == (
        f"This codec needs the package 'no_such_package', which is not installed. "
        f"{install_hint('snac')}"
    )
