"""Names ↔ classes: how YAML, `mvector list` and the tests find the parts.

A part joins with one decorator in a file of its package; no other file has to name it:

    @BACKBONES.register("CAMPPlus")
    class CAMPPlus(nn.Module): ...

A dotted path ('my_package.my_module.MyBackbone') reaches a user's own class without registering it.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

from mvector.errors import ConfigError, nearest


class Registry:
    """The classes of one kind by name; the modules of `package` are imported at the first look-up."""

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.package = package
        self._classes: dict[str, type] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type], type]:
        def add(cls: type) -> type:
            if self._classes.get(name, cls) is not cls:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._classes[name] = cls
            return cls

        return add

    def names(self) -> list[str]:
        self._load()
        return sorted(self._classes)

    def get(self, name: str) -> type:
        """The class registered as `name`, or the class that the dotted path `name` leads to."""
        self._load()
        if name in self._classes:
            return self._classes[name]
        if "." in name:
            return self._import_dotted(name)
        raise ConfigError(
            f"unknown {self.kind} {name!r}; there are: {', '.join(self.names())}.{nearest(name, self.names())}"
        )

    def build(self, name: str, arguments: dict[str, Any] | None = None, **fixed: Any) -> Any:
        """An object of class `name`; a key of `arguments` that the class does not take is a ConfigError.

        `fixed` are the arguments that the caller decides (an input size counted from the features, say).
        """
        arguments = dict(arguments or {})
        cls = self.get(name)
        self.check_arguments(name, arguments)
        overlap = sorted(arguments.keys() & fixed.keys())
        if overlap:
            raise ConfigError(f"{name}: {overlap[0]!r} is set by the program and cannot be given")
        return cls(**arguments, **fixed)

    def check_arguments(self, name: str, arguments: dict[str, Any]) -> None:
        """Raise ConfigError for the first key of `arguments` that class `name` does not take."""
        parameters = inspect.signature(self.get(name)).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        for key in arguments:
            if key not in parameters:
                allowed = [p for p in parameters if p != "self"]
                raise ConfigError(
                    f"{self.kind} {name} takes no argument {key!r}; it takes: {', '.join(allowed) or 'none'}."
                    f"{nearest(key, allowed)}"
                )

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")

    def _import_dotted(self, path: str) -> type:
        from torch import nn

        module_name, _, class_name = path.rpartition(".")
        try:
            found = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(f"{self.kind} {path!r} cannot be imported: {error}") from error
        # A configuration may come from a stranger: it must not be able to call whatever it names.
        if not (isinstance(found, type) and issubclass(found, nn.Module)):
            raise ConfigError(f"{self.kind} {path!r} is not a torch.nn.Module class")
        return found


FEATURES = Registry("feature", "mvector.features")
BACKBONES = Registry("backbone", "mvector.models")
POOLINGS = Registry("pooling", "mvector.models")
LOSSES = Registry("loss", "mvector.losses")
CORPORA = Registry("corpus", "mvector.data.corpora")
