"""Turns the output of go version -m into an SBOM (CycloneDX 1.5). usage: go version -m BINARY | sbom.py VERSION"""

import json
import sys

components, go = [], ""
for line in sys.stdin:
    fields = line.split()
    if not line.startswith("\t"):
        go = fields[-1]
    elif fields[0] == "dep":
        name, version = fields[1:3]
        sum_ = {"name": "go.sum", "value": fields[3]} if len(fields) > 3 else None
        components.append({
            "type": "library", "name": name, "version": version, "purl": f"pkg:golang/{name}@{version}",
            **({"properties": [sum_]} if sum_ else {}),
        })
if not components:
    sys.exit("sbom.py: no dependencies in the input")
components.append({"type": "library", "name": "std", "version": go, "purl": f"pkg:golang/std@{go.removeprefix('go')}"})
json.dump({
    "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
    "metadata": {"component": {"type": "application", "name": "paceline", "version": sys.argv[1]}},
    "components": components,
}, sys.stdout, indent=1)
