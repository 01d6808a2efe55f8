package report

import _ "embed"

// Schema is the JSON Schema (draft 2020-12) of results.json; a line of
// requests.jsonl is its $defs/Request. It is made from the types and their comments:
// go test ./loadgen/report -run Schema -update.
//
//go:embed results.schema.json
var Schema []byte
