package command

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"paceline/proxy/server"
)

var update = flag.Bool("update", false, "write the generated part of docs/configuration.md")

const (
	docsPage   = "../../docs/configuration.md"
	docsBegins = "<!-- begin generated -->\n"
	docsEnds   = "<!-- end generated -->"
)

// go test ./proxy/command -run TestTheConfigurationPage -update writes it anew.
func TestTheConfigurationPageIsThatOfTheFlags(t *testing.T) {
	data, err := os.ReadFile(docsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(data), docsBegins)
	is, after, found := strings.Cut(rest, docsEnds)
	if !found {
		t.Fatalf("%s lacks %s and %s", docsPage, docsBegins, docsEnds)
	}
	want := settingsTable()
	if *update {
		if err := os.WriteFile(docsPage, []byte(before+docsBegins+want+docsEnds+after), 0o644); err != nil { //nolint:gosec // a page of docs
			t.Fatal(err)
		}
		return
	}
	if is != want {
		t.Errorf("%s is stale: go test ./proxy/command -run TestTheConfigurationPage -update", docsPage)
	}
}

func settingsTable() string {
	var flags, file, commands strings.Builder
	o := &options{config: server.DefaultConfig()}
	o.flags().VisitAll(func(g *flag.Flag) {
		_, help := flag.UnquoteUsage(g)
		live := ""
		if server.IsLive(g.Name) {
			live = "yes"
		}
		switch value := "`" + g.DefValue + "`"; {
		case onlyFlag(g.Name) || g.Name == configFlag:
			fmt.Fprintf(&commands, "| `-%s` | %s |\n", g.Name, help)
		case slices.Contains(fileOnly, g.Name):
			fmt.Fprintf(&file, "| `%s` | %s | %s | %s |\n", keyOf(g.Name), value, live, help)
		default:
			fmt.Fprintf(&flags, "| `-%s` | %s | %s | %s |\n", g.Name, strings.ReplaceAll(value, "``", ""), live, help)
		}
	})
	return "\n### Flags\n\nEach is also a key of the file (`max_wait: 5ms`) and a variable (`PACELINE_MAX_WAIT=5ms`).\n\n" +
		"| flag | default | live | what it does |\n|---|---|---|---|\n" + flags.String() +
		"\n### Settings of the file only\n\nEach is also a variable (`PACELINE_MAX_AGE=10s`), and no flag.\n\n" +
		"| key | default | live | what it does |\n|---|---|---|---|\n" + file.String() +
		"\n### Flags that are not settings\n\n| flag | what it does |\n|---|---|\n" + commands.String() + "\n"
}
