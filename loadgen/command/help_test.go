package command

import (
	"bytes"
	"errors"
	"flag"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func help(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := parseOptions([]string{"-h"}, &b); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	return b.String()
}

func TestEveryFlagIsInTheHelpOnce(t *testing.T) {
	text := help(t)
	new(options).flags().VisitAll(func(f *flag.Flag) {
		if n := len(regexp.MustCompile(`(?m)^  -`+f.Name+`( |$)`).FindAllString(text, -1)); n != 1 {
			t.Errorf("-%s stands %d times in the help", f.Name, n)
		}
	})
}

func TestHelpFitsATerminal(t *testing.T) {
	for line := range strings.Lines(help(t)) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestTheExamplesOfHelpAreUnderstood reads the flags of each, without running it.
func TestTheExamplesOfHelpAreUnderstood(t *testing.T) {
	usage, err := helpFiles.ReadFile("help/loadgen.txt")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile(`(?m)^  go run ./loadgen(.*)$`).FindAllStringSubmatch(string(usage), -1)
	if len(examples) < 7 {
		t.Fatalf("only %d examples", len(examples))
	}
	for _, e := range examples {
		command, _, _ := strings.Cut(e[1]+"  ", "   ") // what it does stands behind
		args := strings.Fields(strings.ReplaceAll(command, "'", ""))
		needsFiles := []string{"-resume", "compare", "check", "calibrate", "report"} // which are not there
		if len(args) > 0 && slices.Contains(needsFiles, args[0]) {
			continue
		}
		parse := parseOptions
		if len(args) > 0 && args[0] == "find" {
			parse, args = parseFind, args[1:]
		}
		if _, err := parse(args, &bytes.Buffer{}); err != nil {
			t.Errorf("%s: %v", e[0], err)
		}
	}
}

func TestEachSubcommandHasHelp(t *testing.T) {
	for name, c := range subcommands {
		var out strings.Builder
		if err := c.run(t.Context(), name, []string{"-h"}, nil, &out); err != nil || !strings.HasPrefix(out.String(), "loadgen "+name+" ") {
			t.Errorf("%s: %v: %s", name, err, out.String())
		}
	}
}
