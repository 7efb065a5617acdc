"""The cache of what backends say of themselves: the one kind of result that is used again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from seatrial import codec
from seatrial import results as results_module
from seatrial.codec import CodecError, decode, encode
from seatrial.registry import Plugin
from seatrial.results import CONTRACT
from seatrial.worker import write_json

from . import calls
from .calls import Described
from .carry import plugin_files, user_cache


def cache_key(plugin: Plugin, interpreter: str, variables: Mapping[str, str]) -> str:
    """Changes with the distribution, any file of the package, the contract and the environment."""
    files = plugin_files(plugin.value)
    for module in (codec, results_module, calls):
        files[module.__name__] = Path(str(module.__file__))
    stamps = {}
    for name, path in files.items():
        try:
            facts = path.stat()
        except OSError:
            continue
        stamps[name] = [str(path), facts.st_mtime_ns, facts.st_size]
    owner = [plugin.id, plugin.value, plugin.dist, plugin.version]
    return codec.digest([owner, CONTRACT, interpreter, dict(variables), stamps])


def read(key: str) -> Described | None:
    """What is cached under a key; ``None`` when nothing is, or it is damaged."""
    try:
        stored = json.loads(_path(key).read_text("utf-8"))
        if stored["digest"] != codec.digest(stored["described"]):
            return None
        return decode(Described, stored["described"])
    except (OSError, ValueError, KeyError, TypeError, CodecError):
        return None


def write(key: str, described: Described) -> None:
    """Keep a description; a cache that cannot be written is no fault."""
    data = encode(described)
    try:
        _path(key).parent.mkdir(parents=True, exist_ok=True)
        write_json(_path(key), {"described": data, "digest": codec.digest(data)})
    except OSError:
        return


def _path(key: str) -> Path:
    return user_cache() / "described" / f"{key}.json"
