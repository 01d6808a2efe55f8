package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// qwen loads Qwen's own file: the one PACELINE_TEST_TOKENIZER names. It is too large
// to be committed.
func qwen(t testing.TB) *Tokenizer {
	t.Helper()
	path := qwenPath()
	if path == "" {
		t.Skip("PACELINE_TEST_TOKENIZER does not name a tokenizer.json of the Qwen family")
	}
	tok, err := loadQwen(path)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func qwenPath() string { return os.Getenv("PACELINE_TEST_TOKENIZER") }

var (
	qwenOnce sync.Once
	qwenTok  *Tokenizer
	errQwen  error
)

func loadQwen(path string) (*Tokenizer, error) {
	qwenOnce.Do(func() { qwenTok, errQwen = Load(path) })
	return qwenTok, errQwen
}

// sharedData is a file that lies beside the repository, in ../shared/data.
func sharedData(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "shared", "data", name))
	if err != nil {
		t.Skipf("shared data %s is absent", name)
	}
	return data
}

// reference is Hugging Face's tokenizers, in Python: lines of JSON strings in,
// lines of ids out. PACELINE_TEST_PYTHON names an interpreter that has it.
type reference struct {
	in  io.WriteCloser
	out *json.Decoder
}

const referenceProgram = `
import json, sys, tokenizers
t = tokenizers.Tokenizer.from_file(sys.argv[1])
for line in sys.stdin:
    ids = [e.ids for e in t.encode_batch_fast(json.loads(line), add_special_tokens=True)]
    print(json.dumps(ids), flush=True)
`

func startReference(t *testing.T) *reference {
	t.Helper()
	python := os.Getenv("PACELINE_TEST_PYTHON")
	if python == "" {
		t.Skip("PACELINE_TEST_PYTHON does not name a Python that has the package tokenizers")
	}
	cmd := exec.Command(python, "-c", referenceProgram, qwenPath()) //nolint:gosec // the tester's own
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &reference{in, json.NewDecoder(out)}
}

func (r *reference) encode(t *testing.T, texts []string) [][]int32 {
	t.Helper()
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(texts); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { _, err := r.in.Write(line.Bytes()); sent <- err }()
	var ids [][]int32
	if err := r.out.Decode(&ids); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestEqualsTheReference compares every token with Hugging Face's tokenizers.
func TestEqualsTheReference(t *testing.T) {
	tok := qwen(t)
	ref := startReference(t)
	for _, s := range samples(tok) {
		t.Run(s.name, func(t *testing.T) {
			texts := s.texts(t)
			tokens, wrong := 0, 0
			for part := range slices.Chunk(texts, 20_000) {
				for i, want := range ref.encode(t, part) {
					tokens += len(want)
					got := tok.Encode(part[i])
					if !slices.Equal(got, want) {
						if wrong++; wrong <= 10 {
							t.Errorf("%.80q: got %.300s, want %.300s", part[i], fmt.Sprint(got), fmt.Sprint(want))
						}
					}
				}
			}
			t.Logf("%d texts, %d tokens, %d mismatches", len(texts), tokens, wrong)
		})
	}
}
