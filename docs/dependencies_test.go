package docs

import (
	"os"
	"strings"
	"testing"
)

func TestEachDirectDependencyIsListedWithItsReason(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(page), "\n## Dependencies\n")
	list, _, _ = strings.Cut(list, "\n## ")
	direct := 0
	for line := range strings.Lines(string(mod)) {
		module, _, required := strings.Cut(strings.TrimSpace(line), " v")
		if !required || strings.Contains(line, "// indirect") {
			continue
		}
		direct++
		if !strings.Contains(list, "`"+module+"`") {
			t.Errorf("docs/architecture.md does not say why %s is needed", module)
		}
	}
	if direct < 10 {
		t.Errorf("only %d dependencies were read", direct)
	}
}
