package docs

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the packages from the bottom up: each may import those before it, and
// those in its own row only where the row is one package. docs/architecture.md draws
// them.
var layers = [][]string{
	{"proto/paceline/v1", "tokenizer", "batcher/prefix", "batcher/tune", "proxy/file", "proxy/suggest", "proxy/version"},
	{"batcher", "sglang"},
	{"sglang/sim/dialect", "proxy/telemetry"},
	{"sglang/sim"},
	{"proxy/upstream"},
	{"proxy/api", "proxy/compat"},
	{"proxy/server"},
	{"proxy/command", "proxy/server/servertest"},
	{"proxy"},
}

// top are the folders that may import any package, and that none imports.
var top = []string{"loadgen", "bench", "deploy"}

func TestImportsPointOneWay(t *testing.T) {
	rank := map[string]int{}
	for i, row := range layers {
		for _, p := range row {
			rank[p] = i
		}
	}
	isTop := func(p string) bool {
		first, _, _ := strings.Cut(p, "/")
		return slices.Contains(top, first)
	}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		isTest := strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testdata")
		if err != nil || d.IsDir() || isTest || !strings.HasSuffix(path, ".go") {
			return err
		}
		from := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../"))
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			to, ours := strings.CutPrefix(name, "paceline/")
			switch {
			case !ours || isTop(from):
			case isTop(to):
				t.Errorf("%s imports %s, which nothing may import", path, to)
			default:
				f, known := rank[from]
				if g, also := rank[to]; !known || !also {
					t.Errorf("%s imports %s: one of them stands in no layer", path, to)
				} else if f <= g && from != to {
					t.Errorf("%s imports %s, which is not below it", path, to)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
