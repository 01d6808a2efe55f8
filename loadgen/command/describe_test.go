package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paceline/loadgen/trajectory"
)

func TestGeneratedTrajectoriesAreDescribedBesidePublishedOnesAndAFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "generated.jsonl")
	if err := describeCommand.run(t.Context(), "describe", []string{"-n", "3", "-seed", "9", "-out", out}, nil, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	written, err := trajectory.ReadFile(out)
	if err != nil || len(written) != 3 {
		t.Fatal(len(written), err)
	}
	var text bytes.Buffer
	if err := describeCommand.run(t.Context(), "describe", []string{"-n", "3", "-seed", "9", "-trajectories", out}, nil, &text); err != nil {
		t.Fatal(err)
	}
	// What was written is what is described, so both have the same figures.
	rows := map[string][]string{}
	for line := range strings.Lines(text.String()) {
		for _, name := range []string{"generated, 3 trajectories, seed 9", "generated.jsonl, 3 trajectories"} {
			if figures, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				rows[name] = append(rows[name], strings.Join(strings.Fields(figures), " "))
			}
		}
	}
	generated, file := rows["generated, 3 trajectories, seed 9"], rows["generated.jsonl, 3 trajectories"]
	if len(generated) != 8 || strings.Join(generated, "\n") != strings.Join(file, "\n") {
		t.Errorf("%v\n%v", generated, file)
	}
}

func TestDescribeNamesWhatIsWrong(t *testing.T) {
	for want, args := range map[string][]string{
		"-n: must be":              {"-n", "0"},
		"-trajectories: ":          {"-trajectories", "missing.jsonl"},
		"-tokenizer: ":             {"-tokenizer", "missing.json"},
		"unexpected argument":      {"x"},
		"-out: ":                   {"-n", "1", "-out", filepath.Join(os.DevNull, "x")},
		"not a flag: is -n meant?": {"-nope"},
	} {
		if err := describeCommand.run(t.Context(), "describe", args, nil, &bytes.Buffer{}); err == nil ||
			!strings.Contains(err.Error(), want) || fail(err) != exitBadInput {
			t.Errorf("%v: %v", args, err)
		}
	}
	var help bytes.Buffer
	if err := describeCommand.run(t.Context(), "describe", []string{"-h"}, nil, &help); err != nil ||
		!strings.Contains(help.String(), "-trajectories") {
		t.Error(err, help.String())
	}
}
