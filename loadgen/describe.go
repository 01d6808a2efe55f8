package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"paceline/loadgen/trajectory"
	"paceline/tokenizer"
)

// describeCommand compares generated trajectories with published figures and with a file.
var describeCommand = subcommand{
	define: func(f *flagSet) runner {
		var count int
		var seed uint64
		var file, tokens, path string
		define(f, &count, 500, "n", "trajectories to generate")
		define(f, &seed, 1, "seed", "seed of the generated trajectories")
		define(f, &file, "", "trajectories", "`file` of R2E-Gym trajectories, to be described too")
		define(f, &tokens, "", "tokenizer", "tokenizer.json `file` that counts tokens (default: estimates)")
		define(f, &path, "", "out", "`file` for the generated trajectories, JSON lines in R2E-Gym's form")
		return func(_ context.Context, _ []string, _ io.Reader, out io.Writer) error {
			if count < 1 {
				return inputError{fmt.Errorf("-n: must be at least 1, got %d", count)}
			}
			generated := trajectory.Generate(count, seed)
			if path != "" {
				if err := writeFile(path, func(f *os.File) error { return trajectory.Write(f, generated) }); err != nil {
					return inputError{err}
				}
			}
			all := []trajectory.Described{{Name: fmt.Sprintf("generated, %d trajectories, seed %d", count, seed), Trajectories: generated}}
			if file != "" {
				read, err := trajectory.ReadFile(file)
				if err != nil {
					return inputError{fmt.Errorf("-trajectories: %w", err)}
				}
				all = append(all, trajectory.Described{Name: fmt.Sprintf("%s, %d trajectories", filepath.Base(file), len(read)), Trajectories: read})
			}
			return describe(out, all, tokens)
		}
	},
}

func describe(out io.Writer, all []trajectory.Described, tokens string) error {
	var length func(string) int
	how := "Tokens are estimated: bytes over the bytes a token of Qwen2.5 has on average in such texts."
	if tokens != "" {
		t, err := tokenizer.Load(tokens)
		if err != nil {
			return inputError{fmt.Errorf("-tokenizer: %w", err)}
		}
		length = func(text string) int { return len(t.Encode(text)) }
		how = "Tokens are counted by " + filepath.Base(tokens) + "."
	}
	if err := trajectory.Describe(out, all, length); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s A dash: unknown.\n", how)
	return err
}
