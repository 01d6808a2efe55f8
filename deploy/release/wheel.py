"""Writes a wheel with the static binary and the shim in wheel/. Equal inputs make equal bytes.

usage: wheel.py BINARY VERSION ARCH OUT      ARCH is x86_64 or aarch64; SOURCE_DATE_EPOCH is the files' time
"""

import base64
import hashlib
import os
import pathlib
import sys
import time
import zipfile

binary, version, arch, out = sys.argv[1:]
here = pathlib.Path(__file__).parent
info = f"paceline-{version}.dist-info"
# A static binary needs no libc, so it runs on each of these.
platforms = [f"manylinux_2_17_{arch}", f"manylinux2014_{arch}", f"musllinux_1_1_{arch}"]
tags = "".join(f"Tag: py3-none-{p}\n" for p in platforms)
files = {
    "paceline/__init__.py": (here / "wheel" / "__init__.py").read_bytes(),
    "paceline/paceline": pathlib.Path(binary).read_bytes(),
    f"{info}/METADATA": (
        f"Metadata-Version: 2.1\nName: paceline\nVersion: {version}\n"
        "Summary: A batching proxy that runs as a sidecar in front of SGLang\n"
        "License: Apache-2.0\nRequires-Python: >=3.8\n"
    ).encode(),
    f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: deploy/release/wheel.py\nRoot-Is-Purelib: false\n{tags}".encode(),
    f"{info}/entry_points.txt": b"[console_scripts]\npaceline = paceline:command\n",
    f"{info}/LICENSE": (here / ".." / ".." / "LICENSE").read_bytes(),
}
record = "".join(
    f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
    for name, data in files.items()
)
files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
when = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "315532800")))[:6]
path = pathlib.Path(out) / f"paceline-{version}-py3-none-{'.'.join(platforms)}.whl"
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
    for name, data in files.items():
        entry = zipfile.ZipInfo(name, when)
        entry.external_attr = (0o100755 if name == "paceline/paceline" else 0o100644) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        wheel.writestr(entry, data)
print(path)
