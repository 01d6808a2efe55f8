package prompt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// within fails the test unless got is at most percent off want.
func within(t *testing.T, what string, got, want, percent int) {
	t.Helper()
	if 100*max(got-want, want-got) > want*percent {
		t.Errorf("%s: %d, want %d within %d %%", what, got, want, percent)
	}
}

// The documented token counts belong to exactly these bytes: whoever changes a
// text has to measure again and correct Default's comment.
func TestDefaultTextsHaveTheMeasuredLength(t *testing.T) {
	d := Default()
	before, after, ok := strings.Cut(d.Instance, Placeholder)
	if !ok || strings.Contains(after, Placeholder) {
		t.Fatal("the default instance text does not hold the placeholder once")
	}
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"system bytes", len(d.System), 5276},
		{"bytes before the placeholder", len(before), 106},
		{"bytes after the placeholder", len(after), 5033},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d: measure the tokens again", c.what, c.got, c.want)
		}
	}
	within(t, "system bytes against R2E-Gym's", len(d.System), 5480, 10)
	within(t, "instance bytes against R2E-Gym's", len(before)+len(after), 5679, 10)
}

func TestDefaultTextsDescribeTheFourTools(t *testing.T) {
	for _, tool := range []string{"file_editor", "execute_bash", "search", "finish", "<function=", "</function>"} {
		if !strings.Contains(Default().System, tool) {
			t.Errorf("system text does not mention %s", tool)
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadWithoutPathsIsTheDefault(t *testing.T) {
	got, err := Load("", "")
	if err != nil || got != Default() {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLoadUsesFilesAsTheyAreButForTheLastLineEnd(t *testing.T) {
	for _, end := range []string{"", "\n", "\r\n"} {
		got, err := Load(write(t, "s.txt", " be brief\n."+end), write(t, "i.txt", "fix\n"+Placeholder+end))
		if err != nil {
			t.Fatal(err)
		}
		if got.System != " be brief\n." || got.Instance != "fix\n"+Placeholder {
			t.Errorf("end %q: got %q and %q", end, got.System, got.Instance)
		}
	}
}

func TestLoadedFilesWinOverATrajectorysOwn(t *testing.T) {
	loaded, err := Load(write(t, "s.txt", "mine"), write(t, "i.txt", "my "+Placeholder))
	if err != nil {
		t.Fatal(err)
	}
	got, err := loaded.For("theirs", "their "+Placeholder)
	if err != nil || got != loaded {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLoadNamesTheFileAndWhatIsWrong(t *testing.T) {
	fine := write(t, "fine.txt", Placeholder)
	for _, c := range []struct {
		name             string
		system, instance string
		want             []string
	}{
		{"missing system file", filepath.Join(t.TempDir(), "absent.txt"), "", []string{"system prompt", "absent.txt"}},
		{"missing instance file", "", filepath.Join(t.TempDir(), "absent.txt"), []string{"instance prompt", "absent.txt"}},
		{"empty system file", write(t, "void.txt", "\n"), fine, []string{"system prompt", "void.txt", "empty"}},
		{"bytes that are not UTF-8", write(t, "latin.txt", "caf\xe9"), "", []string{"system prompt", "latin.txt", "UTF-8"}},
		{"no placeholder", "", write(t, "bare.txt", "secret"), []string{"instance prompt", "bare.txt", Placeholder, "missing"}},
		{"placeholder twice", "", write(t, "twice.txt", Placeholder+Placeholder), []string{"twice.txt", Placeholder, "2 times"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(c.system, c.instance)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not mention %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q holds the prompt's text", err)
			}
		})
	}
}
