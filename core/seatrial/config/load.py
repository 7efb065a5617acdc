"""Read ``seatrial.toml``, lay the flags over it, and refuse every key that is not known.

Standard library only.
"""

from __future__ import annotations

import copy
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seatrial.config import schema
from seatrial.config.records import (
    Config,
    EnvConfig,
    ModelConfig,
    RunConfig,
    SetConfig,
    TargetConfig,
    TaskConfig,
)
from seatrial.data import contract as contracts
from seatrial.data.contract import InputContract
from seatrial.data.source import expanded
from seatrial.errors import UserError
from seatrial.sla import SLA

FILE = "seatrial.toml"
_MAX_BYTES = 1 << 20
#: Defaults that decide something, as the report prints them.
_TOLD: Mapping[str, Any] = {"sla.max_drop": 1.0, "sla.device_drop": 0.5, "run.seed": 0}
_FLAGS = {
    "data.source": "--data",
    "data.calibration.source": "--calibration",
    "data.test.source": "--test",
    "model.path": "MODEL",
    "model.weights": "--weights",
}


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read the configuration.

    Args:
        path: the file; ``None``: none is read (see :func:`find`).
        overrides: values of flags by dotted key (``sla.max_drop``, ``data.test.source``); they
            win. ``None`` values count as not given. Relative paths among them start from the
            working folder, those of the file from the file's folder.

    Raises:
        UserError: naming file, line and key.
    """
    reader = _Reader(path)
    given = {k: v for k, v in (overrides or {}).items() if v is not None}
    reader.lay_over(given)
    return reader.build()


def find(folder: Path | None = None) -> Path | None:
    """The ``seatrial.toml`` of a folder (the working folder by default), if there is one."""
    path = (folder or Path.cwd()) / FILE
    return path if path.is_file() else None


class _Reader:
    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.text = "" if path is None else _read(path)
        self.base = str((path.parent if path else Path.cwd()).absolute())
        self.flags: set[str] = set()
        try:
            self.tree: dict[str, Any] = tomllib.loads(self.text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            place = re.search(r"at line (\d+), column (\d+)", str(error))
            where = f"line {place[1]}" if place else ""
            reason = re.sub(r"\s*\(at [^)]*\)$", "", str(error)) or "is nested too deeply"
            raise UserError(str(path), f"is not valid TOML: {reason}", place=where) from None
        self.tree = copy.deepcopy(self.tree)
        self._check()

    def _check(self) -> None:
        """Unknown keys and wrong values of the file, table by table."""
        self._known(self.tree, schema.TABLES, ())
        for name, value in self.tree.items():
            table = schema.TABLES[name]
            self._is_table(value, (name,))
            if table.named:
                for key, inner in value.items():
                    self._is_table(inner, (name, key))
                    self._parse_table(inner, table.fields, (name, key))
                continue
            for sub in table.subtables:
                if isinstance(value.get(sub), str):
                    value[sub] = {"source": value[sub]}
                if sub in value:
                    self._is_table(value[sub], (name, sub))
                    self._parse_table(value[sub], schema.SETS[sub].fields, (name, sub))
            self._parse_table(value, table.fields, (name,), skip=table.subtables)

    def _is_table(self, value: Any, keys: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            raise self._error(keys, f"is a table: write [{_dotted(keys)}]")

    def _known(self, tree: Mapping[str, Any], known: Iterable[str], keys: tuple[str, ...]) -> None:
        names = list(known)
        for key in tree:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
                advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                raise self._error((*keys, key), "unknown key", advice=advice)

    def _parse_table(
        self,
        tree: dict[str, Any],
        fields: schema.Fields,
        keys: tuple[str, ...],
        skip: tuple[str, ...] = (),
    ) -> None:
        self._known(tree, (*fields, *skip), keys)
        for key in [k for k in tree if k not in skip]:
            try:
                tree[key] = fields[key](tree[key])
            except ValueError as error:
                raise self._error((*keys, key), str(error)) from None

    def _error(self, keys: tuple[str, ...], reason: str, advice: str = "") -> UserError:
        line = find_line(self.text, keys)
        table = f"[{_dotted(keys[:-1])}] " if len(keys) > 1 else ""
        place = f"line {line}, {table}{keys[-1]}" if line else f"{table}{keys[-1]}"
        return UserError(str(self.path), reason, place=place, advice=advice)

    def lay_over(self, overrides: Mapping[str, Any]) -> None:
        """Flags win over the file."""
        for dotted, value in overrides.items():
            keys = tuple(dotted.split("."))
            if keys in (("data", "calibration"), ("data", "test")):
                keys = (*keys, "source")
            parser = _parser(keys)
            flag = _FLAGS.get(".".join(keys), "--" + keys[-1].replace("_", "-"))
            raw = list(value) if isinstance(value, tuple) else value
            try:
                parsed = parser(raw)
            except ValueError as error:
                raise UserError(flag, str(error)) from None
            self._replace_source(keys, parsed)
            tree = self.tree
            for key in keys[:-1]:
                tree = tree.setdefault(key, {})
            tree[keys[-1]] = parsed
            self.flags.add(".".join(keys))

    def _replace_source(self, keys: tuple[str, ...], value: Any) -> None:
        """A source named by a flag takes nothing over from another source that the file names.

        The file's row filter or array names belong to that data set. Where both name one and the
        same, they stay.
        """
        if keys[-1] != "source" or keys[0] != "data":
            return
        data = self.tree.setdefault("data", {})
        if len(keys) == 3:
            old = data.get(keys[1])
            named = old.get("source") if isinstance(old, dict) else None
            if not isinstance(named, str) or not self._same(named, str(value)):
                data.pop(keys[1], None)
        else:
            self.tree["data"] = {}

    def _same(self, named: str, flag: str) -> bool:
        """Whether the file's source, from its own folder, is the flag's, from the working one."""
        return (Path(self.base) / named).resolve() == Path(flag).resolve()

    def build(self) -> Config:
        """The records."""
        tree = self.tree
        sla = dict(tree.get("sla", {}))
        if "max_memory" in sla:
            sla["max_memory_mb"] = sla.pop("max_memory")
        environments = {n: EnvConfig(**self._env(e)) for n, e in tree.get("env", {}).items()}
        self._check_env_names(environments)
        return Config(
            path=str(self.path) if self.path else "",
            model=self._model(),
            inputs={n: self._contract(n, c) for n, c in tree.get("input", {}).items()},
            data=self._data(),
            task=_task(tree.get("task", {})),
            sla=SLA(**sla),
            targets={n: TargetConfig(**t) for n, t in tree.get("target", {}).items()},
            environments=environments,
            run=RunConfig(**tree.get("run", {})),
            defaults_used=self._defaults(),
        )

    def _defaults(self) -> tuple[str, ...]:
        used = []
        for dotted, value in _TOLD.items():
            table, _, key = dotted.partition(".")
            if key not in self.tree.get(table, {}):
                used.append(f"{dotted}={value:g}")
        return tuple(used)

    def _base(self, dotted: str) -> str:
        return str(Path.cwd()) if dotted in self.flags else self.base

    def _model(self) -> ModelConfig:
        model = dict(self.tree.get("model", {}))
        path = model.get("path", "")
        module = re.fullmatch(r"([A-Za-z_][\w.]*):[A-Za-z_][\w.]*", path)
        if path and (module is None or module[1].endswith(".py")):
            model["path"] = str(Path(self._base("model.path")) / expanded(path))
        if model.get("weights"):
            model["weights"] = str(Path(self._base("model.weights")) / expanded(model["weights"]))
        return ModelConfig(**model)

    def _contract(self, name: str, values: Mapping[str, Any]) -> InputContract:
        contract = InputContract(**values)
        try:
            contracts.check(contract, name)
        except UserError as error:
            key = error.place.rpartition(" ")[2]
            raise self._error(("input", name, key), error.reason, error.advice) from None
        return contract

    def _data(self) -> dict[str, SetConfig]:
        data = dict(self.tree.get("data", {}))
        sets: dict[str, SetConfig] = {}
        for role in ("calibration", "test"):
            values = data.pop(role, None)
            if values is not None:
                if "source" not in values:
                    raise self._error(("data", role), "lacks the key 'source'")
                sets[role] = SetConfig(base=self._base(f"data.{role}.source"), **values)
        if "source" in data:
            sets["all"] = SetConfig(base=self._base("data.source"), **data)
        elif data:
            stray = next(iter(data))
            advice = "write it under [data.calibration] or [data.test]"
            raise self._error(("data", stray), "belongs to a source", advice)
        return sets

    def _env(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Interpreters with a folder in their name start from the file's folder."""
        env = dict(values)
        python = env.get("python", "")
        if "/" in python:
            env["python"] = str(Path(self.base) / expanded(python))
        return env

    def _check_env_names(self, environments: Mapping[str, EnvConfig]) -> None:
        for name, target in self.tree.get("target", {}).items():
            env = target.get("env", "")
            if env and env not in environments:
                known = ", ".join(environments) or "none"
                reason = f"there is no [env.{env}], only {known}"
                raise self._error(("target", name, "env"), reason)


