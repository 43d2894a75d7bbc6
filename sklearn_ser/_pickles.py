"""Base class of all estimators: version in pickles, and link to the documentation."""

import inspect
import warnings
from functools import cache
from importlib import import_module
from importlib.metadata import metadata

from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

# Increase if earlier versions of the package can't read the pickles of this one.
FORMAT = 1
_VERSION_KEY, _FORMAT_KEY = "_sklearn_ser_version", "_sklearn_ser_format"
# Attribute of an estimator that another version pickled.
_ORIGIN = "_pickled_version"
# Version and format of pickles without them, of development versions.
_UNVERSIONED = ("before 0.1", 0)


class InconsistentPackageVersionWarning(InconsistentVersionWarning):
    """An estimator was pickled by another version of sklearn_ser.

    Parameters
    ----------
    estimator_name : str
        Class of the estimator.
    current_sklearn_version : str
        Version of sklearn_ser that opens the pickle. The name is that of scikit-learn's warning.
    original_sklearn_version : str
        Version of sklearn_ser that made the pickle.
    """

    def __str__(self):
        """Return the message."""
        return (
            f"This {self.estimator_name} was pickled by sklearn_ser "
            f"{self.original_sklearn_version}, and this is {self.current_sklearn_version}. Results "
            "may differ. Use the same version, or fit the estimator again."
        )


class Estimator(BaseEstimator):
    """scikit-learn's base class, with the version and the documentation of this package.

    scikit-learn keeps its own version in the pickles of its own classes only, and links its own
    documentation in notebooks only.
    """

    _doc_link_module = __package__

    @property
    def _doc_link_template(self):
        """Address of the page of a class, with which scikit-learn shows its parameters."""
        site = _documentation_site()
        return f"{site}/generated/{__package__}.{{estimator_name}}.html" if site else ""

    def __getstate__(self):
        """Return the attributes, with the version and format of the pickle."""
        return {**super().__getstate__(), _VERSION_KEY: own_version(), _FORMAT_KEY: FORMAT}

    def __setstate__(self, state):
        """Set the attributes, and parameters that the pickle lacks to their defaults."""
        attributes = dict(state)
        version = attributes.pop(_VERSION_KEY, _UNVERSIONED[0])
        format_ = attributes.pop(_FORMAT_KEY, _UNVERSIONED[1])
        if not isinstance(format_, int) or format_ > FORMAT:
            raise ValueError(
                f"This {type(self).__name__} was pickled by sklearn_ser {version} in a format that "
                f"sklearn_ser {own_version()} can't read: install sklearn_ser {version}, or fit "
                "the estimator again."
            )
        if version != own_version():
            warnings.warn(
                InconsistentPackageVersionWarning(
                    estimator_name=type(self).__name__,
                    current_sklearn_version=own_version(),
                    original_sklearn_version=version,
                ),
                stacklevel=2,
            )
            attributes.setdefault(_ORIGIN, version)
        super().__setstate__({**_defaults(type(self)), **attributes})

    @property
    def _is_of_other_version(self):
        """Whether the estimator was fitted by another version of the package."""
        return _ORIGIN in self.__dict__

    def _forget_version(self):
        """Forget the version that fitted the estimator: it is fitted again."""
        self.__dict__.pop(_ORIGIN, None)

    def _unreadable_state_error(self, reason):
        """Return an error for a fitted state of another version that can't be used."""
        return ValueError(
            f"The fitted state of this {type(self).__name__} can't be used ({reason}). It was "
            f"pickled by sklearn_ser {self.__dict__[_ORIGIN]}, and this is {own_version()}: use "
            "the same version, or fit the estimator again."
        )


def own_version():
    """Return the version of this package."""
    return import_module(__package__).__version__


@cache
def _documentation_site():
    """Return the address of the documentation in `[project.urls]`; None if there is none."""
    for label_and_address in metadata(__package__).get_all("Project-URL", ()):
        label, _, address = label_and_address.partition(", ")
        if label == "Documentation":
            return address.rstrip("/")
    return None


def _defaults(estimator_class):
    parameters = inspect.signature(estimator_class.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
