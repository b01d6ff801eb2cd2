"""Processes of the Ray started by this process, and of no other Ray on the machine."""

import psutil


def kill_worker(actor_class: str) -> bool:
    """Kill -9 the first process of an actor's class. Returns whether one was found."""
    for process in psutil.Process().children(recursive=True):
        try:
            if actor_class in " ".join(process.cmdline()):
                process.kill()
                return True
        except psutil.NoSuchProcess:
            continue
    return False
