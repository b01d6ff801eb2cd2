"""Isolation of code in its process: limits, namespaces and a system-call filter, through Linux's own interfaces.

Each part may be unavailable, by kernel, container and privilege; an unavailable part is always reported, never passed
over.
"""

import contextlib
import ctypes
import os
import platform
import resource
import struct
from dataclasses import dataclass

_NEW_USER, _NEW_MOUNTS, _NEW_IPC, _NEW_NETWORK = 0x10000000, 0x00020000, 0x08000000, 0x40000000
_SET_PARENT_DEATH_SIGNAL, _SET_SECCOMP, _SET_NO_NEW_PRIVILEGES = 1, 22, 38
_SIGKILL = 9
_MOUNT_SETATTR, _AT_RECURSIVE, _READ_ONLY = 442, 0x8000, 1
_CLONE_THREAD = 0x10000
_ALLOW, _DENY, _ABSENT, _KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000


@dataclass(frozen=True)
class _Architecture:
    """An architecture's id for filters, and the numbers of the refused system calls."""

    audit: int
    clone: int
    denied: tuple[int, ...]


# Opening sockets, starting programs and processes, signalling and inspecting other processes, and leaving the
# namespaces. 424 and above are the same everywhere: pidfd_send_signal, io_uring_setup, pidfd_open, mount_setattr.
_EVERYWHERE = (424, 425, 434, _MOUNT_SETATTR)
_MACHINES = {
    "x86_64": _Architecture(
        0xC000003E,
        56,
        (41, 57, 58, 59, 62, 101, 165, 200, 248, 249, 250, 272, 308, 310, 311, 321, 322, *_EVERYWHERE),
    ),
    "aarch64": _Architecture(
        0xC00000B7, 220, (198, 221, 129, 117, 40, 130, 217, 218, 219, 97, 268, 270, 271, 280, 281, *_EVERYWHERE)
    ),
}

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """End this process when its parent ends."""
    _libc.prctl(_SET_PARENT_DEATH_SIGNAL, _SIGKILL, 0, 0, 0)


def enter_namespaces(folder: str, *, size_bytes: int) -> str | None:
    """Enter namespaces without network, where all files are read-only, except `folder`, which is empty, writable and of
    this size. Returns None, or the kernel's reason for refusing."""
    user, group = os.geteuid(), os.getegid()
    try:
        _call(_libc.unshare(_NEW_USER | _NEW_MOUNTS | _NEW_IPC | _NEW_NETWORK))
        with contextlib.suppress(OSError):
            _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"1000 {user} 1")
        _write("/proc/self/gid_map", f"1000 {group} 1")
        _call(_libc.mount(None, b"/", None, 0x44000, None))  # Recursively private.
        _call(_libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 6, f"size={size_bytes}".encode()))
        # It exposes the environment and memory of other processes of the same user.
        _call(_libc.mount(b"tmpfs", b"/proc", b"tmpfs", 15, b"size=4096"))
        attributes = struct.pack("QQQQ", _READ_ONLY, 0, 0, 0)
        _call(_libc.syscall(_MOUNT_SETATTR, -100, b"/", _AT_RECURSIVE, attributes, len(attributes)))
        writable = struct.pack("QQQQ", 0, _READ_ONLY, 0, 0)
        _call(_libc.syscall(_MOUNT_SETATTR, -100, folder.encode(), 0, writable, len(writable)))
        os.chdir(folder)  # The previous one lies under the mount.
    except OSError as error:
        return str(error)
    return None


def seal(*, cpu_s: float, memory_bytes: int, output_bytes: int) -> str | None:
    """Limit this process, and deny it sockets, programs, and access to other processes, permanently. Returns None, or
    the kernel's reason for refusing the system-call filter; limits always apply."""
    cpu = max(1, round(cpu_s))
    for limit, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        (resource.RLIMIT_FSIZE, output_bytes, output_bytes),
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(limit, (soft, hard))
    # Capabilities could undo the mounts and raise the limits again.
    _libc.capset(struct.pack("II", 0x20080522, 0), struct.pack("6I", 0, 0, 0, 0, 0, 0))
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return f"no filter of system calls for {platform.machine()}"
    program = ctypes.create_string_buffer(_filter(machine))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(program))
    try:
        _call(_libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _call(_libc.prctl(_SET_SECCOMP, 2, header, 0, 0))
    except OSError as error:
        return str(error)
    return None


def _filter(machine: _Architecture) -> bytes:
    """The filter in BPF: each instruction is (code, jump if true, jump if false, operand)."""
    load, equal, any_bit, end = 0x20, 0x15, 0x45, 0x06
    steps = [(load, 0, 0, 4), (equal, 1, 0, machine.audit), (end, 0, 0, _KILL), (load, 0, 0, 0)]
    for number in machine.denied:
        steps += [(equal, 0, 1, number), (end, 0, 0, _DENY)]
    # clone3 is absent, so that threads are made by clone, whose flags a filter can read.
    steps += [(equal, 0, 1, 435), (end, 0, 0, _ABSENT)]
    steps += [(equal, 0, 4, machine.clone), (load, 0, 0, 16), (any_bit, 1, 0, _CLONE_THREAD), (end, 0, 0, _DENY)]
    # Numbers with this bit are x86's second set of system calls.
    steps += [(end, 0, 0, _ALLOW), (0x35, 0, 1, 0x40000000), (end, 0, 0, _DENY), (end, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _call(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(text)
