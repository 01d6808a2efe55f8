package report

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes the report as results.json.
func WriteJSON(w io.Writer, r Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// ReadJSON reads a results.json of this version.
func ReadJSON(rd io.Reader) (Report, error) {
	var r Report
	if err := json.NewDecoder(rd).Decode(&r); err != nil {
		return r, fmt.Errorf("results.json: %w", err)
	}
	if r.FormatVersion != FormatVersion {
		return r, fmt.Errorf("results.json: format_version is %d, expected %d", r.FormatVersion, FormatVersion)
	}
	return r, nil
}
