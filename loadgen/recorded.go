package main

import (
	"fmt"
	"path/filepath"

	"paceline/loadgen/report"
	"paceline/loadgen/target"
	"paceline/loadgen/trajectory"
)

// readRecorded makes the load of a recorded trace: a prompt for each of its requests, as
// long as recorded and alike as far as it says.
func readRecorded(o options) (load, error) {
	all, err := trajectory.ReadTraceFile(o.trace, o.prompts)
	if err != nil {
		return load{}, inputError{fmt.Errorf("-trace: %w", err)}
	}
	var made trajectory.Synthesis
	l := load{source: report.Source{
		Kind: "trace", File: filepath.Base(o.trace), Count: len(all), Requests: len(all), Turns: 1, Rollouts: 1,
		Template: "words that mean nothing, one token each; no chat template",
	}}
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = made.Prompt(r)
		l.prompts = append(l.prompts, target.Prompt{ID: fmt.Sprintf("line-%d", r.Line), Text: texts[i], At: r.At})
		l.source.PromptBytesTotal += int64(len(texts[i]))
	}
	l.source.SharedBytes = report.SharedPrefixBytes(texts)
	return l, nil
}