def _task(values: Mapping[str, Any]) -> TaskConfig:
    """The table with the settings of one task apart from those that all have."""
    own = {k: v for k, v in values.items() if k in schema.TASK_SETTINGS}
    return TaskConfig(**{k: v for k, v in values.items() if k not in own}, settings=own)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(str(path), "is too large for a configuration")
        if not path.is_file():
            raise UserError(str(path), "is not a regular file")
        return path.read_text("utf-8-sig")
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise UserError(str(path), reason, advice="seatrial init writes one") from None
    except (UnicodeDecodeError, ValueError):
        raise UserError(str(path), "is not UTF-8 text") from None


def _parser(keys: tuple[str, ...]) -> Any:
    table = schema.TABLES.get(keys[0])
    fields: schema.Fields = {}
    if table is not None:
        fields = table.fields
        if not table.named and len(keys) == 3 and keys[1] in table.subtables:
            fields = schema.SETS[keys[1]].fields
    if keys[-1] not in fields:
        raise KeyError(f"no such key: {'.'.join(keys)}")
    return fields[keys[-1]]


def _dotted(keys: tuple[str, ...]) -> str:
    return ".".join(k if re.fullmatch(r"[\w-]+", k) else f'"{k}"' for k in keys)


def find_line(text: str, keys: tuple[str, ...]) -> int:
    """The line of a key in a TOML text; 0 when it cannot be found.

    Finds ``[a.b]`` headers, keys below them, and dotted or inline tables by their outer key.
    """
    best = 0
    header: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            header = _keys(stripped.strip("[] \t").split("]", maxsplit=1)[0])
            if header == keys:
                return number
            if header == keys[: len(header)]:
                best = number
        elif "=" in stripped and not stripped.startswith("#"):
            full = (*header, *_keys(stripped.split("=", 1)[0]))
            if full == keys:
                return number
            if full == keys[: len(full)]:
                best = number
    return best


def _keys(text: str) -> tuple[str, ...]:
    parts = re.findall(r'"([^"]*)"|\'([^\']*)\'|([\w-]+)', text)
    return tuple(next(p for p in part if p) if any(part) else "" for part in parts)
