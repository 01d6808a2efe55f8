"""Starts the proxy as SGLang's sidecar: python -m sglang.launch_server … --sidecar paceline.

The process becomes the proxy (exec), so that SIGTERM and the death of SGLang reach it.
"""

import os
import sys

_BINARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "paceline")


def main(argv):
    """Becomes the proxy with the flags of --sidecar-args. SGLang calls it in a process of its own.

    SGLANG_GRPC_ENDPOINT, which SGLang sets, is not used: the proxy speaks HTTP to SGLang, at -upstream.
    """
    os.execv(_BINARY, [_BINARY, "proxy", *argv])


def command():
    """Becomes the command paceline."""
    os.execv(_BINARY, [_BINARY, *sys.argv[1:]])
