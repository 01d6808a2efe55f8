package main

import (
	"fmt"
	"io"
	"slices"

	"paceline/loadgen/report"
)

// runSchema is the subcommand schema: it prints the JSON Schema of results.json.
func runSchema(args []string, w io.Writer) error {
	if len(args) == 1 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		_, err := io.WriteString(w, "loadgen schema prints the JSON Schema (2020-12) of results.json; a line of requests.jsonl is its $defs/Request.\n")
		return err
	}
	if len(args) > 0 {
		return inputError{fmt.Errorf("schema: takes no arguments, got %q", args[0])}
	}
	_, err := w.Write(report.Schema)
	return err
}
