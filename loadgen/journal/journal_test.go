package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
)

func someRuns() []report.Run {
	return []report.Run{
		{Setting: "4", Phase: "cold", Repeat: 1, Completed: 3, WallSeconds: 1},
		{Setting: "4", Phase: "warm", Repeat: 1, Completed: 3, WallSeconds: 2},
	}
}

func plan(repeats int) sweep.Plan {
	return sweep.Plan{
		Settings: sweep.Multiply([]int{4}, []int{1}, []time.Duration{0}, []sweep.Order{sweep.FIFO}),
		Repeats:  repeats, Concurrency: 1, Timeout: time.Second,
	}
}

// beginning is what every sweep of these tests says, but for its facts and the size to put back.
func beginning(size int, facts ...Fact) Beginning {
	return Beginning{
		At: time.Date(2026, 11, 23, 13, 33, 18, 0, time.UTC), Args: []string{"-repeats", "3"}, Facts: facts,
		Before: map[string]target.Settings{"a:1": {BatchSize: size, MaxWait: time.Second}},
	}
}

// written is the directory of a journal with two runs, and the path of its file.
func written(t testing.TB) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	j, err := Create(dir, beginning(7, Fact{"-repeats", "3"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range someRuns() {
		if err := j.Measured(r, []report.Request{{Setting: r.Setting, Phase: r.Phase, Repeat: r.Repeat}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, RunsFile)
}

func TestAJournalCutAtAnyByteKeepsItsWholeLines(t *testing.T) {
	dir, path := written(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := bytes.IndexByte(data, '\n') + 1; cut <= len(data); cut += 1 + cut/9 {
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := bytes.Count(data[:cut], []byte("\n")) - 1
		now := beginning(7, Fact{"-repeats", "3"})
		now.At = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
		j, err := Resume(dir, plan(3), now, false)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if len(j.Runs) != whole || len(j.Kept) != whole/2*2 {
			t.Errorf("cut at %d: %d runs, %d of them kept, want %d whole lines", cut, len(j.Runs), len(j.Kept), whole)
		}
		if err := errors.Join(j.Measured(someRuns()[0], nil), j.Close()); err != nil {
			t.Fatal(err)
		}
		again, err := Read(dir)
		if err != nil || len(again.Runs) != whole+1 || len(again.Resumed) != 1 || !again.Resumed[0].Equal(now.At) ||
			again.Before["a:1"].BatchSize != 7 {
			t.Fatalf("cut at %d and resumed: %+v, %v", cut, again, err)
		}
	}
}

func TestOnlyTheRequestsOfKeptRunsStay(t *testing.T) {
	dir, path := written(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, RequestsFile))
	if err != nil {
		t.Fatal(err)
	}
	for lines, want := range []int{2: 0, 3: 2} { // the cold run alone is measured again
		if lines < 2 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, RequestsFile), whole, 0o600); err != nil {
			t.Fatal(err)
		}
		cut := bytes.Join(bytes.SplitAfter(data, []byte("\n"))[:lines], nil)
		if err := os.WriteFile(path, cut, 0o600); err != nil {
			t.Fatal(err)
		}
		requests, err := os.OpenFile(filepath.Join(dir, RequestsFile), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := requests.WriteString(`{"setting":"4","phase":"co`); err != nil { // as a kill leaves it
			t.Fatal(err)
		}
		j, err := Resume(dir, plan(3), beginning(7, Fact{"-repeats", "3"}), false)
		if err := errors.Join(err, requests.Close(), j.Close()); err != nil {
			t.Fatal(err)
		}
		if all, err := ReadRequests(dir); err != nil || len(all) != want {
			t.Errorf("%d lines of runs: %d requests, want %d: %v", lines, len(all), want, err)
		}
	}
}

func TestAJournalThatIsRefusedStaysAsItWas(t *testing.T) {
	dir, path := written(t)
	before, _ := os.ReadFile(path)
	for want, facts := range map[string][]Fact{
		`-n: missing there and "3" here`:   {{"-repeats", "3"}, {"-n", "3"}},
		`-repeats: "3" there and "2" here`: {{"-repeats", "2"}},
	} {
		if _, err := Resume(dir, plan(2), beginning(7, facts...), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

func TestWhatChangedStaysChanged(t *testing.T) {
	dir, _ := written(t)
	for i, n := range []string{"5", "7"} {
		j, err := Resume(dir, plan(5+2*i), beginning(9, Fact{"-repeats", n}), true)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	held, err := Read(dir)
	if err != nil || !slices.Equal(held.Facts, []Fact{{"-repeats", "7"}}) ||
		!slices.Equal(held.Args, []string{"-repeats", "3", "-repeats", "5", "-repeats", "7"}) || held.Before["a:1"].BatchSize != 9 {
		t.Errorf("%+v, %v", held.Beginning, err)
	}
}

func TestASweepThatWasCutPutsBackWhatTheFirstOneFound(t *testing.T) {
	dir, _ := written(t)
	b := beginning(9, Fact{"-repeats", "3"})
	b.Before["b:1"] = target.Settings{BatchSize: 1}
	j, err := Resume(dir, plan(3), b, false)
	if err != nil || j.Before["a:1"].BatchSize != 7 || j.Before["b:1"].BatchSize != 1 {
		t.Fatalf("%+v, %v", j, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoJournalIsNamed(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"":                                    "holds no sweep",
		"{}\n":                                "line 1: the first line",
		"nonsense\n":                          "line 1:",
		`{"sweep":{}}` + "\nx\n":              "line 2:",
		`{"sweep":{}}` + "\n{\"sweep\":{}}\n": "line 2: the first line",
	} {
		if err := os.WriteFile(filepath.Join(dir, RunsFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := Read(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "there is no") {
		t.Error(err)
	}
}

func TestDifferencesAreNamed(t *testing.T) {
	there := []Fact{{"-n", "3"}, {"-sizes", "1,4"}, {"-old", "1"}}
	here := []Fact{{"-sizes", "1,8"}, {"-n", "3"}, {"-new", "2"}}
	want := []string{`-sizes: "1,4" there and "1,8" here`, `-old: "1" there and missing here`, `-new: missing there and "2" here`}
	if got := differences(there, here); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := differences(there, slices.Clone(there)); got != nil {
		t.Errorf("%q", got)
	}
	if got := differences([]Fact{{"-n", "3"}}, []Fact{{"-n", "5"}}, Fact{"-n", "5"}); got != nil {
		t.Errorf("an allowed one: %q", got)
	}
}

func TestOtherPromptsAreOtherFacts(t *testing.T) {
	base := []target.Prompt{{ID: "a", Text: "ab", Tail: "c"}, {ID: "b", Text: "x"}}
	for name, other := range map[string][]target.Prompt{
		"another text":   {{ID: "a", Text: "ab", Tail: "d"}, {ID: "b", Text: "x"}},
		"a pause":        {{ID: "a", Text: "ab", Tail: "c"}, {ID: "b", Text: "x", Pause: 1}},
		"a conversation": {{ID: "a", Text: "ab", Tail: "c"}, {ID: "b", Text: "x", Follows: true}},
		"fewer":          base[:1],
	} {
		if len(differences(PromptFacts(base), PromptFacts(other))) == 0 {
			t.Errorf("%s is not seen", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	_, path := written(f)
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"sweep":{"at":"2026-11-23T13:33:18Z"}}` + "\n" + `{"run":{"setting":"4"}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		held, good, err := read(bytes.NewReader(data))
		if good < 0 || good > int64(len(data)) {
			t.Fatalf("%d good of %d bytes", good, len(data))
		}
		if err != nil {
			return
		}
		again, _, err := read(bytes.NewReader(data[:good]))
		if err != nil || len(again.Runs) != len(held.Runs) {
			t.Fatalf("%d runs and then %d: %v", len(held.Runs), len(again.Runs), err)
		}
	})
}
