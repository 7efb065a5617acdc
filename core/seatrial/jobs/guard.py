"""What a child does to itself before it imports a plugin: limits, network, environment.

Linux, standard library only, Python 3.10 and newer: this module is carried to foreign
interpreters. Nothing here is a sandbox against hostile machine code; it keeps honest but
crash-prone toolchains from hurting the host, the network or each other.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import struct
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path

#: Variable that marks every process of a job; its value is the job's nonce.
MARKER = "SEATRIAL_JOB"

#: How far a child is kept from the network, strongest first.
NAMESPACE, PROXIES, ALLOWED = "namespace", "proxies", "allowed"

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

_KEPT = {"PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", MARKER}
_KEPT_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "GOMP_", "KMP_")
_DEAD_PROXY = "http://127.0.0.1:9"


def prctl(option: int, value: int) -> bool:
    """Set one attribute of this process; ``False`` when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)


def adopt_orphans(on: bool) -> bool:
    """Make this process the parent of its orphaned descendants (a subreaper), or stop it."""
    return prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def die_with_parent(parent: int) -> None:
    """Be killed when the thread that started this process ends.

    Args:
        parent: the process id that must still be the parent (0: unknown, behind a launcher).
    """
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def limit_resources(address_space_mb: int | None) -> None:
    """No core files; optionally a ceiling on address space (never for CUDA, which reserves it)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if address_space_mb:
        size = address_space_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def leave_network() -> str:
    """Enter an empty network namespace with a loopback of its own, where the kernel allows it.

    Must run before the process has a second thread: the kernel gives no user namespace after.

    Returns:
        The level in force: ``namespace`` or ``proxies``.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNET) != 0:
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            return PROXIES
        _map_ids(uid, gid)
    # A change of credentials hides /proc/self from the parent that samples and sweeps it.
    prctl(_PR_SET_DUMPABLE, 1)
    _raise_loopback()
    return NAMESPACE


def _map_ids(uid: int, gid: int) -> None:
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        try:
            (Path("/proc/self") / name).write_text(text, "ascii")
        except OSError:
            continue


def _raise_loopback() -> None:
    """Bring up ``lo`` inside the new namespace: some toolchains talk to themselves over it."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            name = struct.pack("16sH22x", b"lo", 0)
            flags = struct.unpack("16sH22x", ioctl(sock, _SIOCGIFFLAGS, name))[1]
            ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
    except OSError:
        return


def allowed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that a child may see."""
    return {k: v for k, v in environment.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}


def job_environment(
    base: Mapping[str, str],
    added: Mapping[str, str],
    folder: Path,
    *,
    network: bool,
    own_home: bool = True,
) -> dict[str, str]:
    """The whole environment of a job.

    Args:
        base: where the allow-listed variables come from.
        added: what the description and the configuration set; it wins.
        folder: the job's scratch folder, which holds its home and temporary files.
        network: the job may use the network, so no dead proxies.
        own_home: a home of its own; otherwise (the user's own code) all of ``base`` is kept.
    """
    kept = allowed(base) if own_home else dict(base)
    kept |= {"CI": "true", "DO_NOT_TRACK": "1", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
    kept["TMPDIR"] = str(folder / "tmp")
    if own_home:
        home = folder / "home"
        kept["HOME"] = str(home)
        for name, part in (
            ("XDG_CACHE_HOME", ".cache"),
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_STATE_HOME", ".local/state"),
        ):
            kept[name] = str(home / part)
    if not network:
        for name in ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy"):
            kept[name] = kept[name.upper()] = _DEAD_PROXY
        kept["no_proxy"] = kept["NO_PROXY"] = ""
    return kept | dict(added)
