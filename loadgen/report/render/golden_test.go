package render

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"paceline/loadgen/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestFormatsAreAsTheGoldenFilesShow(t *testing.T) {
	unbatched := of(repeats("unbatched", "cold", 0.44, 14.6, 14.7, 14.5))
	for name, r := range map[string]report.Report{"full": full(), "cut-short": cutShort(), "only-unbatched": unbatched} {
		t.Run(name, func(t *testing.T) {
			var markdown, terminal bytes.Buffer
			if err := WriteMarkdown(&markdown, figuresOf(r), English); err != nil {
				t.Fatal(err)
			}
			if err := WriteTerminal(&terminal, figuresOf(r), English); err != nil {
				t.Fatal(err)
			}
			var chinese bytes.Buffer
			if err := WriteMarkdown(&chinese, figuresOf(r), Chinese); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".golden.zh.md", chinese.Bytes())
			golden(t, name+".golden.md", markdown.Bytes())
			golden(t, name+".golden.txt", terminal.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")) // a checkout on Windows may add them
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); -update writes it anew:\n%s", name, diff)
	}
}
