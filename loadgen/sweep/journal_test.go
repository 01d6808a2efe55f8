package sweep

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
	"paceline/loadgen/target"
)

func someRuns() []report.Run {
	return []report.Run{
		{Setting: "4", Phase: "cold", Repeat: 1, Completed: 3, LatencyHistogram: stats.NewHistogram(time.Second)},
		{Setting: "4", Phase: "warm", Repeat: 1, Completed: 3, LatencyHistogram: stats.NewHistogram(time.Second, time.Minute)},
	}
}

// written is a journal with two runs, and its file.
func written(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "runs.jsonl")
	j, err := CreateJournal(path, Beginning{
		At: time.Date(2026, 11, 23, 13, 33, 18, 0, time.UTC), Args: []string{"-n", "3"}, Facts: []Fact{{"-n", "3"}},
		Before: map[string]target.Settings{"a:1": {BatchSize: 7, MaxWait: time.Second}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range someRuns() {
		if err := j.Measured(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func agree(Journaled) (*Change, error) { return nil, nil }

func TestAJournalCutAtAnyByteKeepsItsWholeLines(t *testing.T) {
	path := written(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for cut := bytes.IndexByte(data, '\n') + 1; cut <= len(data); cut += 1 + cut/9 {
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := bytes.Count(data[:cut], []byte("\n")) - 1
		j, held, err := ResumeJournal(path, now, agree)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if diff := cmp.Diff(someRuns()[:whole], held.Runs[:len(held.Runs):len(held.Runs)], cmp.Comparer(func(a, b []report.Run) bool { return len(a) == 0 && len(b) == 0 || len(a) == len(b) })); diff != "" {
			t.Errorf("cut at %d: %s", cut, diff)
		}
		if err := errors.Join(j.Measured(someRuns()[0]), j.Close()); err != nil {
			t.Fatal(err)
		}
		again, err := ReadJournal(path)
		if err != nil || len(again.Runs) != whole+1 || len(again.Resumed) != 1 || !again.Resumed[0].Equal(now) || again.Before["a:1"].BatchSize != 7 {
			t.Fatalf("cut at %d and resumed: %+v, %v", cut, again, err)
		}
	}
}

func TestAJournalThatIsRefusedStaysAsItWas(t *testing.T) {
	path := written(t)
	before, _ := os.ReadFile(path)
	other := errors.New("another sweep")
	if _, _, err := ResumeJournal(path, time.Now(), func(h Journaled) (*Change, error) {
		if len(h.Runs) != 2 || !slices.Equal(h.Args, []string{"-n", "3"}) {
			t.Errorf("%+v", h)
		}
		return nil, other
	}); !errors.Is(err, other) {
		t.Errorf("%v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

func TestWhatChangedStaysChanged(t *testing.T) {
	path := written(t)
	for _, n := range []string{"5", "7"} {
		j, _, err := ResumeJournal(path, time.Now(), func(Journaled) (*Change, error) {
			return &Change{Flags: []Fact{{"-n", n}}, Before: map[string]target.Settings{"a:1": {BatchSize: 9}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	held, err := ReadJournal(path)
	if err != nil || !slices.Equal(held.Facts, []Fact{{"-n", "7"}}) || !slices.Equal(held.Args, []string{"-n", "3", "-n", "5", "-n", "7"}) || held.Before["a:1"].BatchSize != 9 {
		t.Errorf("%+v, %v", held.Beginning, err)
	}
}

func TestWhatIsNoJournalIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.jsonl")
	for text, want := range map[string]string{
		"":                                    "holds no sweep",
		"{}\n":                                "line 1: the first line",
		"nonsense\n":                          "line 1:",
		`{"sweep":{}}` + "\nx\n":              "line 2:",
		`{"sweep":{}}` + "\n{\"sweep\":{}}\n": "line 2: the first line",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadJournal(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := ReadJournal(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "there is no") {
		t.Error(err)
	}
}

func TestDifferencesAreNamed(t *testing.T) {
	there := []Fact{{"-n", "3"}, {"-sizes", "1,4"}, {"-old", "1"}}
	here := []Fact{{"-sizes", "1,8"}, {"-n", "3"}, {"-new", "2"}}
	want := []string{`-sizes: "1,4" there and "1,8" here`, `-old: "1" there and not told here`, `-new: not told there and "2" here`}
	if got := Differences(there, here); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := Differences(there, slices.Clone(there)); got != nil {
		t.Errorf("%q", got)
	}
	if got := Differences([]Fact{{"-n", "3"}}, []Fact{{"-n", "5"}}, Fact{"-n", "5"}); got != nil {
		t.Errorf("an allowed one: %q", got)
	}
}

func TestOtherPromptsAreOtherFacts(t *testing.T) {
	base := []target.Prompt{{ID: "a", Text: "ab", Tail: "c"}, {ID: "b", Text: "x"}}
	for name, other := range map[string][]target.Prompt{
		"another text":   {{ID: "a", Text: "ab", Tail: "d"}, {ID: "b", Text: "x"}},
		"another cut":    {{ID: "a", Text: "a", Tail: "bc"}, {ID: "b", Text: "x"}},
		"a pause":        {{ID: "a", Text: "ab", Tail: "c"}, {ID: "b", Text: "x", Pause: 1}},
		"a conversation": {{ID: "a", Text: "ab", Tail: "c"}, {ID: "b", Text: "x", Follows: true}},
		"fewer":          base[:1],
	} {
		if len(Differences(PromptFacts(base), PromptFacts(other))) == 0 {
			t.Errorf("%s is not seen", name)
		}
	}
}

func FuzzReadJournal(f *testing.F) {
	data, err := os.ReadFile(written(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"sweep":{"at":"2026-11-23T13:33:18Z"}}` + "\n" + `{"run":{"setting":"4"}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		held, good, err := readJournal(bytes.NewReader(data))
		if good < 0 || good > int64(len(data)) {
			t.Fatalf("%d good of %d bytes", good, len(data))
		}
		if err != nil {
			return
		}
		again, _, err := readJournal(bytes.NewReader(data[:good]))
		if err != nil || len(again.Runs) != len(held.Runs) {
			t.Fatalf("%d runs and then %d: %v", len(held.Runs), len(again.Runs), err)
		}
	})
}
