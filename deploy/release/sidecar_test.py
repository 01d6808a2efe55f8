"""Starts the installed wheel as SGLang 0.5.23 starts a sidecar (entrypoints/sidecar.py), and ends it in both ways.

usage: python sidecar_test.py      with the Python that the wheel is installed for, on Linux
"""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time

FLAGS = ["-upstream=http://127.0.0.1:9"] + [f"-{listener}=127.0.0.1:0" for listener in ("listen", "http", "admin", "metrics")]


def sidecar():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, as SGLang does
    import paceline

    paceline.main(FLAGS)


def start():
    process = multiprocessing.get_context("spawn").Process(target=sidecar)
    process.start()
    wait(lambda: os.readlink(f"/proc/{process.pid}/exe").endswith("/paceline/paceline") and listening(process.pid))
    return process


def listening(pid):
    return any(os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:") for fd in os.listdir(f"/proc/{pid}/fd"))


def wait(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited for a minute in vain"
        time.sleep(0.05)


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


if __name__ == "__main__":
    if sys.argv[1:] == ["parent"]:
        print(start().pid, flush=True)
        signal.pause()
    child = start()
    child.terminate()
    child.join(60)
    assert child.exitcode == 0, f"SIGTERM: exit status {child.exitcode}"
    print("SIGTERM reaches the proxy, which drains and exits 0")
    parent = subprocess.Popen([sys.executable, __file__, "parent"], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    wait(lambda: gone(pid))
    print("the death of its parent ends the proxy")
