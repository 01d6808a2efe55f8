package server

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// The max numbers of functions and files from the arrival of a call to its answer.
const (
	maxWayFunctions = 140
	maxWayFiles     = 20
)

// The way of a prompt is what one Prefill of token ids runs of this project's own code,
// generated code left out: go test -run TheWayOfAPrompt -v ./proxy/server prints it.
func TestTheWayOfAPromptIsShort(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the proxy with coverage counters")
	}
	dir, f := t.TempDir(), newFake(t)
	f.setInfo("max_req_input_len", 1000)
	program := filepath.Join(dir, "way")
	command(t, "go", "build", "-cover", "-covermode=atomic",
		"-coverpkg=paceline/proxy/...,paceline/batcher/...,paceline/sglang,paceline/tokenizer", "-o", program, "./testdata/way")
	var way []string
	files := map[string]bool{}
	for try := range 3 { // the watch asks SGLang each second, and may do so meanwhile
		run := filepath.Join(dir, strconv.Itoa(try))
		if err := os.Mkdir(run, 0o755); err != nil {
			t.Fatal(err)
		}
		command(t, program, f.url(), run)
		if once := functionsIn(t, run); way == nil || len(once) < len(way) {
			way = once
		}
		if len(way) <= maxWayFunctions {
			break
		}
	}
	for _, function := range way {
		file, _, _ := strings.Cut(function, " ")
		files[file] = true
	}
	sort.Strings(way)
	t.Logf("%d functions in %d files:\n%s", len(way), len(files), strings.Join(way, "\n"))
	if len(way) == 0 || len(way) > maxWayFunctions || len(files) > maxWayFiles {
		t.Errorf("%d functions in %d files, want at most %d in %d", len(way), len(files), maxWayFunctions, maxWayFiles)
	}
}

// functionsIn returns the functions that a run wrote counters of. Each name follows its file.
func functionsIn(t *testing.T, run string) (way []string) {
	t.Helper()
	for line := range strings.Lines(command(t, "go", "tool", "covdata", "func", "-i="+run)) {
		fields := strings.Fields(line) // file:line:  function  percentage
		if len(fields) != 3 || fields[2] == "0.0%" || fields[0] == "total" || strings.Contains(fields[0], "testdata/way") {
			continue
		}
		file, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "paceline/"), ":")
		way = append(way, file+" "+fields[1])
	}
	return way
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), name, args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}
