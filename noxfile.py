"""Sessions for nox: what `.ci/run` runs in a clean clone, one by one in the working tree."""

import shlex

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True


def install(session, *packages):
    """Install packages in the tested versions."""
    constraints = ("--constraints", "constraints.txt", "--build-constraints", "constraints.txt")
    session.install(*constraints, *packages)


def run(session, *commands):
    """Run commands as a shell would."""
    for command in commands:
        session.run(*shlex.split(command))


@nox.session
def lint(session):
    """Check style, format, spelling and types."""
    install(session, "--group", "dev", ".[all]")
    run(session, "ruff check .", "ruff format --check .", "codespell", "mypy")


@nox.session
def tests(session):
    """Run all tests with all extras, and measure coverage."""
    install(session, "--group", "test", ".[all]")
    run(session, "python -m pytest --numprocesses auto --cov")


@nox.session
def docs(session):
    """Build the site and run the examples."""
    install(session, "--group", "dev", ".[all]")
    run(session, "python -m sphinx -j 2 -W --keep-going -q -b html docs docs/_build/html")


@nox.session
def core(session):
    """Run the fast tests of what meets the extras without them."""
    install(session, "--group", "test", ".")
    run(
        session,
        "python -c 'from importlib.util import find_spec; "
        'assert find_spec("torchaudio") is None\'',
        'python -m pytest --numprocesses auto --quiet -m "not slow" tests/test_docs.py '
        "tests/test_installation.py tests/test_main.py tests/test_public_api.py "
        "tests/test_workflow.py tests/audio tests/backbones tests/embedders tests/export "
        "tests/inspection",
    )
