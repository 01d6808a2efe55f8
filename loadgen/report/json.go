package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
)

// Schema is the JSON Schema (draft 2020-12) of results.json. A line of requests.jsonl is its
// $defs/Request. It is generated from the types and their comments:
// go test ./loadgen/report -run Schema -update.
//
//go:embed results.schema.json
var Schema []byte

// WriteJSON writes the report as results.json.
func WriteJSON(w io.Writer, r Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(r.Settled()); err != nil {
		return fmt.Errorf("results.json: %w", err)
	}
	return nil
}

// ReadJSON reads a results.json of this version. It ignores unknown fields, which a later loadgen may
// have added.
func ReadJSON(rd io.Reader) (Report, error) {
	var r Report
	if err := json.NewDecoder(rd).Decode(&r); err != nil {
		return Report{}, fmt.Errorf("results.json: %w", err)
	}
	if r.FormatVersion != FormatVersion {
		return Report{}, fmt.Errorf("results.json: format_version is %d, expected %d", r.FormatVersion, FormatVersion)
	}
	return r, nil
}
