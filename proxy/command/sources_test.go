package command

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"paceline/batcher"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "paceline.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASettingComesFromItsFlagThenTheEnvironmentThenTheFile(t *testing.T) {
	path := writeConfig(t, "# the sidecar's\nbatch_size: 2\nmax_wait: 7ms\nmax_in_flight: 3\nshare: off\nmode: \"unbatched\"\n")
	environ := []string{
		"PACELINE_CONFIG=" + path, "PACELINE_BATCH_SIZE=4", "PACELINE_MAX_WAIT=9ms", "HOME=/",
		"PACELINE_PORT=tcp://10.0.0.1:50051", "PACELINE_SERVICE_HOST=10.0.0.1",
	}
	o, err := parseOptions([]string{"-batch-size", "8"}, environ, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := o.config.Settings
	if s.BatchSize != 8 || s.MaxWait != 9*time.Millisecond || s.MaxInFlight != 3 || s.Share != batcher.ShareOff ||
		s.Mode != batcher.ModeUnbatched ||
		s.QueueRequests != 10_000 {
		t.Errorf("%+v", s)
	}
	var printed bytes.Buffer
	if code := run([]string{"-print-config", "-batch-size", "8"}, environ, &printed, nil, nil); code != exitOK {
		t.Fatal(code)
	}
	for _, want := range []string{
		"(flag)\nbatch_size: \"8\"\n", "(environment)\nmax_wait: 9ms\n", "(file)\nmax_in_flight: \"3\"\n",
		"(default)\nqueue_requests: \"10000\"\n",
	} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &printed)
		}
	}
	again, err := parseOptions([]string{"-config", writeConfig(t, printed.String())}, nil, nil)
	if err != nil || len(changed(o.set, again.set)) > 1 { // the file's own name differs
		t.Errorf("what was printed is read as %v, %v", changed(o.set, again.set), err)
	}
}

func TestAWrongSettingIsNamedWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"batch_sise: 3":                "paceline.yaml:1: batch_sise: not a setting: is batch_size meant?",
		"\nbatch_size: many":           `paceline.yaml:2: batch_size: "many": parse error`,
		"batch_size: [1, 2]":           "paceline.yaml:1: batch_size: must be one value",
		"batch_size: 1\nbatch_size: 2": "is set twice",
		"batch_size: 1\nbatch-size: 2": "is set twice",
		"- batch_size":                 "paceline.yaml:1: must be settings",
		"a: b: c":                      "paceline.yaml",
		"version: true":                "not a setting",
		"batch_size: 0":                "batch-size: must be",
	} {
		var stderr bytes.Buffer
		if code := run([]string{"-config", writeConfig(t, text)}, nil, nil, &stderr, nil); code != exitBadInput ||
			!strings.Contains(stderr.String(), want) {
			t.Errorf("%q: %d %s", text, code, &stderr)
		}
	}
	for variable, want := range map[string]string{
		"PACELINE_BATCH_SISE=3":    "PACELINE_BATCH_SISE: not a setting: is PACELINE_BATCH_SIZE meant?",
		"PACELINE_BATCH_SIZE=many": `PACELINE_BATCH_SIZE: "many"`,
		"PACELINE_CONFIG=/nowhere": "-config: open /nowhere",
	} {
		var stderr bytes.Buffer
		if code := run(nil, []string{variable}, nil, &stderr, nil); code != exitBadInput || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: %d %s", variable, code, &stderr)
		}
	}
}

func TestAFlagThatWentOrIsMisspeltNamesWhatToWrite(t *testing.T) {
	for args, want := range map[string]string{
		"-prefix-blocks 100": "-prefix-blocks: is not a flag any more: write prefix_blocks: 100 into the file of -config, " +
			"or set PACELINE_PREFIX_BLOCKS",
		"-batch-sise 3":                   "-batch-sise: not a flag: is -batch-size meant?",
		"-upstream http://a:1,http://b:1": "upstream: must be one SGLang",
		"-upstream dns+http://a:1":        "upstream: must be one SGLang",
	} {
		var stderr bytes.Buffer
		if code := run(strings.Fields(args), nil, nil, &stderr, nil); code != exitBadInput || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: %d %s", args, code, &stderr)
		}
	}
}

func TestSIGHUPAppliesWhatChangedAndCanChangeLive(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	path := writeConfig(t, "batch_size: 2\n")
	p := startProcess(t, s.URL, "-config", path)
	p.line("listening")
	for _, c := range []struct{ text, message, holds string }{
		{"batch_size: 3\nmax_age: 1m\n", "settings read again", "batch_size: 2 -> 3 max_age: 30s -> 1m0s"},
		{"batch_size: 3\nmax_age: 1m\nvocab_size: 7\n", "these settings change only at the next start", "vocab-size"},
		{"batch_size: 0\n", "the settings could not be read again and stay as they were", "batch-size"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.signals <- syscall.SIGHUP
		line := p.line(c.message)
		if told := strings.Join(wordsOf(line), " "); !strings.Contains(told, c.holds) {
			t.Errorf("%q: %v", c.text, line)
		}
	}
	p.signals <- syscall.SIGTERM
	if code := p.wait(); code != exitOK {
		t.Error(code)
	}
}

func wordsOf(line map[string]any) (words []string) {
	for _, v := range line {
		switch v := v.(type) {
		case string:
			words = append(words, v)
		case []any:
			for _, one := range v {
				words = append(words, one.(string))
			}
		}
	}
	return words
}

func FuzzAnyConfigFileIsReadOrRefused(f *testing.F) {
	f.Add("batch_size: 2\nmax_wait: 7ms\n")
	f.Add("- a\n- {b: c}\n")
	f.Add("&a [*a]")
	path := filepath.Join(f.TempDir(), "paceline.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := parseOptions([]string{"-config", path}, nil, nil)
		if err == nil && o.config.Validate() != nil {
			t.Errorf("%q was taken", text)
		}
	})
}
